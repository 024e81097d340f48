/* Storing the driver, and looking at programs.
 *
 * May call the firmware's file systems. Invariant: MC_DRIVER_FILE is a whole driver whenever it is
 * there.
 */
#include "driver_file.h"

#include "drivers/efi/status.h"
#include "efi/base/firmware.h"
#include "efi/place/file_system.h"
#include "embedded_driver.h"
#include "q2_fail.h"

#define OWN_FOLDER L"\\EFI\\metalcow"
#define NEW_FILE   L"\\EFI\\metalcow\\metalcowdxe.new"
#define FINAL_NAME L"\\EFI\\metalcow\\metalcowdxe.efi"

#define CREATE_MODES (EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE)

/* Bytes that are read of a file: the headers of a program end before. */
#define HEAD_SIZE 768u

/* PE: the field Subsystem of PE32+, counted from the signature; its values for UEFI. */
#define SUBSYSTEM_AT          (4u + 20u + 68u)
#define SUBSYSTEM_APPLICATION 10u
#define SUBSYSTEM_DRIVER      11u

static enum q2_status refuse(EFI_STATUS status, const char *what, struct q2_fault *fault)
{
    return q2_fail(fault, q2_status_from_efi(status), what, MC_DRIVER_FILE);
}

/* Does the open file hold the driver? */
static bool holds_driver(EFI_FILE_PROTOCOL *file)
{
    size_t size = mc_embedded_driver_size();
    UINTN n = size + 1;
    uint8_t *bytes = mc_alloc(n);
    bool same = bytes && !EFI_ERROR(file->Read(file, &n, bytes)) && n == size &&
                __builtin_memcmp(bytes, mc_embedded_driver, size) == 0;

    mc_free(bytes);
    return same;
}

/* Give the new file its name, in place of an older driver. */
static EFI_STATUS rename_new(EFI_FILE_PROTOCOL *root, EFI_FILE_PROTOCOL *file)
{
    UINTN size = sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16);
    EFI_FILE_INFO *info = mc_alloc(size);
    EFI_FILE_PROTOCOL *old;
    EFI_STATUS status = EFI_OUT_OF_RESOURCES;

    if (!info)
        return status;
    if (!EFI_ERROR(root->Open(root, &old, FINAL_NAME, EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE, 0)))
        (void)old->Delete(old); /* if this fails, SetInfo() below fails too */
    status = file->GetInfo(file, &mc_file_info_guid, &size, info);
    if (!EFI_ERROR(status)) {
        info->Size = offsetof(EFI_FILE_INFO, FileName) + sizeof(FINAL_NAME);
        __builtin_memcpy(info->FileName, FINAL_NAME, sizeof(FINAL_NAME));
        status = file->SetInfo(file, &mc_file_info_guid, info->Size, info);
    }
    mc_free(info);
    return status;
}

static EFI_STATUS write_new(EFI_FILE_PROTOCOL *root)
{
    EFI_FILE_PROTOCOL *file;
    UINTN n = mc_embedded_driver_size();
    EFI_STATUS status;

    if (!EFI_ERROR(root->Open(root, &file, NEW_FILE, EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE, 0)))
        (void)file->Delete(file); /* of a run that was cut */
    status = root->Open(root, &file, NEW_FILE, CREATE_MODES, 0);
    if (EFI_ERROR(status))
        return status;
    status = file->Write(file, &n, (VOID *)(uintptr_t)mc_embedded_driver);
    if (!EFI_ERROR(status) && n != mc_embedded_driver_size())
        status = EFI_VOLUME_FULL;
    if (!EFI_ERROR(status))
        status = file->Flush(file);
    if (!EFI_ERROR(status))
        status = rename_new(root, file);
    if (EFI_ERROR(status)) {
        (void)file->Delete(file);
        return status;
    }
    return file->Close(file);
}

/* Make the folders; those that are there are opened. */
static EFI_STATUS make_folders(EFI_FILE_PROTOCOL *root)
{
    static CHAR16 *const folders[] = {L"\\EFI", OWN_FOLDER};
    EFI_STATUS status = EFI_SUCCESS;

    for (unsigned int i = 0; i < 2 && !EFI_ERROR(status); i++) {
        EFI_FILE_PROTOCOL *folder;
        status = root->Open(root, &folder, folders[i], CREATE_MODES, EFI_FILE_DIRECTORY);
        if (!EFI_ERROR(status))
            (void)folder->Close(folder);
    }
    return status;
}

static EFI_STATUS store(EFI_FILE_PROTOCOL *root)
{
    EFI_FILE_PROTOCOL *file;
    EFI_STATUS status = root->Open(root, &file, FINAL_NAME, EFI_FILE_MODE_READ, 0);
    bool is_there = !EFI_ERROR(status) && holds_driver(file);

    if (!EFI_ERROR(status))
        (void)file->Close(file);
    if (is_there)
        return EFI_SUCCESS;
    status = make_folders(root);
    return EFI_ERROR(status) ? status : write_new(root);
}

enum q2_status mc_driver_file_store(EFI_HANDLE volume, struct q2_fault *fault)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system = mc_protocol(volume, &mc_file_system_guid);
    EFI_FILE_PROTOCOL *root;
    EFI_STATUS status;

    if (!file_system)
        return refuse(EFI_UNSUPPORTED,
                      "the firmware cannot read files on this volume; use a FAT volume", fault);
    status = file_system->OpenVolume(file_system, &root);
    if (EFI_ERROR(status))
        return refuse(status,
                      "the firmware cannot open the volume; take the stick out, put it in again, "
                      "and try again",
                      fault);
    status = store(root);
    (void)root->Close(root);
    return EFI_ERROR(status) ? refuse(status,
                                      "the driver cannot be copied to the volume; look whether it "
                                      "is full or write-protected",
                                      fault)
                             : Q2_OK;
}

/* The field Subsystem; 0: the bytes do not begin as a program of UEFI does. */
static unsigned int subsystem(const uint8_t *head, size_t size)
{
    uint32_t at;

    if (size < 64 || head[0] != 'M' || head[1] != 'Z')
        return 0;
    __builtin_memcpy(&at, head + 60, sizeof(at));
    if (at > size || size - at < SUBSYSTEM_AT + 2 || head[at] != 'P' || head[at + 1] != 'E')
        return 0;
    return (unsigned int)(head[at + SUBSYSTEM_AT] | head[at + SUBSYSTEM_AT + 1] << 8);
}

enum q2_status mc_program_check(EFI_HANDLE volume, const char *path, bool want_driver,
                                struct q2_fault *fault)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system = mc_protocol(volume, &mc_file_system_guid);
    EFI_FILE_PROTOCOL *file;
    uint8_t head[HEAD_SIZE];
    UINTN size = sizeof(head);
    enum q2_status status;

    if (!file_system)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "the firmware cannot read files on this volume; use a FAT volume", path);
    status = mc_file_system_open(file_system, path, EFI_FILE_MODE_READ, &file);
    if (status != Q2_OK)
        return q2_fail(fault, status, NULL, path);
    if (EFI_ERROR(file->Read(file, &size, head)))
        size = 0;
    (void)file->Close(file);
    if (subsystem(head, size) == (want_driver ? SUBSYSTEM_DRIVER : SUBSYSTEM_APPLICATION))
        return Q2_OK;
    return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                   want_driver ? "is no UEFI driver; an application is installed with --boot"
                               : "is no UEFI application; a driver is installed without --boot",
                   path);
}
