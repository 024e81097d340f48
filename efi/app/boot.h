/* Starting a loader.  (UEFI 2.10, 7.4) */
#ifndef METALCOW_EFI_BOOT_H
#define METALCOW_EFI_BOOT_H

#include <efi.h>

#include "q2_status.h"

/* Load and start a file of a volume. Returns only if the loader returns; most loaders never do.
 *
 * ret_status  what the loader returned
 *
 * Q2_OK              it was started, and returned
 * Q2_ERR_UNTRUSTED   Secure Boot does not allow it
 * Q2_ERR_NOT_FOUND, Q2_ERR_UNSUPPORTED, Q2_ERR_IO   the firmware cannot load it
 * Q2_ERR_LIMIT       no memory
 */
enum q2_status mc_boot(EFI_HANDLE volume, const char *path, struct q2_fault *fault,
                       EFI_STATUS *ret_status);

#endif
