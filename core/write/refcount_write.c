/* Refcounts: setting them.
 *
 * May call slice_write.c and core/read/refcount.c. Invariant: a value that does not fit the image's
 * refcount width is never stored.
 */
#include "refcount_write.h"

#include "core/base/memory.h"
#include "core/base/range.h"
#include "slice_write.h"

enum q2_status q2_refcount_put_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t value)
{
    uint32_t order = image->header.refcount_order;
    uint64_t offset = block + q2_refcount_bytes_offset(index, order);
    size_t length = q2_refcount_bytes_length(order);
    uint8_t bytes[8];
    enum q2_status status = Q2_OK;

    if (order < 6 && value >> (1u << order) != 0)
        return Q2_ERR_UNSUPPORTED;
    if (order < 3) /* the byte holds other refcounts as well */
        status = q2_slice_read(cache, image->source, offset, bytes, 1);
    if (status != Q2_OK)
        return status;
    q2_refcount_encode(bytes, order < 3 ? index % (8u >> order) : 0, order, value);
    return q2_slice_put(cache, image->source, offset, bytes, length, Q2_DIRTY_REFCOUNT);
}

/* As many refcounts from index on as are whole in bytes of one sector: become 1. */
static enum q2_status take_in_sector(struct q2_slice_cache *cache, const struct q2_image *image,
                                     uint64_t block, uint64_t index, uint64_t nb_max,
                                     uint64_t *ret_nb)
{
    uint32_t order = image->header.refcount_order;
    uint64_t offset = block + q2_refcount_bytes_offset(index, order);
    size_t length = q2_refcount_bytes_length(order);
    uint64_t nb = q2_min_u64(nb_max, (512 - offset % 512) / length);
    uint8_t *bytes;
    enum q2_status status =
        q2_slice_edit(cache, image->source, offset, (size_t)nb * length, Q2_DIRTY_REFCOUNT, &bytes);

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
