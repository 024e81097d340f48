# Fault tests: power cuts, failing calls, random operations against a model, and mutants of core/.
#
# The programs are built twice: with the sanitizers for `make test`, where they run bounded, and
# optimised for the long runs:
#
#   make crash    every crash point of every script     CRASH_ARGS='--all-qemu' ...
#   make model    10000 random operations per geometry  MODEL_ARGS='--seed 7' ...

FAULT_HELPERS := crash_source crash_states geometry script judge
FAULT_TESTS   := $(patsubst tests/fault/%.c,%,$(wildcard tests/fault/test_*.c))
FAULT_SRCS    := $(FAULT_HELPERS:%=tests/fault/%.c)
OWN_TEST_SRCS += $(FAULT_TESTS:%=tests/fault/%.c)

$(foreach s,$(FAULT_HELPERS) $(FAULT_TESTS),$(eval CFLAGS_tests_fault_$(s).c := -I.))

$(FAULT_TESTS:%=$(BUILD)/san/tests/fault/%): $(BUILD)/san/tests/fault/%: \
    $(BUILD)/san/obj/tests/fault/%.o $(call objects,san,$(FAULT_SRCS)) \
    $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^

$(FAULT_TESTS:%=$(BUILD)/host/tests/fault/%): $(BUILD)/host/tests/fault/%: \
    $(BUILD)/host/obj/tests/fault/%.o \
    $(call objects,host,$(FAULT_SRCS) $(CORE_SRCS) drivers/codec_zlib.c) $(THIRD_PARTY_LIB_host)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

crash: $(BUILD)/host/tests/fault/test_crash ## cut the power at every point of every script
	$< --full $(CRASH_ARGS)
.PHONY: crash
