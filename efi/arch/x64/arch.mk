# x86-64 firmware: compiler and flags.

x64_CC  := $(CC)
x64_LD  := $(LD)
x64_AR  := $(AR)

# Copies and fills of known size as moves, others by call: `rep` is slow under emulation.
x64_STRINGS := unrolled_loop:128:noalign,libcall:-1:noalign

# No red zone: interrupts run on our stack. No vector registers: they are the interrupted program's.
x64_CFLAGS := $(FIRMWARE_CFLAGS) -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
              -mmemcpy-strategy=$(x64_STRINGS) -mmemset-strategy=$(x64_STRINGS) \
              -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI \
              -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
