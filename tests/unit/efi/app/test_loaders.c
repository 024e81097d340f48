/* What a disk is started by when nobody says it: efi/app/loaders.c over one volume whose files are
 * listed here. */
#include "efi/app/connect.h"

#include <strings.h>

#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/place/file_system.h"
#include "q2_fail.h"
#include "tests/support/t.h"

#define MAX_FILES 24u

static const char *files[MAX_FILES + 1]; /* NULL after the last */
static int volume;

EFI_GUID mc_file_system_guid, mc_device_path_guid;

static bool has(const char *path)
{
    for (const char **file = files; *file; file++) {
        if (strcasecmp(*file, path) == 0)
            return true;
    }
    return false;
}

/* --- the firmware ----------------------------------------------------------------------------- */

void *mc_protocol(EFI_HANDLE handle, EFI_GUID *guid)
{
    (void)guid;
    return handle;
}

EFI_HANDLE *mc_handles(EFI_GUID *guid, UINTN *ret_nb)
{
    static EFI_HANDLE handles[] = {&volume};

    (void)guid;
    *ret_nb = 1;
    return handles;
}

void mc_free(void *memory)
{
    (void)memory;
}

bool mc_device_path_below(const EFI_DEVICE_PATH *device, const EFI_DEVICE_PATH *path)
{
    (void)device;
    (void)path;
    return true;
}

enum q2_status mc_find_on_disk(EFI_HANDLE disk, const char *path, struct q2_fault *fault,
                               EFI_HANDLE *ret_volume)
{
    (void)disk;
    if (!has(path))
        return q2_fail(fault, Q2_ERR_NOT_FOUND, "no volume on the disk has this file", path);
    *ret_volume = &volume;
    return Q2_OK;
}

static EFI_STATUS EFIAPI close_file(EFI_FILE_PROTOCOL *This)
{
    (void)This;
    return EFI_SUCCESS;
}

enum q2_status mc_file_system_open(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   UINT64 mode, EFI_FILE_PROTOCOL **ret_File)
{
    static EFI_FILE_PROTOCOL file = {.Close = close_file};

    (void)FileSystem;
    (void)mode;
    *ret_File = &file;
    return has(path) ? Q2_OK : Q2_ERR_NOT_FOUND;
}

/* The folders of /EFI, each at its first file. */
enum q2_status mc_file_system_list_folders(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem,
                                           const char *folder, struct q2_place_visitor *visitor,
                                           struct q2_fault *fault)
{
    char name[32], last[32] = "";
    enum q2_status status = Q2_OK;

    (void)FileSystem;
    T_CHECK_STR(folder, "/EFI");
    for (const char **file = files; *file && status == Q2_OK; file++) {
        if (sscanf(*file, "/EFI/%31[^/]", name) != 1 || strcmp(name, last) == 0)
            continue;
        (void)strcpy(last, name);
        status = visitor->visit(visitor, name, fault);
    }
    return status;
}

/* --- cases ------------------------------------------------------------------------------------ */

static void test_loaders_table(void)
{
    static const struct {
        const char *name;
        const char *files[8];
        const char *loaders[4];
        enum q2_status status;
    } rows[] = {
        {"removable media",
         {"/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/grubx64.efi"},
         {"/EFI/BOOT/BOOTX64.EFI"},
         Q2_OK},
        {"shim without fallback",
         {"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi", "/EFI/debian/shimx64.efi"},
         {"/EFI/BOOT/BOOTX64.EFI"},
         Q2_OK},
        {"shim with fallback",
         {"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/fbx64.efi", "/EFI/BOOT/grubx64.efi",
          "/EFI/fedora/grubx64.efi", "/EFI/fedora/shimx64.efi"},
         {"/EFI/fedora/shimx64.efi"},
         Q2_OK},
        {"small letters",
         {"/EFI/boot/bootx64.efi", "/EFI/boot/fbx64.efi", "/EFI/boot/grubx64.efi",
          "/EFI/ubuntu/shimx64.efi"},
         {"/EFI/ubuntu/shimx64.efi"},
         Q2_OK},
        {"fallback alone",
         {"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/fbx64.efi", "/EFI/BOOT/grubx64.efi"},
         {"/EFI/BOOT/BOOTX64.EFI"},
         Q2_OK},
        {"fallback and two systems",
         {"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/fbx64.efi", "/EFI/a/shimx64.efi",
          "/EFI/b/shimx64.efi"},
         {"/EFI/BOOT/BOOTX64.EFI"},
         Q2_OK},
        {"one system",
         {"/EFI/debian/grubx64.efi", "/EFI/debian/shimx64.efi"},
         {"/EFI/debian/shimx64.efi"},
         Q2_OK},
        {"two systems",
         {"/EFI/BOOT/grubx64.efi", "/EFI/Boots/grubx64.efi"},
         {"/EFI/BOOT/grubx64.efi", "/EFI/Boots/grubx64.efi"},
         Q2_OK},
        {"nothing", {"/EFI/tools/x.efi"}, {NULL}, Q2_ERR_NOT_FOUND},
    };
    static struct mc_loaders loaders;
    struct q2_fault fault;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t nb = 0;
        t_row(rows[i].name);
        memset(files, 0, sizeof(files));
        memcpy(files, rows[i].files, sizeof(rows[i].files));
        T_CHECK_U64(mc_find_loaders(&volume, &fault, &loaders), rows[i].status);
        for (; rows[i].loaders[nb] && nb < loaders.nb; nb++) {
            T_CHECK_STR(loaders.list[nb].path, rows[i].loaders[nb]);
            T_CHECK(loaders.list[nb].volume == &volume);
        }
        T_CHECK_U64(loaders.nb, nb);
        T_CHECK(!rows[i].loaders[nb]);
    }
}

int main(void)
{
    T_RUN(test_loaders_table);
    return t_done();
}
