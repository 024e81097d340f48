/* A limit of how fast bytes are copied: -r of convert and commit. */
#ifndef METALCOW_RATE_H
#define METALCOW_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct rate {
    uint64_t limit;  /* bytes of a second; 0: none */
    uint64_t copied; /* bytes since begin */
    struct timespec begin;
};

/* Begin to count. */
void rate_begin(struct rate *rate, uint64_t limit);

/* So many more bytes were copied: sleep until all of them together are within the limit. */
void rate_wait(struct rate *rate, uint64_t bytes);

#endif
