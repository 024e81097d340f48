# probe.efi: the boot tests' own program in the firmware.
PROBE_SRCS := $(wildcard tests/boot/probe*.c) $(wildcard efi/base/*.c) efi/app/arguments.c
define probe
$(BUILD)/$(1)/tests/probe.so: $$(call objects,$(1),$$(PROBE_SRCS)) $$(EFI_LIB_$(1)) efi/link/efi.lds
	@mkdir -p $$(@D)
	$$(call efi_link,$(1))
all: $(BUILD)/$(1)/tests/probe.efi
endef
$(foreach arch,$(FIRMWARE_ARCHS),$(eval $(call probe,$(arch))))

# The AArch64 programs in AArch64 firmware. Not part of `make test`: emulation takes minutes. The
# whole, and its parts.
aarch64-programs:
	@tools/setup.sh build run aarch64
	@$(MAKE) --no-print-directory -j$(JOBS) FIRMWARE_ARCHS="x64 aa64" firmware-x64 firmware-aa64 \
	    $(BUILD)/aa64/tests/probe.efi
aarch64-guests: aarch64-programs
	@$(MAKE) --no-print-directory $(BUILD)/guest/aa64/grub.raw $(BUILD)/guest/aa64/systemd-boot.raw
.PHONY: aarch64-programs aarch64-guests

test-aarch64: aarch64-guests ## run the AArch64 programs in emulated firmware: all three parts
	@tests/aarch64/boot_aarch64.py
	@tests/aarch64/boot_guests.py
test-aarch64-programs: aarch64-programs ## a part: formats, write modes, hostile calls
	@tests/aarch64/boot_aarch64.py attach modes hostile
test-aarch64-loaders: aarch64-programs ## a part: as boot loader of EDK2's firmware and of U-Boot
	@tests/aarch64/boot_aarch64.py loader
test-aarch64-guests: aarch64-guests ## a part: Debian's kernel by GRUB, systemd-boot, Driver####
	@tests/aarch64/boot_guests.py
.PHONY: test-aarch64 test-aarch64-programs test-aarch64-loaders test-aarch64-guests

test-secure-install: all guests ## Secure Boot with a key of one's own, and the driver installed
	@tests/boot/secure_install.py
.PHONY: test-secure-install

test-driver-rounds: all ## load, connect, disconnect, unload the driver 100 times in firmware
	@tests/boot/driver_rounds.py
.PHONY: test-driver-rounds

# The boot tests in EDK2's firmware with its assertions, which Debian does not ship. The firmware is
# built from Debian's sources once; it is built again after 'make clean'.
DEBUG_FIRMWARE := $(BUILD)/debug-firmware
$(DEBUG_FIRMWARE)/built: tools/qemu/debug_firmware.sh
	@test -e $(@D)/edk2 || tools/third_party/fetch.sh edk2 $(BUILD)/download $(@D)/edk2 $(EDK2_SRC)
	@echo "debug firmware: building it from $(@D)/edk2 (half an hour)"
	@tools/qemu/debug_firmware.sh $(@D)/edk2 $(@D)
	@touch $@

# Memory that is guarded makes everything slow and is used up, so these builds have few suites. With
# freed pages that cannot be read no system is started: the hand-off writes the longer initrd to
# free memory.
DEBUG_BUILDS         ?= plain guarded freed
DEBUG_SUITES_plain   := $(addprefix boot/test_boot_,driver firmware queue write)
DEBUG_SUITES_guarded := $(addprefix boot/test_boot_,driver queue)
DEBUG_SUITES_freed   := boot/test_boot_queue

test-debug-firmware: ## run boot tests in OVMF builds that check what they are asked (an hour)
	@tools/setup.sh build run test debug
	@$(MAKE) --no-print-directory -j$(JOBS) all san $(BUILD)/guest/grub.raw \
	    $(BUILD)/guest/systemd-boot.raw
	@$(MAKE) --no-print-directory $(DEBUG_FIRMWARE)/built
	@$(foreach build,$(DEBUG_BUILDS),tests/boot/debug_firmware.sh $(DEBUG_FIRMWARE)/$(build) \
	    $(or $(SUITES),$(DEBUG_SUITES_$(build)));)
.PHONY: test-debug-firmware

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
	$(CC) $(SAN_FLAGS) -o $@ $^
san: $(BUILD)/san/tests/boot/luks_words
