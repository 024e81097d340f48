# The host's view of FAT volumes, for tests/fat/*.py.
$(BUILD)/san/tests/fat/fat_reader: $(call objects,san,tests/fat/fat_reader.c) \
                                   $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
san: $(BUILD)/san/tests/fat/fat_reader
