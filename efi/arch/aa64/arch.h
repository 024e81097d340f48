/* What only this architecture has. (AArch64)
 *
 * Included by efi/arch/arch.h.
 */
#ifndef METALCOW_EFI_ARCH_AA64_H
#define METALCOW_EFI_ARCH_AA64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "efi/base/page_tables.h"

/* Where a removable disk's loader is stored.  (UEFI: "Removable Media Boot Behavior") */
#define MC_ARCH_BOOT_PATH "/EFI/BOOT/BOOTAA64.EFI"

/* The architecture in the names of boot loaders: shimaa64.efi. */
#define MC_ARCH_NAME "aa64"

/* A counter that every machine has, and that runs at a constant rate. */
static inline uint64_t mc_arch_ticks(void)
{
    uint64_t ticks;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
    return ticks;
}

/* Nothing here searches memory, so nothing needs to be known of it. */
static inline struct mc_page_tables mc_arch_page_tables(void)
{
    return (struct mc_page_tables){0, 0};
}

/* No instruction that every machine has fills memory of any length. */
#define MC_ARCH_HAS_FILL false
static inline void mc_arch_fill(void *to, size_t nb_words)
{
    (void)to;
    (void)nb_words;
}

#endif
