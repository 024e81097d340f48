# The ways of delivering a hand-off, on the host: the firmware's sources over a firmware made here.
HANDOFF_TEST      := tests/unit/efi/handoff/test_delivery
HANDOFF_TEST_SRCS := efi/base/firmware.c efi/base/memory_map.c \
                     $(patsubst %,efi/handoff/%.c,boot_params initrd_path own patch pe search wrap)
OWN_TEST_SRCS     += $(HANDOFF_TEST).c
$(foreach s,$(filter-out $(EFI_HOST_SRCS),$(HANDOFF_TEST_SRCS)) $(HANDOFF_TEST).c,\
    $(eval CFLAGS_$(subst /,_,$(s)) += $(EFI_HOST_CFLAGS)))
$(BUILD)/san/$(HANDOFF_TEST): $(call objects,san,$(HANDOFF_TEST).c $(HANDOFF_TEST_SRCS)) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Deciding about it, over a record and ways of delivery that the test makes.
HANDOFF_DECIDES      := tests/unit/efi/handoff/test_handoff
HANDOFF_DECIDES_SRCS := efi/base/firmware.c efi/handoff/handoff.c
OWN_TEST_SRCS        += $(HANDOFF_DECIDES).c
$(foreach s,efi/handoff/handoff.c $(HANDOFF_DECIDES).c,\
    $(eval CFLAGS_$(subst /,_,$(s)) += $(EFI_HOST_CFLAGS)))
$(BUILD)/san/$(HANDOFF_DECIDES): $(call objects,san,$(HANDOFF_DECIDES).c $(HANDOFF_DECIDES_SRCS)) \
                                 $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# The tables that the program in the running system gives to the device mapper, which the test is.
HANDOFF_LOOP  := tests/unit/tools/handoff/test_loop
OWN_TEST_SRCS += $(HANDOFF_LOOP).c
$(BUILD)/san/$(HANDOFF_LOOP): $(call objects,san,$(HANDOFF_LOOP).c tools/handoff/loop.c) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# When the table grows: the engine, the device mapper and the server are the test's.
HANDOFF_MIXED := tests/unit/tools/handoff/test_mixed
OWN_TEST_SRCS += $(HANDOFF_MIXED).c
$(BUILD)/san/$(HANDOFF_MIXED): $(call objects,san,$(HANDOFF_MIXED).c tools/handoff/mixed.c) \
                               $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -pthread -Wl,--wrap=stat,--wrap=stat64 -o $@ $^

# Which partition is the record's, on disks that the test makes of files.
HANDOFF_FIND  := tests/unit/tools/handoff/test_find
OWN_TEST_SRCS += $(HANDOFF_FIND).c
$(BUILD)/san/$(HANDOFF_FIND): $(call objects,san,$(HANDOFF_FIND).c tools/handoff/find.c) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -Wl,--wrap=open,--wrap=open64,--wrap=opendir,--wrap=usleep -o $@ $^
