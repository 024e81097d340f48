/* Driver Binding: a bus driver whose bus is a volume and whose children are the disks in its
 * images.
 *
 * Top of the driver; the firmware calls in, registry.c and entries.c are called below. Supported()
 * is called for every handle, so it opens nothing but one folder. Invariant: a volume is held from
 * Start() to Stop(), whatever becomes of its disks.
 */
#include "binding.h"

#include "component_name.h"
#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "efi/image/entries.h"
#include "efi/base/firmware.h"
#include "efi/place/place.h"
#include "registry.h"

/* The firmware calls a driver at TPL_APPLICATION; a file system may be used up to TPL_CALLBACK. */
static bool may_use_files(void)
{
    return mc_current_tpl() <= TPL_CALLBACK;
}

/* Deeper than this the disks would not attach anyway (HAZARDS.md, U11). */
static bool is_shallow(EFI_HANDLE volume)
{
    const EFI_DEVICE_PATH *path = mc_protocol(volume, &mc_device_path_guid);

    return path && mc_device_path_depth(path) < MC_MAX_DEPTH;
}

/* Has the place on a handle entries? */
static bool has_entries(EFI_HANDLE handle)
{
    struct q2_place *place;
    struct q2_fault fault;
    bool has;

    if (mc_place_open(handle, &fault, &place) != Q2_OK)
        return false;
    has = mc_entries_exist(place);
    mc_place_close(place);
    return has;
}

static EFI_STATUS EFIAPI supported(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                                   EFI_DEVICE_PATH *RemainingDevicePath)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_GUID *held = mc_place_held(Controller);
    void *interface;
    EFI_STATUS status;

    (void)RemainingDevicePath;
    if (!held)
        return EFI_UNSUPPORTED;
    status = services->OpenProtocol(Controller, held, &interface, This->DriverBindingHandle,
                                    Controller, EFI_OPEN_PROTOCOL_BY_DRIVER);
    if (EFI_ERROR(status))
        return status;
    (void)services->CloseProtocol(Controller, held, This->DriverBindingHandle, Controller);
    if (!may_use_files() || !is_shallow(Controller) || !has_entries(Controller))
        return EFI_UNSUPPORTED;
    return EFI_SUCCESS;
}

/* Attach one entry; what fails is said, and the rest goes on. */
static void attach_entry(EFI_HANDLE volume, const struct mc_entry *entry, struct q2_fault *fault)
{
    struct mc_disk_spec spec = entry->spec;
    struct mc_disk *disk;

    spec.title = mc_entry_title(entry);
    if (spec.no_attach)
        return;
    if (mc_registry_attach(volume, &spec, fault, &disk) != Q2_OK)
        mc_say_fault(fault);
    else if (disk->no_handoff[0] != '\0')
        mc_say(disk->no_handoff);
}

static void attach_entries(EFI_HANDLE volume)
{
    struct mc_entries *entries = NULL;
    struct q2_place *place;
    struct q2_fault fault;
    enum q2_status status = mc_place_open(volume, &fault, &place);

    if (status == Q2_OK) {
        status = mc_entries_read(place, &fault, &entries);
        mc_place_close(place);
    }
    if (status != Q2_OK) {
        mc_say_fault(&fault);
        return;
    }
    for (size_t i = 0; i < entries->nb; i++)
        attach_entry(volume, entries->sorted[i], &fault);
    mc_entries_free(entries);
}

/* A volume is held even if nothing on it can be attached: its messages should come once. */
static EFI_STATUS EFIAPI start(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                               EFI_DEVICE_PATH *RemainingDevicePath)
{
    EFI_STATUS status = mc_registry_keep(Controller);

    (void)This;
    if (EFI_ERROR(status))
        return status;
    /* An end node asks for the bus without children. */
    if (!RemainingDevicePath || !IsDevicePathEnd(RemainingDevicePath))
        attach_entries(Controller);
    mc_registry_started(Controller);
    return EFI_SUCCESS;
}

/* Stop children, or give the volume back when there are none. */
static EFI_STATUS EFIAPI stop(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                              UINTN NumberOfChildren, EFI_HANDLE *ChildHandleBuffer)
{
    EFI_STATUS status = EFI_SUCCESS;

    (void)This;
    for (UINTN i = 0; i < NumberOfChildren; i++) {
        struct mc_disk *disk = mc_registry_find_handle(ChildHandleBuffer[i]);
        if (disk && EFI_ERROR(mc_registry_detach(disk)))
            status = EFI_DEVICE_ERROR;
    }
    return NumberOfChildren > 0 ? status : mc_registry_release(Controller);
}

static EFI_DRIVER_BINDING_PROTOCOL driver_binding = {
    .Supported = supported,
    .Start = start,
    .Stop = stop,
    .Version = 0x10,
};

EFI_STATUS mc_binding_install(EFI_HANDLE ImageHandle)
{
    driver_binding.ImageHandle = ImageHandle;
    driver_binding.DriverBindingHandle = ImageHandle;
    mc_registry_init(ImageHandle);
    return mc_firmware.BootServices->InstallMultipleProtocolInterfaces(
        &ImageHandle, &mc_driver_binding_guid, &driver_binding, &mc_component_name2_guid,
        &mc_component_name2, NULL);
}

/* Disconnect the driver from all that it manages; the firmware calls stop() for it. A volume that
 * lies on a disk of ours may vanish with it, so the list is asked anew each time. */
static EFI_STATUS stop_everything(EFI_HANDLE ImageHandle)
{
    EFI_HANDLE volume;

    while (mc_registry_last_volume(&volume)) {
        EFI_STATUS status =
            mc_firmware.BootServices->DisconnectController(volume, ImageHandle, NULL);
        if (EFI_ERROR(status))
            return status;
        if (mc_registry_holds(volume))
            return EFI_DEVICE_ERROR;
    }
    return EFI_SUCCESS;
}

EFI_STATUS mc_binding_uninstall(EFI_HANDLE ImageHandle)
{
    EFI_STATUS status = stop_everything(ImageHandle);

    if (EFI_ERROR(status))
        return status;
    return mc_firmware.BootServices->UninstallMultipleProtocolInterfaces(
        ImageHandle, &mc_driver_binding_guid, &driver_binding, &mc_component_name2_guid,
        &mc_component_name2, NULL);
}
