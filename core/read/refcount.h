/* Refcounts: reading.  (qcow2: "Host cluster management") */
#ifndef Q2_CORE_REFCOUNT_H
#define Q2_CORE_REFCOUNT_H

#include "core/format/refcount_entry.h"
#include "image.h"

/* Get the refcount of a host cluster; 0 where no refcount block covers it.
 *
 * Q2_ERR_BAD_REFCOUNT  the table entry is not aligned to a cluster
 * Q2_ERR_TRUNCATED     table or block is past the end of the file
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

/* Refcounts that are read at once: a block holds at least as many. */
#define Q2_REFCOUNT_ROW 16u

/* Read a row of refcounts. index: of the first cluster, a multiple of Q2_REFCOUNT_ROW.
 * False: not all of them can be read, and ret_row is as before. */
bool q2_refcount_row(struct q2_slice_cache *cache, const struct q2_image *image, uint64_t index,
                     uint64_t ret_row[Q2_REFCOUNT_ROW]);

/* Count the refcounts that are 0 from one of a block on, in a row.
 *
 * nb_max  how many are asked about; they are stored in the block
 *
 * Q2_ERR_TRUNCATED  the block is past the end of the file
 * Q2_ERR_IO ...
 */
enum q2_status q2_refcount_nb_free(struct q2_slice_cache *cache, const struct q2_image *image,
                                   uint64_t block, uint64_t index, uint64_t nb_max,
                                   uint64_t *ret_nb);

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
