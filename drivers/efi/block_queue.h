/* Reads of a disk that are on their way below it.
 *
 * A read with an event that needs nothing but bytes of files on the image's volume is mapped by the
 * engine and handed to the Block I/O 2 of that volume, piece by piece; the last piece that ends
 * signals the caller's event. block_io.c serves all other requests, or holds them (block_gather.h).
 *
 * Small reads in sequence are not queued, their first one included: the engine's windows give them
 * faster than a queue whose ends are noticed at the firmware's timer ticks (DESIGN.md, 5.5).
 *
 * Order: reads pass each other freely. What changes the disk or its files (write, erase, flush,
 * reset, detach) waits until no read is on its way, so no cluster changes its owner under a read.
 *
 * A pool of fixed size, made with its events when the disk is published: no request allocates
 * anything here. A read that finds too few free slots is served at once.
 */
#ifndef Q2_DRIVERS_BLOCK_QUEUE_H
#define Q2_DRIVERS_BLOCK_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include <efi.h>

#include "disk_io.h"
#include "q2_disk.h"

#define Q2_BLOCK_QUEUE_SLOTS 64u

/* Pieces of one read; one in more pieces is served at once. */
#define Q2_BLOCK_QUEUE_PIECES 8u

/* A read of at most so many bytes that goes on where the last one ended is not queued. Nor is one
 * that jumps, if the last one did not: others may go on from it, and would wait for it. */
#define Q2_BLOCK_QUEUE_SMALL (128u * 1024)

struct q2_block_queue;

/* One piece on its way. The first piece of a read stands for the read. */
struct q2_block_slot {
    struct q2_block_queue *queue;
    EFI_BLOCK_IO2_TOKEN below; /* its event calls the queue when the piece has ended */
    struct q2_source_efi_disk_io *device;
    struct q2_block_slot *read; /* the slot that stands for the read; NULL: this one is free */
    /* Of a slot that stands for a read: */
    EFI_BLOCK_IO2_TOKEN *token; /* the caller's */
    uint32_t nb_pending;        /* pieces that have not ended, and the call that starts them */
    enum q2_status status;      /* the first failure of its pieces */
};

/* The caller's memory; it must not move while it is open. */
struct q2_block_queue {
    EFI_BOOT_SERVICES *services; /* TPL, events, Stall */
    EFI_BLOCK_IO_MEDIA *media;   /* the disk's: a medium that goes below goes here too, */
    EFI_EVENT turned;            /* and then this is signalled; the owner's to set; NULL: none */
    uint32_t nb_busy;            /* slots */
    bool is_open;
    uint64_t next_offset; /* where the last read with an event ended */
    bool has_jumped;      /* the last one did not begin where the one before it ended */
    struct q2_block_slot slots[Q2_BLOCK_QUEUE_SLOTS];
};

/* Create the events. EFI_OUT_OF_RESOURCES: the firmware has none left; nothing is left over. */
EFI_STATUS q2_block_queue_open(struct q2_block_queue *queue, EFI_BOOT_SERVICES *services,
                               EFI_BLOCK_IO_MEDIA *media);

/* Close the events of a queue that is idle. */
void q2_block_queue_close(struct q2_block_queue *queue);

/* Start a read. The disk is acquired; the request passed its checks.
 *
 * offset, length  guest bytes, length >= 1
 * token           has an event, which is signalled once if true is returned
 *
 * false  it cannot be queued; nothing was started, and the caller serves it
 */
bool q2_block_queue_read(struct q2_block_queue *queue, struct q2_disk *disk, uint64_t offset,
                         void *buffer, size_t length, EFI_BLOCK_IO2_TOKEN *token);

/* A read with an event, which ends at this guest offset, is served in another way. */
void q2_block_queue_pass(struct q2_block_queue *queue, uint64_t end);

/* Is nothing on its way? */
bool q2_block_queue_is_idle(const struct q2_block_queue *queue);

/* Wait at the caller's TPL, up to TPL_CALLBACK, until nothing is on its way.
 *
 * false  the firmware below did not end its requests within seconds */
bool q2_block_queue_drain(struct q2_block_queue *queue);

#endif
