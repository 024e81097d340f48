/* Driver Diagnostics 2: the check of `metalcow check` on a disk.  (UEFI 2.10, 11.4)
 *
 * The standard diagnostics of a disk check its image, of a volume the images of all its disks.
 * Nothing is changed. Other kinds of diagnostics are EFI_UNSUPPORTED.
 */
#ifndef METALCOW_EFI_DIAGNOSTICS_H
#define METALCOW_EFI_DIAGNOSTICS_H

#include <efi.h>

/* gnu-efi does not have it. */
typedef enum {
    MC_DIAGNOSTICS_STANDARD = 0,
    MC_DIAGNOSTICS_EXTENDED = 1,
    MC_DIAGNOSTICS_MANUFACTURING = 2,
    MC_DIAGNOSTICS_CANCEL = 3,
} MC_DIAGNOSTICS_TYPE;

typedef struct mc_driver_diagnostics2 {
    /* Buffer gets a text in pool memory, the caller's to free, on EFI_SUCCESS and EFI_DEVICE_ERROR.
     *
     * EFI_DEVICE_ERROR       the check found corruption, or could not read all of an image
     * EFI_NOT_READY          a disk of the volume is just being attached or detached, or the TPL is
     *                        above TPL_APPLICATION
     * EFI_INVALID_PARAMETER  ControllerHandle or a pointer is NULL
     * EFI_UNSUPPORTED        not a handle of ours, another language, another kind of diagnostics
     * EFI_OUT_OF_RESOURCES */
    EFI_STATUS(EFIAPI *RunDiagnostics)
    (struct mc_driver_diagnostics2 *This, EFI_HANDLE ControllerHandle, EFI_HANDLE ChildHandle,
     MC_DIAGNOSTICS_TYPE DiagnosticType, CHAR8 *Language, EFI_GUID **ErrorType, UINTN *BufferSize,
     CHAR16 **Buffer);
    CHAR8 *SupportedLanguages;
} MC_DRIVER_DIAGNOSTICS2;

extern MC_DRIVER_DIAGNOSTICS2 mc_driver_diagnostics2;

#endif
