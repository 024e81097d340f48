/* The driver model: Driver Binding on volumes with \metalcow\entries, Component Name 2, Driver
 * Diagnostics 2.  (UEFI 2.10, 11.1, 11.5 and 11.4)
 *
 * RemainingDevicePath is honoured: NULL asks for the disks of all entries, an end node for none,
 * and a path that goes on with a file path node and our vendor node for that disk. Another path is
 * none of ours (EFI_UNSUPPORTED). A later Start() adds what is missing.
 */
#ifndef METALCOW_EFI_BINDING_H
#define METALCOW_EFI_BINDING_H

#include <efi.h>

/* Install the protocols on the image's handle. */
EFI_STATUS mc_binding_install(EFI_HANDLE ImageHandle);

/* Uninstall them. Volumes and disks are given back by detach_disk.h. */
EFI_STATUS mc_binding_uninstall(EFI_HANDLE ImageHandle);

#endif
