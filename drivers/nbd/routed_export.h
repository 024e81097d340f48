/* The part of a disk that goes through the server, as an NBD export.
 *
 * For a device that has a part of a disk only: requests for the other part go straight to where it
 * is stored (include/q2_handoff_routes.h), and something like a device mapper puts the parts
 * together. Implements export.h over another export.
 *
 * - Before and after the disk there is a margin of zeros. Nobody who looks for partition tables or
 *   file systems finds any, so the disk and its file systems do not appear a second time.
 * - What goes straight cannot be changed here, because a trim would free clusters that requests of
 *   the other part still write to.
 */
#ifndef Q2_DRIVERS_NBD_ROUTED_EXPORT_H
#define Q2_DRIVERS_NBD_ROUTED_EXPORT_H

#include "export.h"
#include "q2_handoff_routes.h"

/* Bytes; more than the place of any signature that is looked for, and a multiple of every sector
 * size. LUKS has its last one at 4 MiB. */
#define NBD_ROUTED_MARGIN (8ull * 1024 * 1024)

struct nbd_routed_export {
    struct nbd_export export; /* first: the export's address is this struct's */
    struct nbd_export *disk;
    const struct q2_route *routes;
    size_t nb_routes;
    bool changed; /* since the last flush */
};

/* Make an export. Its size is the disk's and two margins.
 *
 * disk               the whole disk; stays the caller's
 * routes, nb_routes  of q2_routes_choose(), for disk->size bytes; stay the caller's
 */
void nbd_routed_export_init(struct nbd_routed_export *export, struct nbd_export *disk,
                            const struct q2_route *routes, size_t nb_routes);

#endif
