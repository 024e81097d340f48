/* Whether an image looks preallocated: counts refcounts, as few as answer the question.
 * (qcow2: "Host cluster management")
 *
 * May call the source of the image. The refcount structure is untrusted: offsets are checked
 * against the file before they are read.
 */
#include "preallocated.h"

#include <stdlib.h>

#include "core/base/bytes.h"
#include "core/base/range.h"

/* Counting under way. */
struct counting {
    struct q2_source *source;
    const struct q2_header *header;
    uint64_t nb_clusters; /* of the file: refcounts to look at */
    uint64_t threshold;
    uint64_t count;
    uint8_t *block;
};

static bool read_checked(struct q2_source *source, uint64_t offset, void *buffer, size_t length)
{
    return q2_range_fits(offset, length, source->size) &&
           source->ops->read_at(source, offset, buffer, length) == Q2_OK;
}

/* Whether refcount index of a block is above 0; order: a refcount has 1 << order bits. */
static bool is_used(const uint8_t *block, uint64_t index, uint32_t order)
{
    if (order < 3) {
        unsigned per_byte = 8u >> order, width = 1u << order;
        unsigned shift = (unsigned)(index % per_byte) * width;

        return ((unsigned)block[index / per_byte] >> shift & ((1u << width) - 1)) != 0;
    }
    for (uint64_t i = 0; i < 1ull << (order - 3); i++) {
        if (block[(index << (order - 3)) + i] != 0)
            return true;
    }
    return false;
}

/* Count in refcount block number index. */
static bool count_block(struct counting *counting, uint64_t index)
{
    const struct q2_header *header = counting->header;
    uint32_t block_bits = header->cluster_bits + 3 - header->refcount_order;
    uint64_t first = index << block_bits, nb_entries = 1ull << block_bits;
    be64 entry;
    uint64_t offset;

    if (!read_checked(counting->source, header->refcount_table_offset + index * 8, &entry,
                      sizeof(entry)))
        return false;
    offset = q2_be64_get(entry) & ~UINT64_C(0x1ff);
    if (offset == 0)
        return true;
    if (!read_checked(counting->source, offset, counting->block, (size_t)1 << header->cluster_bits))
        return false;
    if (nb_entries > counting->nb_clusters - first)
        nb_entries = counting->nb_clusters - first;
    for (uint64_t i = 0; i < nb_entries; i++)
        counting->count += is_used(counting->block, i, header->refcount_order);
    return true;
}

static bool count_up_to_threshold(struct counting *counting)
{
    const struct q2_header *header = counting->header;
    uint32_t block_bits = header->cluster_bits + 3 - header->refcount_order;
    uint64_t nb_blocks = (counting->nb_clusters + (1ull << block_bits) - 1) >> block_bits;
    uint64_t nb_entries = (uint64_t)header->refcount_table_clusters << (header->cluster_bits - 3);

    if (nb_blocks > nb_entries)
        nb_blocks = nb_entries;
    for (uint64_t i = 0; i < nb_blocks && counting->count < counting->threshold; i++) {
        if (!count_block(counting, i))
            return false;
    }
    return counting->count >= counting->threshold;
}

bool is_preallocated(struct q2_source *source, const struct q2_header *header, uint64_t nb_bytes)
{
    uint64_t cluster_size = 1ull << header->cluster_bits;
    uint64_t nb_real = nb_bytes >> header->cluster_bits;
    uint64_t tenth_more = nb_real * 10 / 9;
    struct counting counting = {
        .source = source,
        .header = header,
        .nb_clusters = source->size / cluster_size + (source->size % cluster_size != 0),
        .threshold = tenth_more > nb_real + 2 ? tenth_more : nb_real + 2,
        .block = malloc(cluster_size),
    };
    bool ret = counting.block && count_up_to_threshold(&counting);

    free(counting.block);
    return ret;
}
