/* Compressed clusters.
 *
 * May call window.c, the source and the codec. Invariant: a slot with source != NULL holds a
 * cluster that its codec has decoded whole; the input that a codec sees is bounded by the
 * descriptor, the file's end and the buffer, its output by the cluster.
 */
#include "compressed.h"

#include "q2_fail.h"
#include "core/base/memory.h"
#include "core/base/range.h"

void q2_decoded_cache_init(struct q2_decoded_cache *cache, struct q2_windows *windows,
                           struct q2_decoded_memory *memory, uint32_t cluster_size)
{
    uint32_t fit = Q2_DECODED_CACHE_SIZE / cluster_size;

    memset(cache->slots, 0, sizeof(cache->slots));
    cache->windows = windows;
    cache->memory = memory;
    cache->slot_size = cluster_size;
    cache->nb_slots = fit < Q2_DECODED_SLOTS ? fit : Q2_DECODED_SLOTS;
    cache->clock = 0;
}

/* Get the stream's bytes: from a window if neighbours' streams were fetched with it, else into the
 * cache's input, from the start of its first sector: whole sectors are one request to a device. */
static enum q2_status stream_get(struct q2_decoded_cache *cache, struct q2_source *source,
                                 uint64_t offset, size_t length, const uint8_t **ret_bytes)
{
    size_t skip = (size_t)(offset % 512);

    q2_windows_view(cache->windows, source, offset, length, ret_bytes);
    if (*ret_bytes)
        return Q2_OK;
    *ret_bytes = cache->memory->input + skip;
    return source->ops->read_at(source, offset - skip, cache->memory->input, skip + length);
}

static enum q2_status decode(struct q2_decoded_cache *cache, const struct q2_image *image,
                             struct q2_codec *codec, const struct q2_extent *extent,
                             struct q2_fault *fault, uint8_t *output)
{
    struct q2_source *source = image->source;
    uint64_t offset = extent->host_offset, length = extent->stream_length;
    const uint8_t *stream;
    enum q2_status status;

    if (!codec)
        return q2_fail_value(fault, Q2_ERR_UNSUPPORTED, "no decoder for the compression type",
                             source->path, "compression_type", image->header.compression_type);
    if (offset >= source->size)
        return q2_fail_at(fault, Q2_ERR_TRUNCATED,
                          "a compressed cluster is past the end of the file", source->path, offset);
    /* The descriptor counts sectors; the last stream of a file may end before its last sector. */
    length = q2_min_u64(length, source->size - offset);
    if (length > Q2_COMPRESSED_BUFFER_SIZE)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "a compressed cluster is too long", source->path,
                             "compressed length", length, Q2_COMPRESSED_BUFFER_SIZE);
    status = stream_get(cache, source, offset, (size_t)length, &stream);
    if (status == Q2_OK)
        status = codec->ops->decode(codec, stream, (size_t)length, output,
                                    (size_t)1 << image->rules.cluster_bits);
    if (status != Q2_OK)
        return q2_fail_at(fault, status, NULL, source->path, offset);
    return Q2_OK;
}

static bool holds(const struct q2_decoded *slot, const struct q2_image *image,
                  const struct q2_extent *extent)
{
    return slot->source == image->source && slot->host_offset == extent->host_offset &&
           slot->stream_length == extent->stream_length;
}

/* The slot that holds the cluster, or else the one that was used longest ago. */
static uint32_t slot_find(const struct q2_decoded_cache *cache, const struct q2_image *image,
                          const struct q2_extent *extent)
{
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < cache->nb_slots; i++) {
        if (holds(&cache->slots[i], image, extent))
            return i;
        if (cache->slots[i].stamp < cache->slots[oldest].stamp)
            oldest = i;
    }
    return oldest;
}

enum q2_status q2_compressed_read(struct q2_decoded_cache *cache, const struct q2_image *image,
                                  struct q2_codec *codec, const struct q2_extent *extent,
                                  struct q2_fault *fault, uint8_t *buffer, size_t length)
{
    uint32_t cluster_size = 1u << image->rules.cluster_bits;
    uint32_t index = slot_find(cache, image, extent);
    struct q2_decoded *slot = &cache->slots[index];
    uint8_t *cluster = cache->memory->clusters + (size_t)index * cache->slot_size;
    size_t within = (size_t)(extent->guest_offset & (cluster_size - 1));
    bool held = holds(slot, image, extent);
    enum q2_status status;

    if (!held && length == cluster_size)
        return decode(cache, image, codec, extent, fault, buffer);
    if (!held) {
        *slot = (struct q2_decoded){.source = NULL};
        status = decode(cache, image, codec, extent, fault, cluster);
        if (status != Q2_OK)
            return status;
        *slot = (struct q2_decoded){.source = image->source,
                                    .host_offset = extent->host_offset,
                                    .stream_length = extent->stream_length};
    }
    slot->stamp = ++cache->clock;
    memcpy(buffer, cluster + within, length);
    return Q2_OK;
}

void q2_decoded_forget(struct q2_decoded_cache *cache, const struct q2_source *source,
                       uint64_t offset, uint64_t length)
{
    if (cache->clock == 0)
        return; /* nothing was ever kept */
    for (uint32_t i = 0; i < cache->nb_slots; i++) {
        struct q2_decoded *slot = &cache->slots[i];
        if (slot->source == source &&
            q2_ranges_overlap(slot->host_offset, slot->stream_length, offset, length))
            *slot = (struct q2_decoded){.source = NULL};
    }
}
