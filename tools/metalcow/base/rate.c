/* A limit of how fast bytes are copied. Calls the C library only. */
#include "rate.h"

#include <errno.h>

#define NANOSECONDS UINT64_C(1000000000)

void rate_begin(struct rate *rate, uint64_t limit)
{
    *rate = (struct rate){.limit = limit};
    (void)clock_gettime(CLOCK_MONOTONIC, &rate->begin);
}

void rate_wait(struct rate *rate, uint64_t bytes)
{
    struct timespec until = rate->begin;
    uint64_t rest;

    if (rate->limit == 0)
        return;
    rate->copied += bytes;
    rest = (uint64_t)((__uint128_t)(rate->copied % rate->limit) * NANOSECONDS / rate->limit);
    until.tv_sec += (time_t)(rate->copied / rate->limit);
    until.tv_nsec += (long)rest;
    if (until.tv_nsec >= (long)NANOSECONDS) {
        until.tv_nsec -= (long)NANOSECONDS;
        until.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}
