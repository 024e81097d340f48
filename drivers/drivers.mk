# Sources and rules of drivers/.
#
#   DRIVERS_HOST_SRCS  the host's adapters: POSIX, memory
#   DRIVERS_EFI_SRCS   firmware's adapters; they compile on the host too, for tests with mocks
#   DRIVERS_NBD_SRCS   the NBD protocol, over byte streams: no platform, but only hosts serve
#   DRIVERS_BOTH_SRCS  know no platform: byte arrays, files by their extent maps; in both lists

DRIVERS_BOTH_SRCS     := $(sort $(wildcard drivers/extents/*.c drivers/memory/*.c))
DRIVERS_EFI_ONLY_SRCS := $(sort $(wildcard drivers/efi/*.c))
DRIVERS_NBD_SRCS      := $(sort $(wildcard drivers/nbd/*.c))
DRIVERS_HOST_SRCS     := $(DRIVERS_BOTH_SRCS) $(DRIVERS_NBD_SRCS) \
                         $(sort $(wildcard drivers/posix/*.c))
DRIVERS_EFI_SRCS  := $(DRIVERS_BOTH_SRCS) $(DRIVERS_EFI_ONLY_SRCS)

# UEFI's headers outside firmware, for tests: the calling convention is the firmware's.
EFI_HOST_CFLAGS := -DGNU_EFI_USE_MS_ABI -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
$(foreach src,$(DRIVERS_EFI_ONLY_SRCS),$(eval CFLAGS_$(subst /,_,$(src)) := $(EFI_HOST_CFLAGS)))
include drivers/codec/codec.mk
include drivers/crypto/crypto.mk
