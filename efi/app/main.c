/* metalcow.efi: a command of the UEFI shell, and \EFI\BOOT\BOOTX64.EFI of a stick.
 *
 * Entry point; calls commands.c. An error is printed on the console. The status is returned to the
 * shell, or to the boot manager, which then tries its next option.
 */
#include "drivers/efi/status.h"
#include "arguments.h"
#include "commands.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable);

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable)
{
    struct mc_arguments arguments;
    struct q2_fault fault;
    EFI_STATUS status;

    mc_firmware_init(ImageHandle, SystemTable);
    if (mc_arguments_get(&arguments, &fault) == Q2_OK) {
        status = mc_command_run(&arguments);
    } else {
        mc_say_fault(&fault);
        status = q2_efi_from_status(fault.status);
    }
    mc_arguments_free(&arguments);
    return status;
}
