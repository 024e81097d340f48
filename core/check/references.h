/* Counting references to host clusters, window by window.
 *
 * Counts are stored in the disk's own memory, in place of the decoded cache, because nobody reads
 * guest data meanwhile. Call q2_disk_reset_decoded() afterwards. An image with more host clusters
 * than a window has is walked once per window.
 *
 * Work: an L2 table is read once however many L1 tables name it, and counts as often as it is
 * named. L1 tables never share clusters, so all of them together have no more entries than fit the
 * file; what goes on past that is not walked. One window of clusters costs at most
 *
 *     file size / 8 L2 entries + windows of tables * file size / 8 L1 entries
 *
 * whatever the tables say.
 */
#ifndef Q2_CORE_REFERENCES_H
#define Q2_CORE_REFERENCES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/bytes.h"
#include "core/format/l2_entry.h"
#include "core/read/reference_counts.h"
#include "q2_check.h"

/* Findings that a repair knows how to mend: see also core/format/l2_entry.h. */
extern const char q2_copied_on_compressed[], q2_refcount_unreadable[];

/* Findings of L1 tables that are not followed, or not to their end. */
extern const char q2_l1_overlap[], q2_snapshot_l1_broken[];
/* A snapshot of version 3 with less extra data than that demands. */
extern const char q2_snapshot_incomplete[];
/* What they refer to is not counted. */
extern const char q2_snapshots_past_limit[];

/* A count at work. The user sets the callbacks, either may be NULL. */
struct q2_references {
    struct q2_disk *disk;
    uint64_t nb_clusters;  /* host clusters in the file */
    uint32_t cluster_bits; /* log2 of the bytes of one */
    uint64_t first;        /* of the window */
    uint64_t tables_first; /* of the tables' window */
    enum q2_status status; /* of the last entry that could not be read */
    uint64_t nb_l1_left;   /* L1 entries that may still be walked in this window of tables */
    /* An entry is wrong in itself or cannot be read; every pass meets it. offset: of the entry. */
    void (*found)(struct q2_references *r, enum q2_check_kind kind, const char *what,
                  uint64_t offset);
    /* An entry of the active state has a place in the file; told in the first window only.
     * next_offset is 0 at the start of each table, else what the last call left there. */
    void (*seen)(struct q2_references *r, const struct q2_cluster *cluster, uint64_t *next_offset);
    /* May core/write/copied_fix.c write the L2 entry at named_at? NULL: every one. */
    bool (*may_write)(struct q2_references *r, uint64_t named_at);
    /* core/write/copied_fix.c has changed the flag of the entry at named_at. */
    void (*mended_flag)(struct q2_references *r, uint64_t named_at, uint64_t refcount);
    /* core/repair/rebuild.c gives a cluster its refcount; refcount: as stored before, 0 if
     * unreadable. */
    void (*counted)(struct q2_references *r, uint64_t index, uint64_t refcount,
                    uint64_t nb_references);
};

/* Get ready to count the top image's clusters. */
void q2_references_start(struct q2_references *r, struct q2_disk *disk);

/* Tell found(), if there is one. */
void q2_references_tell(struct q2_references *r, enum q2_check_kind kind, const char *what,
                        uint64_t offset);

/* Begin a window: all counts are 0. */
void q2_references_window(struct q2_references *r, uint64_t first);

/* References to cluster index, which is inside the window. */
uint32_t q2_references_of(const struct q2_references *r, uint64_t index);

/* Is the cluster at `offset` an L2 table, and do only L1 entries refer to it? To write such a table
 * changes nothing else. False outside the window. */
bool q2_references_only_table(const struct q2_references *r, uint64_t offset);

/* What is wrong if cluster index, which is inside the window, is an L2 table and something else as
 * well, or of a structure that was counted by q2_references_sole() and something else; else NULL.
 */
const char *q2_references_two_uses(const struct q2_references *r, uint64_t index);

/* Count a reference to each host cluster of a range. named_at: the entry that makes it. */
void q2_references_range(struct q2_references *r, uint64_t offset, uint64_t length,
                         uint64_t named_at);

/* The same for a structure that nothing else may share, because writing one would change the
 * other. */
void q2_references_sole(struct q2_references *r, uint64_t offset, uint64_t length,
                        uint64_t named_at);

/* Read an entry of 8 bytes; false, and told to found(), if it cannot be. */
bool q2_references_entry(struct q2_references *r, uint64_t offset, uint64_t *ret_entry);

/* Read and decode entry index of an L2 table. guest_offset: of the entry. */
bool q2_references_cluster(struct q2_references *r, uint64_t table, uint64_t index,
                           uint64_t guest_offset, struct q2_cluster *ret_cluster);

/* Entries of an L2 table that are read at once: a table has at least as many. */
#define Q2_REFERENCES_ROW 16u

/* Read a row of entries. An image of 500 GiB has eight million entries, and each window of host
 * clusters meets all of them, so plain ones have a short path. index: a multiple of
 * Q2_REFERENCES_ROW. False: the entries have to be read one by one, by q2_references_cluster(),
 * because they have another form or cannot be read. */
bool q2_references_row(struct q2_references *r, uint64_t table, uint64_t index,
                       be64 ret_row[Q2_REFERENCES_ROW]);

/* Is an entry of a row plain: 0, or a standard cluster inside the file with no flag but COPIED?
 * ret_offset: of its host cluster; 0: it has none. All others go through
 * q2_references_cluster(). */
static inline bool q2_references_plain(const struct q2_references *r, be64 word,
                                       uint64_t *ret_offset)
{
    uint64_t entry = q2_be64_get(word), offset = entry & Q2_ENTRY_OFFSET;

    *ret_offset = offset;
    return entry == 0 || ((entry & ~(Q2_ENTRY_OFFSET | Q2_ENTRY_COPIED)) == 0 && offset != 0 &&
                          (offset & ((1ull << r->cluster_bits) - 1)) == 0 &&
                          offset >> r->cluster_bits < r->nb_clusters);
}

/* L2 tables are counted in windows, too. For each: begin it, name every L1 table whose tree is to
 * be counted, count the L2 tables that were found:
 *
 *     for (t = 0; t < r->nb_clusters; t += Q2_TABLES_WINDOW) {
 *         q2_references_tables_window(r, t);
 *         q2_references_l1(r, ...);
 *         q2_references_l2s(r);
 *     }
 *
 * The clusters of the L1 table itself are not counted. */
void q2_references_tables_window(struct q2_references *r, uint64_t tables_first);
void q2_references_l1(struct q2_references *r, uint64_t l1_offset, uint32_t l1_size, bool active);
void q2_references_l2s(struct q2_references *r);

/* All of that for one L1 table. */
void q2_references_tree(struct q2_references *r, uint64_t l1_offset, uint32_t l1_size, bool active);

#endif
