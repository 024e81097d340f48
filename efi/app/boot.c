/* Starting a loader by its device path, so that it finds the volume that it came from.
 *
 * May call LoadImage() and StartImage().
 */
#include "boot.h"

#include "drivers/efi/status.h"
#include "efi/base/device_path.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"

static enum q2_status load(EFI_HANDLE volume, const char *path, struct q2_fault *fault,
                           EFI_HANDLE *ret_image)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    const EFI_DEVICE_PATH *device = mc_protocol(volume, &mc_device_path_guid);
    EFI_DEVICE_PATH *file = device ? mc_device_path_file(device, path) : NULL;
    enum q2_status failed;
    EFI_STATUS status;

    if (!file)
        return q2_fail_memory(fault);
    *ret_image = NULL;
    status = services->LoadImage(FALSE, mc_firmware.ImageHandle, file, NULL, 0, ret_image);
    mc_free(file);
    if (!EFI_ERROR(status))
        return Q2_OK;
    if (*ret_image) /* EFI_SECURITY_VIOLATION: loaded, but Secure Boot forbids to start it */
        (void)services->UnloadImage(*ret_image);
    failed = q2_status_from_efi_load(status);
    return q2_fail(
        fault, failed,
        failed == Q2_ERR_UNTRUSTED
            ? "Secure Boot does not allow this boot loader"
            : "the firmware does not load it; it must be an EFI program for this machine",
        path);
}

enum q2_status mc_boot(EFI_HANDLE volume, const char *path, struct q2_fault *fault,
                       EFI_STATUS *ret_status)
{
    EFI_HANDLE image;
    CHAR16 *exit_data = NULL;
    UINTN exit_data_size = 0;
    enum q2_status status = load(volume, path, fault, &image);

    if (status != Q2_OK)
        return status;
    *ret_status = mc_firmware.BootServices->StartImage(image, &exit_data_size, &exit_data);
    mc_free(exit_data);
    return Q2_OK;
}
