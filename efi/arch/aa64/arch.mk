# AArch64 firmware: cross compiler and flags.
#
# The C compiler and its tools come with gcc-aarch64-linux-gnu. gnu-efi's headers come from its
# arm64 package, because the amd64 package has no aarch64/efibind.h. fetch_package.sh unpacks it
# below build/, and the system's architectures stay as they are.

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

$(aa64_GNU_EFI)/stamp: efi/arch/aa64/fetch_package.sh
	efi/arch/aa64/fetch_package.sh $(BUILD)/download $(aa64_GNU_EFI) gnu-efi \
	    usr/include/efi/aarch64/efibind.h
	@touch $@
efi-headers: $(aa64_GNU_EFI)/stamp

# The Linux program of the hand-off (tools/handoff/handoff.mk). musl's headers and archive come from
# its arm64 package, and the kernel's headers come with the cross compiler.
linux_aa64_MUSL  := $(BUILD)/linux_aa64/musl
linux_aa64_LIB   := $(linux_aa64_MUSL)/usr/lib/aarch64-linux-musl
linux_aa64_CC    := $(aa64_CROSS)gcc
linux_aa64_AR    := $(aa64_CROSS)ar
linux_aa64_STRIP := $(aa64_CROSS)strip
linux_aa64_CFLAGS = $(LINUX_CFLAGS) -mno-outline-atomics -mbranch-protection=none -nostdinc \
                    -isystem $(linux_aa64_MUSL)/usr/include/aarch64-linux-musl \
                    -isystem $(shell $(aa64_CC) -print-file-name=include) \
                    -idirafter /usr/aarch64-linux-gnu/include
linux_aa64_START := -nostdlib $(linux_aa64_LIB)/crt1.o $(linux_aa64_LIB)/crti.o
linux_aa64_END   := $(linux_aa64_LIB)/libc.a -lgcc $(linux_aa64_LIB)/crtn.o

linux_aa64_HEADERS := $(linux_aa64_MUSL)/stamp
$(linux_aa64_HEADERS): efi/arch/aa64/fetch_package.sh
	efi/arch/aa64/fetch_package.sh $(BUILD)/download $(linux_aa64_MUSL) musl-dev \
	    usr/lib/aarch64-linux-musl/libc.a
	@touch $@
