/* The clock of the bench: the processor's time stamp counter, calibrated against Stall().
 *
 * EFI_TIMESTAMP_PROTOCOL would be the firmware's own answer, but OVMF and most machines do not have
 * it, and GetTime() counts seconds. The counter runs at one rate on every processor that UEFI
 * firmware starts today, and under QEMU it is the host's clock. Only ratios within one run are
 * compared, which the calibration does not touch.
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

/* ticks as nanoseconds; good for hours. */
uint64_t mc_clock_ns(uint64_t ticks, uint64_t frequency);

#endif
