/* Finding what a disk is started by.
 *
 * Calls the firmware's file systems on our disk. Invariant: every loader of the list was opened.
 */
#include "connect.h"

#include "efi/arch/arch.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/place/file_system.h"
#include "q2_fail.h"

/* In a folder of /EFI, the first one that is there. Windows has a folder of its own below. */
static const char *const names[] = {
    "shim" MC_ARCH_NAME ".efi",
    "grub" MC_ARCH_NAME ".efi",
    "systemd-boot" MC_ARCH_NAME ".efi",
    "bootmgfw.efi",
    "Boot/bootmgfw.efi",
};

struct search {
    struct q2_place_visitor visitor; /* first: of the folders of /EFI */
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem;
    EFI_HANDLE volume;
    struct mc_loaders *loaders;
};

static bool is_there(const struct search *search, const char *path)
{
    EFI_FILE_PROTOCOL *file;

    if (mc_file_system_open(search->FileSystem, path, EFI_FILE_MODE_READ, &file) != Q2_OK)
        return false;
    (void)file->Close(file);
    return true;
}

/* struct q2_place_visitor.visit */
static enum q2_status look_into(struct q2_place_visitor *visitor, const char *folder,
                                struct q2_fault *fault)
{
    struct search *search = (struct search *)visitor;
    struct mc_loaders *loaders = search->loaders;

    if (loaders->nb == MC_MAX_LOADERS)
        return q2_fail(
            fault, Q2_ERR_LIMIT,
            "more than 16 folders with a loader are on the disk; say which one with a line "
            "'boot FILE' in the entry",
            "/EFI");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = loaders->list[loaders->nb].path;
        struct q2_line line = q2_line_start(path, sizeof(loaders->list[0].path));
        q2_line_put(&line, "/EFI/");
        q2_line_put(&line, folder);
        q2_line_put(&line, "/");
        q2_line_put(&line, names[i]);
        if (line.length < line.size && is_there(search, path)) {
            loaders->list[loaders->nb++].volume = search->volume;
            return Q2_OK;
        }
    }
    return Q2_OK;
}
_Static_assert(MC_MAX_LOADERS == 16, "text above");

/* The folders of one volume. A volume that cannot be read has no loader. */
static enum q2_status look_at(EFI_HANDLE volume, struct mc_loaders *loaders, struct q2_fault *fault)
{
    struct search search = {.visitor = {.visit = look_into},
                            .FileSystem = mc_protocol(volume, &mc_file_system_guid),
                            .volume = volume,
                            .loaders = loaders};
    enum q2_status status;

    if (!search.FileSystem)
        return Q2_OK;
    status = mc_file_system_list_folders(search.FileSystem, "/EFI", &search.visitor, fault);
    return status == Q2_ERR_LIMIT ? status : Q2_OK;
}

static enum q2_status look_everywhere(EFI_HANDLE disk, struct mc_loaders *loaders,
                                      struct q2_fault *fault)
{
    const EFI_DEVICE_PATH *device = mc_protocol(disk, &mc_device_path_guid);
    enum q2_status status = Q2_OK;
    UINTN nb;
    EFI_HANDLE *handles = mc_handles(&mc_file_system_guid, &nb);

    for (UINTN i = 0; i < nb && status == Q2_OK; i++) {
        const EFI_DEVICE_PATH *path = mc_protocol(handles[i], &mc_device_path_guid);
        if (device && path && mc_device_path_below(device, path))
            status = look_at(handles[i], loaders, fault);
    }
    mc_free(handles);
    return status;
}

/* Is a path in the folder of the loader of removable media? */
static bool is_in_boot_folder(const char *path)
{
    static const char folder[] = "/efi/boot/";
    size_t i = 0;

    while (folder[i] != '\0' &&
           (path[i] >= 'A' && path[i] <= 'Z' ? path[i] + ('a' - 'A') : path[i]) == folder[i])
        i++;
    return folder[i] == '\0';
}

/* Shim as the loader of removable media starts the program fallback beside it, which makes boot
 * options in the firmware's variables. On a machine with a TPM it then resets the machine, so that
 * the firmware starts one of them. The firmware finds no disk of ours then, and all begins anew.
 * The option would lead to the loader in the system's own folder: find it, as the only one of the
 * list. False: there is no fallback, or not one such loader. */
static bool skip_fallback(EFI_HANDLE disk, struct mc_loaders *loaders)
{
    struct q2_fault fault;
    EFI_HANDLE volume;
    size_t nb = 0;

    if (mc_find_on_disk(disk, "/EFI/BOOT/fb" MC_ARCH_NAME ".efi", &fault, &volume) != Q2_OK ||
        look_everywhere(disk, loaders, &fault) != Q2_OK)
        return false;
    for (size_t i = 0; i < loaders->nb; i++) {
        if (!is_in_boot_folder(loaders->list[i].path))
            loaders->list[nb++] = loaders->list[i];
    }
    loaders->nb = nb;
    return nb == 1;
}

enum q2_status mc_find_loaders(EFI_HANDLE disk, struct q2_fault *fault,
                               struct mc_loaders *ret_loaders)
{
    EFI_HANDLE volume;
    enum q2_status status;

    ret_loaders->nb = 0;
    if (mc_find_on_disk(disk, MC_ARCH_BOOT_PATH, fault, &volume) == Q2_OK) {
        if (skip_fallback(disk, ret_loaders))
            return Q2_OK;
        ret_loaders->list[0].volume = volume;
        (void)mc_text_copy(ret_loaders->list[0].path, sizeof(ret_loaders->list[0].path),
                           MC_ARCH_BOOT_PATH);
        ret_loaders->nb = 1;
        return Q2_OK;
    }
    status = look_everywhere(disk, ret_loaders, fault);
    if (status != Q2_OK || ret_loaders->nb > 0)
        return status;
    return q2_fail(
        fault, Q2_ERR_NOT_FOUND,
        "neither this file nor a known loader is on the disk; say which file starts it with a "
        "line 'boot FILE' in the entry",
        MC_ARCH_BOOT_PATH);
}
