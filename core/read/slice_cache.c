/* The slice cache: reading.
 *
 * May call window.c, the sources, range.h and mem*. Invariant: a slice with source != NULL holds
 * what the source gave, and in its dirty sectors what the source will get; a failed read leaves its
 * ways empty; a dirty slice is never replaced.
 */
#include "slice_cache.h"

#include <stdbool.h>

#include "core/base/memory.h"
#include "core/base/range.h"

void q2_slice_cache_init(struct q2_slice_cache *cache, struct q2_windows *windows)
{
    cache->windows = windows;
    memset(cache->slices, 0, sizeof(cache->slices));
    memset(cache->nb_dirty, 0, sizeof(cache->nb_dirty));
    memset(cache->nb_in_region, 0, sizeof(cache->nb_in_region));
    cache->clock = 0;
    cache->nb_changes = 0;
    memset(cache->tables, 0, sizeof(cache->tables));
    memset(cache->recent, 0, sizeof(cache->recent));
    cache->miss_source = NULL;
    cache->miss_index = 0;
}

static bool holds(const struct q2_slice *slice, const struct q2_source *source, uint64_t index)
{
    return slice->index == index && slice->source == source;
}

static uint16_t *region_of(struct q2_slice_cache *cache, uint64_t index)
{
    return &cache->nb_in_region[(index >> Q2_SLICE_REGION_BITS) % Q2_SLICE_REGIONS];
}

static void empty(struct q2_slice_cache *cache, struct q2_slice *slice)
{
    if (slice->source)
        --*region_of(cache, slice->index);
    *slice = (struct q2_slice){.source = NULL};
}

uint32_t q2_slice_way(const struct q2_slice_cache *cache, const struct q2_source *source,
                      uint64_t index)
{
    const struct q2_slice *ways = cache->slices[index % Q2_SLICE_SETS];
    uint32_t way = cache->recent[index % Q2_SLICE_HINTS];

    if (holds(&ways[way], source, index))
        return way;
    for (way = 0; way < Q2_SLICE_WAYS && !holds(&ways[way], source, index);)
        way++;
    return way;
}

/* The way of this set that was used longest ago and does not wait to be written; empty ways have
 * stamp 0. Q2_SLICE_WAYS if all wait. */
static uint32_t way_to_replace(const struct q2_slice_cache *cache, uint32_t set)
{
    uint32_t oldest = Q2_SLICE_WAYS;

    for (uint32_t way = 0; way < Q2_SLICE_WAYS; way++) {
        const struct q2_slice *slice = &cache->slices[set][way];
        if (!q2_slice_is_waiting(slice) &&
            (oldest == Q2_SLICE_WAYS || slice->stamp < cache->slices[set][oldest].stamp))
            oldest = way;
    }
    return oldest;
}

/* Read nb_slices slices in a row into one way, in one request.
 * index + nb_slices stays inside one round of the sets; the first slice begins inside the file. */
static enum q2_status way_fill(struct q2_slice_cache *cache, struct q2_source *source,
                               uint64_t index, uint32_t nb_slices, uint32_t way)
{
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint64_t offset = index * Q2_SLICE_SIZE;
    uint64_t length = q2_min_u64((uint64_t)nb_slices * Q2_SLICE_SIZE, source->size - offset);
    const uint8_t *held;
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < nb_slices; i++)
        empty(cache, &cache->slices[set + i][way]);
    q2_windows_view_table(cache->windows, source, offset, (size_t)length, &held);
    if (held)
        memcpy(cache->bytes[way][set], held, (size_t)length);
    else
        status = source->ops->read_at(source, offset, cache->bytes[way][set], (size_t)length);
    if (status != Q2_OK)
        return status;
    for (uint32_t i = 0; i < nb_slices && (uint64_t)i * Q2_SLICE_SIZE < length; i++) {
        uint64_t rest = length - (uint64_t)i * Q2_SLICE_SIZE;
        cache->slices[set + i][way] = (struct q2_slice){
            .source = source,
            .index = index + i,
            .stamp = ++cache->clock,
            .length = (uint32_t)q2_min_u64(rest, Q2_SLICE_SIZE),
        };
        ++*region_of(cache, index + i);
    }
    return Q2_OK;
}

/* How many slices from index on can be filled in this way: to the end of the round of sets, but not
 * over one that waits to be written, and not beside one that is cached already, which would then be
 * held twice. */
static uint32_t run_length(const struct q2_slice_cache *cache, const struct q2_source *source,
                           uint64_t index, uint32_t way)
{
    uint32_t n = 1;

    while (index % Q2_SLICE_SETS + n < Q2_SLICE_SETS &&
           !q2_slice_is_waiting(&cache->slices[index % Q2_SLICE_SETS + n][way]) &&
           q2_slice_way(cache, source, index + n) == Q2_SLICE_WAYS)
        n++;
    return n;
}

/* A miss right after the last one is a walk through a table: fetch the rest of the round of sets
 * at once. One request costs the same for 64 KiB as for 4 KiB (DESIGN.md, 3.2). */
static enum q2_status miss(struct q2_slice_cache *cache, struct q2_source *source, uint64_t index,
                           uint32_t *ret_way)
{
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint32_t way = way_to_replace(cache, set);
    bool sequential = cache->miss_source == source && cache->miss_index + 1 == index;
    uint32_t nb_slices;
    enum q2_status status;

    if (way == Q2_SLICE_WAYS)
        return Q2_ERR_LIMIT;
    nb_slices = sequential ? run_length(cache, source, index, way) : 1;
    status = way_fill(cache, source, index, nb_slices, way);
    /* The neighbours are a bonus: what fails among them must not take this slice along. */
    if (status != Q2_OK && nb_slices > 1) {
        nb_slices = 1;
        status = way_fill(cache, source, index, nb_slices, way);
    }
    if (status != Q2_OK)
        return status;
    cache->miss_source = source;
    cache->miss_index = index + nb_slices - 1;
    *ret_way = way;
    return Q2_OK;
}

/* The file has grown since this slice, its last one, was read. What waits in it must stay. */
static enum q2_status lengthen(struct q2_source *source, struct q2_slice *slice, uint8_t *bytes)
{
    uint64_t start = slice->index * Q2_SLICE_SIZE;
    uint32_t length = (uint32_t)q2_min_u64(Q2_SLICE_SIZE, source->size - start);
    enum q2_status status = source->ops->read_at(source, start + slice->length,
                                                 bytes + slice->length, length - slice->length);

    if (status == Q2_OK)
        slice->length = length;
    return status;
}

enum q2_status q2_slice_get(struct q2_slice_cache *cache, struct q2_source *source, uint64_t offset,
                            const uint8_t **ret_bytes, size_t *ret_length)
{
    uint64_t index = offset >> Q2_SLICE_BITS;
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint32_t within = (uint32_t)(offset % Q2_SLICE_SIZE);
    uint32_t way = q2_slice_way(cache, source, index);
    enum q2_status status = Q2_OK;

    if (offset >= source->size)
        return Q2_ERR_TRUNCATED;
    if (way == Q2_SLICE_WAYS)
        status = miss(cache, source, index, &way);
    else if (within >= cache->slices[set][way].length)
        status = lengthen(source, &cache->slices[set][way], cache->bytes[way][set]);
    if (status != Q2_OK)
        return status;
    cache->recent[index % Q2_SLICE_HINTS] = (uint8_t)way;
    cache->slices[set][way].stamp = ++cache->clock;
    *ret_bytes = &cache->bytes[way][set][within];
    *ret_length = cache->slices[set][way].length - within;
    return Q2_OK;
}

const uint8_t *q2_slice_at_hand(struct q2_slice_cache *cache, const struct q2_source *source,
                                uint64_t offset, size_t *ret_length)
{
    uint64_t index = offset >> Q2_SLICE_BITS;
    uint32_t set = (uint32_t)(index % Q2_SLICE_SETS);
    uint32_t within = (uint32_t)(offset % Q2_SLICE_SIZE);
    uint32_t way = cache->recent[index % Q2_SLICE_HINTS];
    struct q2_slice *slice = &cache->slices[set][way];

    if (!holds(slice, source, index) || within >= slice->length || offset >= source->size)
        return NULL;
    slice->stamp = ++cache->clock;
    *ret_length = slice->length - within;
    return &cache->bytes[way][set][within];
}

enum q2_status q2_slice_read(struct q2_slice_cache *cache, struct q2_source *source,
                             uint64_t offset, void *buffer, size_t length)
{
    uint8_t *to = buffer;
    size_t nb_held;
    const uint8_t *held = q2_slice_at_hand(cache, source, offset, &nb_held);

    if (held && nb_held >= length) { /* an entry of a table: most come by here */
        memcpy(buffer, held, length);
        return Q2_OK;
    }
    if (!q2_range_fits(offset, length, source->size))
        return Q2_ERR_TRUNCATED;
    while (length > 0) {
        const uint8_t *bytes;
        size_t n;
        enum q2_status status = q2_slice_get(cache, source, offset, &bytes, &n);
        if (status != Q2_OK)
            return status;
        n = n < length ? n : length;
        memcpy(to, bytes, n);
        to += n;
        offset += n;
        length -= n;
    }
    return Q2_OK;
}

void q2_slice_cache_cut(struct q2_slice_cache *cache, const struct q2_source *source)
{
    for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
        for (uint32_t way = 0; way < Q2_SLICE_WAYS; way++) {
            struct q2_slice *slice = &cache->slices[set][way];
            uint64_t start = slice->index * Q2_SLICE_SIZE;

            if (slice->source != source || start + slice->length <= source->size)
                continue;
            if (start >= source->size)
                empty(cache, slice);
            else
                slice->length = (uint32_t)(source->size - start);
        }
    }
    cache->nb_changes++;
}
