# Tests of the byte sources and of FAT: linked against core/base, core/fs and drivers/ alone, which
# shows that no source needs anything of the engine. UEFI's adapters come along, driven by mocks.

SOURCE_TESTS := $(basename $(wildcard tests/unit/core/fs/test_*.c)) \
                $(basename $(wildcard tests/unit/drivers/posix/test_*.c)) \
                tests/contract/test_sources tests/contract/test_sources_efi \
                tests/contract/test_fat_images
OWN_TEST_SRCS += $(SOURCE_TESTS:%=%.c)
CFLAGS_tests_contract_test_sources_efi.c := $(EFI_HOST_CFLAGS)

SOURCE_TEST_LIB := $(BUILD)/san/libsources.a
$(SOURCE_TEST_LIB): $(call objects,san,$(wildcard core/base/*.c core/fs/*.c drivers/extents/*.c \
                      drivers/memory/*.c drivers/posix/*.c drivers/efi/*.c))
	@rm -f $@
	@mkdir -p $(@D)
	$(AR) qcs $@ $^

$(SOURCE_TESTS:%=$(BUILD)/san/%): $(BUILD)/san/%: $(BUILD)/san/obj/%.o $(SOURCE_TEST_LIB)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
