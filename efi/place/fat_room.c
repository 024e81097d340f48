/* Making files of the FAT place longer, and giving their room back.
 *
 * Calls the file system, outside of requests only. FAT is not safe against a power cut while it
 * grows a file, so callers do this rarely, in large steps, and before anything refers to the new
 * bytes. Invariant: a source's map is replaced by one that was verified, or stays.
 */
#include "fat_place.h"

#include "drivers/efi/status.h"
#include "q2_fail.h"
#include "core/base/range.h"
#include "efi/base/firmware.h"

/* EFI_FILE_INFO and EFI_FILE_SYSTEM_INFO end with a name: of 255 units, and of a label. */
#define INFO_SIZE (sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16))

/* The volume's free space; UINT64_MAX if it does not say. */
static uint64_t free_space(EFI_FILE_PROTOCOL *File, void *info)
{
    const EFI_FILE_SYSTEM_INFO *volume = info;
    UINTN size = INFO_SIZE;

    if (EFI_ERROR(File->GetInfo(File, &mc_file_system_info_guid, &size, info)))
        return UINT64_MAX;
    return volume->FreeSpace;
}

/* Set the file's size; times of zero are left as they are. (UEFI: "EFI_FILE_PROTOCOL.SetInfo()") */
static EFI_STATUS set_size(EFI_FILE_PROTOCOL *File, EFI_FILE_INFO *info, uint64_t file_size)
{
    UINTN size = INFO_SIZE;
    EFI_STATUS status = File->GetInfo(File, &mc_file_info_guid, &size, info);

    if (EFI_ERROR(status))
        return status;
    info->FileSize = file_size;
    info->CreateTime = info->LastAccessTime = info->ModificationTime = (EFI_TIME){.Year = 0};
    status = File->SetInfo(File, &mc_file_info_guid, size, info);
    return EFI_ERROR(status) ? status : File->Flush(File);
}

EFI_STATUS mc_fat_set_size(struct mc_fat_file *file, uint64_t size)
{
    void *info = mc_alloc(INFO_SIZE);
    EFI_STATUS status = info ? set_size(file->File, info, size) : EFI_OUT_OF_RESOURCES;

    mc_free(info);
    return status;
}

/* Make the file longer. If its chain is longer than the file already, EDK2's driver gives
 * EFI_VOLUME_CORRUPTED, but has cut the chain to the file's size; so try again. */
static EFI_STATUS make_longer(struct mc_fat_file *file, EFI_FILE_INFO *info, uint64_t size)
{
    EFI_STATUS status = set_size(file->File, info, size);

    if (status == EFI_VOLUME_CORRUPTED && (file->odd & Q2_FAT_ODD_LONG) != 0) {
        (void)file->File->Flush(file->File);
        status = set_size(file->File, info, size);
    }
    return status;
}

/* Note the size that the file system says after an attempt, whether it worked or not. */
static void note_size(struct mc_fat_file *file)
{
    UINT64 size;

    if (!EFI_ERROR(file->File->SetPosition(file->File, UINT64_MAX)) &&
        !EFI_ERROR(file->File->GetPosition(file->File, &size)))
        file->file_size = size;
}

/* Take the map of the file as it is now. */
static enum q2_status remap(struct mc_fat_file *file, struct q2_fault *fault)
{
    struct mc_fat_map map;
    enum q2_status status = mc_fat_map_make(mc_fat_place_of(&file->file), file, true, fault, &map);

    if (status != Q2_OK)
        return status;
    status = q2_source_extents_remap(&file->as.extents, map.extents, map.chain.nb_extents,
                                     map.chain.size);
    if (status != Q2_OK) {
        mc_free(map.extents);
        return q2_fail(fault, status,
                       "the file is stored elsewhere now; detach the disk and attach it again",
                       file->path);
    }
    mc_free(file->map);
    file->map = map.extents;
    file->nb_extents = map.chain.nb_extents;
    file->odd = map.odd;
    file->file.mapped_size = map.chain.size;
    status = mc_fat_guard(file, &map.file);
    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, NULL, file->path);
}

/* May the file become shorter than it was when it was opened?  On an odd volume only room that was
 * made since then is taken back. */
static bool can_change_length(const struct mc_fat_file *file)
{
    return q2_fat_write_limit(file->odd) <= Q2_FAT_WRITE_REPAIRED && !file->keeps_tail;
}

enum q2_status mc_fat_make_room(struct q2_place_file *place_file, uint64_t size,
                                struct q2_fault *fault)
{
    struct mc_fat_file *file = (struct mc_fat_file *)place_file;
    uint64_t old_size = place_file->mapped_size,
             limit = q2_fat_max_file_size(&mc_fat_place_of(place_file)->fat);
    uint64_t target = size, left;
    EFI_STATUS efi_status = EFI_SUCCESS;
    enum q2_status status = Q2_OK;
    void *info;

    if (q2_fat_write_limit(file->odd) > Q2_FAT_WRITE_REPAIRED)
        return q2_fail(fault, Q2_ERR_NO_SPACE, mc_fat_oddity_text(file->odd, Q2_FAT_WRITE_IN_PLACE),
                       file->path);
    if (file->keeps_tail)
        return q2_fail(
            fault, Q2_ERR_NO_SPACE,
            "the cluster chain is longer than the file and its end may belong to another "
            "file, so it does not grow; check the volume with 'fsck.fat' or 'chkdsk'",
            file->path);
    info = mc_alloc(INFO_SIZE);
    if (!info)
        return q2_fail_memory(fault);
    left = free_space(file->File, info);
    if (target > old_size && target - old_size > left)
        target = old_size + left;
    if (target > limit)
        target = limit;
    /* The driver writes directories and the file's last page out of its cache, and the new map is
     * verified by what it reads. */
    (void)mc_fat_forget(place_file->place, true, fault);
    if (target > old_size) {
        efi_status = make_longer(file, info, target);
        note_size(file);
        status = remap(file, fault);
    }
    mc_free(info);
    if (status != Q2_OK || place_file->mapped_size >= size)
        return status;
    status = EFI_ERROR(efi_status) ? q2_status_from_efi(efi_status) : Q2_ERR_NO_SPACE;
    return q2_fail(
        fault, status,
        size > limit ? "it is as long as a file on FAT can be, 4 GiB; 'metalcow convert' on a host "
                       "may make it shorter"
                     : Q2_PLACE_NO_SPACE,
        file->path);
}

uint64_t mc_fat_free_space(struct q2_place_file *place_file)
{
    struct mc_fat_file *file = (struct mc_fat_file *)place_file;
    void *info = mc_alloc(INFO_SIZE);
    uint64_t space = info ? free_space(file->File, info) : UINT64_MAX;

    mc_free(info);
    return space;
}

enum q2_status mc_fat_give_back(struct q2_place_file *place_file, uint64_t size,
                                struct q2_fault *fault)
{
    struct mc_fat_file *file = (struct mc_fat_file *)place_file;
    EFI_STATUS efi_status;
    void *info;

    if (place_file->mapped_size <= size ||
        (size < place_file->source->size && !can_change_length(file)))
        return Q2_OK;
    info = mc_alloc(INFO_SIZE);
    if (!info)
        return q2_fail_memory(fault);
    (void)mc_fat_forget(place_file->place, true, fault);
    efi_status = set_size(file->File, info, size);
    note_size(file);
    mc_free(info);
    if (EFI_ERROR(efi_status))
        return q2_fail(
            fault, q2_status_from_efi(efi_status),
            "the firmware cannot shorten the file again; it keeps its room, which does no harm",
            file->path);
    place_file->source->size = q2_min_u64(place_file->source->size, size);
    q2_source_extents_cut(&file->as.extents, file->map, size);
    file->nb_extents = file->as.extents.nb_extents;
    place_file->mapped_size = size;
    return remap(file, fault);
}
