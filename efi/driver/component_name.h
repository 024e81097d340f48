/* Names for people: of the driver, of its volumes, of its disks.  (UEFI 2.10, 11.5) */
#ifndef METALCOW_EFI_COMPONENT_NAME_H
#define METALCOW_EFI_COMPONENT_NAME_H

#include <stdbool.h>

#include <efi.h>

/* Is this English, the only language of names and diagnostics?  "en" or "en-..." (RFC 4646). */
bool mc_is_english(const CHAR8 *language);

extern EFI_COMPONENT_NAME2_PROTOCOL mc_component_name2;

#endif
