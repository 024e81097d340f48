/* The clock of the bench: a counter of the processor (efi/arch/), calibrated against Stall().
 *
 * EFI_TIMESTAMP_PROTOCOL would be the firmware's own answer, but OVMF and most machines do not have
 * it, and GetTime() counts seconds. The counter runs at one rate on every processor that UEFI
 * firmware starts today, and under QEMU it is the host's clock. Only ratios within one run are
 * compared, and an error of the calibration does not change them.
 */
#ifndef METALCOW_EFI_BENCH_CLOCK_H
#define METALCOW_EFI_BENCH_CLOCK_H

#include <stdint.h>

#include "efi/arch/arch.h"

/* Ticks since some start. */
static inline uint64_t mc_clock_now(void)
{
    return mc_arch_ticks();
}

/* Ticks of a second; takes a tenth of one. */
uint64_t mc_clock_frequency(void);

/* ticks as nanoseconds. No product overflows for a frequency below 18 GHz. */
uint64_t mc_clock_ns(uint64_t ticks, uint64_t frequency);

#endif
