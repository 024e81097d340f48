/* An overlay in memory: a qcow2 image that takes what is written to a disk in mode overlay.
 *
 * For programs that open disks. The image is like any other and is made by q2_create(), so the
 * writing code of the engine serves it as it is: freed clusters are used again, and when the image
 * is full a write fails and reads stay right. The memory belongs to the caller.
 */
#ifndef Q2_DRIVERS_OVERLAY_H
#define Q2_DRIVERS_OVERLAY_H

#include "source.h"

/* Make an empty overlay, for struct q2_disk_options.
 *
 * overlay       filled; its source is the overlay
 * buffer        capacity bytes; only what is written is touched
 * workspace     Q2_WORKSPACE_SIZE bytes, as for q2_create()
 * virtual_size  of the disk, bytes; the rest of a last, partial sector is not offered
 * fault         filled on any error
 *
 * Q2_ERR_NO_SPACE  capacity does not even hold the tables
 */
enum q2_status q2_overlay_make(struct q2_source_memory *overlay, void *buffer, uint64_t capacity,
                               void *workspace, uint64_t virtual_size, struct q2_fault *fault);

#endif
