/* Internal snapshots: finding one in the table.  (qcow2: "Snapshots")
 *
 * Needed to open a snapshot and to list them.
 */
#ifndef Q2_CORE_SNAPSHOT_H
#define Q2_CORE_SNAPSHOT_H

#include "core/format/snapshot_entry.h"
#include "image.h"

/* A walk through the table; start with zeros, then header->nb_snapshots entries. */
struct q2_snapshot_walk {
    uint64_t offset; /* of the next entry, from the start of the table; at the end: its length */
    uint32_t index;  /* of the next entry */
    uint32_t extra_size; /* extra_data_size of the last entry, bytes */
    uint64_t file_size;  /* the file's before something was added to it; 0: it is as it was */
    /* The last entry's fixed part. If its extra data reaches past the end of the file, no id and
     * name are stored: their sizes are 0 here, and offset is the end of the file. */
    struct q2_snapshot_disk fixed;
};

/* Read the next entry; errors as q2_disk_snapshot(). */
enum q2_status q2_snapshot_next(struct q2_slice_cache *cache, const struct q2_image *image,
                                struct q2_snapshot_walk *walk, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot);

/* Read the next entry as a check and a repair do. Extra data may have any length; the walk ends
 * before the first entry past Q2_MAX_SNAPSHOTS or Q2_MAX_SNAPSHOT_TABLE_SIZE.
 *
 * ret_kept  false: the walk is at its end, ret_snapshot says nothing. If walk->index is still
 *           below header->nb_snapshots, the entries from there on are past the limits
 *
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...   the table cannot be read
 */
enum q2_status q2_snapshot_next_kept(struct q2_slice_cache *cache, const struct q2_image *image,
                                     struct q2_snapshot_walk *walk, struct q2_fault *fault,
                                     struct q2_snapshot *ret_snapshot, bool *ret_kept);

/* Where the last q2_snapshot_read() has left off. Zero at first, and when the table has changed. */
struct q2_snapshot_cursor {
    uint32_t index; /* of the entry that walk stands before */
    struct q2_snapshot_walk walk;
};

/* Read entry index of an image's snapshot table; errors as q2_disk_snapshot(). */
enum q2_status q2_snapshot_read(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint32_t index, struct q2_snapshot_cursor *cursor,
                                struct q2_fault *fault, struct q2_snapshot *ret_snapshot);

/* Find the snapshot with this id, or else with this name.
 *
 * Q2_ERR_NO_SNAPSHOT  there is none; or an error of q2_disk_snapshot()
 */
enum q2_status q2_snapshot_find(struct q2_slice_cache *cache, const struct q2_image *image,
                                const char *id_or_name, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot);

#endif
