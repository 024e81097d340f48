# Seeds of the fuzzers of core/: small images by the tests' image builder. Read by fuzz.mk's makers:
# FUZZ_SEEDS is theirs.
SEED_IMAGE := $(BUILD)/host/tests/fuzz/seed_image
CORE_SEEDS := $(patsubst %,$(BUILD)/fuzz/seeds/%.stamp,image header extension snapshot)

$(SEED_IMAGE): $(call objects,host,tests/fuzz/seed_image.c tests/support/image_builder.c \
                                   tests/support/fake_codec.c)
	@mkdir -p $(@D)
	$(CC) $^ -o $@
$(CORE_SEEDS): $(BUILD)/fuzz/seeds/%.stamp: $(SEED_IMAGE)
	@rm -rf $(@:.stamp=)
	@mkdir -p $(@:.stamp=)
	$(SEED_IMAGE) $* $(@:.stamp=)
	@touch $@
fuzz-programs: $(CORE_SEEDS)
