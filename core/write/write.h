/* What the writing files share: may a range be written, get room, write, unlink.
 *
 * The public calls are in include/q2_disk.h and include/q2_amend.h.
 */
#ifndef Q2_CORE_WRITE_H
#define Q2_CORE_WRITE_H

#include "core/read/disk.h"

/* May the image be written? Q2_ERR_READ_ONLY if not. */
enum q2_status q2_write_possible(struct q2_disk *disk);

/* May metadata of the image be changed? Q2_ERR_READ_ONLY as above; Q2_ERR_UNSUPPORTED for a raw
 * image, which has none. */
enum q2_status q2_write_metadata_possible(struct q2_disk *disk);

/* May guest bytes [offset, offset + length) be written? Q2_ERR_READ_ONLY, Q2_ERR_NOT_OPEN,
 * Q2_ERR_RANGE as q2_disk_write(). */
enum q2_status q2_write_allowed(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Write guest bytes, which q2_write_allowed() has judged; the header is ready for it (O7).
 *
 * bytes  NULL: zeros
 *
 * Errors as q2_disk_write()
 */
enum q2_status q2_write_all(struct q2_disk *disk, uint64_t offset, const uint8_t *bytes,
                            uint64_t length);

/* log2 of what is changed as a whole where a cluster is new or ours alone: a subcluster where there
 * are any, else the cluster. */
static inline uint32_t q2_write_unit_bits(const struct q2_image *top)
{
    return top->rules.cluster_bits - (top->rules.extended ? Q2_SUBCLUSTER_BITS : 0);
}

/* Get room for guest clusters [start, start + nb_wanted clusters): in the image, by
 * q2_clusters_alloc(), or at the same offset of an external data file, which grows.
 *
 * nb_wanted  1..Q2_ALLOC_MAX
 */
enum q2_status q2_write_room(struct q2_disk *disk, uint64_t start, uint64_t nb_wanted,
                             uint64_t *ret_offset, uint64_t *ret_nb);

/* How far a cluster that ends at guest offset end may be filled: a raw data file may end inside the
 * disk's last one, and what it has past the disk's end is not ours (HAZARDS.md, W9). */
uint64_t q2_write_data_end(struct q2_disk *disk, uint64_t end);

/* Make guest clusters [start, end) unallocated, also past the disk's end as far as the L1 table
 * reaches. */
enum q2_status q2_write_unlink(struct q2_disk *disk, uint64_t start, uint64_t end);

/* Raw external data: the data file is a raw image of the disk and must read as one. Write zeros to
 * it, as far as it goes; nothing in other images. */
enum q2_status q2_write_raw_zeros(struct q2_disk *disk, uint64_t offset, uint64_t length);

#endif
