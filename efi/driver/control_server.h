/* Installs and removes the control protocol. */
#ifndef METALCOW_EFI_CONTROL_SERVER_H
#define METALCOW_EFI_CONTROL_SERVER_H

#include <efi.h>

EFI_STATUS mc_control_install(EFI_HANDLE ImageHandle);
EFI_STATUS mc_control_uninstall(EFI_HANDLE ImageHandle);

#endif
