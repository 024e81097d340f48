/* Refcounts as stored.
 *
 * Beside the read path: check.c -> here -> slice_cache.c. Invariant: no refcount block is larger
 * than a cluster, so the position of a refcount never leaves its slice.
 */
#include "refcount.h"

#include "core/base/bytes.h"
#include "core/base/memory.h"
#include "core/base/range.h"

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

/* The bytes that hold refcount index of a block: one for the narrow widths, else all of it. */
static uint64_t bytes_offset(uint64_t index, uint32_t order)
{
    return order < 3 ? index >> (3 - order) : index << (order - 3);
}

static size_t bytes_length(uint32_t order)
{
    return order < 3 ? 1 : (size_t)1 << (order - 3);
}

enum q2_status q2_refcount_get_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t *ret_refcount)
{
    uint32_t order = image->header.refcount_order;
    uint8_t bytes[8];
    enum q2_status status = q2_slice_read(cache, image->source, block + bytes_offset(index, order),
                                          bytes, bytes_length(order));

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

enum q2_status q2_refcount_put_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t value)
{
    uint32_t order = image->header.refcount_order;
    uint64_t offset = block + bytes_offset(index, order);
    size_t length = bytes_length(order);
    uint8_t bytes[8];
    enum q2_status status;

    if (order < 6 && value >> (1u << order) != 0)
        return Q2_ERR_UNSUPPORTED;
    if (order < 3) {
        uint32_t shift = (uint32_t)(index % (8u >> order)) << order;
        uint32_t mask = ((1u << (1u << order)) - 1) << shift;
        status = q2_slice_read(cache, image->source, offset, bytes, 1);
        if (status != Q2_OK)
            return status;
        bytes[0] = (uint8_t)((bytes[0] & ~mask) | (uint32_t)value << shift);
    } else {
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)(value >> 8 * (length - 1 - i));
    }
    return q2_slice_put(cache, image->source, offset, bytes, length, Q2_DIRTY_REFCOUNT);
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
        enum q2_status status = q2_slice_get(
            cache, image->source, block + bytes_offset(index + nb, order), &bytes, &length);

        if (status != Q2_OK)
            return status;
        if (length < bytes_length(order))
            return Q2_ERR_TRUNCATED;
        nb_here = order < 3 ? ((uint64_t)length << (3 - order)) - phase : length >> (order - 3);
        nb_here = q2_min_u64(nb_here, nb_max - nb);
        nb_free = nb_zero(bytes, phase, nb_here, order);
        nb += nb_free;
    }
    *ret_nb = nb;
    return Q2_OK;
}

/* As many refcounts from index on as lie whole in bytes of one sector: become 1. */
static enum q2_status take_in_sector(struct q2_slice_cache *cache, const struct q2_image *image,
                                     uint64_t block, uint64_t index, uint64_t nb_max,
                                     uint64_t *ret_nb)
{
    uint32_t order = image->header.refcount_order;
    uint64_t offset = block + bytes_offset(index, order);
    size_t length = bytes_length(order);
    uint64_t nb = q2_min_u64(nb_max, (512 - offset % 512) / length);
    uint8_t *bytes;
    enum q2_status status = q2_slice_change(cache, image->source, offset, (size_t)nb * length,
                                            Q2_DIRTY_REFCOUNT, &bytes);

    *ret_nb = nb;
    if (status != Q2_OK)
        return status;
    memset(bytes, 0, (size_t)nb * length);
    for (uint64_t i = 1; i <= nb; i++)
        bytes[i * length - 1] = 1; /* big-endian */
    return Q2_OK;
}

enum q2_status q2_refcount_take(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint64_t block, uint64_t index, uint64_t nb, uint64_t *ret_nb_taken)
{
    enum q2_status status = Q2_OK;

    for (*ret_nb_taken = 0; *ret_nb_taken < nb && status == Q2_OK;) {
        uint64_t at = index + *ret_nb_taken, n = 1;
        if (image->header.refcount_order < 3)
            status = q2_refcount_put_in(cache, image, block, at, 1);
        else
            status = take_in_sector(cache, image, block, at, nb - *ret_nb_taken, &n);
        if (status == Q2_OK)
            *ret_nb_taken += n;
    }
    return status;
}

enum q2_status q2_refcount_put(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t cluster_index, uint64_t value)
{
    uint64_t index = cluster_index & ((1ull << q2_refcount_block_bits(image)) - 1);
    uint64_t block;
    enum q2_status status = q2_refcount_block(cache, image, cluster_index, &block);

    if (status != Q2_OK)
        return status;
    if (block == 0)
        return Q2_ERR_BAD_REFCOUNT;
    return q2_refcount_put_in(cache, image, block, index, value);
}
