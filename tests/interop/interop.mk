# Interop tests against qemu-img: what their scripts run, and `make matrix`.

PIECE_READER := $(BUILD)/san/tests/interop/piece_reader
$(PIECE_READER): $(BUILD)/san/obj/tests/interop/piece_reader.o $(BUILD)/san/libmetalcow.a \
                 $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
san: $(PIECE_READER)

# What test_data_file.py, test_commit.py and test_salvage.py preload.
PRELOADS := $(patsubst %,$(BUILD)/san/tests/interop/%.so,fail_flush fail_read trace_writes)
$(PRELOADS): $(BUILD)/san/tests/interop/%.so: tests/interop/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -shared -fPIC -o $@ $<
san: $(PRELOADS)

matrix: $(BUILD)/san/metalcow $(PIECE_READER) ## read every image of the matrix as qemu-img does
	@tests/interop/test_read_matrix.py --build $(BUILD) --all
.PHONY: matrix

differential: $(BUILD)/host/metalcow ## OPS (300000) random operations by us and QEMU in turns
	tests/interop/test_differential.py --ops $(OPS) --seed $(SEED) --batches 6 \
	    --keep-going
differential: OPS = 300000
differential: SEED = 1
.PHONY: differential

# Unit tests of the host command's pure parts: tests/unit/tools/FOLDER/test_NAME.c links the object
# of tools/metalcow/FOLDER/NAME.c. Those of the hand-off are in tests/unit/handoff.mk.
TOOL_TEST_SRCS := $(filter-out tests/unit/tools/handoff/%,\
                    $(sort $(wildcard tests/unit/tools/*/test_*.c)))
OWN_TEST_SRCS  += $(TOOL_TEST_SRCS)
tool_test_object = $(subst /test_,/,$(patsubst tests/unit/tools/%.c,tools/metalcow/%.o,$(1)))
# $(call tool_test,variant,linker flags,source of the test)
define tool_test
$(BUILD)/$(1)/$(3:.c=): $(BUILD)/$(1)/obj/$(3:.c=.o) \
    $(BUILD)/$(1)/obj/$(call tool_test_object,$(3)) $(BUILD)/$(1)/libmetalcow.a
	@mkdir -p $$(@D)
	$$(CC) $(2) -o $$@ $$^
endef
$(foreach t,$(TOOL_TEST_SRCS),$(eval $(call tool_test,san,$(SAN_FLAGS),$(t))))
$(foreach t,$(TOOL_TEST_SRCS),$(eval $(call tool_test,cov,--coverage,$(t))))

# What test_sizes.py runs commands under; the host's, because sanitizers take memory of their own.
$(BUILD)/host/tests/interop/peak: $(BUILD)/host/obj/tests/interop/peak.o
	@mkdir -p $(@D)
	$(CC) -o $@ $^
san: $(BUILD)/host/tests/interop/peak
