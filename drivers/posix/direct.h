/* A byte source over a block device that is read and written past the page cache (O_DIRECT).
 *
 * For a host partition that the caller holds exclusively. Implements include/q2_source.h. Requests
 * that are not aligned to the device's sectors go through a buffer of the caller. A write that
 * covers a sector in part reads the sector before.
 */
#ifndef Q2_DRIVERS_DIRECT_POSIX_H
#define Q2_DRIVERS_DIRECT_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_source.h"

struct q2_source_direct {
    struct q2_source source;
    int fd;
    uint32_t sector_size;
    uint8_t *bounce;
    size_t bounce_size;
};

/* What a direct source is made of; everything stays the caller's and must outlive it. */
struct q2_direct_device {
    int fd; /* open with O_DIRECT */
    const char *path;
    uint64_t size;        /* bytes */
    uint32_t sector_size; /* of the device, bytes; a power of two */
    bool writable;
    void *bounce;       /* aligned to 4096, */
    size_t bounce_size; /* a multiple of sector_size, >= 2 * sector_size */
};

void q2_source_direct_init(struct q2_source_direct *direct, const struct q2_direct_device *device);

#endif
