/* Internal snapshots: finding one in the table.  (qcow2: "Snapshots")
 *
 * Called by core/chain.c at open and by core/disk.c for listing.
 */
#ifndef Q2_CORE_SNAPSHOT_H
#define Q2_CORE_SNAPSHOT_H

#include "image.h"

/* Read entry index of an image's snapshot table; errors as q2_disk_snapshot(). */
enum q2_status q2_snapshot_read(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint32_t index, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot);

/* Find the snapshot with this id, or else with this name.
 *
 * Q2_ERR_NO_SNAPSHOT  there is none; or an error of q2_disk_snapshot()
 */
enum q2_status q2_snapshot_find(struct q2_slice_cache *cache, const struct q2_image *image,
                                const char *id_or_name, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot);

#endif
