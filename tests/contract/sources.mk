# Tests of the byte sources and of FAT: linked against drivers/ alone, which shows that no source
# needs anything of the engine. UEFI's adapters come along, driven by mocks.

SOURCE_TESTS := tests/unit/test_fat_volume tests/unit/test_fat_path tests/unit/test_fat_map \
                tests/unit/test_extents_verify tests/unit/test_source_posix \
                tests/contract/test_sources tests/contract/test_sources_efi \
                tests/contract/test_fat_images
OWN_TEST_SRCS += $(SOURCE_TESTS:%=%.c)
CFLAGS_tests_contract_test_sources_efi.c := $(EFI_HOST_CFLAGS)

SOURCE_TEST_LIB := $(BUILD)/san/libsources.a
$(SOURCE_TEST_LIB): $(call objects,san,$(DRIVERS_BOTH_SRCS) drivers/source_posix.c \
                      drivers/lock_posix.c drivers/opener_posix.c $(DRIVERS_EFI_ONLY_SRCS))
	@rm -f $@
	@mkdir -p $(@D)
	$(AR) rcs $@ $^

$(SOURCE_TESTS:%=$(BUILD)/san/%): $(BUILD)/san/%: $(BUILD)/san/obj/%.o $(SOURCE_TEST_LIB)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
