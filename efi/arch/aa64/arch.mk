# AArch64 firmware: cross compiler and flags.
#
# The C compiler and its tools come with gcc-aarch64-linux-gnu. Of gnu-efi's arm64 package one
# header is needed; fetch_headers.sh unpacks it below build/, and the system's architectures stay as
# they are.

aa64_CROSS := aarch64-linux-gnu-
aa64_CC    := $(aa64_CROSS)gcc
aa64_LD    := $(aa64_CROSS)ld
aa64_AR    := $(aa64_CROSS)ar

aa64_GNU_EFI := $(BUILD)/aa64/gnu-efi

# No vector registers: they are the interrupted program's. No calls into libgcc for atomics, and no
# markers of branch protection, which nobody here checks.
aa64_CFLAGS := $(FIRMWARE_CFLAGS) -mgeneral-regs-only -mno-outline-atomics \
               -mbranch-protection=none \
               -isystem $(aa64_GNU_EFI)/usr/include/efi \
               -isystem $(aa64_GNU_EFI)/usr/include/efi/aarch64

$(aa64_GNU_EFI)/stamp: efi/arch/aa64/fetch_headers.sh
	efi/arch/aa64/fetch_headers.sh $(BUILD)/download $(aa64_GNU_EFI)
	@touch $@
efi-headers: $(aa64_GNU_EFI)/stamp
