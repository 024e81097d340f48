/* Room: bytes after the end of what an image uses, made ahead of the writes that will need them.
 *
 * A file can be made longer only through the firmware's file system, which must not be called from
 * inside a request; so room must be there before a request needs it. Making it is not safe against
 * a power cut on FAT, so it is done rarely and in large steps.
 *
 * Other files need the free space too. So little is taken before anything is written, and nothing
 * for an image whose clusters are all allocated. The last part of the free space is left alone
 * until a write needs it. What was not used is given back.
 *
 * May call the place, outside of requests only.
 */
#ifndef METALCOW_EFI_ROOM_H
#define METALCOW_EFI_ROOM_H

#include "attach.h"

/* What room is made for. */
enum mc_room_for {
    MC_ROOM_FOR_FIRST,   /* the disk was published: what the first request may need, since a file
                            system may write with its lock held, when no room can be made */
    MC_ROOM_FOR_WRITES,  /* somebody writes: step by step up to what the configuration says */
    MC_ROOM_FOR_A_WRITE, /* a write found too little: what it needs at once, and a step */
    MC_ROOM_FOR_HANDOFF, /* a system starts: it cannot make room, so all of it at once */
};

/* How many bytes longer a file is made. Pure.
 *
 * left    bytes that can be used before it must grow
 * wanted  bytes of room that the configuration says, or that the file can ever use
 * first   bytes that the first requests may need, or the write that found too little; <= wanted
 * space   that the volume has free
 */
uint64_t mc_room_step(enum mc_room_for purpose, uint64_t left, uint64_t wanted, uint64_t first,
                      uint64_t space);

/* Top up the room of an image that is open for writing, if less than half of it is left.
 *
 * needed  bytes of the write that found too little; 0 for other purposes
 * fault   filled on any error
 *
 * Q2_OK              there is room enough, or the configuration wants none; for a write that found
 *                    too little: it finds enough now
 * Q2_ERR_NO_SPACE    less room than asked for: the place is full, or its largest file is reached;
 *                    what there is can be used. Said once
 * Q2_ERR_BAD_VOLUME ...   the file grew but its new part cannot be trusted; said once
 */
enum q2_status mc_image_top_up(struct mc_image *image, enum mc_room_for purpose, uint64_t needed,
                               struct q2_fault *fault);

/* Make the firmware's file system forget what it keeps of an image that is open for writing, before
 * anything is written below it. A file that is too small for that gets some room first.
 *
 * Q2_OK              nothing is kept, or the place remembers nothing
 * Q2_ERR_UNSUPPORTED the file is too small, and the configuration wants no room
 * and what struct q2_place_ops.make_room gives */
enum q2_status mc_image_prepare_cache(struct mc_image *image, struct q2_fault *fault);

/* Make room for what a repair builds at the end of the file if refcount structures are unusable.
 *
 * Q2_ERR_NO_SPACE    the place cannot make the file longer
 * and what struct q2_place_ops.make_room gives */
enum q2_status mc_image_make_repair_room(struct mc_image *image, uint32_t cluster_bits,
                                         struct q2_fault *fault);

/* Give back the room of each written file that was made since it was opened and is not used. The
 * image is flushed, and no request is inside.
 *
 * Q2_ERR_IO ...      a file keeps its room; nothing is lost */
enum q2_status mc_image_give_back(struct mc_image *image, struct q2_fault *fault);

/* The same, and also the end of the image's file that no cluster uses: a power cut may have left
 * room there. The disk can only be closed then. A configuration that wants no room keeps it. */
enum q2_status mc_image_give_back_end(struct mc_image *image, struct q2_fault *fault);

/* Bytes that new clusters can still take: struct mc_disk_record. 0 if nothing is ever written. */
uint64_t mc_image_room(const struct mc_image *image);

#endif
