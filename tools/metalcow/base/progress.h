/* The progress bar of long work, as qemu-img prints it: "    (12.34/100%)". */
#ifndef METALCOW_PROGRESS_H
#define METALCOW_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

struct progress {
    FILE *out;      /* NULL: show nothing */
    bool shown;     /* the bar is on the line */
    bool automatic; /* nobody asked for it: it is shown after one second */
    double last;    /* percent */
    struct timespec start;
};

/* Begin.
 *
 * wanted  -p: on stdout, from the start. Otherwise on stderr if that is a terminal, after one
 *         second
 * quiet   never show anything
 */
void progress_begin(struct progress *progress, bool wanted, bool quiet);

/* Show how far the work is, if the bar has moved by a percent. done <= total. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total);

/* End the line; done: the work is complete, which is shown. */
void progress_end(struct progress *progress, bool done);

#endif
