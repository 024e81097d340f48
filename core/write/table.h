/* L2 tables for writing: found, made, or copied away from a snapshot. */
#ifndef Q2_CORE_TABLE_H
#define Q2_CORE_TABLE_H

#include "core/read/disk.h"

/* Find the L2 table that maps a guest offset, as it is; 0 if there is none.
 *
 * Q2_ERR_BAD_L1, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_table_find(struct q2_disk *disk, uint64_t guest_offset, uint64_t *ret_table);

/* Get an L2 table that may be changed: one that no snapshot shares.
 *
 * guest_offset  bytes, < virtual size
 * ret_table     its host offset; a new one is empty or a copy, and its L1 entry
 *               waits as Q2_DIRTY_L1
 *
 * Q2_ERR_NO_SPACE, Q2_ERR_LIMIT, Q2_ERR_BAD_L1, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_table_for_write(struct q2_disk *disk, uint64_t guest_offset, uint64_t *ret_table);

/* Read the raw L2 entry of a guest cluster out of a table; bitmap is 0 unless extended. */
enum q2_status q2_table_get(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                            uint64_t *ret_entry, uint64_t *ret_bitmap);

/* Set it, in memory: it waits as Q2_DIRTY_L2. */
enum q2_status q2_table_set(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                            uint64_t entry, uint64_t bitmap);

/* Set entries that are 0 so far, those of guest clusters in a row in clusters in a row: a sector of
 * the table at a time.
 *
 * entry       of the first cluster; the others' offsets follow it
 * nb_max      clusters, all mapped by the table
 * ret_nb_set  how many were set, in any case; 0 also if the first is not 0 or entries are extended
 */
enum q2_status q2_table_fill(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                             uint64_t entry, uint64_t nb_max, uint64_t *ret_nb_set);

/* Read and decode the L2 entry of a guest cluster.
 *
 * guest_cluster  bytes, aligned to a cluster
 *
 * Q2_ERR_BAD_L2  it breaks the specification
 * or an error of q2_table_get()
 */
enum q2_status q2_table_cluster(struct q2_disk *disk, uint64_t table, uint64_t guest_cluster,
                                struct q2_cluster *ret_cluster);

/* Give up what a decoded entry, set to something else since, referred to. (O3; room for it: see
 * q2_clusters_free_later()) */
void q2_table_release(struct q2_disk *disk, const struct q2_cluster *old);

/* Let a whole L2 table go, shared or not: its L1 entry becomes 0, and what it refers to loses a
 * reference. The guest clusters that it mapped are unallocated then.
 *
 * l1_index  < l1_size
 *
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_L2, Q2_ERR_IO ...  clusters may be leaked
 */
enum q2_status q2_table_drop(struct q2_disk *disk, uint64_t l1_index);

#endif
