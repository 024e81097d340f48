/* Statuses of ours and of UEFI, both ways.
 *
 * Const tables, no state.
 */
#ifndef Q2_DRIVERS_EFI_STATUS_H
#define Q2_DRIVERS_EFI_STATUS_H

#include <efi.h>

#include "q2_status.h"

/* What an UEFI program or a protocol without a list of its own returns for a status.
 * EFI_DEVICE_ERROR for a value outside the enum. */
EFI_STATUS q2_efi_from_status(enum q2_status status);

/* What Block I/O (read, write, flush, erase) returns: only codes that the UEFI specification lists
 * there, so a broken image, a full disk and a failed device are all EFI_DEVICE_ERROR. */
EFI_STATUS q2_efi_block_from_status(enum q2_status status);

/* What a status of the firmware means to us; Q2_ERR_IO for all that has no nearer meaning. Warnings
 * are Q2_ERR_IO too: no call of ours can use half a result. */
enum q2_status q2_status_from_efi(EFI_STATUS efi_status);

/* The same for LoadImage() and StartImage(). Which of two codes they give for a program without a
 * good signature depends on the firmware's policy: both are Q2_ERR_UNTRUSTED here. */
enum q2_status q2_status_from_efi_load(EFI_STATUS efi_status);

#endif
