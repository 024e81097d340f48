# Sources and rules of efi/.

# Pure parts of the firmware programs: they run on the host too, under the tests and the fuzzer.
EFI_HOST_SRCS := efi/config.c efi/config_order.c
