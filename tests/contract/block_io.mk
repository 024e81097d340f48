# Block I/O on the host: UEFI's adapter over the real engine.
CFLAGS_tests_contract_test_block_io.c := $(EFI_HOST_CFLAGS)
$(BUILD)/san/tests/contract/test_block_io: \
    $(call objects,san,drivers/efi/block_io.c drivers/efi/status.c)
