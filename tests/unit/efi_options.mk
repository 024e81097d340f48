# Load options on the host: the application's sources over variable services made here.
OPTIONS_TEST      := tests/unit/efi/app/test_option_store
OPTIONS_TEST_SRCS := efi/app/option_store.c efi/base/firmware.c efi/base/device_path.c
OWN_TEST_SRCS     += $(OPTIONS_TEST).c
$(call objects,san,efi/app/option_store.c $(OPTIONS_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(OPTIONS_TEST): $(call objects,san,$(OPTIONS_TEST).c $(OPTIONS_TEST_SRCS) \
                                  $(DRIVERS_EFI_ONLY_SRCS)) $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Whether a RAM disk fits: pure, so it needs no firmware.
RAMDISK_TEST  := tests/unit/efi/app/test_ramdisk_fit
OWN_TEST_SRCS += $(RAMDISK_TEST).c
$(BUILD)/san/$(RAMDISK_TEST): $(call objects,san,$(RAMDISK_TEST).c efi/app/ramdisk_fit.c) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# The command line of the application, whose commands are made by the test.
COMMANDS_TEST      := tests/unit/efi/app/test_commands
COMMANDS_TEST_SRCS := efi/app/commands.c efi/base/console.c efi/base/firmware.c
OWN_TEST_SRCS      += $(COMMANDS_TEST).c
$(call objects,san,efi/app/commands.c $(COMMANDS_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(COMMANDS_TEST): $(call objects,san,$(COMMANDS_TEST).c $(COMMANDS_TEST_SRCS) \
                                   $(DRIVERS_EFI_ONLY_SRCS)) $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Starting entries, and leaving the menu, over a driver and boot services that the test makes.
START_TEST      := tests/unit/efi/app/test_start
START_TEST_SRCS := efi/app/start.c efi/app/menu_run.c efi/base/console.c efi/base/firmware.c
OWN_TEST_SRCS   += $(START_TEST).c
$(call objects,san,efi/app/start.c efi/app/menu_run.c $(START_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(START_TEST): $(call objects,san,$(START_TEST).c $(START_TEST_SRCS) \
                                $(DRIVERS_EFI_ONLY_SRCS)) $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# What a disk is started by; the volume is made by the test.
LOADERS_TEST  := tests/unit/efi/app/test_loaders
OWN_TEST_SRCS += $(LOADERS_TEST).c
$(call objects,san,efi/app/loaders.c $(LOADERS_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(LOADERS_TEST): $(call objects,san,$(LOADERS_TEST).c efi/app/loaders.c) \
                              $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^

# Finding the driver; the firmware is made by the test.
CLIENT_TEST   := tests/unit/efi/app/test_control_client
OWN_TEST_SRCS += $(CLIENT_TEST).c
$(call objects,san,efi/app/control_client.c $(CLIENT_TEST).c): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar
$(BUILD)/san/$(CLIENT_TEST): $(call objects,san,$(CLIENT_TEST).c efi/app/control_client.c \
                                 $(DRIVERS_EFI_ONLY_SRCS)) $(BUILD)/san/libmetalcow.a
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $^
