# probe.efi: the boot tests' own program in the firmware.
PROBE_SRCS := $(wildcard tests/boot/probe*.c) $(wildcard efi/base/*.c) efi/app/arguments.c
define probe
$(BUILD)/$(1)/tests/probe.so: $$(call objects,$(1),$$(PROBE_SRCS)) $$(EFI_LIB_$(1)) efi/link/efi.lds
	@mkdir -p $$(@D)
	$$(call efi_link,$(1))
all: $(BUILD)/$(1)/tests/probe.efi
endef
$(foreach arch,$(FIRMWARE_ARCHS),$(eval $(call probe,$(arch))))

# The AArch64 programs in AArch64 firmware. Not part of `make test`: emulation takes minutes.
test-aarch64: ## build the AArch64 programs and run them in emulated firmware
	@tools/setup.sh build run aarch64
	@$(MAKE) --no-print-directory -j$(JOBS) FIRMWARE_ARCHS="x64 aa64" firmware-x64 firmware-aa64 \
	    $(BUILD)/aa64/tests/probe.efi
	@tests/aarch64/boot_aarch64.py
.PHONY: test-aarch64

test-driver-rounds: all ## load, connect, disconnect, unload the driver 100 times in firmware
	@tests/boot/driver_rounds.py
.PHONY: test-driver-rounds

# fat_probe.efi: many FAT volumes at once, for test_boot_fat.py.
FAT_PROBE_SRCS := tests/boot/fat_probe.c $(wildcard efi/base/*.c) efi/app/arguments.c
$(BUILD)/x64/tests/fat_probe.so: $(call objects,x64,$(FAT_PROBE_SRCS)) $(EFI_X64_LIB)
	@mkdir -p $(@D)
	$(call efi_link,x64)
all: $(BUILD)/x64/tests/fat_probe.efi

# The key of an encrypted image as it is in memory, for test_boot_luks.py.
$(BUILD)/san/tests/boot/luks_words: $(call objects,san,tests/boot/luks_words.c) \
                                    $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
san: $(BUILD)/san/tests/boot/luks_words
