/* Making one long read of queued reads that follow each other.
 *
 * A caller that splits a long read queues pieces one after the other. Each begins where the one
 * before ends, on the disk and in memory. Served one by one, they are copied out of the engine's
 * windows, which takes as long as reading them. So they are held until they make a MiB, which is
 * read into their buffers at once (DESIGN.md, 5.5).
 *
 * Only a caller that will probably go on is made to wait: it must have made a few reads in sequence
 * before the first one is held. A timer ends what is held when no read has come between two ticks
 * of the firmware, and then more reads have to come before the next is held. What ends at a
 * multiple of a MiB of the disk is read at once, because long reads end there. A caller that uses
 * few tokens in turns cannot go on when all of them are held: then what is held is read. Whoever
 * uses one token again and again waits for each read, and nothing is held.
 *
 * block_io.c notes each read, holds it, reads what is held, and signals. No request allocates
 * anything here. All functions but open and close are for whoever has acquired the disk.
 */
#ifndef Q2_DRIVERS_BLOCK_GATHER_H
#define Q2_DRIVERS_BLOCK_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <efi.h>

/* A read of a length outside of these is not held. */
#define Q2_BLOCK_GATHER_MIN  (32u * 1024)
#define Q2_BLOCK_GATHER_MAX  (256u * 1024)
#define Q2_BLOCK_GATHER_ALL  (1024u * 1024) /* what is held is read when it is that long */
#define Q2_BLOCK_GATHER_HELD (Q2_BLOCK_GATHER_ALL / Q2_BLOCK_GATHER_MIN)

/* Tokens that are remembered: who uses one of them again has few. */
#define Q2_BLOCK_GATHER_TOKENS 16u

/* Reads in sequence that must come before one is held: at first NEEDED, or FEW_NEEDED if the caller
 * has few tokens, because it may use two in turns and wait for each. Each tick that ends held reads
 * multiplies the number by 2, or by 8 if there are few tokens, until it is MOST_NEEDED or more. It
 * is NEEDED again at a tick if GOOD bytes were read in long reads since the tick before. */
#define Q2_BLOCK_GATHER_NEEDED      8u
#define Q2_BLOCK_GATHER_FEW_NEEDED  32u
#define Q2_BLOCK_GATHER_MOST_NEEDED 1024u
#define Q2_BLOCK_GATHER_GOOD        (16u * 1024 * 1024)

struct q2_block_held {
    EFI_BLOCK_IO2_TOKEN *token;
    size_t length;
};

struct q2_block_gather {
    EFI_BOOT_SERVICES *services;
    EFI_EVENT timer; /* NULL: it is not open, and nothing is held */
    /* The reads that were seen. */
    const EFI_BLOCK_IO2_TOKEN *tokens[Q2_BLOCK_GATHER_TOKENS]; /* the last ones */
    uint64_t next_offset;                                      /* where the last one ended */
    uint32_t nb_tokens; /* that the caller uses in turns; 0: more than are remembered */
    uint32_t nb_run;    /* in sequence */
    uint32_t nb_needed; /* before one is held */
    uint64_t nb_good;   /* bytes in long reads since the last tick that ended one */
    /* The reads that are held: one range of the disk and of memory. */
    struct q2_block_held held[Q2_BLOCK_GATHER_HELD];
    uint32_t nb_held;
    bool has_grown; /* since the last tick */
    uint64_t offset;
    uint8_t *buffer;
    size_t length;
};

/* Make the timer, which calls notify with context at TPL_CALLBACK.
 *
 * EFI_OUT_OF_RESOURCES  the firmware has no event left: nothing is held */
EFI_STATUS q2_block_gather_open(struct q2_block_gather *gather, EFI_BOOT_SERVICES *services,
                                EFI_EVENT_NOTIFY notify, void *context);

/* Nothing may be held. */
void q2_block_gather_close(struct q2_block_gather *gather);

/* A read with an event has come: should it be held? It is one of the sequence then.
 *
 * offset, length  guest bytes */
bool q2_block_gather_note(struct q2_block_gather *gather, uint64_t offset, size_t length,
                          const EFI_BLOCK_IO2_TOKEN *token);

/* Hold a read that should be held.
 *
 * false  it does not begin where those that are held end: end them, then try again. If none is
 *        held, the firmware gives no timer, and the read must be served at once */
bool q2_block_gather_hold(struct q2_block_gather *gather, uint64_t offset, void *buffer,
                          size_t length, EFI_BLOCK_IO2_TOKEN *token);

/* Is it time to read what is held? */
bool q2_block_gather_is_full(const struct q2_block_gather *gather);

/* The timer has come, and something is held: does the caller wait for it? If it has just gone on,
 * the timer will come again. */
bool q2_block_gather_waits(struct q2_block_gather *gather);

/* Note that what was held has been read. by_tick: the timer asked for that. Nothing is held after
 * this; the array and the range do not change until a read is held again. */
void q2_block_gather_end(struct q2_block_gather *gather, bool by_tick);

#endif
