/* Names for people: of the driver, of its volumes, of its disks.  (UEFI 2.10, 11.5) */
#ifndef METALCOW_EFI_COMPONENT_NAME_H
#define METALCOW_EFI_COMPONENT_NAME_H

#include <efi.h>

extern EFI_COMPONENT_NAME2_PROTOCOL mc_component_name2;

#endif
