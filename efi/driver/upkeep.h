/* What a disk that is written needs between requests.  (DESIGN.md, 8.2; HAZARDS.md, U9, U13, U15)
 *
 * It is made for a disk of mode rw, before the disk is published. Block I/O signals an event after
 * the first write, after those that change metadata, and where a file asks for attention; its
 * notification comes at TPL_CALLBACK as soon as the TPL has fallen below, so outside of every
 * request and of every file system's lock. Then the FAT driver's cache forgets what we wrote over,
 * room is topped up, and a file that somebody changed underneath is noticed. A moment later the
 * disk is flushed, and once more before boot services end.
 */
#ifndef METALCOW_EFI_UPKEEP_H
#define METALCOW_EFI_UPKEEP_H

#include "efi/handoff/handoff.h"
#include "efi/image/attach.h"

/* Does not move while its events exist. */
struct mc_upkeep {
    struct mc_image *image;
    struct q2_block_io *block_io; /* of the disk; in use once it is published */
    EFI_EVENT written;            /* NULL: the disk needs no upkeep */
    EFI_EVENT timer;
    EFI_EVENT before_exit, exit;
    EFI_EVENT read; /* NULL: the disk is not handed over, or not written */
    struct mc_handoff *handoff;
    EFI_EVENT handoff_read; /* signalled after `read` */
    bool has_all_room;      /* room was made for a system that starts */
    bool timer_is_set;
    bool is_lost;        /* a file is another one now, or the medium is gone, and that was said */
    uint64_t nb_changes; /* of metadata, when room was looked at last. Writes in place need none */
    uint64_t nb_writes;  /* of block_io, when the timer came last */
    unsigned int nb_delays; /* how often the timer found more writes */
};

/* Create the events. Q2_ERR_LIMIT: the firmware has none left. */
enum q2_status mc_upkeep_start(struct mc_upkeep *upkeep, struct mc_image *image,
                               struct q2_block_io *block_io, struct q2_fault *fault);

/* Watch the reads of a disk, so that room is made before a system is told where the files are
 * stored.
 *
 * handoff       of the disk; NULL: none
 * handoff_read  event that the hand-off wants signalled after reads; NULL: none
 * returns       the event that Block I/O shall signal instead. It makes room and then signals
 *               handoff_read. handoff_read itself if no room is ever made
 */
EFI_EVENT mc_upkeep_watch_reads(struct mc_upkeep *upkeep, struct mc_handoff *handoff,
                                EFI_EVENT handoff_read);

/* Close the events, if there are any. Flushes nothing: that is left to the caller. */
void mc_upkeep_stop(struct mc_upkeep *upkeep);

#endif
