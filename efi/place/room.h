/* Room: bytes behind the end of what an image uses, made ahead of the writes that will need them.
 *
 * Called by registry.c at attach and by upkeep.c later, never inside Block I/O: a file of a FAT
 * volume grows through the file system only, and that has one lock which does not nest (DESIGN.md,
 * 4.1). FAT is not safe against a power cut while it grows a file, so this is done rarely and
 * in large steps, flushed before anything refers to it (HAZARDS.md, U12, U13).
 */
#ifndef METALCOW_EFI_ROOM_H
#define METALCOW_EFI_ROOM_H

#include "efi/image/attach.h"

/* Top up the room of an image that is open for writing, where half of it is gone.
 *
 * fault  filled on any error
 *
 * Q2_OK              there is room enough, or the configuration wants none
 * Q2_ERR_NO_SPACE    less room than asked for: the volume is full, or FAT's largest file is
 * reached; what there is can be used. Said once. Q2_ERR_BAD_VOLUME ...  the file grew but its new
 * part cannot be trusted; said once
 */
enum q2_status mc_image_top_up(struct mc_image *image, struct q2_fault *fault);

/* Bytes that new clusters can still take: struct mc_disk_record. 0 if nothing is ever written. */
uint64_t mc_image_room(const struct mc_image *image);

#endif
