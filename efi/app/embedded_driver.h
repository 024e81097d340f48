/* The copy of metalcowdxe.efi inside metalcow.efi. */
#ifndef METALCOW_EFI_EMBEDDED_DRIVER_H
#define METALCOW_EFI_EMBEDDED_DRIVER_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t mc_embedded_driver[];

size_t mc_embedded_driver_size(void);

#endif
