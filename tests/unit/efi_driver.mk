# Tests of the driver on the host: the real sources against mocked boot services (mock.h).
EFI_DRIVER_TESTS := $(patsubst %.c,%,$(wildcard tests/unit/efi/driver/test_*.c))
OWN_TEST_SRCS    += $(EFI_DRIVER_TESTS:%=%.c)

EFI_DRIVER_TEST_SRCS := tests/unit/efi/driver/mock.c \
    $(addprefix efi/driver/,attach_disk.c binding.c component_name.c control_server.c \
      detach_disk.c diagnostics.c publish.c registry.c unload.c upkeep.c volumes.c) \
    $(addprefix efi/base/,console.c device_path.c firmware.c) \
    $(addprefix efi/image/,attach.c entries.c opener.c overlay.c room.c unlock.c \
      verify_image.c) \
    $(DRIVERS_EFI_ONLY_SRCS)
EFI_DRIVER_TEST_OBJS := $(call objects,san,$(EFI_DRIVER_TEST_SRCS))
$(EFI_DRIVER_TEST_OBJS) $(EFI_DRIVER_TESTS:%=$(BUILD)/san/obj/%.o): \
    san_CFLAGS += $(EFI_HOST_CFLAGS) -fshort-wchar -Wno-sign-conversion

# Power cuts, with the helpers of the fault tests.
$(BUILD)/san/tests/unit/efi/driver/test_repair_cuts: $(call objects,san,$(FAULT_SRCS))

$(EFI_DRIVER_TESTS:%=$(BUILD)/san/%): $(BUILD)/san/%: $(BUILD)/san/obj/%.o \
    $(EFI_DRIVER_TEST_OBJS) $(BUILD)/san/libmetalcow.a $(THIRD_PARTY_LIB_san)
	@mkdir -p $(@D)
	$(CC) $(SAN_FLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)
