/* When the owner of a disk is told that it was read.
 *
 * The driver looks for a kernel in memory then, and that takes as long as reading most of a MiB.
 * So it is told after each MiB of reads that jump, as those of a boot loader do when it goes from
 * one file to the next. In a run of reads in sequence it is told less and less often.
 *
 * Pure: calls nothing.
 */
#ifndef Q2_DRIVERS_READ_WATCH_H
#define Q2_DRIVERS_READ_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes between two times that the owner is told, outside of a run and at most; and how many times
 * longer each step of a run is. */
#define Q2_READ_WATCH_STEP   (1024u * 1024)
#define Q2_READ_WATCH_MOST   (64u * 1024 * 1024)
#define Q2_READ_WATCH_FACTOR 8u

/* All zeros: nothing was read yet. */
struct q2_read_watch {
    uint64_t nb_bytes;    /* read in all */
    uint64_t nb_untold;   /* bytes, since the owner was told last */
    uint64_t next_offset; /* where the last read ended */
    uint64_t length;      /* of the last read */
    uint64_t step;        /* bytes until the owner is told */
};

/* Note a read.
 *
 * A run is reads of one length, each of which starts where the last one ended. In a run the step
 * grows each time that the owner is told; any other read makes it Q2_READ_WATCH_STEP again.
 *
 * offset, length  of the read, in bytes of the disk
 * returns         true: tell the owner now
 */
bool q2_read_watch_note(struct q2_read_watch *watch, uint64_t offset, uint64_t length);

#endif
