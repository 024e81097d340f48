/* The driver model in a running firmware: what probe.c asks of the driver's own protocols.
 *
 *   named       of two disks on a volume, connect the second one by its path alone
 *   diagnose    Driver Diagnostics 2 of a volume and of one disk, and what it refuses
 *   rounds      load, connect, disconnect and unload the driver many times; handles and memory stay
 */
#include "probe.h"

#include "efi/app/arguments.h"
#include "efi/base/console.h"
#include "efi/base/control.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/driver/diagnostics.h"

#define NB_WARM_UP  10u
#define SPARE_PAGES 64u

static struct mc_control *control(void)
{
    return mc_protocol_anywhere(&mc_control_guid);
}

static bool get_disk(UINTN index, struct mc_disk_record *record)
{
    return control() && !EFI_ERROR(control()->Get(control(), index, record));
}

static uint64_t nb_disks(void)
{
    static struct mc_disk_record record;
    UINTN nb = 0;

    while (get_disk(nb, &record))
        nb++;
    return nb;
}

/* Disk 1 by the path that goes on from its volume; a path of its own, because that of the handle
 * goes with the disk. */
static const char *connect_second(struct mc_disk_record *record)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    static UINT8 path[1024], image[256];
    EFI_DEVICE_PATH *rest = (EFI_DEVICE_PATH *)(void *)path, end;
    const EFI_DEVICE_PATH *volume;
    size_t size;

    if (nb_disks() != 2 || !get_disk(1, record))
        return "failed: there are not two disks";
    size = mc_device_path_size(mc_protocol(record->handle, &mc_device_path_guid));
    if (size > sizeof(path))
        return "failed: long path";
    __builtin_memcpy(path, mc_protocol(record->handle, &mc_device_path_guid), size);
    __builtin_memcpy(image, record->image, sizeof(image));
    volume = mc_protocol(record->volume, &mc_device_path_guid);
    rest = (EFI_DEVICE_PATH *)(void *)(path + mc_device_path_size(volume) - sizeof(end));
    if (EFI_ERROR(services->DisconnectController(record->volume, NULL, NULL)) || nb_disks() != 0)
        return "failed: the disks stay";
    __builtin_memset(&end, 0, sizeof(end));
    end.Type = END_DEVICE_PATH_TYPE;
    end.SubType = END_ENTIRE_DEVICE_PATH_SUBTYPE;
    end.Length[0] = sizeof(end);
    (void)services->ConnectController(record->volume, NULL, &end, FALSE);
    if (nb_disks() != 0)
        return "failed: an end node attaches a disk";
    (void)services->ConnectController(record->volume, NULL, rest, FALSE);
    if (nb_disks() != 1 || !get_disk(0, record) ||
        __builtin_memcmp(image, record->image, sizeof(image)) != 0)
        return "failed: another disk than the named one";
    return NULL;
}

EFI_STATUS probe_named(const char *operand)
{
    static struct mc_disk_record record;
    const char *wrong = connect_second(&record);

    (void)operand;
    if (wrong)
        return probe_say("named", wrong, nb_disks());
    (void)mc_firmware.BootServices->ConnectController(record.volume, NULL, NULL, TRUE);
    return probe_say("named", nb_disks() == 2 ? "ok, disks" : "failed: not all come later",
                     nb_disks());
}

/* Is this part of a text? */
static bool has_words(const CHAR16 *text, const char *words)
{
    for (; *text != 0; text++) {
        size_t n = 0;

        while (words[n] != '\0' && text[n] == (CHAR16)words[n])
            n++;
        if (words[n] == '\0')
            return true;
    }
    return false;
}

static EFI_STATUS run_diagnostics(EFI_HANDLE controller, EFI_HANDLE child, CHAR16 **text)
{
    EFI_HANDLE *handles;
    UINTN nb, size;
    EFI_GUID *type;
    EFI_STATUS status = EFI_NOT_FOUND;
    MC_DRIVER_DIAGNOSTICS2 *diagnostics;

    handles = mc_handles(&mc_control_guid, &nb);
    diagnostics = nb == 1 ? mc_protocol(handles[0], &mc_driver_diagnostics2_guid) : NULL;
    mc_free(handles);
    *text = NULL;
    if (diagnostics)
        status =
            diagnostics->RunDiagnostics(diagnostics, controller, child, MC_DIAGNOSTICS_STANDARD,
                                        (CHAR8 *)"en", &type, &size, text);
    return status;
}

EFI_STATUS probe_diagnose(const char *operand)
{
    static struct mc_disk_record record;
    CHAR16 *of_volume, *of_disk, *none;
    bool right;

    (void)operand;
    if (!get_disk(0, &record))
        return probe_say("diagnose", "failed: no disk", 0);
    right = run_diagnostics(record.volume, NULL, &of_volume) == EFI_SUCCESS &&
            run_diagnostics(record.volume, record.handle, &of_disk) == EFI_SUCCESS &&
            has_words(of_volume, "No errors were found") &&
            has_words(of_disk, "Image end offset") &&
            run_diagnostics(record.handle, NULL, &none) == EFI_UNSUPPORTED && !none;
    mc_free(of_volume);
    mc_free(of_disk);
    return probe_say("diagnose", right ? "ok, disks" : "failed: status or text", nb_disks());
}

/* One round. The driver is there from its start to the end of the round only. */
static const char *load_and_unload(const struct mc_location *driver)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_DEVICE_PATH *path =
        mc_device_path_file(mc_protocol(driver->volume, &mc_device_path_guid), driver->path);
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_HANDLE image = NULL, disk;
    EFI_STATUS status;

    status = services->LoadImage(FALSE, mc_firmware.ImageHandle, path, NULL, 0, &image);
    mc_free(path);
    if (EFI_ERROR(status) || EFI_ERROR(services->StartImage(image, NULL, NULL)))
        return "failed: the driver does not start";
    (void)services->ConnectController(driver->volume, NULL, NULL, TRUE);
    disk = probe_find_disk(&block_io);
    if (!disk)
        return "failed: no disk comes";
    (void)services->ConnectController(disk, NULL, NULL, TRUE);
    if (EFI_ERROR(services->DisconnectController(driver->volume, image, NULL)) ||
        probe_find_disk(&block_io))
        return "failed: a disk stays";
    return EFI_ERROR(services->UnloadImage(image)) ? "failed: the driver stays" : NULL;
}

EFI_STATUS probe_rounds(const char *operand)
{
    struct mc_location driver;
    struct q2_fault fault;
    struct probe_state before, after;
    uint64_t nb = probe_number(2);
    const char *wrong = NULL;

    if (mc_locate(operand, &fault, &driver) != Q2_OK || control())
        return probe_say("rounds", "failed: no file, or the driver is there", 0);
    for (unsigned int i = 0; i < NB_WARM_UP && !wrong; i++)
        wrong = load_and_unload(&driver);
    probe_take_state(&before);
    for (uint64_t i = 0; i < nb && !wrong; i++)
        wrong = load_and_unload(&driver);
    probe_take_state(&after);
    mc_free(driver.path);
    if (wrong)
        return probe_say("rounds", wrong, nb);
    if (after.nb_handles != before.nb_handles)
        return probe_say("rounds", "failed: handles", after.nb_handles - before.nb_handles);
    if (after.free_pages + SPARE_PAGES < before.free_pages)
        return probe_say("rounds", "failed: pages lost", before.free_pages - after.free_pages);
    return probe_say("rounds", "ok, pages lost",
                     before.free_pages > after.free_pages ? before.free_pages - after.free_pages
                                                          : 0);
}
