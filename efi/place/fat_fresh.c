/* Reading a file through the file system around the cache of the firmware's FAT driver.
 *
 * A map is compared with what the file system reads. EDK2's driver may keep pages of a file that is
 * written below it, and these would show old bytes: pages that nobody else shares are not evicted
 * after each write. The driver reads whole pages from the volume and not out of its cache, so pages
 * that are wholly the file's are read whole here. fat_cache.c evicts the others after each write.
 *
 * May call the source by the file system, and the map. Invariant: what is read is what the other
 * source reads from the volume.
 */
#include "fat_place.h"

#include "core/base/range.h"

static enum q2_status read_piece(struct mc_fat_fresh *fresh, const struct q2_file_extent *extent,
                                 uint64_t offset, void *buffer, size_t *length)
{
    const struct q2_source_extents *map = fresh->map;
    uint64_t in_volume = extent->volume_offset + (offset - extent->file_offset);
    uint64_t page = (in_volume - map->page_start) >> map->page_bits;
    uint64_t start = map->page_start + (page << map->page_bits), size = 1ull << map->page_bits;
    uint64_t own, own_end, skip = in_volume - start;
    enum q2_status status;

    if (*length > size - skip)
        *length = (size_t)(size - skip);
    q2_source_extents_own_pages(map, extent, &own, &own_end);
    if (page < own || page >= own_end || size > MC_FAT_FRESH_SIZE)
        return fresh->by_file->ops->read_at(fresh->by_file, offset, buffer, *length);
    status = fresh->by_file->ops->read_at(fresh->by_file, offset - skip, fresh->page, (size_t)size);
    if (status == Q2_OK)
        __builtin_memcpy(buffer, fresh->page + skip, *length);
    return status;
}

static enum q2_status fresh_read(struct q2_source *source, uint64_t offset, void *buffer,
                                 size_t length)
{
    struct mc_fat_fresh *fresh = (struct mc_fat_fresh *)source;
    uint8_t *to = buffer;

    if (!q2_range_fits(offset, length, fresh->map->source.size))
        return Q2_ERR_IO;
    while (length > 0) {
        const struct q2_file_extent *extent = q2_source_extents_at(fresh->map, offset);
        size_t n = length;
        enum q2_status status;

        if (n > extent->length - (offset - extent->file_offset))
            n = (size_t)(extent->length - (offset - extent->file_offset));
        status = read_piece(fresh, extent, offset, to, &n);
        if (status != Q2_OK)
            return status;
        to += n;
        offset += n;
        length -= n;
    }
    return Q2_OK;
}

static const struct q2_source_ops fresh_ops = {.read_at = fresh_read};

void mc_fat_fresh_init(struct mc_fat_fresh *fresh, struct q2_source *by_file,
                       struct q2_source_extents *map, void *page)
{
    *fresh =
        (struct mc_fat_fresh){.source = *by_file, .by_file = by_file, .map = map, .page = page};
    fresh->source.ops = &fresh_ops;
}
