# The cache of the firmware's FAT driver, on the host: the file system is made in the test.
FAT_CACHE_TEST := tests/unit/efi/place/test_fat_cache
OWN_TEST_SRCS  += $(FAT_CACHE_TEST).c
$(call objects,san,efi/place/fat_cache.c $(FAT_CACHE_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(FAT_CACHE_TEST): $(call objects,san,$(FAT_CACHE_TEST).c efi/place/fat_cache.c) \
                                $(call objects,san,$(DRIVERS_EFI_ONLY_SRCS)) \
                                $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Lists of folders; the file system is made in the test.
FILE_SYSTEM_TEST      := tests/unit/efi/place/test_file_system
FILE_SYSTEM_TEST_SRCS := efi/place/file_system.c efi/base/firmware.c
OWN_TEST_SRCS         += $(FILE_SYSTEM_TEST).c
$(call objects,san,efi/place/file_system.c $(FILE_SYSTEM_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(FILE_SYSTEM_TEST): $(call objects,san,$(FILE_SYSTEM_TEST).c \
                                      $(FILE_SYSTEM_TEST_SRCS) $(DRIVERS_EFI_ONLY_SRCS)) \
                                  $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Where partitions are; the device paths are made in the test.
PARTITION_TEST := tests/unit/efi/place/test_partition
OWN_TEST_SRCS  += $(PARTITION_TEST).c
$(call objects,san,efi/place/partition.c $(PARTITION_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(PARTITION_TEST): $(call objects,san,$(PARTITION_TEST).c efi/place/partition.c) \
                                $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
