/* Finding or starting the resident driver.
 *
 * May call boot services. Invariant: a driver of another version is not called.
 */
#include "control_client.h"

#include "drivers/efi/status.h"
#include "embedded_driver.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"

/* Load and start the embedded driver. It gets the application's device path, because it was stored
 * in that file. */
static enum q2_status start_copy(struct mc_client *client, struct q2_fault *fault)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_DEVICE_PATH *own_path = mc_protocol(mc_firmware.ImageHandle, &mc_loaded_image_path_guid);
    EFI_STATUS status = services->LoadImage(FALSE, mc_firmware.ImageHandle, own_path,
                                            (VOID *)(uintptr_t)mc_embedded_driver,
                                            mc_embedded_driver_size(), &client->driver);
    enum q2_status failed;

    if (!EFI_ERROR(status))
        status = services->StartImage(client->driver, NULL, NULL);
    else if (status == EFI_SECURITY_VIOLATION)
        (void)services->UnloadImage(
            client->driver); /* loaded, but Secure Boot forbids to start it */
    if (!EFI_ERROR(status))
        return Q2_OK;
    client->driver = NULL;
    failed = q2_status_from_efi_load(status);
    return q2_fail(fault, failed,
                   failed == Q2_ERR_UNTRUSTED
                       ? "Secure Boot does not allow the driver inside metalcow.efi"
                       : "the firmware does not start the driver; restart the machine",
                   "metalcowdxe.efi");
}

enum q2_status mc_client_open(struct mc_client *client, bool load, struct q2_fault *fault)
{
    enum q2_status status;

    *client = (struct mc_client){.control = mc_protocol_anywhere(&mc_control_guid)};
    if (!client->control && !load)
        return q2_fail(fault, Q2_ERR_NOT_FOUND,
                       "no disk is attached; attach one with 'metalcow attach IMAGE'", NULL);
    if (!client->control) {
        status = start_copy(client, fault);
        if (status != Q2_OK)
            return status;
        client->control = mc_protocol_anywhere(&mc_control_guid);
    }
    if (!client->control || client->control->Version != MC_CONTROL_VERSION)
        return q2_fail(fault, Q2_ERR_VERSION,
                       "the driver that is loaded is of another version of metalcow; restart the "
                       "machine, or install "
                       "this version with 'metalcow install'",
                       "metalcowdxe.efi");
    return Q2_OK;
}

enum q2_status mc_client_replace(struct mc_client *client, struct q2_fault *fault)
{
    enum q2_status status = mc_client_open(client, true, fault);
    EFI_HANDLE *handles;
    UINTN nb;

    if (status != Q2_ERR_VERSION)
        return status;
    handles = mc_handles(&mc_control_guid, &nb); /* the driver has it on its image's handle */
    for (UINTN i = 0; i < nb; i++)
        (void)mc_firmware.BootServices->UnloadImage(handles[i]);
    mc_free(handles);
    return mc_client_open(client, true, fault);
}

void mc_client_unload(struct mc_client *client)
{
    if (client->driver)
        (void)mc_firmware.BootServices->UnloadImage(client->driver);
    client->driver = NULL;
}
