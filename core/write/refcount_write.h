/* Refcounts: setting them, in the slice cache.  (qcow2: "Host cluster management") */
#ifndef Q2_CORE_REFCOUNT_WRITE_H
#define Q2_CORE_REFCOUNT_WRITE_H

#include "core/read/refcount.h"

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

#endif
