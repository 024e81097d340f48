# Sources and rules of tests/: C test programs, `make test`.
#
# A C test is tests/DIR/test_NAME.c; it becomes build/san/tests/DIR/test_NAME, linked against
# everything that can run on the host (an archive, so only what it calls comes in). A folder whose
# tests need more has rules of its own in tests/DIR/*.mk and names those sources in OWN_TEST_SRCS.
# tests/run.py finds the suites by itself; see its head.

# Sources that tests share (fakes, the image builder); they go into the archive as well.
TEST_HELPER_SRCS := $(sort $(wildcard tests/support/*.c))

include $(wildcard tests/*/*.mk)

ALL_TEST_SRCS := $(sort $(wildcard tests/*/test_*.c tests/unit/*/*/test_*.c))
TEST_SRCS     := $(filter-out $(OWN_TEST_SRCS) $(CODEC_TESTS:%=tests/contract/%.c),$(ALL_TEST_SRCS))
TEST_LIB      := $(BUILD)/san/libmetalcow.a

$(TEST_LIB): $(call objects,san,$(CORE_SRCS) $(DRIVERS_HOST_SRCS) $(EFI_HOST_SRCS) \
               $(TEST_HELPER_SRCS))
	@rm -f $@
	@mkdir -p $(@D)
	$(AR) qcs $@ $^

$(patsubst %.c,$(BUILD)/san/%,$(TEST_SRCS)): $(BUILD)/san/%: $(BUILD)/san/obj/%.o $(TEST_LIB) \
                                             $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

san: $(patsubst %.c,$(BUILD)/san/%,$(ALL_TEST_SRCS)) ## build the test programs with the sanitizers

test: ## run every test; the last line is "N passed, N failed"
	@tools/setup.sh
	@$(MAKE) --no-print-directory -j$(JOBS) all san guests
	@tests/run.py --build $(BUILD) $(SUITES)
.PHONY: san test
