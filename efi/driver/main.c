/* metalcowdxe.efi: the resident driver.
 *
 * Loaded by Driver####, by `load` in the shell, or by metalcow.efi, which carries a copy. Serves
 * every attached disk. There is one in the system: a second one leaves at once.
 */
#include "binding.h"
#include "control_server.h"
#include "efi/arch/arch.h"
#include "efi/base/firmware.h"
#include "efi/handoff/handoff.h"
#include "unload.h"

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable);

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable)
{
    EFI_LOADED_IMAGE_PROTOCOL *image;
    EFI_STATUS status;

    mc_firmware_init(ImageHandle, SystemTable);
    mc_firmware.page_tables = mc_arch_page_tables();
    if (mc_protocol_anywhere(&mc_control_guid))
        return EFI_ALREADY_STARTED;
    image = mc_protocol(ImageHandle, &mc_loaded_image_guid);
    if (!image)
        return EFI_UNSUPPORTED;
    status = mc_binding_install(ImageHandle);
    if (EFI_ERROR(status))
        return status;
    status = mc_control_install(ImageHandle);
    if (EFI_ERROR(status)) {
        (void)mc_binding_uninstall(ImageHandle);
        return status;
    }
    image->Unload = mc_unload;
    mc_handoff_start();
    return EFI_SUCCESS;
}
