# x86-64 firmware: compiler, flags, and gnu-efi's parts.

x64_CC  := $(CC)
x64_LD  := $(LD)
x64_AR  := $(AR)
x64_OBJCOPY        := objcopy
x64_OBJCOPY_FORMAT := --target efi-app-x86_64
x64_GNU_EFI        := /usr/lib
x64_START          := $(x64_GNU_EFI)/crt0-efi-x86_64.o
x64_LINKER_SCRIPT  := $(x64_GNU_EFI)/elf_x86_64_efi.lds

# Copies and fills of known size as moves, others by call: `rep` is slow under emulation.
x64_STRINGS := unrolled_loop:128:noalign,libcall:-1:noalign

# No red zone: interrupts run on our stack. No vector registers: they are the interrupted program's.
x64_CFLAGS := $(FIRMWARE_CFLAGS) -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
              -mmemcpy-strategy=$(x64_STRINGS) -mmemset-strategy=$(x64_STRINGS) \
              -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI \
              -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
