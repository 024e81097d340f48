# The fuzzer that writes: random operations, failing calls, power cuts and damaged metadata, judged
# by a model. It is a plain program with the sanitizers; what it does depends on its seed alone.
#
#   make fuzz-write OPS=1000000 SEED=7
#
# `make test` runs a bounded part of it.

OPS  ?= 200000
SEED ?= 1

FUZZ_WRITE_TEST := $(BUILD)/san/tests/fuzz_write/test_fuzz_write
FUZZ_WRITE_SRCS := $(sort $(filter-out tests/fuzz_write/test_%,$(wildcard tests/fuzz_write/*.c))) \
                   tests/fault/crash_source.c tests/fault/crash_states.c
OWN_TEST_SRCS   += tests/fuzz_write/test_fuzz_write.c

$(FUZZ_WRITE_TEST): $(call objects,san,tests/fuzz_write/test_fuzz_write.c $(FUZZ_WRITE_SRCS)) \
                    $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

fuzz-write: $(FUZZ_WRITE_TEST) ## OPS (200000) random writes, cuts, repairs on damaged images
	$< --ops $(OPS) --seed $(SEED)
.PHONY: fuzz-write
