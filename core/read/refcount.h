/* Refcounts as stored.  (qcow2: "Refcount management")
 *
 * Called by core/check/check.c (and the write side); calls the slice cache.
 */
#ifndef Q2_CORE_REFCOUNT_H
#define Q2_CORE_REFCOUNT_H

#include "image.h"

#define Q2_REFCOUNT_TABLE_OFFSET 0xfffffffffffffe00ull

/* Read refcount number index of a refcount block in memory.
 *
 * block  the block's bytes up to and including that refcount
 * order  0..6: a refcount has 1 << order bits
 */
uint64_t q2_refcount_decode(const uint8_t *block, uint64_t index, uint32_t order);

/* Get the refcount of a host cluster; 0 where no refcount block covers it.
 *
 * Q2_ERR_BAD_REFCOUNT  the table entry is not aligned to a cluster
 * Q2_ERR_TRUNCATED     table or block lies past the end of the file
 * Q2_ERR_IO ...        the source failed
 */
enum q2_status q2_refcount_get(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t cluster_index, uint64_t *ret_refcount);

/* Find the refcount block that covers a host cluster.
 *
 * ret_block  its offset, 0 if there is none; errors as q2_refcount_get()
 */
enum q2_status q2_refcount_block(struct q2_slice_cache *cache, const struct q2_image *image,
                                 uint64_t cluster_index, uint64_t *ret_block);

/* Read a refcount of a block, as q2_refcount_put_in() sets it. Errors: the source's. */
enum q2_status q2_refcount_get_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t *ret_refcount);

/* Set a refcount in a block, in memory: it waits as Q2_DIRTY_REFCOUNT.
 *
 * block  offset of the block, which need not be in the table yet
 * index  of the refcount in the block
 *
 * Q2_ERR_UNSUPPORTED  value does not fit the image's refcount width
 * Q2_ERR_LIMIT        no room in the cache: write what waits first
 * Q2_ERR_IO ...
 */
enum q2_status q2_refcount_put_in(struct q2_slice_cache *cache, const struct q2_image *image,
                                  uint64_t block, uint64_t index, uint64_t value);

/* Count the refcounts that are 0 from one of a block on, in a row.
 *
 * nb_max  how many are asked about; they lie in the block
 *
 * Q2_ERR_TRUNCATED  the block lies past the end of the file
 * Q2_ERR_IO ...
 */
enum q2_status q2_refcount_nb_free(struct q2_slice_cache *cache, const struct q2_image *image,
                                   uint64_t block, uint64_t index, uint64_t nb_max,
                                   uint64_t *ret_nb);

/* Set nb refcounts of a block, from index on, to 1; as q2_refcount_put_in() each, but a sector at a
 * time.
 *
 * ret_nb_taken  set in any case: how many were
 */
enum q2_status q2_refcount_take(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint64_t block, uint64_t index, uint64_t nb,
                                uint64_t *ret_nb_taken);

/* Set the refcount of a host cluster that a block covers; Q2_ERR_BAD_REFCOUNT if none does. */
enum q2_status q2_refcount_put(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t cluster_index, uint64_t value);

/* The highest refcount that the image's width holds. */
static inline uint64_t q2_refcount_max(const struct q2_image *image)
{
    uint32_t nb_bits = 1u << image->header.refcount_order;

    return nb_bits == 64 ? UINT64_MAX : (1ull << nb_bits) - 1;
}

/* log2 of the refcounts in a block. */
static inline uint32_t q2_refcount_block_bits(const struct q2_image *image)
{
    return image->rules.cluster_bits + 3 - image->header.refcount_order;
}

/* Entries of the refcount table. */
static inline uint64_t q2_refcount_table_entries(const struct q2_image *image)
{
    return (uint64_t)image->header.refcount_table_clusters << (image->rules.cluster_bits - 3);
}

#endif
