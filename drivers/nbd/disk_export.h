/* A disk of the engine as an NBD export.
 *
 * Implements export.h. The engine takes one call at a time, so every call is made between lock()
 * and unlock().
 */
#ifndef Q2_DRIVERS_NBD_DISK_EXPORT_H
#define Q2_DRIVERS_NBD_DISK_EXPORT_H

#include "export.h"
#include "protocol.h"
#include "q2_disk.h"

struct nbd_disk_export {
    struct nbd_export export; /* first: the export's address is this struct's */
    struct q2_disk *disk;

    /* The caller's, set after init. NULL: there is one session only. */
    void (*lock)(struct nbd_disk_export *export);
    void (*unlock)(struct nbd_disk_export *export);

    /* Called after a failure, between lock() and unlock(); q2_disk_fault() has the reason. May be
     * NULL. */
    void (*failed)(struct nbd_disk_export *export, enum q2_status status);

    /* Called after a write, write of zeros or trim, between lock() and unlock(). May be NULL. */
    void (*changed)(struct nbd_disk_export *export);
};

/* Make an export.
 *
 * size  bytes of the disk that are offered, at most q2_disk_size()
 */
void nbd_disk_export_init(struct nbd_disk_export *export, struct q2_disk *disk, uint64_t size,
                          bool read_only);

#endif
