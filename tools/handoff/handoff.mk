# The program of the hand-off: static, for Linux guests. Firmware embeds build/linux/handoff and
# puts it into the cpio (include/q2_handoff_cpio.h); make packages puts it into the .deb packages.
#
# musl, because a static program of glibc has twice the size; -Os, because the time goes into I/O.

# What makes a record or a cpio on a host, for tests, links these two alone.
HANDOFF_TOOL_SRCS := tools/handoff/make_record.c
HANDOFF_SRCS      := $(sort $(filter-out $(HANDOFF_TOOL_SRCS),$(wildcard tools/handoff/*.c)))
HANDOFF_MAX_SIZE  := 307200 # bytes, compressed: what firmware may grow by

linux_CC     ?= musl-gcc
linux_CFLAGS := $(filter-out -O2 -g,$(HOST_CFLAGS)) -Os -g -ffunction-sections -fdata-sections \
                -fno-asynchronous-unwind-tables -fno-stack-protector -fno-pie \
                -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
$(eval $(call variant,linux))
$(eval $(call third_party_variant,linux,linux,$(linux_CC)))
$(eval $(call crypto_variant,linux,linux,$(linux_CC)))
$(call objects,linux,$(LUKS_CRYPTO_SRCS)): $(BEARSSL_STAMP)
$(call codec_objects,zlib,linux): $(ZLIB_STAMP)
$(call codec_objects,zstd,linux): $(ZSTD_STAMP)

LINUX_LIB := $(BUILD)/linux/libmetalcow.a
$(LINUX_LIB): $(call objects,linux,$(CORE_SRCS) $(DRIVERS_HOST_SRCS))
	@rm -f $@
	@$(AR) qcs $@ $^

$(BUILD)/linux/handoff.debug: $(call objects,linux,$(HANDOFF_SRCS)) $(LINUX_LIB) \
                              $(THIRD_PARTY_LIB_linux)
	$(linux_CC) -static -no-pie -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,--build-id=none \
	    -o $@ $^
$(BUILD)/linux/handoff: $(BUILD)/linux/handoff.debug
	@strip -s -o $@ $<
	@size=$$(xz -9 -c $@ | wc -c); echo "handoff: $$(stat -c %s $@) bytes, $$size compressed"; \
	    [ $$size -le $(HANDOFF_MAX_SIZE) ]
all: $(BUILD)/linux/handoff

# Makes a record and a cpio from a stick's image, as firmware does: tests boot guests with it.
$(BUILD)/host/make_record: $(call objects,host,$(HANDOFF_TOOL_SRCS) $(CORE_SRCS) \
                             $(DRIVERS_HOST_SRCS)) $(THIRD_PARTY_LIB_host)
	$(CC) -o $@ $^
all: $(BUILD)/host/make_record

packages: $(BUILD)/linux/handoff ## make the .deb for people who prepare their guests
	@tools/handoff/make_packages.py --program $< --version $(METALCOW_VERSION) \
	    --out $(BUILD)/packages
.PHONY: packages
