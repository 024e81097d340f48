/* Writing internal snapshots: create, apply, delete.  (qcow2: "Snapshots")
 *
 * Implemented by core/write/snapshot_write.c. Reading them is in q2_disk.h: q2_disk_snapshot()
 * lists, struct q2_disk_options opens one.
 *
 * Each call first makes everything written so far durable, and is durable itself when it returns
 * Q2_OK; an error may come after the change was made, while clusters are given back. Memory does
 * not grow with the image: the tables are walked, a large image in several passes. A power cut, or
 * an error on the way, leaves the state before or the state after, with at worst leaked clusters
 * and COPIED flags that are clear although the refcount is 1 (q2_check.h, copied_missing): both
 * cost space or a copy, neither endangers data.
 *
 * What all three may return:
 *
 * Q2_ERR_READ_ONLY    not opened writable, or latched after a failed metadata write
 * Q2_ERR_NOT_OPEN     opened with metadata_only
 * Q2_ERR_UNSUPPORTED  raw image, or external data file (a snapshot could not keep its content), or
 *                     a cluster would get more references than the refcount width holds (always so
 *                     with refcounts of 1 bit, unless nothing is allocated); nothing changed
 * Q2_ERR_NO_SPACE     no room for the new tables; nothing changed
 * Q2_ERR_TRUNCATED, Q2_ERR_LIMIT   the snapshot table cannot be walked, or would be too long
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_L2, Q2_ERR_BAD_REFCOUNT   the image is broken
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED    a source failed; after a failed write or
 *                     flush the disk is read-only until it is reopened
 */
#ifndef Q2_SNAPSHOT_H
#define Q2_SNAPSHOT_H

#include "q2_disk.h"

/* Longest name of a new snapshot, bytes: as much as struct q2_snapshot holds. */
#define Q2_MAX_SNAPSHOT_NAME 255u

/* Take a snapshot of the active state. Its id is the highest decimal id so far plus one; names need
 * not be unique. No VM state.
 *
 * name                 at most Q2_MAX_SNAPSHOT_NAME bytes; may be ""
 * date_sec, date_nsec  seconds since 1970-01-01 00:00 UTC, and nanoseconds below 10^9
 *
 * Q2_ERR_ARGUMENT  no name, or too long a one
 * Q2_ERR_LIMIT     Q2_MAX_SNAPSHOTS are there already, or no id is left
 */
enum q2_status q2_disk_snapshot_create(struct q2_disk *disk, const char *name, uint32_t date_sec,
                                       uint32_t date_nsec);

/* Make a snapshot's content the active state. The snapshot stays; what was active is gone. The
 * virtual size becomes the snapshot's, q2_disk_size() with it. Dirty bitmaps do not describe the
 * new content, so all are marked as inconsistent.
 *
 * id_or_name  an id, or else a name; the first entry of the table that has it
 *
 * Q2_ERR_NO_SNAPSHOT   no entry has it
 * Q2_ERR_BAD_SNAPSHOT  the snapshot's L1 table breaks the specification
 * Q2_ERR_BUSY          there are dirty bitmaps, and options.keep_bitmaps says to keep them
 * Q2_ERR_UNSUPPORTED   also: another virtual size, in a version 2 image. For a moment the snapshot,
 *                      the old and the new active state refer to a cluster: three references
 */
enum q2_status q2_disk_snapshot_apply(struct q2_disk *disk, const char *id_or_name);

/* Delete a snapshot and give back what only it used.
 *
 * id_or_name  as above
 *
 * Q2_ERR_NO_SNAPSHOT   no entry has it
 * Q2_ERR_BAD_SNAPSHOT  the snapshot's L1 table breaks the specification
 */
enum q2_status q2_disk_snapshot_delete(struct q2_disk *disk, const char *id_or_name);

#endif
