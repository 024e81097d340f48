/* A limit of how fast bytes are copied: -r of convert and commit. */
#ifndef METALCOW_RATE_H
#define METALCOW_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct rate {
    uint64_t limit;  /* bytes of a second; RATE_UNSAID: none */
    uint64_t copied; /* bytes since begin */
    struct timespec begin;
};

#define RATE_UNSAID UINT64_MAX

/* Whether a limit lets anything through; said on stderr if not. */
bool rate_check(uint64_t limit);

/* Begin to count, with a limit that has been checked. */
void rate_begin(struct rate *rate, uint64_t limit);

/* So many more bytes were copied: sleep until all of them together are within the limit. */
void rate_wait(struct rate *rate, uint64_t bytes);

#endif
