/* Driver Binding: a bus driver whose bus is a volume and whose children are the disks in its
 * images.
 *
 * May call registry.c, the place and entries.c. Supported() is called for every handle, so it looks
 * at the volume's first sector and for one folder at most, and prints nothing. Invariant: a volume
 * is held from Start() to Stop(), whatever becomes of its disks.
 */
#include "binding.h"

#include "component_name.h"
#include "diagnostics.h"
#include "drivers/efi/status.h"
#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "efi/image/entries.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/place/place.h"
#include "attach_disk.h"
#include "detach_disk.h"
#include "volumes.h"
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

static bool is_end(const EFI_DEVICE_PATH *remaining)
{
    return remaining && IsDevicePathEnd(remaining);
}

/* Is this NULL, an end node, or a path that begins with the nodes of a child of ours?  What follows
 * those nodes does not matter. */
static bool can_name_child(const EFI_DEVICE_PATH *remaining)
{
    return !remaining || is_end(remaining) || mc_device_path_child_size(remaining) > 0;
}

/* Of a volume that is held already: is there anything that another Start() could add? */
static EFI_STATUS supported_again(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining)
{
    if (is_end(remaining) || (remaining && mc_registry_has_child(volume, remaining)) ||
        !may_use_files() || !has_entries(volume))
        return EFI_ALREADY_STARTED;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI supported(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                                   EFI_DEVICE_PATH *RemainingDevicePath)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_GUID *held = can_name_child(RemainingDevicePath) ? mc_place_held(Controller) : NULL;
    void *interface;
    EFI_STATUS status;

    if (!held)
        return EFI_UNSUPPORTED;
    if (mc_volume_is_held(Controller))
        return supported_again(Controller, RemainingDevicePath);
    status = services->OpenProtocol(Controller, held, &interface, This->DriverBindingHandle,
                                    Controller, EFI_OPEN_PROTOCOL_BY_DRIVER);
    if (EFI_ERROR(status))
        return status;
    (void)services->CloseProtocol(Controller, held, This->DriverBindingHandle, Controller);
    if (!may_use_files() || !is_shallow(Controller) || !has_entries(Controller))
        return EFI_UNSUPPORTED;
    return EFI_SUCCESS;
}

/* Not inlined, because its buffers would then be on the stack while the disk is attached. */
__attribute__((noinline)) static void say_failed(const struct mc_entry *entry,
                                                 const struct q2_fault *fault)
{
    char line[500], why[400];
    struct q2_line text = q2_line_start(line, sizeof(line));

    (void)q2_fault_format(fault, why, sizeof(why));
    q2_line_put(&text, "entry ");
    q2_line_put_escaped(&text, entry->id);
    q2_line_put(&text, " is not attached: ");
    q2_line_put(&text, why);
    mc_say(line);
}

/* Attach one entry, unless its disk is there; what fails is said. */
static enum q2_status attach_entry(EFI_HANDLE volume, const struct mc_entry *entry,
                                   unsigned int instance)
{
    const struct mc_origin origin = {.id = entry->id, .instance = instance};
    struct mc_disk_spec spec = entry->spec;
    struct mc_disk *disk;
    struct q2_fault fault;
    enum q2_status status;

    if (mc_registry_has_entry(volume, entry->id))
        return Q2_OK;
    spec.title = mc_entry_title(entry);
    status = mc_disk_attach(volume, &spec, &origin, &fault, &disk);
    if (status != Q2_OK)
        say_failed(entry, &fault);
    else if (disk->no_handoff[0] != '\0')
        mc_say(disk->no_handoff);
    return status;
}

/* How many of the entries before the i-th have the same image. */
static unsigned int instance_of(const struct mc_entries *entries, size_t i)
{
    const char *image = entries->sorted[i]->spec.image;
    unsigned int nb = 0;

    for (size_t j = 0; j < i; j++) {
        const struct mc_disk_spec *spec = &entries->sorted[j]->spec;
        nb += !spec->no_attach && q2_text_equal(spec->image, image) ? 1 : 0;
    }
    return nb;
}

/* Does the path name the disk of an image with this instance? */
static bool names(const EFI_DEVICE_PATH *remaining, EFI_HANDLE volume, const char *image,
                  unsigned int instance)
{
    const EFI_DEVICE_PATH *path = mc_protocol(volume, &mc_device_path_guid);
    EFI_DEVICE_PATH *disk = path ? mc_device_path_disk(path, image, instance) : NULL;
    bool is_named = disk && mc_device_path_is_child(path, disk, remaining);

    mc_free(disk);
    return is_named;
}

/* Attach those that are missing, or the one that the path names. What fails costs no other one. */
static EFI_STATUS attach_missing(EFI_HANDLE volume, const struct mc_entries *entries,
                                 const EFI_DEVICE_PATH *remaining)
{
    for (size_t i = 0; i < entries->nb; i++) {
        const struct mc_entry *entry = entries->sorted[i];
        unsigned int instance = instance_of(entries, i);
        if (entry->spec.no_attach)
            continue;
        if (!remaining)
            (void)attach_entry(volume, entry, instance);
        else if (names(remaining, volume, entry->spec.image, instance))
            return q2_efi_from_status(attach_entry(volume, entry, instance));
    }
    return remaining ? EFI_NOT_FOUND : EFI_SUCCESS;
}

/* Without a path, a volume whose entries cannot be read is started without disks, and the reason is
 * said. */
static EFI_STATUS attach_entries(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining)
{
    struct mc_entries *entries = NULL;
    struct q2_place *place;
    struct q2_fault fault;
    enum q2_status status = mc_place_open(volume, &fault, &place);
    EFI_STATUS efi_status;

    if (status == Q2_OK) {
        status = mc_entries_read(place, &fault, &entries);
        mc_place_close(place);
    }
    if (status != Q2_OK) {
        mc_say_fault(&fault);
        return remaining ? q2_efi_from_status(status) : EFI_SUCCESS;
    }
    efi_status = attach_missing(volume, entries, remaining);
    mc_entries_free(entries);
    return efi_status;
}

/* A volume is held even if nothing on it can be attached: its messages should come once. An end
 * node asks for the bus without children. */
static EFI_STATUS EFIAPI start(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                               EFI_DEVICE_PATH *RemainingDevicePath)
{
    bool was_kept = false;
    EFI_STATUS status = can_name_child(RemainingDevicePath) ? mc_volume_keep(Controller, &was_kept)
                                                            : EFI_UNSUPPORTED;

    (void)This;
    if (EFI_ERROR(status))
        return status;
    if (!is_end(RemainingDevicePath))
        status = attach_entries(Controller, RemainingDevicePath);
    mc_volume_started(Controller);
    if (EFI_ERROR(status) && !was_kept)
        (void)mc_volume_release(Controller);
    return status;
}

/* Stop one child. One that is not there has gone already; one of another controller is left. */
static EFI_STATUS stop_child(EFI_HANDLE controller, EFI_HANDLE child)
{
    struct mc_disk *disk = mc_registry_find_handle(child);

    if (!disk)
        return EFI_SUCCESS;
    return disk->published.volume == controller ? mc_disk_detach(disk) : EFI_DEVICE_ERROR;
}

/* Stop children, or give the volume back when there are none. */
static EFI_STATUS EFIAPI stop(EFI_DRIVER_BINDING_PROTOCOL *This, EFI_HANDLE Controller,
                              UINTN NumberOfChildren, EFI_HANDLE *ChildHandleBuffer)
{
    EFI_STATUS status = EFI_SUCCESS;

    (void)This;
    for (UINTN i = 0; i < NumberOfChildren; i++) {
        if (EFI_ERROR(stop_child(Controller, ChildHandleBuffer[i])))
            status = EFI_DEVICE_ERROR;
    }
    return NumberOfChildren > 0 ? status : mc_volume_release(Controller);
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
    mc_volumes_init(ImageHandle);
    return mc_firmware.BootServices->InstallMultipleProtocolInterfaces(
        &ImageHandle, &mc_driver_binding_guid, &driver_binding, &mc_component_name2_guid,
        &mc_component_name2, &mc_driver_diagnostics2_guid, &mc_driver_diagnostics2, NULL);
}

EFI_STATUS mc_binding_uninstall(EFI_HANDLE ImageHandle)
{
    return mc_firmware.BootServices->UninstallMultipleProtocolInterfaces(
        ImageHandle, &mc_driver_binding_guid, &driver_binding, &mc_component_name2_guid,
        &mc_component_name2, &mc_driver_diagnostics2_guid, &mc_driver_diagnostics2, NULL);
}
