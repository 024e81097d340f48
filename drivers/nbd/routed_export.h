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
 * - A new table can be announced while the old one is in force. What goes straight by the new one
 *   keeps its place from then on: a trim there does nothing, and zeros are written as data.
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
    const struct q2_route *routes; /* in force */
    size_t nb_routes;
    const struct q2_route *announced; /* the same, or the next ones */
    size_t nb_announced;
    bool changed;     /* since the last flush */
    uint64_t written; /* bytes since the caller set it to 0 */
};

/* Make an export. Its size is the disk's and two margins.
 *
 * disk               the whole disk; stays the caller's
 * routes, nb_routes  of q2_routes_choose(), for disk->size bytes; stay the caller's
 */
void nbd_routed_export_init(struct nbd_routed_export *export, struct nbd_export *disk,
                            const struct q2_route *routes, size_t nb_routes);

/* Announce the next table; it includes the one in force (q2_routes_include()). The table in force:
 * there is no next one any more.
 *
 * routes, nb_routes  as above
 */
void nbd_routed_export_announce(struct nbd_routed_export *export, const struct q2_route *routes,
                                size_t nb_routes);

/* The announced table is in force from now on: nobody sends requests by the old one any more. */
void nbd_routed_export_switch(struct nbd_routed_export *export);

#endif
