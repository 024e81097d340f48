# The host's view of FAT volumes, for tests/fat/*.py and tests/boot/test_boot_fat.py.
$(BUILD)/san/tests/fat/fat_reader: $(call objects,san,tests/fat/fat_reader.c) \
                                   $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
san: $(BUILD)/san/tests/fat/fat_reader

# What the two boot tests of FAT need.
FAT_BOOT_FILES := $(addprefix $(BUILD)/x64/,metalcowdxe.efi tests/fat_probe.efi) \
                  $(BUILD)/san/tests/fat/fat_reader

odd-fat: $(FAT_BOOT_FILES) ## read 200 odd FAT volumes as the firmware does
	METALCOW_ODD_VOLUMES=200 BUILD=$(BUILD) tests/boot/test_boot_fat.py
fat-cuts: $(FAT_BOOT_FILES) ## judge every power cut in FAT writes
	METALCOW_CUTS=all METALCOW_CUT_BOOTS=6 BUILD=$(BUILD) tests/boot/fat_cuts.py
.PHONY: odd-fat fat-cuts
