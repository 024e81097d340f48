/* Opening, reading and listing files of the firmware's file systems.
 *
 * Calls the file protocols. Invariant: every file of a folder is shown; what a name has that UCS-2
 * cannot say is '?', which no file name has.
 */
#include "file_system.h"

#include "drivers/efi/status.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

/* A folder's record: EFI_FILE_INFO with a name of 255 units. */
#define RECORD_SIZE (sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16))

/* UEFI's file names have '\' between components. */
static CHAR16 *to_efi_path(const char *path)
{
    CHAR16 *name = mc_to_ucs2(path);

    for (CHAR16 *c = name; c && *c != 0; c++) {
        if (*c == '/')
            *c = '\\';
    }
    return name;
}

enum q2_status mc_file_system_open(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   UINT64 mode, EFI_FILE_PROTOCOL **ret_File)
{
    CHAR16 *name = to_efi_path(path);
    EFI_FILE_PROTOCOL *root;
    EFI_STATUS status;

    if (!name)
        return Q2_ERR_BAD_NAME;
    status = FileSystem->OpenVolume(FileSystem, &root);
    if (!EFI_ERROR(status)) {
        status = root->Open(root, ret_File, name, mode, 0);
        (void)root->Close(root);
    }
    mc_free(name);
    return q2_status_from_efi(status);
}

/* A folder can be read too, but gives records. It has no end that a position could be set to. */
static bool is_folder(EFI_FILE_PROTOCOL *File)
{
    bool is = File->SetPosition(File, UINT64_MAX) == EFI_UNSUPPORTED;

    (void)File->SetPosition(File, 0);
    return is;
}

enum q2_status mc_file_system_load(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   void *buffer, size_t *length, struct q2_fault *fault)
{
    EFI_FILE_PROTOCOL *file;
    UINTN n = *length;
    enum q2_status status = mc_file_system_open(FileSystem, path, EFI_FILE_MODE_READ, &file);

    if (status != Q2_OK)
        return q2_fail(fault, status, NULL, path);
    status = is_folder(file) ? Q2_ERR_NOT_A_FILE : q2_status_from_efi(file->Read(file, &n, buffer));
    (void)file->Close(file);
    if (status != Q2_OK)
        return q2_fail(fault, status, NULL, path);
    *length = n;
    return Q2_OK;
}

/* What is shown to a visitor. */
struct listing {
    const char *folder;
    bool wants_folders;
    struct q2_place_visitor *visitor;
};

/* Other systems make names with characters past U+FFFF, which are pairs of surrogates. */
static void replace_surrogates(CHAR16 *name)
{
    for (; *name != 0; name++) {
        if (*name >= 0xd800 && *name <= 0xdfff)
            *name = '?';
    }
}

/* Show a record to the visitor, if it is of the wanted kind. */
static enum q2_status visit(EFI_FILE_INFO *record, const struct listing *listing,
                            struct q2_fault *fault)
{
    enum q2_status status = Q2_OK;
    char *name;

    if (((record->Attribute & EFI_FILE_DIRECTORY) != 0) != listing->wants_folders)
        return Q2_OK;
    replace_surrogates(record->FileName);
    name = mc_to_utf8(record->FileName);
    if (!name)
        return q2_fail_memory(fault);
    if (!q2_text_equal(name, ".") && !q2_text_equal(name, ".."))
        status = listing->visitor->visit(listing->visitor, name, fault);
    mc_free(name);
    return status;
}

static enum q2_status list(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem,
                           const struct listing *listing, struct q2_fault *fault)
{
    const char *folder = listing->folder;
    EFI_FILE_INFO *record = mc_alloc(RECORD_SIZE);
    EFI_FILE_PROTOCOL *File = NULL;
    UINTN size = RECORD_SIZE;
    enum q2_status status = record ? Q2_OK : q2_fail_memory(fault);

    if (status == Q2_OK) {
        status = mc_file_system_open(FileSystem, folder, EFI_FILE_MODE_READ, &File);
        if (status != Q2_OK)
            (void)q2_fail(fault, status, NULL, folder);
    }
    while (status == Q2_OK && size > 0) {
        size = RECORD_SIZE;
        status = q2_status_from_efi(File->Read(File, &size, record));
        if (status != Q2_OK)
            (void)q2_fail(fault, status, NULL, folder);
        else if (size > 0)
            status = visit(record, listing, fault);
    }
    if (File)
        (void)File->Close(File);
    mc_free(record);
    return status;
}

enum q2_status mc_file_system_list(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *folder,
                                   struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    const struct listing listing = {.folder = folder, .visitor = visitor};

    return list(FileSystem, &listing, fault);
}

enum q2_status mc_file_system_list_folders(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem,
                                           const char *folder, struct q2_place_visitor *visitor,
                                           struct q2_fault *fault)
{
    const struct listing listing = {.folder = folder, .wants_folders = true, .visitor = visitor};

    return list(FileSystem, &listing, fault);
}

uint64_t mc_file_system_path_id(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (; *path != '\0'; path++) {
        char c = *path >= 'A' && *path <= 'Z' ? (char)(*path + ('a' - 'A')) : *path;
        hash = (hash ^ (uint8_t)c) * 0x100000001b3;
    }
    return hash;
}
