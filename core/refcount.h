/* Refcounts as stored.  (qcow2: "Refcount management")
 *
 * Called by core/check.c (and the write side); calls the slice cache.
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

#endif
