/* Refcounts as stored.
 *
 * Beside the read path: check.c -> here -> slice_cache.c. Invariant: no refcount block is larger
 * than a cluster, so the position of a refcount never leaves its slice.
 */
#include "refcount.h"

#include "format/bytes.h"
#include "memory.h"
#include "range.h"

uint64_t q2_refcount_decode(const uint8_t *block, uint64_t index, uint32_t order)
{
    uint64_t value = 0;

    if (order < 3) {
        /* Several in a byte, the first in the lowest bits. */
        uint32_t per_byte = 8u >> order;
        uint32_t shift = (uint32_t)(index % per_byte) << order;
        return (uint32_t)block[index / per_byte] >> shift & ((1u << (1u << order)) - 1);
    }
    for (uint32_t i = 0; i < 1u << (order - 3); i++)
        value = value << 8 | block[(index << (order - 3)) + i];
    return value;
}

enum q2_status q2_refcount_get(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t cluster_index, uint64_t *ret_refcount)
{
    uint32_t order = image->header.refcount_order;
    uint32_t block_bits = image->rules.cluster_bits + 3 - order; /* log2 of refcounts per block */
    uint64_t table_index = cluster_index >> block_bits;
    uint64_t nb_entries = (uint64_t)image->header.refcount_table_clusters
                          << (image->rules.cluster_bits - 3);
    uint64_t index = cluster_index & ((1ull << block_bits) - 1);
    uint8_t bytes[8];
    be64 entry;
    uint64_t block, first;
    enum q2_status status;

    *ret_refcount = 0;
    if (table_index >= nb_entries)
        return Q2_OK;
    status =
        q2_slice_read(cache, image->source, image->header.refcount_table_offset + table_index * 8,
                      &entry, sizeof(entry));
    if (status != Q2_OK)
        return status;
    block = q2_be64_get(entry) & Q2_REFCOUNT_TABLE_OFFSET;
    if (block == 0)
        return Q2_OK;
    if (!q2_is_aligned(block, image->rules.cluster_bits))
        return Q2_ERR_BAD_REFCOUNT;
    /* The aligned group of up to 8 bytes that the refcount lies in. */
    first = order < 3 ? index & ~(uint64_t)((8u >> order) - 1) : index;
    status = q2_slice_read(cache, image->source, block + (first << order) / 8, bytes,
                           order < 3 ? 1 : (size_t)1 << (order - 3));
    if (status != Q2_OK)
        return status;
    *ret_refcount = q2_refcount_decode(bytes, index - first, order);
    return Q2_OK;
}
