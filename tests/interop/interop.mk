# Interop tests against qemu-img: what their scripts run, and `make matrix`.

PIECE_READER := $(BUILD)/san/tests/interop/piece_reader
$(PIECE_READER): $(BUILD)/san/obj/tests/interop/piece_reader.o $(BUILD)/san/libmetalcow.a \
                 $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
san: $(PIECE_READER)

# What test_244.py and test_commit.py preload.
PRELOADS := $(patsubst %,$(BUILD)/san/tests/interop/%.so,fail_flush trace_writes)
$(PRELOADS): $(BUILD)/san/tests/interop/%.so: tests/interop/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -shared -fPIC -o $@ $<
san: $(PRELOADS)

matrix: $(BUILD)/san/metalcow $(PIECE_READER) ## read every image of the matrix as qemu-img does
	@tests/interop/test_read_matrix.py --build $(BUILD) --all
.PHONY: matrix

# Unit tests of the host command's pure parts link its objects.
TOOL_TEST_SRCS := $(patsubst %,tests/unit/test_%.c,size json preallocated strip)
OWN_TEST_SRCS  += $(TOOL_TEST_SRCS)
$(foreach src,$(TOOL_TEST_SRCS),$(eval CFLAGS_$(subst /,_,$(src)) := -I.))
# $(call tool_tests,variant,linker flags)
define tool_tests
$(patsubst %.c,$(BUILD)/$(1)/%,$(TOOL_TEST_SRCS)): $(BUILD)/$(1)/tests/unit/test_%: \
        $(BUILD)/$(1)/obj/tests/unit/test_%.o $(BUILD)/$(1)/obj/tools/metalcow/%.o \
        $(BUILD)/$(1)/libmetalcow.a
	@mkdir -p $$(@D)
	$$(CC) $(2) -o $$@ $$^
endef
$(eval $(call tool_tests,san,-fsanitize=address$(comma)undefined))
$(eval $(call tool_tests,cov,--coverage))

# What test_sizes.py runs commands under; the host's, because sanitizers take memory of their own.
$(BUILD)/host/tests/interop/peak: $(BUILD)/host/obj/tests/interop/peak.o
	@mkdir -p $(@D)
	$(CC) -o $@ $^
san: $(BUILD)/host/tests/interop/peak
