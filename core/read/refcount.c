/* Refcounts: reading.
 *
 * May call slice_cache.c and core/format/refcount_entry.h. Invariant: no refcount block is larger
 * than a cluster, so the position of a refcount never leaves its slice.
 */
#include "refcount.h"

#include "core/base/bytes.h"
#include "core/base/memory.h"
#include "core/base/range.h"

enum q2_status q2_refcount_block(struct q2_slice_cache *cache, const struct q2_image *image,
                                 uint64_t cluster_index, uint64_t *ret_block)
{
    uint64_t table_index = cluster_index >> q2_refcount_block_bits(image);
    uint64_t block;
    be64 entry;
    enum q2_status status;

    *ret_block = 0;
    if (table_index >= q2_refcount_table_entries(image))
        return Q2_OK;
    status =
        q2_slice_read(cache, image->source, image->header.refcount_table_offset + table_index * 8,
                      &entry, sizeof(entry));
    if (status != Q2_OK)
        return status;
    block = q2_be64_get(entry) & Q2_REFCOUNT_TABLE_OFFSET;
    if (!q2_is_aligned(block, image->rules.cluster_bits))
        return Q2_ERR_BAD_REFCOUNT;
    *ret_block = block;
    return Q2_OK;
}

enum q2_status q2_refcount_get_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t *ret_refcount)
{
    uint32_t order = image->header.refcount_order;
    uint8_t bytes[8];
    enum q2_status status =
        q2_slice_read(cache, image->source, block + q2_refcount_bytes_offset(index, order), bytes,
                      q2_refcount_bytes_length(order));

    if (status != Q2_OK)
        return status;
    *ret_refcount = q2_refcount_decode(bytes, order < 3 ? index % (8u >> order) : 0, order);
    return Q2_OK;
}

enum q2_status q2_refcount_get(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t cluster_index, uint64_t *ret_refcount)
{
    uint64_t index = cluster_index & ((1ull << q2_refcount_block_bits(image)) - 1);
    uint64_t block;
    enum q2_status status = q2_refcount_block(cache, image, cluster_index, &block);

    *ret_refcount = 0;
    if (status != Q2_OK || block == 0)
        return status;
    return q2_refcount_get_in(cache, image, block, index, ret_refcount);
}

bool q2_refcount_row(struct q2_slice_cache *cache, const struct q2_image *image, uint64_t index,
                     uint64_t ret_row[Q2_REFCOUNT_ROW])
{
    uint32_t order = image->header.refcount_order;
    uint64_t in_block = index & ((1ull << q2_refcount_block_bits(image)) - 1), block;
    uint8_t bytes[Q2_REFCOUNT_ROW * 8];

    if (q2_refcount_block(cache, image, index, &block) != Q2_OK)
        return false;
    if (block == 0)
        memset(bytes, 0, sizeof(bytes));
    else if (q2_slice_read(cache, image->source, block + q2_refcount_bytes_offset(in_block, order),
                           bytes, ((size_t)Q2_REFCOUNT_ROW << order) / 8) != Q2_OK)
        return false;
    for (uint32_t i = 0; i < Q2_REFCOUNT_ROW; i++)
        ret_row[i] = q2_refcount_decode(bytes, i, order);
    return true;
}

/* How many of the refcounts phase..phase + nb_max - 1 in these bytes are 0, in a row. */
static uint64_t nb_zero(const uint8_t *bytes, uint64_t phase, uint64_t nb_max, uint32_t order)
{
    uint64_t nb = 0;

    while (nb < nb_max && q2_refcount_decode(bytes, phase + nb, order) == 0)
        nb++;
    return nb;
}

enum q2_status q2_refcount_nb_free(struct q2_slice_cache *cache, const struct q2_image *image,
                                   uint64_t block, uint64_t index, uint64_t nb_max,
                                   uint64_t *ret_nb)
{
    uint32_t order = image->header.refcount_order;
    uint64_t nb = 0, nb_here = 0, nb_free = 0;

    while (nb < nb_max && nb_free == nb_here) {
        uint64_t phase = order < 3 ? (index + nb) % (8u >> order) : 0;
        const uint8_t *bytes;
        size_t length;
        enum q2_status status =
            q2_slice_get(cache, image->source, block + q2_refcount_bytes_offset(index + nb, order),
                         &bytes, &length);

        if (status != Q2_OK)
            return status;
        if (length < q2_refcount_bytes_length(order))
            return Q2_ERR_TRUNCATED;
        nb_here = order < 3 ? ((uint64_t)length << (3 - order)) - phase : length >> (order - 3);
        nb_here = q2_min_u64(nb_here, nb_max - nb);
        nb_free = nb_zero(bytes, phase, nb_here, order);
        nb += nb_free;
    }
    *ret_nb = nb;
    return Q2_OK;
}
