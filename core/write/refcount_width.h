/* Another width of the refcounts.  (qcow2: "Header", refcount_order; "Host cluster management") */
#ifndef Q2_CORE_REFCOUNT_WIDTH_H
#define Q2_CORE_REFCOUNT_WIDTH_H

#include "core/read/disk.h"

/* Would q2_refcount_width_change() refuse? All refcounts are read, nothing is written.
 *
 * order  0..6: refcounts of 1 << order bits
 *
 * Q2_ERR_UNSUPPORTED  a cluster has more references than such a refcount can count
 * Q2_ERR_LIMIT        the refcount table would be too long
 * Q2_ERR_BAD_REFCOUNT, Q2_ERR_TRUNCATED, Q2_ERR_IO ...   a refcount cannot be read
 */
enum q2_status q2_refcount_width_can_change(struct q2_disk *disk, uint32_t order);

/* Write all refcounts anew in this width, after the clusters in use, and have the header name the
 * new structure by the write of one sector; then give back the old one. Nothing waits before and
 * after it. The image is of version 3.
 *
 * Errors as above, and Q2_ERR_NO_SPACE: nothing that is in force changed. After a failed write or
 * flush of the header the disk is latched.
 */
enum q2_status q2_refcount_width_change(struct q2_disk *disk, uint32_t order);

#endif
