/* The driver model: Driver Binding on volumes with \metalcow\entries, Component Name 2.
 * (UEFI 2.10, 11.1 and 11.5)
 */
#ifndef METALCOW_EFI_BINDING_H
#define METALCOW_EFI_BINDING_H

#include <efi.h>

/* Install the protocols on the image's handle. */
EFI_STATUS mc_binding_install(EFI_HANDLE ImageHandle);

/* Stop everything and uninstall. On an error the driver works on. */
EFI_STATUS mc_binding_uninstall(EFI_HANDLE ImageHandle);

#endif
