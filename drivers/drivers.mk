# Sources and rules of drivers/.
#
#   DRIVERS_HOST_SRCS  the host's adapters: POSIX, memory
#   DRIVERS_EFI_SRCS   firmware's adapters; they compile on the host too, for tests with mocks
#   DRIVERS_BOTH_SRCS  know no platform: FAT, extent maps; in both lists

DRIVERS_BOTH_SRCS := drivers/source_memory.c drivers/source_extents.c drivers/extents_verify.c \
                     drivers/fat_volume.c drivers/fat_table.c drivers/fat_path.c drivers/fat_map.c
DRIVERS_EFI_ONLY_SRCS := drivers/efi_status.c drivers/block_io.c drivers/source_efi_disk_io.c \
                         drivers/source_efi_file.c
DRIVERS_HOST_SRCS := $(DRIVERS_BOTH_SRCS) drivers/source_posix.c drivers/lock_posix.c \
                     drivers/opener_posix.c
DRIVERS_EFI_SRCS  := $(DRIVERS_BOTH_SRCS) $(DRIVERS_EFI_ONLY_SRCS)

# UEFI's headers outside firmware, for tests: the calling convention is the firmware's.
EFI_HOST_CFLAGS := -DGNU_EFI_USE_MS_ABI -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
$(foreach src,$(DRIVERS_EFI_ONLY_SRCS),$(eval CFLAGS_$(subst /,_,$(src)) := $(EFI_HOST_CFLAGS)))
include drivers/codec.mk
include drivers/luks.mk
