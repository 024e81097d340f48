# The program of the hand-off: static, for Linux guests. Firmware embeds build/linux/handoff and
# puts it into the cpio (include/q2_handoff_cpio.h); make packages puts it into the .deb packages.
#
# musl, because a static program of glibc has twice the size; -Os, because the time goes into I/O.

# The host program that makes a record and a cpio for tests; it is no part of the guest's program.
HANDOFF_TOOL_SRCS := tools/handoff/make_record.c
HANDOFF_SRCS      := $(sort $(filter-out $(HANDOFF_TOOL_SRCS),$(wildcard tools/handoff/*.c)))
HANDOFF_MAX_SIZE  := 307200 # bytes, compressed: what firmware may grow by

LINUX_CFLAGS := $(filter-out -O2 -g,$(HOST_CFLAGS)) -Os -g -ffunction-sections -fdata-sections \
                -fno-asynchronous-unwind-tables -fno-stack-protector -fno-pie

linux_CC     ?= musl-gcc
linux_STRIP  := strip
linux_CFLAGS := $(LINUX_CFLAGS) -idirafter /usr/include \
                -idirafter /usr/include/x86_64-linux-gnu

# $(call handoff_program,VARIANT): the program for one architecture. A variant may have a START and
# an END of its linker's line, and HEADERS that are fetched before.
define handoff_program
$$(eval $$(call variant,$(1)))
$$(eval $$(call third_party_variant,$(1),$(1),$$($(1)_CC)))
$$(eval $$(call crypto_variant,$(1),$(1),$$($(1)_CC)))
$$(call objects,$(1),$$(LUKS_CRYPTO_SRCS)): $$(BEARSSL_STAMP)
$$(call codec_objects,zlib,$(1)): $$(ZLIB_STAMP)
$$(call codec_objects,zstd,$(1)): $$(ZSTD_STAMP)
$$(call objects,$(1),$$(CORE_SRCS) $$(DRIVERS_HOST_SRCS) $$(HANDOFF_SRCS)) \
    $$(call codec_objects,zlib,$(1)) $$(call codec_objects,zstd,$(1)): | $$($(1)_HEADERS)
$$(BEARSSL_PARTS:%=$(BUILD)/$(1)/third_party/bearssl/%.o): | $$($(1)_HEADERS)

$(BUILD)/$(1)/libmetalcow.a: $$(call objects,$(1),$$(CORE_SRCS) $$(DRIVERS_HOST_SRCS))
	@rm -f $$@
	@$$(or $$($(1)_AR),$$(AR)) qcs $$@ $$^

$(BUILD)/$(1)/handoff.debug: $$(call objects,$(1),$$(HANDOFF_SRCS)) \
                             $(BUILD)/$(1)/libmetalcow.a $$(THIRD_PARTY_LIB_$(1))
	$$($(1)_CC) -static -no-pie -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,--build-id=none \
	    -o $$@ $$($(1)_START) $$^ $$($(1)_END)
$(BUILD)/$(1)/handoff: $(BUILD)/$(1)/handoff.debug
	@$$($(1)_STRIP) -s -o $$@ $$<
	@size=$$$$(xz -9 -c $$@ | wc -c); \
	    echo "handoff: $$$$(stat -c %s $$@) bytes, $$$$size compressed"; \
	    [ $$$$size -le $$(HANDOFF_MAX_SIZE) ]
endef
$(eval $(call handoff_program,linux))
all: $(BUILD)/linux/handoff

ifneq ($(filter aa64,$(FIRMWARE_ARCHS)),)
$(eval $(call handoff_program,linux_aa64))
all: $(BUILD)/linux_aa64/handoff
endif

# Makes a record and a cpio from a stick's image, as firmware does: tests boot guests with it.
$(BUILD)/host/make_record: $(call objects,host,$(HANDOFF_TOOL_SRCS) $(CORE_SRCS) \
                             $(DRIVERS_HOST_SRCS)) $(THIRD_PARTY_LIB_host)
	$(CC) -o $@ $^
all: $(BUILD)/host/make_record

packages: $(BUILD)/linux/handoff ## make the .deb for people who prepare their guests
	@tools/handoff/make_packages.py --program $< --version $(METALCOW_VERSION) \
	    --out $(BUILD)/packages
.PHONY: packages
