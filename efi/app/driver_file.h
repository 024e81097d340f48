/* Files that options name: the driver, stored on a volume, and what kind of program a file is. */
#ifndef METALCOW_EFI_DRIVER_FILE_H
#define METALCOW_EFI_DRIVER_FILE_H

#include <stdbool.h>

#include <efi.h>

#include "q2_status.h"

/* Where the driver that is inside the application is stored on a volume. */
#define MC_DRIVER_FILE "/EFI/metalcow/metalcowdxe.efi"

/* Store the driver that is inside the application as MC_DRIVER_FILE, unless it is there already. It
 * is written under another name first, so that a cut leaves no half driver under its own.
 *
 * Q2_ERR_UNSUPPORTED  the volume has no file system that the firmware knows
 * Q2_ERR_READ_ONLY    the volume is write-protected
 * Q2_ERR_NO_SPACE     the volume is full
 * Q2_ERR_LIMIT        no memory
 * Q2_ERR_IO           the volume cannot be read or written
 */
enum q2_status mc_driver_file_store(EFI_HANDLE volume, struct q2_fault *fault);

/* Refuse a file that is no UEFI program of the kind that an option needs.
 *
 * want_driver  a driver with boot services, else an application
 *
 * Q2_ERR_NOT_FOUND    there is no such file
 * Q2_ERR_UNSUPPORTED  it is another kind of file
 */
enum q2_status mc_program_check(EFI_HANDLE volume, const char *path, bool want_driver,
                                struct q2_fault *fault);

#endif
