/* Persistent dirty bitmaps.
 *
 * May call slice_cache.c. Invariant: a walk never leaves the directory, whose length the
 * specification's limits bound.
 */
#include "bitmap.h"

#include "q2_fail.h"
#include "core/format/bitmap_entry.h"
#include "core/base/memory.h"
#include "core/base/range.h"

/* As QEMU: a directory of at most 1024 bytes an entry. */
#define MAX_DIRECTORY_LENGTH (Q2_MAX_BITMAPS * 1024ull)

enum q2_status q2_bitmap_directory_check(const struct q2_image *image, struct q2_fault *fault)
{
    const char *path = image->source->path;

    if (image->nb_bitmaps == 0)
        return Q2_OK;
    if (image->nb_bitmaps > Q2_MAX_BITMAPS)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "too many bitmaps", path, "nb_bitmaps",
                             image->nb_bitmaps, Q2_MAX_BITMAPS);
    if (image->bitmaps_length > MAX_DIRECTORY_LENGTH)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "the bitmap directory is too long", path,
                             "bitmap_directory_size", image->bitmaps_length, MAX_DIRECTORY_LENGTH);
    if (!q2_is_aligned(image->bitmaps_offset, image->rules.cluster_bits) ||
        image->bitmaps_offset == 0)
        return q2_fail_value(fault, Q2_ERR_BAD_BITMAP,
                             "the bitmap directory does not start at a cluster", path,
                             "bitmap_directory_offset", image->bitmaps_offset);
    if (!q2_range_fits(image->bitmaps_offset, image->bitmaps_length, image->source->size))
        return q2_fail_limit(fault, Q2_ERR_TRUNCATED,
                             "the bitmap directory ends past the end of the file", path,
                             "bitmap_directory_offset", image->bitmaps_offset, image->source->size);
    return Q2_OK;
}

static enum q2_status refuse(const struct q2_image *image, const struct q2_bitmap_walk *walk,
                             const char *what, struct q2_fault *fault)
{
    return q2_fail_at(fault, Q2_ERR_BAD_BITMAP, what, image->source->path,
                      image->bitmaps_offset + walk->offset);
}

enum q2_status q2_bitmap_next(struct q2_slice_cache *cache, const struct q2_image *image,
                              struct q2_bitmap_walk *walk, struct q2_fault *fault,
                              struct q2_bitmap *ret_bitmap)
{
    struct q2_bitmap_disk disk;
    uint64_t at = image->bitmaps_offset + walk->offset, length;
    uint32_t name_size, extra_size;
    enum q2_status status;

    if (!q2_range_fits(walk->offset, sizeof(disk), image->bitmaps_length))
        return refuse(image, walk, "the bitmap directory is shorter than its entries", fault);
    status = q2_slice_read(cache, image->source, at, &disk, sizeof(disk));
    if (status != Q2_OK)
        return q2_fail_at(fault, status, NULL, image->source->path, at);
    name_size = q2_be16_get(disk.name_size);
    extra_size = q2_be32_get(disk.extra_data_size);
    length = ((uint64_t)sizeof(disk) + extra_size + name_size + 7) & ~7ull;
    if (!q2_range_fits(walk->offset, length, image->bitmaps_length))
        return refuse(image, walk, "a bitmap directory entry leaves the directory", fault);
    if (name_size == 0 || name_size >= sizeof(ret_bitmap->name))
        return refuse(image, walk, "a bitmap's name is empty or too long", fault);
    memset(ret_bitmap, 0, sizeof(*ret_bitmap));
    ret_bitmap->table_offset = q2_be64_get(disk.table_offset);
    ret_bitmap->table_size = q2_be32_get(disk.table_size);
    ret_bitmap->flags = q2_be32_get(disk.flags);
    ret_bitmap->granularity_bits = disk.granularity_bits;
    status = q2_slice_read(cache, image->source, at + sizeof(disk) + extra_size, ret_bitmap->name,
                           name_size);
    if (status != Q2_OK)
        return q2_fail_at(fault, status, NULL, image->source->path, at);
    walk->offset += length;
    return Q2_OK;
}
