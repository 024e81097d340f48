# The reader that tests/interop/test_luks.py compares with qemu-img.
READ_DISK := $(BUILD)/san/tests/interop/read_disk

$(READ_DISK): $(call objects,san,tests/interop/read_disk.c) $(BUILD)/san/libmetalcow.a \
              $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
san: $(READ_DISK)
