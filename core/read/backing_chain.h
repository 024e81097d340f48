/* Opening an image, its data file and its backing chain; closing them again.
 *
 * Runs at open and close only. Goes down the chain in a loop, not by recursion.
 */
#ifndef Q2_CORE_BACKING_CHAIN_H
#define Q2_CORE_BACKING_CHAIN_H

#include "disk.h"

/* Fill disk->layers. On error everything that was opened is closed again.
 * Errors as q2_disk_open(); disk->fault is filled. */
enum q2_status q2_chain_open(struct q2_disk *disk, struct q2_source *top,
                             const struct q2_disk_options *options);

/* Close what q2_chain_open() opened, last first. */
void q2_chain_close(struct q2_disk *disk);

#endif
