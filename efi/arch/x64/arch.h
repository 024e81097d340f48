/* What only this architecture has. (x86-64)
 *
 * Included by efi/arch/arch.h.
 */
#ifndef METALCOW_EFI_ARCH_X64_H
#define METALCOW_EFI_ARCH_X64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "efi/base/page_tables.h"

/* Where a removable disk's loader is stored.  (UEFI: "Removable Media Boot Behavior") */
#define MC_ARCH_BOOT_PATH "/EFI/BOOT/BOOTX64.EFI"

/* The architecture in the names of boot loaders: shimx64.efi. */
#define MC_ARCH_NAME "x64"

/* A counter that every machine has, and that runs at a constant rate. */
static inline uint64_t mc_arch_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* The page tables in use. Firmware runs with paging on.  (UEFI: "x64 Platforms") */
static inline struct mc_page_tables mc_arch_page_tables(void)
{
    uint64_t root, features;

    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    __asm__ volatile("mov %%cr4, %0" : "=r"(features));
    return (struct mc_page_tables){root, (features >> 12 & 1) != 0 ? 5 : 4};
}

/* Fill nb_words words of 8 bytes with zeros, by one instruction. */
#define MC_ARCH_HAS_FILL true
static inline void mc_arch_fill(void *to, size_t nb_words)
{
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(nb_words) : "a"(0ull) : "memory");
}

#endif
