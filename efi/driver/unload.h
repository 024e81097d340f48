/* Unloading the driver.  (UEFI 2.10, 9.1 "EFI_LOADED_IMAGE_PROTOCOL.Unload()") */
#ifndef METALCOW_EFI_UNLOAD_H
#define METALCOW_EFI_UNLOAD_H

#include <efi.h>

/* All or nothing: every disk, every volume and every protocol goes, or the driver works on with all
 * of them. Why not is said on the console.
 *
 * EFI_ACCESS_DENIED  a disk is in use, or the firmware does not let go of a disk or a protocol */
EFI_STATUS EFIAPI mc_unload(EFI_HANDLE ImageHandle);

#endif
