# Fault tests: power cuts, failing calls, random operations against a model, and mutants of core/.
#
# The programs are built twice: with the sanitizers for `make test`, where they run bounded, and
# optimised for the long runs:
#
#   make crash    every crash point of every script     CRASH_ARGS='--all-qemu' ...
#   make amend-cuts   the same while an image is resized, preallocated, emptied
#   make model    10000 random operations per geometry  MODEL_ARGS='--seed 7' ...

FAULT_HELPERS := choice crash_source crash_states damaged geometry script judge
FAULT_TESTS   := $(patsubst tests/fault/%.c,%,$(wildcard tests/fault/test_*.c))
FAULT_SRCS    := $(FAULT_HELPERS:%=tests/fault/%.c)
OWN_TEST_SRCS += $(FAULT_TESTS:%=tests/fault/%.c)

$(FAULT_TESTS:%=$(BUILD)/san/tests/fault/%): $(BUILD)/san/tests/fault/%: \
    $(BUILD)/san/obj/tests/fault/%.o $(call objects,san,$(FAULT_SRCS)) \
    $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

$(FAULT_TESTS:%=$(BUILD)/host/tests/fault/%): $(BUILD)/host/tests/fault/%: \
    $(BUILD)/host/obj/tests/fault/%.o \
    $(call objects,host,$(FAULT_SRCS) tests/support/workspace.c $(CORE_SRCS) \
      drivers/codec/zlib.c) $(THIRD_PARTY_LIB_host)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

crash: $(BUILD)/host/tests/fault/test_crash ## cut the power at every point of every script
	$< --full $(CRASH_ARGS)
amend-cuts: $(BUILD)/host/tests/fault/test_amend_cuts ## the same for resize, preallocate, empty
	$< --full $(CRASH_ARGS)
.PHONY: crash amend-cuts

model: $(BUILD)/host/tests/fault/test_model ## 10000 random operations per geometry against an array
	$< --full $(MODEL_ARGS)
fail: $(BUILD)/host/tests/fault/test_fail_nth ## let every single call of the files fail, in turn
	$< --full $(FAIL_ARGS)
.PHONY: model fail

# Mutants: one file of core/ changed by a sed script, linked before the archive that has the rest.
# The script's first line names the file and the program that must notice.
MUTANTS         := $(patsubst tests/fault/mutants/%.sed,%,$(wildcard tests/fault/mutants/*.sed))
MUTANT_PROGRAMS := $(MUTANTS:%=$(BUILD)/san/tests/fault/mutants/%)
mutant_word      = $(word $(2),$(shell head -n 1 tests/fault/mutants/$(1).sed))

# $(call mutant,name,file of core/,program)
define mutant
$(BUILD)/mutants/$(1).c: tests/fault/mutants/$(1).sed $(2)
	@mkdir -p $$(@D)
	sed -E -f $$< $(2) > $$@
	@! cmp -s $$@ $(2) || { echo "$$<: changes nothing in $(2)"; false; }
$(BUILD)/mutants/$(1).o: $(BUILD)/mutants/$(1).c Makefile
	$$(CC) $$(SAN_CFLAGS) $$(CORE_CFLAGS) -iquote $(dir $(2)) -c $$< -o $$@
$(BUILD)/san/tests/fault/mutants/$(1): $(BUILD)/mutants/$(1).o \
    $(BUILD)/san/obj/tests/fault/$(3).o $(call objects,san,$(FAULT_SRCS)) \
    $(BUILD)/san/libmetalcow.a $$(THIRD_PARTY_LIB_san)
	@mkdir -p $$(@D)
	$$(CC) $$(SAN_FLAGS) -o $$@ $$^
-include $(BUILD)/mutants/$(1).d
endef
$(foreach m,$(MUTANTS),\
    $(eval $(call mutant,$(m),$(call mutant_word,$(m),2),$(call mutant_word,$(m),3))))

mutants: $(MUTANT_PROGRAMS)
san: mutants
.PHONY: mutants
