# Encrypted images, and the cryptography below them.
#
#   make BEARSSL_SRC=/path     an unpacked source tree (or .dsc file) of your own
#
# The primitives are BearSSL's, from the distribution's source package like the codecs
# (drivers/codec/codec.mk, which comes first): constant-time AES and the SHA family need no heap, no
# tables that a cache would give away, and no vector registers. They join $(THIRD_PARTY_LIB_*), so
# that whoever links the codecs links them too.

BEARSSL_SRC   ?=
BEARSSL_STAMP := $(THIRD_PARTY)/bearssl.stamp
BEARSSL_PARTS := symcipher/aes_ct64 symcipher/aes_ct64_enc symcipher/aes_ct64_dec \
                 hash/sha1 hash/sha2small hash/sha2big mac/hmac \
                 codec/dec32be codec/dec32le codec/dec64be \
                 codec/enc32be codec/enc32le codec/enc64be

# General registers and aligned loads only; no source of randomness, which reading never needs.
BEARSSL_OPTIONS := -DBR_AES_X86NI=0 -DBR_SSE2=0 -DBR_RDRAND=0 -DBR_USE_URANDOM=0 \
                   -DBR_LE_UNALIGNED=0 -DBR_BE_UNALIGNED=0
BEARSSL_INCLUDE := -isystem $(THIRD_PARTY)/bearssl/inc -isystem $(THIRD_PARTY)/bearssl/src

# $(call crypto_variant,variant,prefix of its flags,compiler)
define crypto_variant
$(BUILD)/$(1)/third_party/bearssl/%.o: $(BEARSSL_STAMP) $(THIRD_PARTY_SHIMS) \
                                        drivers/crypto/crypto.mk
	@mkdir -p $$(@D)
	$(3) $$(THIRD_PARTY_FLAGS_$(1)) $(BEARSSL_OPTIONS) $(BEARSSL_INCLUDE) \
	    -c $(THIRD_PARTY)/bearssl/src/$$*.c -o $$@

$(BUILD)/$(1)/third_party/crypto.a: \
    $(BEARSSL_PARTS:%=$(BUILD)/$(1)/third_party/bearssl/%.o)
	rm -f $$@ && $$(or $$($(1)_AR),$$(AR)) qcs $$@ $$^
THIRD_PARTY_LIB_$(1) += $(BUILD)/$(1)/third_party/crypto.a
endef
$(eval $(call crypto_variant,host,HOST,$(CC)))
$(eval $(call crypto_variant,san,SAN,$(CC)))
$(foreach a,$(FIRMWARE_ARCHS),$(eval $(call crypto_variant,$(a),$(a),$($(a)_CC))))
THIRD_PARTY_LIB_cov += $(BUILD)/host/third_party/crypto.a
$(eval $(call third_party_fetch,bearssl,bearssl,$(BEARSSL_SRC)))

# These two read the library's headers; its <string.h> and <limits.h> are the shims.
LUKS_CRYPTO_SRCS := drivers/crypto/aes.c drivers/crypto/luks_key.c
$(foreach s,$(LUKS_CRYPTO_SRCS),$(eval CFLAGS_$(subst /,_,$(s)) := \
    -isystem tools/third_party/freestanding $(BEARSSL_OPTIONS) $(BEARSSL_INCLUDE)))
$(foreach v,$(CODEC_VARIANTS),$(call objects,$(v),$(LUKS_CRYPTO_SRCS))): $(BEARSSL_STAMP)

LUKS_SRCS := $(LUKS_CRYPTO_SRCS) drivers/crypto/aes_ni.c drivers/crypto/unlocker.c \
             drivers/crypto/key_unlocker.c
# Firmware changes no key.
DRIVERS_HOST_SRCS += $(LUKS_SRCS) drivers/crypto/luks_material.c drivers/crypto/luks_slots.c \
                     drivers/crypto/luks_header.c
DRIVERS_EFI_SRCS  += $(LUKS_SRCS)

# The lints look at these objects, also at those that no firmware program links.
all: $(BUILD)/x64/third_party/crypto.a $(call objects,x64,$(LUKS_SRCS))
