/* Connecting a disk, and finding a file on it.
 *
 * May call boot services and the firmware's file systems on our disk.
 */
#include "connect.h"

#include "efi/base/device_path.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/place/file_system.h"

void mc_connect_disk(EFI_HANDLE disk)
{
    /* EFI_NOT_FOUND: no driver took it; then no file system will be found either. */
    (void)mc_firmware.BootServices->ConnectController(disk, NULL, NULL, TRUE);
}

static bool holds(EFI_HANDLE volume, const char *path)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system = mc_protocol(volume, &mc_file_system_guid);
    EFI_FILE_PROTOCOL *file;

    if (!file_system || mc_file_system_open(file_system, path, EFI_FILE_MODE_READ, &file) != Q2_OK)
        return false;
    (void)file->Close(file);
    return true;
}

/* The partition driver puts the partition's type on its handle as a protocol. */
static bool is_esp(EFI_HANDLE volume)
{
    void *interface;

    return !EFI_ERROR(mc_firmware.BootServices->HandleProtocol(volume, &mc_esp_guid, &interface));
}

enum q2_status mc_find_on_disk(EFI_HANDLE disk, const char *path, struct q2_fault *fault,
                               EFI_HANDLE *ret_volume)
{
    const EFI_DEVICE_PATH *device = mc_protocol(disk, &mc_device_path_guid);
    EFI_HANDLE found = NULL;
    UINTN nb;
    EFI_HANDLE *handles = mc_handles(&mc_file_system_guid, &nb);

    for (UINTN i = 0; i < nb; i++) {
        const EFI_DEVICE_PATH *volume = mc_protocol(handles[i], &mc_device_path_guid);
        if (!device || !volume || !mc_device_path_below(device, volume))
            continue;
        /* A volume that is no EFI system partition is used only if no EFI system partition has the
         * file. */
        if ((!found || is_esp(handles[i])) && holds(handles[i], path)) {
            found = handles[i];
            if (is_esp(found))
                break;
        }
    }
    mc_free(handles);
    if (!found)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, "no volume on the disk has this file", path);
    *ret_volume = found;
    return Q2_OK;
}
