/* The slice cache: changing and writing.
 *
 * May call core/read/slice_cache.c, window.c, the sources and mem*. Invariant: nb_dirty counts the
 * slices of each set of which a sector waits, and nb_changes grows with every change.
 */
#include "slice_write.h"

#include "core/base/memory.h"
#include "core/base/range.h"

/* Slices of one set that may wait before a commit is due. One step of a write puts into a handful
 * of slices, of which at most four can fall into the same set. */
#define CROWDED (Q2_SLICE_WAYS / 2)

bool q2_slice_is_crowded(const struct q2_slice_cache *cache)
{
    for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
        if (cache->nb_dirty[set] >= CROWDED)
            return true;
    }
    return false;
}

bool q2_slice_any_dirty(const struct q2_slice_cache *cache)
{
    for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
        if (cache->nb_dirty[set] != 0)
            return true;
    }
    return false;
}

bool q2_slice_is_dirty(const struct q2_slice_cache *cache, enum q2_dirty kind)
{
    for (uint32_t way = 0; way < Q2_SLICE_WAYS; way++) {
        for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
            if (cache->slices[set][way].dirty[kind] != 0)
                return true;
        }
    }
    return false;
}

/* Room for a slice that is about to wait: a sparse file's tables may be holes, and a device that is
 * full must refuse the change, not the write of what others were told is done. */
static enum q2_status reserve(struct q2_source *source, struct q2_slice *slice)
{
    enum q2_status status;

    if (slice->reserved || !source->ops->reserve)
        return Q2_OK;
    status = source->ops->reserve(source, slice->index * Q2_SLICE_SIZE, slice->length);
    slice->reserved = status == Q2_OK;
    return status;
}

enum q2_status q2_slice_edit(struct q2_slice_cache *cache, struct q2_source *source,
                             uint64_t offset, size_t length, enum q2_dirty kind,
                             uint8_t **ret_bytes)
{
    uint64_t index = offset >> Q2_SLICE_BITS;
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint32_t within = (uint32_t)(offset % Q2_SLICE_SIZE);
    struct q2_slice *slice;
    const uint8_t *held;
    size_t available;
    uint32_t way;
    enum q2_status status = q2_slice_get(cache, source, offset, &held, &available);

    if (status != Q2_OK)
        return status;
    if (available < length)
        return Q2_ERR_TRUNCATED;
    way = cache->recent[index % Q2_SLICE_HINTS];
    slice = &cache->slices[set][way];
    status = reserve(source, slice);
    if (status != Q2_OK)
        return status;
    if (!q2_slice_is_waiting(slice))
        cache->nb_dirty[set]++;
    slice->dirty[kind] |= (uint8_t)(1u << (within / 512));
    cache->nb_changes++;
    *ret_bytes = &cache->bytes[way][set][within];
    return Q2_OK;
}

enum q2_status q2_slice_put(struct q2_slice_cache *cache, struct q2_source *source, uint64_t offset,
                            const void *bytes, size_t length, enum q2_dirty kind)
{
    uint8_t *held;
    enum q2_status status = q2_slice_edit(cache, source, offset, length, kind, &held);

    if (status == Q2_OK)
        memcpy(held, bytes, length);
    return status;
}

/* Write the waiting sectors of one slice, neighbours in one request. */
static enum q2_status write_slice(struct q2_slice_cache *cache, struct q2_source *source,
                                  uint32_t way, uint32_t set, enum q2_dirty kind)
{
    struct q2_slice *slice = &cache->slices[set][way];

    for (uint32_t first = 0; first < Q2_SLICE_SIZE / 512;) {
        uint32_t last = first;
        uint64_t offset = slice->index * Q2_SLICE_SIZE + first * 512u;
        size_t length;
        enum q2_status status;

        while (last < Q2_SLICE_SIZE / 512 && (slice->dirty[kind] >> last & 1))
            last++;
        if (last == first) {
            first++;
            continue;
        }
        length = (size_t)q2_min_u64((last - first) * 512u, slice->length - first * 512u);
        q2_windows_forget(cache->windows, source, offset, length);
        status =
            source->ops->write_at(source, offset, &cache->bytes[way][set][first * 512u], length);
        if (status != Q2_OK)
            return status;
        first = last;
    }
    slice->dirty[kind] = 0;
    if (!q2_slice_is_waiting(slice))
        cache->nb_dirty[set]--;
    return Q2_OK;
}

enum q2_status q2_slice_write(struct q2_slice_cache *cache, struct q2_source *source,
                              enum q2_dirty kind)
{
    for (uint32_t way = 0; way < Q2_SLICE_WAYS; way++) {
        for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
            enum q2_status status = Q2_OK;
            if (cache->slices[set][way].dirty[kind] != 0)
                status = write_slice(cache, source, way, set, kind);
            if (status != Q2_OK)
                return status;
        }
    }
    return Q2_OK;
}

void q2_slice_cache_expire(struct q2_slice_cache *cache)
{
    cache->nb_changes++;
}

/* Copy the bytes that are for one slice, out of file bytes [offset, offset + length), into its
 * way. */
static void overwrite(struct q2_slice_cache *cache, uint32_t set, uint32_t way, uint64_t offset,
                      const uint8_t *bytes, size_t length)
{
    uint64_t start = cache->slices[set][way].index * Q2_SLICE_SIZE;
    uint64_t from = offset > start ? offset : start;
    uint64_t end = q2_min_u64(offset + length, start + Q2_SLICE_SIZE);

    memcpy(&cache->bytes[way][set][from - start], bytes + (from - offset), (size_t)(end - from));
    cache->nb_changes++;
}

/* May slices first..first + nb - 1 of any file be cached? False: none is. */
static bool may_hold(const struct q2_slice_cache *cache, uint64_t first, uint64_t nb)
{
    uint64_t region = first >> Q2_SLICE_REGION_BITS;
    uint64_t last = (first + nb - 1) >> Q2_SLICE_REGION_BITS;

    for (; region <= last; region++) {
        if (cache->nb_in_region[region % Q2_SLICE_REGIONS] != 0)
            return true;
    }
    return false;
}

/* Guest data is mostly where no slice is, and a request may be large: the few slices are asked
 * whether they are stored in the range, not the range's many pieces whether they are slices. */
void q2_slice_cache_overwrite(struct q2_slice_cache *cache, const struct q2_source *source,
                              uint64_t offset, const void *bytes, size_t length)
{
    uint64_t first = offset >> Q2_SLICE_BITS;
    uint64_t nb = ((offset + length - 1) >> Q2_SLICE_BITS) - first + 1;

    if (length == 0 || !may_hold(cache, first, nb))
        return;
    for (uint64_t i = 0; i < nb && i < Q2_SLICE_SETS; i++) {
        uint32_t set = (uint32_t)((first + i) % Q2_SLICE_SETS);
        for (uint32_t way = 0; way < Q2_SLICE_WAYS; way++) {
            const struct q2_slice *slice = &cache->slices[set][way];
            if (slice->index - first < nb && slice->source == source)
                overwrite(cache, set, way, offset, bytes, length);
        }
    }
}

void q2_slice_cache_grow(struct q2_slice_cache *cache, const struct q2_source *source,
                         uint64_t old_size)
{
    uint64_t index = old_size >> Q2_SLICE_BITS;
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint32_t way = q2_slice_way(cache, source, index);
    struct q2_slice *slice;

    if (way == Q2_SLICE_WAYS)
        return;
    slice = &cache->slices[set][way];
    memset(&cache->bytes[way][set][slice->length], 0, Q2_SLICE_SIZE - slice->length);
    slice->length =
        (uint32_t)q2_min_u64(Q2_SLICE_SIZE, source->size - slice->index * Q2_SLICE_SIZE);
}
