# Sources and rules of efi/: the firmware programs.
#
#   build/x64/metalcowdxe.efi   the resident driver
#   build/x64/metalcow.efi      the application; it carries a copy of the driver

# Pure parts of the firmware programs: they run on the host too, under the tests and the fuzzer.
EFI_HOST_SRCS := efi/config.c efi/config_order.c efi/text.c efi/passphrase.c

# Both programs: firmware, files, images, configuration.
EFI_COMMON_SRCS := $(EFI_HOST_SRCS) efi/memory.c efi/firmware.c efi/console.c efi/device_path.c \
                   efi/volume.c efi/fat_extents.c efi/fat_cache.c \
                   efi/opener.c efi/unlock.c efi/attach.c efi/overlay.c efi/entries.c
EFI_DRIVER_SRCS := $(EFI_COMMON_SRCS) efi/driver_main.c efi/binding.c efi/component_name.c \
                   efi/control_server.c efi/registry.c efi/publish.c efi/room.c efi/upkeep.c
EFI_APP_SRCS    := $(EFI_COMMON_SRCS) efi/app_main.c efi/arguments.c efi/commands.c \
                   efi/image_arguments.c efi/command_boot.c efi/command_disks.c \
                   efi/command_info.c efi/command_map.c efi/command_check.c efi/command_bench.c \
                   efi/bench.c efi/bench_write.c efi/bench_clock.c efi/bench_plan.c \
                   efi/bench_report.c efi/bench_rows.c efi/bench_ways.c efi/connect.c efi/boot.c \
                   efi/control_client.c efi/embedded_driver.c

EFI_X64_DRIVER := $(BUILD)/x64/metalcowdxe.efi
EFI_X64_APP    := $(BUILD)/x64/metalcow.efi

# The loops of memcpy() must not become calls of memcpy().
CFLAGS_efi_memory.c := -fno-tree-loop-distribute-patterns -fno-builtin

CFLAGS_efi_embedded_driver.c := -DMC_EMBEDDED_DRIVER='"$(EFI_X64_DRIVER)"'
$(BUILD)/x64/obj/efi/embedded_driver.o: $(EFI_X64_DRIVER)

# gnu-efi's start code, linker script and self-relocation; nothing else of its library.
GNU_EFI      := /usr/lib
GNU_EFI_CRT0 := $(GNU_EFI)/crt0-efi-x86_64.o
EFI_LDFLAGS  := -nostdlib -znocombreloc -znoexecstack -shared -Bsymbolic --no-undefined \
                --build-id=none -T $(GNU_EFI)/elf_x86_64_efi.lds

# The decoders come first, and whole: so both programs have them at the same place in their pages,
# and the bench compares like with like. A loop over the border of a page is slow under emulation.
define EFI_LINK
$(LD) $(EFI_LDFLAGS) -o $@ $(GNU_EFI_CRT0) \
    --whole-archive $(filter %/decoders.a,$^) --no-whole-archive $(filter %.o,$^) \
    --start-group $(filter %.a,$^) --end-group -L$(GNU_EFI) -lgnuefi
endef

# The engine and the adapters come out of an archive: a program holds what it calls.
EFI_X64_LIB := $(BUILD)/x64/libmetalcow.a
$(EFI_X64_LIB): $(call objects,x64,$(CORE_SRCS) $(DRIVERS_EFI_SRCS))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/x64/metalcowdxe.so: $(call objects,x64,$(EFI_DRIVER_SRCS))
$(BUILD)/x64/metalcow.so: $(call objects,x64,$(EFI_APP_SRCS))
$(BUILD)/x64/metalcowdxe.so $(BUILD)/x64/metalcow.so: $(EFI_X64_LIB) $(THIRD_PARTY_LIB_x64)
	$(EFI_LINK)

# Subsystems: application 10, boot service driver 11.
$(EFI_X64_APP): EFI_SUBSYSTEM := 10
$(EFI_X64_DRIVER): EFI_SUBSYSTEM := 11
$(BUILD)/x64/%.efi: $(BUILD)/x64/%.so
	objcopy -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j '.rel*' -j .reloc \
	    --target efi-app-x86_64 --subsystem $(EFI_SUBSYSTEM) $< $@

# Whoever builds before anything was installed is told what to do.
efi-headers:
	@test -e /usr/include/efi/efi.h || \
	    { echo "gnu-efi's headers are missing: 'make setup' installs what is needed" >&2; exit 1; }
.PHONY: efi-headers
$(call objects,x64,$(EFI_DRIVER_SRCS) $(EFI_APP_SRCS) $(DRIVERS_EFI_SRCS)): | efi-headers

all: $(EFI_X64_APP) $(EFI_X64_DRIVER)
