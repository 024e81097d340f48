/* What version 3 asks of the snapshot table, and version 2 of the snapshots.  (qcow2: "Snapshots")
 */
#ifndef Q2_CORE_SNAPSHOT_EXTRA_H
#define Q2_CORE_SNAPSHOT_EXTRA_H

#include "core/read/disk.h"

/* Give every snapshot the extra data that version 3 demands: the size of its disk, and that of its
 * VM state in 64 bits. Version 2 allows the data as well. Extra data past
 * Q2_MAX_SNAPSHOT_EXTRA_SIZE is cut off, and snapshots past Q2_MAX_SNAPSHOTS or
 * Q2_MAX_SNAPSHOT_TABLE_SIZE are no longer listed; only an image that is being repaired has those.
 * What such snapshots refer to is leaked. A new table is written elsewhere and named by one sector
 * of the header; if none of this is needed, nothing is written.
 *
 * Q2_ERR_LIMIT     the table would be longer than Q2_MAX_SNAPSHOT_TABLE_SIZE; nothing changed
 * Q2_ERR_NO_SPACE  no room for the new table; nothing changed
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...   the table cannot be walked
 */
enum q2_status q2_snapshots_complete(struct q2_disk *disk);

/* Can version 2 describe all snapshots, which have the disk's size there?
 *
 * disk_size  bytes, of the disk as it is to be
 *
 * Q2_ERR_UNSUPPORTED  one has another size, or a VM state of 4 GiB or more
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...   the table cannot be walked
 */
enum q2_status q2_snapshots_fit_version_2(struct q2_disk *disk, uint64_t disk_size);

#endif
