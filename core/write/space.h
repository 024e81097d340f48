/* Giving space back to the file system.
 *
 * Called after a commit has made durable that nothing names the clusters any more (O3). Everything
 * here is a favour: what the file system cannot do, or does not do, is no error.
 */
#ifndef Q2_CORE_WRITE_SPACE_H
#define Q2_CORE_WRITE_SPACE_H

#include "core/read/disk.h"

/* Give the blocks of host clusters back that are free now. first, nb: clusters. */
void q2_space_punch(struct q2_disk *disk, uint64_t first, uint64_t nb);

/* Give the blocks of a range of guest data back that need not read as what it was. True: it reads
 * as zeros. */
bool q2_space_punch_data(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Give back every free host cluster, and cut the free end of the image file off.
 *
 * Nothing waits in the caches. What the refcounts say becomes durable first.
 *
 * Q2_ERR_IO ...  the flush failed; the disk is read-only from now on (O10)
 */
enum q2_status q2_space_give_back(struct q2_disk *disk);

/* The same for the free end alone. */
enum q2_status q2_space_cut_end(struct q2_disk *disk);

#endif
