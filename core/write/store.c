/* Writing bytes beside the slice cache.
 *
 * May call the source, slice_write.c, and core/read/ to void what its caches hold. Invariant: after
 * a write, failed or not, no cache holds old bytes as if they were the file's.
 */
#include "store.h"

#include "q2_fail.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "slice_write.h"

enum q2_status q2_store_data(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                             const void *bytes, size_t length)
{
    enum q2_status status;

    if (!q2_range_fits(offset, length, source->size))
        return q2_fail_limit(&disk->fault, Q2_ERR_TRUNCATED, "a write would leave the file",
                             source->path, "host offset", offset, source->size);
    q2_windows_forget(&disk->windows, source, offset, length);
    q2_decoded_forget(&disk->decoded, source, offset, length);
    status = source->ops->write_at(source, offset, bytes, length);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, NULL, source->path, offset);
    q2_slice_cache_overwrite(&disk->slices, source, offset, bytes, length);
    return Q2_OK;
}

enum q2_status q2_store_write(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                              const void *bytes, size_t length)
{
    q2_slice_cache_expire(&disk->slices);
    return q2_store_data(disk, source, offset, bytes, length);
}

enum q2_status q2_store_zero(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                             uint64_t length)
{
    uint8_t *zeros = disk->writer.bounce;

    memset(zeros, 0, (size_t)q2_min_u64(length, Q2_BOUNCE_SIZE));
    while (length > 0) {
        size_t n = (size_t)q2_min_u64(length, Q2_BOUNCE_SIZE);
        enum q2_status status = q2_store_write(disk, source, offset, zeros, n);
        if (status != Q2_OK)
            return status;
        offset += n;
        length -= n;
    }
    return Q2_OK;
}

enum q2_status q2_store_copy(struct q2_disk *disk, uint64_t from, uint64_t to, uint64_t length,
                             uint32_t entry_size)
{
    struct q2_source *source = disk->layers[0].source;
    uint8_t *bounce = disk->writer.bounce;

    while (length > 0) {
        size_t n = (size_t)q2_min_u64(length, Q2_BOUNCE_SIZE);
        enum q2_status status = q2_slice_read(&disk->slices, source, from, bounce, n);

        if (status != Q2_OK)
            return q2_fail_at(&disk->fault, status, "a table cannot be read", source->path, from);
        for (size_t i = 0; entry_size != 0 && i < n; i += entry_size)
            bounce[i] &= (uint8_t)~0x80u; /* COPIED is the top bit of an entry */
        status = q2_store_write(disk, source, to, bounce, n);
        if (status != Q2_OK)
            return status;
        from += n;
        to += n;
        length -= n;
    }
    return Q2_OK;
}

enum q2_status q2_store_header(struct q2_disk *disk, const struct q2_header *header, size_t offset,
                               size_t length)
{
    struct q2_header_disk fields;

    q2_header_encode(header, &fields);
    return q2_store_write(disk, disk->layers[0].source, offset, (const uint8_t *)&fields + offset,
                          length);
}

enum q2_status q2_store_grow(struct q2_disk *disk, struct q2_source *source, uint64_t size)
{
    uint64_t old_size = source->size;
    enum q2_status status;

    if (size <= old_size)
        return Q2_OK;
    if (!source->ops->grow)
        return q2_fail_limit(&disk->fault, Q2_ERR_NO_SPACE, "the file cannot grow now",
                             source->path, "size", size, old_size);
    status = source->ops->grow(source, size);
    if (status != Q2_OK)
        return q2_fail_limit(&disk->fault, status, "the file cannot grow", source->path, "size",
                             size, old_size);
    q2_slice_cache_grow(&disk->slices, source, old_size);
    return Q2_OK;
}

enum q2_status q2_store_latch(struct q2_disk *disk, enum q2_status status, const char *what)
{
    disk->writer.latched = true;
    return q2_fail(&disk->fault, status, what, disk->layers[0].source->path);
}

enum q2_status q2_store_flush(struct q2_disk *disk, struct q2_source *source)
{
    enum q2_status status = source->ops->flush(source);

    if (status == Q2_OK)
        return Q2_OK;
    (void)q2_store_latch(disk, status, NULL);
    return q2_fail(&disk->fault, status, "a flush failed; the disk is read-only until reopened",
                   source->path);
}
