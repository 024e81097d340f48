/* Refusing writes that would land on metadata.
 *
 * Covered is what can be known without a walk through tables: header, active L1 table, refcount
 * table. L2 tables and refcount blocks are told from data by the check at open, which counts every
 * reference, and by the allocator, which never hands a cluster out twice.
 */
#ifndef Q2_CORE_OVERLAP_H
#define Q2_CORE_OVERLAP_H

#include "image.h"

/* Does a range of the image file touch the header, the active L1 table or the refcount table? */
bool q2_overlaps_table(const struct q2_image *image, uint64_t offset, uint64_t length);

#endif
