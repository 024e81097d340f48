/* The order of metadata writes.  (DESIGN.md, 6)
 *
 * The rules, cited where they are enforced:
 *
 *   O1   data and copied bytes are durable before an L2 entry naming them is written
 *   O2   a cluster's refcount >= 1 is durable before any entry names it
 *   O3   a refcount falls only after the last entry naming the cluster is gone, durably
 *   O4   an L2 table is complete and durable before its L1 entry
 *   O5   a refcount block before its table entry; a new refcount table before the header names it
 *   O6   the snapshot table before the header; so the active L1 table, if another becomes active
 *   O7   unknown autoclear bits are cleared before the first other write; a bitmap that the write
 *        makes wrong is marked as in use before the write; if that fails, the autoclear bit of
 *        bitmaps is cleared. The mark is removed only when all bits that were recorded since then
 *        are durable
 *   O8   the dirty bit is durable before refcounts may lag (they never do: we keep them exact)
 *   O9   with an external data file the barrier spans both files, data first
 *   O10  a failed flush, or a failed write of metadata that something names, makes the disk
 *        read-only until it is reopened; a new table or block that nothing names yet costs only
 *        the request that wanted it
 *
 * Entries and refcounts wait in the slice cache; a commit writes higher refcounts, entries, and
 * lower refcounts, with a flush between. A power cut at any point leaves at worst clusters that
 * nobody names.
 */
#ifndef Q2_CORE_ORDER_H
#define Q2_CORE_ORDER_H

#include "core/read/disk.h"

/* Make everything written so far durable, data and metadata.
 *
 * Q2_ERR_IO ...  the disk is read-only from now on (O10); what an earlier commit made durable is
 */
enum q2_status q2_commit(struct q2_disk *disk);

/* Commit if caches are so full that the next step of a write may not find room. */
enum q2_status q2_commit_if_crowded(struct q2_disk *disk);

/* Write what waits of one kind, without a barrier, to make room in the cache. Right for refcounts
 * that rise, and where the order between entries and refcounts does not matter.
 *
 * Q2_ERR_IO ...  the disk is read-only from now on (O10) */
enum q2_status q2_commit_kind(struct q2_disk *disk, enum q2_dirty kind);

/* O7: get the header ready for the first write. */
enum q2_status q2_commit_header(struct q2_disk *disk);

/* Lower the refcount of a host cluster, in memory. The caller ensures O3: no durable entry names
 * the cluster any more.
 *
 * Q2_ERR_BAD_REFCOUNT  it is lower than nb; nothing changed */
enum q2_status q2_refcount_lower(struct q2_disk *disk, uint64_t index, uint64_t nb);

/* O7 for a change of names in the header, of snapshots or of refcounts: bitmaps stay right, since
 * no guest byte changes. */
enum q2_status q2_commit_names(struct q2_disk *disk);

/* Give up one reference to each host cluster that a range touches, once that is safe (O3).
 * There is room for Q2_FREES_PER_STEP calls after q2_commit_if_crowded(). */
void q2_clusters_free_later(struct q2_disk *disk, uint64_t offset, uint64_t length);

#define Q2_FREES_PER_STEP 512u

#endif
