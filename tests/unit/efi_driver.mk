# Tests of the driver on the host: the real sources against mocked boot services.
EFI_DRIVER_TEST := tests/unit/efi/driver/test_registry
OWN_TEST_SRCS += $(EFI_DRIVER_TEST).c

EFI_DRIVER_TEST_OBJS := $(call objects,san,efi/driver/registry.c efi/driver/publish.c \
    efi/base/firmware.c efi/base/device_path.c efi/image/opener.c $(DRIVERS_EFI_ONLY_SRCS))
$(EFI_DRIVER_TEST_OBJS) $(BUILD)/san/obj/$(EFI_DRIVER_TEST).o: \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar -Wno-sign-conversion

$(BUILD)/san/$(EFI_DRIVER_TEST): $(BUILD)/san/obj/$(EFI_DRIVER_TEST).o $(EFI_DRIVER_TEST_OBJS) \
                                 $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) -fsanitize=address,undefined -o $@ $^
