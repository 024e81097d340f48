# Sources and rules of efi/: the firmware programs, for each architecture.
#
#   build/ARCH/metalcowdxe.efi   the resident driver
#   build/ARCH/metalcow.efi      the application; it carries a copy of the driver
#
# What an architecture needs is in efi/arch/ARCH/arch.mk. A new one adds such a folder and its name
# to FIRMWARE_ARCHS.

FIRMWARE_ARCHS ?= x64

# Pure parts of the firmware programs: they run on the host too, under the tests and the fuzzer.
EFI_MENU_SRCS := $(sort $(wildcard efi/menu/*.c))
EFI_HOST_SRCS := $(sort $(wildcard efi/config/*.c)) efi/base/load_option.c efi/image/verify.c \
                 efi/base/text.c efi/base/page_tables.c efi/place/fat_name.c \
                 efi/handoff/boot_params.c efi/handoff/pe.c $(EFI_MENU_SRCS)

# Both programs: firmware, places of files, images, configuration.
EFI_COMMON_SRCS := $(sort $(filter-out $(EFI_MENU_SRCS),$(EFI_HOST_SRCS)) \
                          $(wildcard efi/base/*.c efi/place/*.c efi/image/*.c))
EFI_DRIVER_SRCS := $(EFI_COMMON_SRCS) $(sort $(wildcard efi/driver/*.c efi/handoff/*.c))
EFI_APP_SRCS    := $(EFI_COMMON_SRCS) $(EFI_MENU_SRCS) \
                   $(sort $(wildcard efi/app/*.c efi/bench/*.c))

# The loops of memcpy() must not become calls of memcpy().
CFLAGS_efi_base_memory.c := -fno-tree-loop-distribute-patterns -fno-builtin

# The Linux program that serves a disk after boot services (tools/handoff/); the driver carries the
# one of its own architecture.
HANDOFF_PROGRAM_x64  := $(BUILD)/linux/handoff
HANDOFF_PROGRAM_aa64 := $(BUILD)/linux_aa64/handoff
define handoff_carried
$(BUILD)/$(1)/obj/efi/handoff/program.o: $(HANDOFF_PROGRAM_$(1))
$(BUILD)/$(1)/obj/efi/handoff/program.o: \
    CFLAGS_efi_handoff_program.c = -DMC_HANDOFF_PROGRAM='"$(HANDOFF_PROGRAM_$(1))"'
endef
$(foreach arch,$(FIRMWARE_ARCHS),$(eval $(call handoff_carried,$(arch))))

# The loader relocates the program, so it has no start code: the firmware calls efi_main().
EFI_LDFLAGS := -nostdlib -znocombreloc -znoexecstack -shared -Bsymbolic --no-undefined \
               --no-warn-rwx-segments --build-id=none

# $(call efi_link,ARCH): link the prerequisites of the rule. All decoders are linked, and linked
# first, so that both programs have them at the same offsets in their pages. A loop that crosses the
# border of a page is slow under emulation, and would spoil what the bench compares.
efi_link = $($(1)_LD) $(EFI_LDFLAGS) -T efi/link/efi.lds -o $@ \
    --whole-archive $(filter %/decoders.a,$^) --no-whole-archive $(filter %.o,$^) \
    --start-group $(filter %.a,$^) --end-group

# The version goes into the section that revocation under Secure Boot looks at.
CFLAGS_efi_base_sbat.c = $(METALCOW_CFLAGS)

# Without gnu-efi's headers the build ends with a line that says what to do.
efi-headers:
	@test -e /usr/include/efi/efi.h || \
	    { echo "gnu-efi's headers are missing: 'make setup' installs what is needed" >&2; exit 1; }
.PHONY: efi-headers

# $(call sign,FROM,TO): sign a program and look at the result. sbsign says what it does on stderr.
define sign
sbsign --key '$(KEY)' --cert '$(CERT)' --output '$(2)' '$(1)' 2>'$(2).log' || \
    { cat '$(2).log' >&2; exit 1; }
sbverify --cert '$(CERT)' '$(2)' >/dev/null
endef

# `make sign` signs anew each time, because make cannot see whether KEY names another key now.
sign-key:
	@test -n '$(KEY)' -a -n '$(CERT)' || \
	    { echo "make sign needs a key: make sign KEY=my.key CERT=my.pem" >&2; exit 1; }
	@command -v sbsign >/dev/null || \
	    { echo "sbsign is missing: 'apt-get install sbsigntool' brings it" >&2; exit 1; }
.PHONY: sign-key
sign: $(FIRMWARE_ARCHS:%=sign-%) ## sign both programs: KEY=FILE CERT=FILE
	@for arch in $(FIRMWARE_ARCHS); do echo "signed: $(BUILD)/$$arch/signed/metalcow.efi" \
	    "$(BUILD)/$$arch/signed/metalcowdxe.efi"; done
.PHONY: sign

# $(call firmware,ARCH): the rules of both programs. Subsystems: application 10, boot service
# driver 11.
define firmware
# The engine and the drivers are in an archive, so that a program has only what it calls of them.
EFI_LIB_$(1) := $(BUILD)/$(1)/libmetalcow.a
$$(EFI_LIB_$(1)): $$(call objects,$(1),$$(CORE_SRCS) $$(DRIVERS_EFI_SRCS))
	@rm -f $$@
	$$($(1)_AR) qcs $$@ $$^

$(BUILD)/$(1)/metalcowdxe.so: $$(call objects,$(1),$$(EFI_DRIVER_SRCS))
$(BUILD)/$(1)/metalcow.so: $$(call objects,$(1),$$(EFI_APP_SRCS))
$(BUILD)/$(1)/metalcowdxe.so $(BUILD)/$(1)/metalcow.so: $$(EFI_LIB_$(1)) $$(THIRD_PARTY_LIB_$(1)) \
                                                        efi/link/efi.lds
	$$(call efi_link,$(1))

$(BUILD)/$(1)/metalcowdxe.efi: EFI_SUBSYSTEM := 11
$(BUILD)/$(1)/%.efi: EFI_SUBSYSTEM := 10
$(BUILD)/$(1)/%.efi: $(BUILD)/$(1)/%.so efi/link/elf2pe.py
	efi/link/elf2pe.py --subsystem $$(EFI_SUBSYSTEM) $$< $$@

$(BUILD)/$(1)/obj/efi/app/embedded_driver.o: $(BUILD)/$(1)/metalcowdxe.efi
$(BUILD)/$(1)/obj/efi/app/embedded_driver.o: \
    CFLAGS_efi_app_embedded_driver.c = -DMC_EMBEDDED_DRIVER='"$(BUILD)/$(1)/metalcowdxe.efi"'
$$(call objects,$(1),$$(EFI_DRIVER_SRCS) $$(EFI_APP_SRCS) $$(DRIVERS_EFI_SRCS)): | efi-headers

# The same programs, signed: the driver before it goes into the application.
$(BUILD)/$(1)/signed/metalcowdxe.efi: $(BUILD)/$(1)/metalcowdxe.efi sign-key
	@mkdir -p $$(@D)
	$$(call sign,$$<,$$@)
$(BUILD)/$(1)/signed/embedded_driver.o: efi/app/embedded_driver.c \
                                        $(BUILD)/$(1)/signed/metalcowdxe.efi
	$$($(1)_CC) $$(filter-out -MMD -MP,$$($(1)_CFLAGS)) \
	    -DMC_EMBEDDED_DRIVER='"$(BUILD)/$(1)/signed/metalcowdxe.efi"' -c $$< -o $$@
$(BUILD)/$(1)/signed/metalcow.so: $(BUILD)/$(1)/signed/embedded_driver.o \
    $$(filter-out %/embedded_driver.o,$$(call objects,$(1),$$(EFI_APP_SRCS))) \
    $$(EFI_LIB_$(1)) $$(THIRD_PARTY_LIB_$(1)) efi/link/efi.lds
	$$(call efi_link,$(1))
$(BUILD)/$(1)/signed/unsigned.efi: $(BUILD)/$(1)/signed/metalcow.so efi/link/elf2pe.py
	efi/link/elf2pe.py --subsystem 10 $$< $$@
$(BUILD)/$(1)/signed/metalcow.efi: $(BUILD)/$(1)/signed/unsigned.efi
	$$(call sign,$$<,$$@)
sign-$(1): $(BUILD)/$(1)/signed/metalcow.efi $(BUILD)/$(1)/signed/metalcowdxe.efi
.PHONY: sign-$(1)

firmware-$(1): $(BUILD)/$(1)/metalcow.efi $(BUILD)/$(1)/metalcowdxe.efi
.PHONY: firmware-$(1)
all: firmware-$(1)
endef
$(foreach arch,$(FIRMWARE_ARCHS),$(eval $(call firmware,$(arch))))

# The programs of this machine's own architecture, which boot tests and benches use.
EFI_X64_APP := $(BUILD)/x64/metalcow.efi
EFI_X64_LIB := $(EFI_LIB_x64)
