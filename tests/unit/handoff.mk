# The ways of delivering a hand-off, on the host: the firmware's sources over a firmware made here.
HANDOFF_TEST      := tests/unit/efi/handoff/test_delivery
HANDOFF_TEST_SRCS := efi/base/firmware.c $(patsubst %,efi/handoff/%.c,boot_params initrd_path \
                     memory_map own patch pe search wrap)
OWN_TEST_SRCS     += $(HANDOFF_TEST).c
$(foreach s,$(filter-out $(EFI_HOST_SRCS),$(HANDOFF_TEST_SRCS)) $(HANDOFF_TEST).c,\
    $(eval CFLAGS_$(subst /,_,$(s)) += $(EFI_HOST_CFLAGS)))
$(BUILD)/san/$(HANDOFF_TEST): $(call objects,san,$(HANDOFF_TEST).c $(HANDOFF_TEST_SRCS)) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
