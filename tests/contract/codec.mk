# The codec contract suite: one program for each codec, decoders under ASan and UBSan.
CODEC_TESTS := test_codec_zlib test_codec_zstd

CFLAGS_tests_contract_codec_encode.c    := -DZ_SOLO -isystem $(THIRD_PARTY)/zlib \
                                           -isystem $(THIRD_PARTY)/zstd/lib
CFLAGS_tests_contract_test_codec_zlib.c := $(CFLAGS_tests_contract_codec_encode.c)

# $(call codec_test,variant,flags)
define codec_test
$$(call objects,$(1),tests/contract/codec_encode.c $$(CODEC_TESTS:%=tests/contract/%.c)): \
    $$(ZLIB_STAMP) $$(ZSTD_STAMP)
$$(CODEC_TESTS:%=$$(BUILD)/$(1)/tests/contract/%): $$(BUILD)/$(1)/tests/contract/%: \
    $$(BUILD)/$(1)/obj/tests/contract/%.o \
    $$(call objects,$(1),tests/contract/codec_encode.c $$(CODEC_SRCS)) \
    $$(THIRD_PARTY_ENCODERS_$(1)) $$(THIRD_PARTY_LIB_$(1))
	@mkdir -p $$(@D)
	$$(CC) $$($(2)_CFLAGS) $$^ -o $$@
endef
$(eval $(call codec_test,host,HOST))
$(eval $(call codec_test,san,SAN))
$(eval $(call codec_test,cov,COV))
