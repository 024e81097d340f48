/* Guest offset -> longest extent, within one layer.  (qcow2: "Cluster mapping")
 *
 * Calls the slice cache. Reads metadata only.
 */
#ifndef Q2_CORE_MAPPING_H
#define Q2_CORE_MAPPING_H

#include "image.h"

/* Find where a guest range of one layer is stored.
 *
 * image         opened layer, qcow2 or raw
 * guest_offset  bytes, < image->virtual_size
 * max_length    bytes the caller wants, >= 1; guest_offset + max_length <= image->virtual_size
 * ret_extent    longest run of one kind starting at guest_offset, 1..max_length bytes, contiguous
 *               on the host; layer is left 0. UNALLOCATED means: not in this layer. A run ends
 *               early before an entry that breaks a rule or cannot be read, and after
 *               Q2_MAP_MAX_ENTRIES table entries
 *
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_L2  the entry for guest_offset breaks the specification
 * Q2_ERR_TRUNCATED              the table that maps guest_offset is past the end of the file
 * Q2_ERR_IO ...                 the source failed
 */
enum q2_status q2_mapping_find(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t guest_offset, uint64_t max_length, struct q2_fault *fault,
                               struct q2_extent *ret_extent);

/* The same, for a caller who goes on after this request: the run may be longer than max_length, up
 * to horizon bytes, as far as the slices that were needed anyway say so. */
enum q2_status q2_mapping_find_ahead(struct q2_slice_cache *cache, const struct q2_image *image,
                                     uint64_t guest_offset, uint64_t max_length, uint64_t horizon,
                                     struct q2_fault *fault, struct q2_extent *ret_extent);

/* Bound on the work of one call: 64 Ki entries map 4 GiB of 64 KiB clusters. */
#define Q2_MAP_MAX_ENTRIES 65536u

#endif
