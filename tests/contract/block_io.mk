# The block protocols on the host: UEFI's adapters over the real engine.
BLOCK_TESTS := test_block_gather test_block_io test_block_io2 test_block_queue test_block_status \
               test_erase_block test_read_watch
BLOCK_SRCS  := $(addprefix drivers/efi/,block_gather.c block_io.c block_io2.c block_queue.c \
                                        disk_io.c erase_block.c erase.c read_watch.c status.c)
$(foreach test,$(BLOCK_TESTS),$(eval CFLAGS_tests_contract_$(test).c := $(EFI_HOST_CFLAGS)))
$(BLOCK_TESTS:%=$(BUILD)/san/tests/contract/%): $(call objects,san,$(BLOCK_SRCS))
