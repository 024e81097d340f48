# Sources and rules of tests/: C test programs, `make test`.
#
# A C test is tests/DIR/test_NAME.c; it becomes build/san/tests/DIR/test_NAME, linked against
# everything that can run on the host (an archive, so only what it calls comes in).
# tests/run.py finds the suites by itself; see its head.

TEST_SRCS     := $(sort $(wildcard tests/*/test_*.c))
TEST_PROGRAMS := $(patsubst %.c,$(BUILD)/san/%,$(TEST_SRCS))
TEST_LIB      := $(BUILD)/san/libmetalcow.a
TEST_LIB_SRCS := $(CORE_SRCS) $(DRIVERS_HOST_SRCS)

$(TEST_LIB): $(call objects,san,$(TEST_LIB_SRCS))
	@rm -f $@
	@mkdir -p $(@D)
	$(AR) rcs $@ $^

$(TEST_PROGRAMS): $(BUILD)/san/%: $(BUILD)/san/obj/%.o $(TEST_LIB)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^ $(TEST_LDLIBS)

san: $(TEST_PROGRAMS) ## build the test programs with the sanitizers

test: ## run every test; the last line is "N passed, N failed"
	@tools/setup.sh
	@$(MAKE) --no-print-directory -j$(JOBS) all san guests
	@tests/run.py --build $(BUILD) $(SUITES)
.PHONY: san test
