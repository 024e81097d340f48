# probe.efi: the boot tests' own program in the firmware.
PROBE_SRCS := $(wildcard tests/boot/probe*.c) $(wildcard efi/base/*.c) efi/app/arguments.c
$(BUILD)/x64/tests/probe.so: $(call objects,x64,$(PROBE_SRCS)) $(EFI_X64_LIB)
	@mkdir -p $(@D)
	$(call efi_link,x64)
all: $(BUILD)/x64/tests/probe.efi

# The key of an encrypted image as it is in memory, for test_boot_luks.py.
$(BUILD)/san/tests/boot/luks_words: $(call objects,san,tests/boot/luks_words.c) \
                                    $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
san: $(BUILD)/san/tests/boot/luks_words
