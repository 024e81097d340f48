/* The byte source: what the engine reads and writes, and all it knows of a file or a device.
 *
 * Implemented by drivers/ (POSIX file or block device, memory, file of a FAT volume through its
 * extent map, file and volume of the firmware) and by the fault sources of the tests. The
 * implementer embeds a struct q2_source as first member of its own struct and owns all memory; the
 * engine keeps only the pointer, from q2_disk_open() to q2_disk_close() (or to the opener's
 * close()).
 *
 * Calls come one at a time per disk. A source that serves two disks must expect interleaved calls,
 * never nested ones. No call may allocate or free once the source is open.
 */
#ifndef Q2_SOURCE_H
#define Q2_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_status.h"

struct q2_source;

struct q2_source_ops {
    /* Read exactly length bytes.
     *
     * offset, length  bytes; length >= 1; the range is inside source->size (the engine checks)
     * buffer          any alignment; io_align is a wish, not a demand
     *
     * Q2_OK             all bytes are there
     * Q2_ERR_IO         the device failed or gave fewer bytes; the buffer's content is undefined
     * Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the medium is gone or another one; every later call
     *                   fails the same way
     */
    enum q2_status (*read_at)(struct q2_source *source, uint64_t offset, void *buffer,
                              size_t length);

    /* Write exactly length bytes inside source->size. Durable only after flush().
     * NULL in a source that is never writable.
     *
     * Q2_OK             accepted
     * Q2_ERR_READ_ONLY  source->writable is false
     * Q2_ERR_NO_SPACE   a sparse file's device is full
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   as above; the range may hold any mix of
     *                   old and new sectors
     */
    enum q2_status (*write_at)(struct q2_source *source, uint64_t offset, const void *buffer,
                               size_t length);

    /* Make every write_at() and grow() that has returned Q2_OK durable.
     * NULL in a source that is never writable.
     *
     * Q2_OK      durable
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   what was written since the last flush may
     *            be lost; the engine turns the disk read-only
     */
    enum q2_status (*flush)(struct q2_source *source);

    /* Make the file new_size bytes long, new_size > source->size; new bytes read as zeros.
     * NULL if the file cannot grow.
     *
     * Q2_OK            source->size == new_size
     * Q2_ERR_NO_SPACE  device full or the file system's limit; nothing changed
     * Q2_ERR_IO        nothing changed, or the tail has undefined content
     */
    enum q2_status (*grow)(struct q2_source *source, uint64_t new_size);

    /* Make sure that writing the range later cannot fail for want of room: what is a hole gets its
     * blocks. Content stays. NULL where a file of its size always has its room.
     *
     * offset, length  bytes; length >= 1; the range is inside source->size
     *
     * Q2_OK            also if the file system cannot promise it
     * Q2_ERR_NO_SPACE  the device is full; nothing changed
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   as above
     */
    enum q2_status (*reserve)(struct q2_source *source, uint64_t offset, uint64_t length);

    /* Give the blocks of a range back to the file system: it reads as zeros afterwards. As
     * write_at() it is durable only after flush(). NULL if the source has none to give.
     *
     * offset, length  bytes; length >= 1; the range is inside source->size
     *
     * Q2_OK               the range reads as zeros
     * Q2_ERR_UNSUPPORTED  the file system cannot; nothing changed
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   any mix of old bytes and zeros
     */
    enum q2_status (*punch)(struct q2_source *source, uint64_t offset, uint64_t length);

    /* Make the file new_size bytes long, new_size < source->size. NULL if it keeps its length.
     *
     * Q2_OK       source->size == new_size
     * Q2_ERR_IO   nothing changed
     */
    enum q2_status (*truncate)(struct q2_source *source, uint64_t new_size);
};

struct q2_source {
    const struct q2_source_ops *ops;
    const char *path; /* as opened: UTF-8, '/' between components; lives as long as the source */
    uint64_t size;    /* bytes; changes only inside grow() and truncate() */
    uint64_t identity[2]; /* equal in two sources exactly if both are the same file */
    uint32_t io_align;    /* memory alignment of a buffer that is fastest; power of two, >= 1 */
    bool writable;
};

/* Do two identities belong to the same file? */
static inline bool q2_same_identity(const uint64_t a[2], const uint64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

static inline bool q2_same_file(const struct q2_source *a, const struct q2_source *b)
{
    return q2_same_identity(a->identity, b->identity);
}

#endif
