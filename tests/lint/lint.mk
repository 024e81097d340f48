# What the lints need: the objects that they read, and what the build knows about them.
#
#   make clang-check   core/ and everything else that runs on the host, with clang's warnings
#   make analyze       clang's analyzer over the same, and cppcheck; not in `make test`
#   make doc-check    texts, references in comments, man pages, subjects of commits
#   make coverage      lines and branches of core/ that the host's tests reach

LINT_FACTS    := $(BUILD)/lint/facts
# Everything that firmware runs and this project wrote.
FIRMWARE_SRCS := $(sort $(CORE_SRCS) $(DRIVERS_EFI_SRCS) $(EFI_DRIVER_SRCS) $(EFI_APP_SRCS))
# What clang compiles and analyses: all our C that the host can compile, tests aside.
HOST_SRCS     := $(sort $(CORE_SRCS) $(DRIVERS_HOST_SRCS) $(DRIVERS_EFI_ONLY_SRCS) \
                        $(EFI_HOST_SRCS) $(wildcard tools/*/*.c tools/*/*/*.c))

# One line each: a name, then words. Lints take from here what only make knows. Written every time,
# since a new file changes the lists without changing a makefile.
$(LINT_FACTS): FORCE
	@mkdir -p $(@D)
	@{ echo 'core $(CORE_SRCS)'; \
	   echo 'firmware $(FIRMWARE_SRCS)'; \
	   echo 'host $(HOST_SRCS)'; \
	   echo 'third_party $(THIRD_PARTY_LIB_x64)'; \
	   echo 'x64_flags $(x64_CFLAGS)'; \
	   echo 'host_flags $(HOST_CFLAGS)'; } > $@

lint-objects: $(LINT_FACTS) $(call objects,host,$(CORE_SRCS)) \
              $(call objects,x64,$(FIRMWARE_SRCS)) $(THIRD_PARTY_LIB_x64)
san: lint-objects

$(BUILD)/clang/obj/%.o: %.c Makefile tests/lint/lint.mk
	@mkdir -p $(@D)
	$(CLANG) $(HOST_CFLAGS) $(if $(filter core/%,$<),$(CORE_CFLAGS)) $(CFLAGS_$(subst /,_,$<)) \
	    -c $< -o $@
$(call objects,clang,$(CODEC_SRCS) $(LUKS_CRYPTO_SRCS)): \
    $(ZLIB_STAMP) $(ZSTD_STAMP) $(BEARSSL_STAMP)

format: ## clang-format over all C
	find core drivers efi include tools tests -name '*.[ch]' ! -path '*/samples/format/*' \
	    -exec clang-format -i {} +

clang-check: $(call objects,clang,$(HOST_SRCS)) ## compile with clang, the same warnings

# One check is off: it wants memcpy_s(), which no freestanding library has.
ANALYZE_FLAGS := --analyze --analyzer-output text -Xclang -analyzer-disable-checker \
                 -Xclang security.insecureAPI.DeprecatedOrUnsafeBufferHandling
$(BUILD)/analyze/%.txt: %.c Makefile tests/lint/lint.mk
	@mkdir -p $(@D)
	$(CLANG) $(ANALYZE_FLAGS) $(filter-out -MMD -MP -Werror,$(HOST_CFLAGS)) \
	    $(if $(filter core/%,$<),$(CORE_CFLAGS)) $(CFLAGS_$(subst /,_,$<)) $< 2>$@
$(patsubst %.c,$(BUILD)/analyze/%.txt,$(CODEC_SRCS) $(LUKS_CRYPTO_SRCS)): \
    $(ZLIB_STAMP) $(ZSTD_STAMP) $(BEARSSL_STAMP)

# A string copied to its NUL or to the room there is looks to cppcheck like a check too late.
analyze: $(HOST_SRCS:%.c=$(BUILD)/analyze/%.txt) ## static analysis by clang and cppcheck
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability \
	    --suppress=arrayIndexThenCheck -Iinclude $(CORE_SRCS) $(EFI_HOST_SRCS)
	@/usr/bin/python3 tests/lint/analyze.py $^

# Thresholds in percent; 0 only reports. A line that no test can reach says so itself.
COVERAGE_LINES    ?= 100
COVERAGE_BRANCHES ?= 96
# Cutting the power reaches nothing that the model and the failing calls do not, and takes minutes.
COVERAGE_SRCS      = $(filter-out tests/fault/test_crash.c,\
                       $(filter tests/unit/core/% tests/bad/% tests/fault/%,$(ALL_TEST_SRCS)))
COVERAGE_PROGRAMS  = $(COVERAGE_SRCS:%.c=$(BUILD)/cov/%)
COVERAGE_LIB      := $(BUILD)/cov/libmetalcow.a

$(COVERAGE_LIB): $(call objects,cov,$(sort $(CORE_SRCS) $(DRIVERS_HOST_SRCS) \
                   $(DRIVERS_EFI_ONLY_SRCS) $(EFI_HOST_SRCS) $(TEST_HELPER_SRCS) \
                   $(METALCOW_SRCS) $(filter-out tests/fault/test_%,$(wildcard tests/fault/*.c))))
	@rm -f $@
	@mkdir -p $(@D)
	$(AR) qcs $@ $^

# One archive holds all there is; programs with rules of their own (codec.mk) keep them.
$(BUILD)/cov/tests/%: $(BUILD)/cov/obj/tests/%.o $(COVERAGE_LIB) $(THIRD_PARTY_LIB_cov)
	@mkdir -p $(@D)
	$(CC) --coverage -o $@ $^

coverage: ## lines and branches of core/ that the tests reach
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(COVERAGE_PROGRAMS)
	@/usr/bin/python3 tests/lint/coverage.py --build $(BUILD) --lines $(COVERAGE_LINES) \
	    --branches $(COVERAGE_BRANCHES) --sources $(CORE_SRCS) \
	    --programs $(COVERAGE_PROGRAMS)
FORCE:
.PHONY: FORCE format lint-objects clang-check analyze coverage

doc-check: $(BUILD)/host/metalcow ## check texts, references, man pages and subjects of commits
	tests/lint/test_doc.py
.PHONY: doc-check
