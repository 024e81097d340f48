# The codecs and the third-party libraries below them.
#
#   make ZLIB_SRC=/path ZSTD_SRC=/path   unpacked source trees (or .dsc files) of your own
#
# Without them tools/third_party/fetch.sh takes the distribution's source packages. Others link
#
#   $(THIRD_PARTY_LIB_host)        decoders: inflate and zstd. Variants: host san cov fuzz ARCH
#   $(THIRD_PARTY_ENCODERS_host)   encoders: deflate and zstd. Variants: host san cov; on a link
#                                  line before THIRD_PARTY_LIB_*. They allocate only by the
#                                  callbacks given to them (malloc is a shim).
#
# Every variant compiles the same sources with the same options and without a C library:
# tools/third_party/freestanding/ has headers for it, so that the only undefined symbols are
# memcpy, memmove, memset and memcmp (tests/lint/test_codec_symbols.sh).

ZLIB_SRC ?=
ZSTD_SRC ?=

THIRD_PARTY := $(BUILD)/third_party
ZLIB_STAMP  := $(THIRD_PARTY)/zlib.stamp
ZSTD_STAMP  := $(THIRD_PARTY)/zstd.stamp

ZLIB_DECODER := inflate inftrees inffast adler32
ZLIB_ENCODER := deflate trees zutil
ZSTD_DECODER := common/entropy_common common/error_private common/fse_decompress \
                common/xxhash common/zstd_common \
                decompress/huf_decompress decompress/zstd_ddict decompress/zstd_decompress \
                decompress/zstd_decompress_block
ZSTD_ENCODER := compress/fse_compress compress/hist compress/huf_compress \
                compress/zstd_compress compress/zstd_compress_literals \
                compress/zstd_compress_sequences compress/zstd_compress_superblock \
                compress/zstd_double_fast compress/zstd_fast compress/zstd_lazy \
                compress/zstd_ldm compress/zstd_opt

# Raw deflate needs neither gzip's CRC nor zlib's own allocator.
ZLIB_OPTIONS := -DZ_SOLO -DNO_GZIP -DHAVE_MEMCPY -include tools/third_party/freestanding/string.h
# One thread, no assembly, no run-time choice of instructions, no weak trace hooks, no formats of
# before 2016; the short sequence decoder has the smaller stack frame.
ZSTD_OPTIONS := -DZSTD_DISABLE_ASM=1 -DDYNAMIC_BMI2=0 -DZSTD_NO_INTRINSICS -DZSTD_TRACE=0 \
                -DZSTD_LEGACY_SUPPORT=0 -DZSTD_STRIP_ERROR_STRINGS=1 \
                -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT -DXXH_NAMESPACE=ZSTD_

THIRD_PARTY_SHIMS := $(sort $(wildcard tools/third_party/freestanding/*.h))

# The variant's flags without our warnings and language level, on the shims instead of libc.
NOT_FOR_OTHERS := -std=c11 -iquote . -Iinclude --coverage -fvisibility=hidden
# $(call third_party_flags,compiler,variant's flags)
third_party_flags = $(filter-out $(WARN) $(NOT_FOR_OTHERS),$(2)) -w -std=gnu11 \
                    -ffreestanding -nostdinc -isystem tools/third_party/freestanding \
                    -isystem $(shell $(1) -print-file-name=include) \
                    -fdata-sections -fstack-usage

# $(call third_party_variant,variant,prefix of its flags,compiler)
define third_party_variant
THIRD_PARTY_FLAGS_$(1) = $$(call third_party_flags,$(3),$$($(2)_CFLAGS))
THIRD_PARTY_LIB_$(1) := $(BUILD)/$(1)/third_party/decoders.a

$(BUILD)/$(1)/third_party/zlib/%.o: $(ZLIB_STAMP) $(THIRD_PARTY_SHIMS) drivers/codec/codec.mk
	@mkdir -p $$(@D)
	$(3) $$(THIRD_PARTY_FLAGS_$(1)) $(ZLIB_OPTIONS) -c $(THIRD_PARTY)/zlib/$$*.c -o $$@
$(BUILD)/$(1)/third_party/zstd/%.o: $(ZSTD_STAMP) $(THIRD_PARTY_SHIMS) drivers/codec/codec.mk
	@mkdir -p $$(@D)
	$(3) $$(THIRD_PARTY_FLAGS_$(1)) $(ZSTD_OPTIONS) -c $(THIRD_PARTY)/zstd/lib/$$*.c -o $$@

$$(THIRD_PARTY_LIB_$(1)): $$(ZLIB_DECODER:%=$(BUILD)/$(1)/third_party/zlib/%.o) \
                          $$(ZSTD_DECODER:%=$(BUILD)/$(1)/third_party/zstd/%.o)
	@rm -f $$@
	@echo "ar $$@" && $$(or $$($(1)_AR),$$(AR)) qcs $$@ $$^
endef
$(eval $(call third_party_variant,host,HOST,$(CC)))
$(eval $(call third_party_variant,san,SAN,$(CC)))
$(foreach a,$(FIRMWARE_ARCHS),$(eval $(call third_party_variant,$(a),$(a),$($(a)_CC))))

# Coverage counts our lines only. The encoders' input is trusted, so they are not built with
# sanitizers, which would take a minute and a half.
THIRD_PARTY_LIB_cov       := $(THIRD_PARTY_LIB_host)
THIRD_PARTY_ENCODERS_host := $(BUILD)/host/third_party/encoders.a
THIRD_PARTY_ENCODERS_san  := $(THIRD_PARTY_ENCODERS_host)
THIRD_PARTY_ENCODERS_cov  := $(THIRD_PARTY_ENCODERS_host)
$(THIRD_PARTY_ENCODERS_host): $(ZLIB_ENCODER:%=$(BUILD)/host/third_party/zlib/%.o) \
                              $(ZSTD_ENCODER:%=$(BUILD)/host/third_party/zstd/%.o)
	@rm -f $@
	@echo "$(AR) $@" && $(AR) qcs $@ $^

# Fetch again when ZLIB_SRC or ZSTD_SRC changes: the file below holds the last value. A tree of the
# user's own is copied at that moment; after edits in it, `make clean`.
# $(call third_party_fetch,our name,package,user's path)
define third_party_fetch
$(THIRD_PARTY)/$(1).stamp: $(THIRD_PARTY)/$(1).origin | tools/third_party/fetch.sh
	tools/third_party/fetch.sh $(2) $(BUILD)/download $(THIRD_PARTY)/$(1) $(if $(3),'$(3)')
	@touch $$@
$(THIRD_PARTY)/$(1).origin: third-party-force
	@mkdir -p $$(@D)
	@echo '$(2) $(3)' | cmp -s - $$@ || echo '$(2) $(3)' >$$@
endef
$(eval $(call third_party_fetch,zlib,zlib,$(ZLIB_SRC)))
$(eval $(call third_party_fetch,zstd,libzstd,$(ZSTD_SRC)))
.PHONY: third-party-force

# The adapters read the libraries' headers, which are below build/ after they are fetched.
CFLAGS_drivers_codec_zlib.c := -DZ_SOLO -DNO_GZIP -isystem $(THIRD_PARTY)/zlib
CFLAGS_drivers_codec_zstd.c := $(ZSTD_OPTIONS) -isystem $(THIRD_PARTY)/zstd/lib
CODEC_SRCS := drivers/codec/zlib.c drivers/codec/zstd.c
# The encoders' adapters are for the host command only; who links them links the encoders.
CFLAGS_drivers_codec_encoder_zlib.c := $(CFLAGS_drivers_codec_zlib.c)
CFLAGS_drivers_codec_encoder_zstd.c := $(CFLAGS_drivers_codec_zstd.c)
ENCODER_SRCS := drivers/codec/encoder_zlib.c drivers/codec/encoder_zstd.c
DRIVERS_HOST_SRCS += $(CODEC_SRCS)
DRIVERS_EFI_SRCS  += $(CODEC_SRCS)
codec_objects = $(foreach v,$(2),$(BUILD)/$(v)/obj/drivers/codec/$(1).o)
CODEC_VARIANTS := host san cov fuzz $(FIRMWARE_ARCHS)
$(call codec_objects,zlib,$(CODEC_VARIANTS)): $(ZLIB_STAMP)
$(call codec_objects,zstd,$(CODEC_VARIANTS)): $(ZSTD_STAMP)
$(call codec_objects,encoder_zlib,host san cov): $(ZLIB_STAMP)
$(call codec_objects,encoder_zstd,host san cov): $(ZSTD_STAMP)

# The lints look at these objects, also at those that no firmware program links.
all: $(THIRD_PARTY_LIB_x64) $(call objects,x64,$(CODEC_SRCS))
