/* Room: bytes after the end of what an image uses, made ahead of the writes that will need them.
 *
 * A file can be made longer only through the firmware's file system, which must not be called from
 * inside a request; so room must be there before a request needs it. Making it is not safe against
 * a power cut on FAT, so it is done rarely and in large steps. May call the place, outside of
 * requests only.
 */
#ifndef METALCOW_EFI_ROOM_H
#define METALCOW_EFI_ROOM_H

#include "attach.h"

/* Top up the room of an image that is open for writing, where half of it is gone.
 *
 * fault  filled on any error
 *
 * Q2_OK              there is room enough, or the configuration wants none
 * Q2_ERR_NO_SPACE    less room than asked for: the place is full, or its largest file is reached;
 *                    what there is can be used. Said once
 * Q2_ERR_BAD_VOLUME ...   the file grew but its new part cannot be trusted; said once
 */
enum q2_status mc_image_top_up(struct mc_image *image, struct q2_fault *fault);

/* Bytes that new clusters can still take: struct mc_disk_record. 0 if nothing is ever written. */
uint64_t mc_image_room(const struct mc_image *image);

#endif
