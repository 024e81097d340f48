/* The clock of the bench.
 *
 * Calls Stall() only.
 */
#include "bench_clock.h"

#include "efi/base/firmware.h"

#define NB_TRIES 5u
#define STALL_US 20000u

uint64_t mc_clock_frequency(void)
{
    uint64_t least = UINT64_MAX;

    /* Stall() may end late, but never early. So the shortest try is the best. */
    for (unsigned int i = 0; i < NB_TRIES; i++) {
        uint64_t start = mc_clock_now(), ticks;
        (void)mc_firmware.BootServices->Stall(STALL_US);
        ticks = mc_clock_now() - start;
        least = ticks < least ? ticks : least;
    }
    return least * (1000000 / STALL_US) + 1;
}

uint64_t mc_clock_ns(uint64_t ticks, uint64_t frequency)
{
    return ticks / frequency * 1000000000u + ticks % frequency * 1000000000u / frequency;
}
