/* What an NBD session serves: a range of bytes that can be read, maybe written.
 *
 * Implemented by disk_export.c over a disk of the engine, by routed_export.c over another export,
 * and by tests. Sessions in several threads may share an export, so its functions take a lock of
 * their own where they need one.
 */
#ifndef Q2_DRIVERS_NBD_EXPORT_H
#define Q2_DRIVERS_NBD_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_status.h"

struct nbd_export;

/* The session has checked every range: it is inside export->size and is not empty. Functions that
 * change something are only called if the export is not read_only. */
struct nbd_export_ops {
    enum q2_status (*read)(struct nbd_export *export, uint64_t offset, void *buffer, size_t length);
    enum q2_status (*write)(struct nbd_export *export, uint64_t offset, const void *buffer,
                            size_t length);
    enum q2_status (*write_zeroes)(struct nbd_export *export, uint64_t offset, uint64_t length);
    enum q2_status (*trim)(struct nbd_export *export, uint64_t offset, uint64_t length);

    /* Make every change durable that was reported as done to any session of the export. */
    enum q2_status (*flush)(struct nbd_export *export);

    /* The kind of a run of bytes from offset on.
     *
     * ret_length  1..max_length
     * ret_flags   NBD_STATE_HOLE, NBD_STATE_ZERO, both or 0
     */
    enum q2_status (*status)(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                             uint64_t *ret_length, uint32_t *ret_flags);
};

struct nbd_export {
    const struct nbd_export_ops *ops;
    uint64_t size; /* bytes */
    bool read_only;
};

#endif
