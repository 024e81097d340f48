/* What only this architecture has. (x86-64)
 *
 * Included by efi/arch/arch.h.
 */
#ifndef METALCOW_EFI_ARCH_X64_H
#define METALCOW_EFI_ARCH_X64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a removable disk's loader is stored.  (UEFI: "Removable Media Boot Behavior") */
#define MC_ARCH_BOOT_PATH "/EFI/BOOT/BOOTX64.EFI"

/* The architecture in the names of boot loaders: shimx64.efi. */
#define MC_ARCH_NAME "x64"

/* A counter that every machine has, always at the same speed. */
static inline uint64_t mc_arch_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* An instruction that fills memory by itself. */
#define MC_ARCH_HAS_FILL true
static inline void mc_arch_fill(void *to, size_t nb_words)
{
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(nb_words) : "a"(0ull) : "memory");
}

#endif
