# Fuzzing with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#
# Every tests/fuzz/fuzz_NAME.c with a LLVMFuzzerTestOneInput becomes build/fuzz/fuzz_NAME, linked
# against everything that can run on the host. Its seeds, if any, are in tests/fuzz/corpus/NAME/
# (committed, tiny) and in build/fuzz/seeds/NAME/ (made: a rule for build/fuzz/seeds/NAME.stamp,
# named in FUZZ_SEEDS). What a long run finds goes to build/fuzz/corpus/NAME/ and is used again; an
# input that fails is kept as build/fuzz/NAME-crash-... (give it to the program as its argument to
# see the failure again).

FUZZ_SECONDS  ?= 60
FUZZ_SRCS     := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRCS))
FUZZ_LIB      := $(BUILD)/fuzz/libmetalcow.a
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_CFLAGS   := $(COMMON_CFLAGS) -O1 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
                 -fsanitize=fuzzer-no-link $(FUZZ_SANITIZE)

$(BUILD)/fuzz/obj/%.o: %.c Makefile tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) $(if $(filter core/%,$<),$(CORE_CFLAGS)) $(CFLAGS_$(subst /,_,$<)) \
	    -c $< -o $@

$(eval $(call third_party_variant,fuzz,FUZZ,$(CLANG)))
$(eval $(call crypto_variant,fuzz,FUZZ,$(CLANG)))

$(FUZZ_LIB): $(call objects,fuzz,$(CORE_SRCS) $(DRIVERS_HOST_SRCS) $(EFI_HOST_SRCS))
	@rm -f $@
	$(AR) qcs $@ $^

$(FUZZ_PROGRAMS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/fuzz/%.o $(FUZZ_LIB) \
                                   $(THIRD_PARTY_LIB_fuzz)
	$(CLANG) -fsanitize=fuzzer $(FUZZ_SANITIZE) $^ -o $@

# Seeds of the codecs: valid streams by the encoders.
FUZZ_SEEDS    := $(BUILD)/fuzz/seeds/codec_zlib.stamp $(BUILD)/fuzz/seeds/codec_zstd.stamp
SEED_CODEC    := $(BUILD)/host/tests/fuzz/seed_codec
CFLAGS_tests_fuzz_seed_codec.c := $(CFLAGS_tests_contract_codec_encode.c)
$(call objects,host,tests/fuzz/seed_codec.c): $(ZLIB_STAMP)
$(SEED_CODEC): $(call objects,host,tests/fuzz/seed_codec.c tests/contract/codec_encode.c) \
               $(THIRD_PARTY_ENCODERS_host) $(THIRD_PARTY_LIB_host)
	@mkdir -p $(@D)
	$(CC) $^ -o $@
$(BUILD)/fuzz/seeds/codec_%.stamp: $(SEED_CODEC)
	@rm -rf $(@:.stamp=)
	@mkdir -p $(@:.stamp=)
	$(SEED_CODEC) $* $(@:.stamp=)
	@touch $@

fuzz-programs: $(FUZZ_PROGRAMS) $(FUZZ_SEEDS)
san: fuzz-programs

fuzz: fuzz-programs ## fuzz every parser for FUZZ_SECONDS (60) each
	@tests/fuzz/test_fuzz.sh long $(BUILD) $(FUZZ_SECONDS) $(FUZZ)
fuzz-short: fuzz-programs ## 20000 inputs for every fuzzer, the same ones each time
	@tests/fuzz/test_fuzz.sh short $(BUILD)
.PHONY: fuzz fuzz-short fuzz-programs
