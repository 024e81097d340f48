/* Refusing writes that would land on metadata.
 *
 * May call range.h. Pure.
 */
#include "overlap.h"

#include "core/base/range.h"

bool q2_overlaps_table(const struct q2_image *image, uint64_t offset, uint64_t length)
{
    const struct q2_header *header = &image->header;
    uint32_t bits = image->rules.cluster_bits;
    uint64_t refcount_table_length = (uint64_t)header->refcount_table_clusters << bits;
    uint64_t l1_length = (uint64_t)image->l1_size * 8;

    return q2_ranges_overlap(offset, length, 0, 1ull << bits) ||
           q2_ranges_overlap(offset, length, image->l1_table_offset, l1_length) ||
           q2_ranges_overlap(offset, length, header->refcount_table_offset, refcount_table_length);
}
