/* What differs between architectures. Each folder here has an arch.h with the same names. */
#ifndef METALCOW_EFI_ARCH_ARCH_H
#define METALCOW_EFI_ARCH_ARCH_H

#if defined(__x86_64__)
#include "x64/arch.h"
#elif defined(__aarch64__)
#include "aa64/arch.h"
#else
#error "efi/arch has no folder for this architecture"
#endif

#endif
