/* Making files longer through the file system.
 *
 * Below registry.c and upkeep.c; calls the file system, volume.c. Invariant: a source's map is
 * replaced by one that was verified, or stays.
 */
#include "room.h"

#include "drivers/efi/status.h"
#include "efi/base/fail.h"
#include "fat_cache.h"
#include "efi/base/firmware.h"

/* FAT's largest file. */
#define MAX_FILE_SIZE ((uint64_t)UINT32_MAX)

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

/* What the file system says after an attempt, whether it worked or not. */
static void note_size(struct mc_file *file)
{
    UINT64 size;

    if (!EFI_ERROR(file->File->SetPosition(file->File, UINT64_MAX)) &&
        !EFI_ERROR(file->File->GetPosition(file->File, &size)))
        file->file_size = size;
}

/* Take the map of the file as it is now. */
static enum q2_status remap(struct mc_volume *volume, struct mc_file *file, struct q2_fault *fault)
{
    struct mc_map map;
    enum q2_status status = mc_map_make(volume, file, true, fault, &map);

    if (status != Q2_OK)
        return status;
    status = q2_source_extents_remap(&file->as.extents, map.extents, map.nb, map.file.size);
    if (status != Q2_OK) {
        mc_free(map.extents);
        return mc_fail(fault, status, "the file lies elsewhere now", file->path);
    }
    mc_free(file->map);
    file->map = map.extents;
    file->nb_extents = map.nb;
    return Q2_OK;
}

/* Make the file `size` bytes long, or as long as it can be. */
static enum q2_status grow(struct mc_image *image, struct mc_file *file, uint64_t size,
                           struct q2_fault *fault)
{
    struct mc_file *files[2];
    size_t nb_files = mc_image_written_files(image, files);
    uint64_t old_size = file->as.extents.mapped_size, left, target = size;
    void *info = mc_alloc(INFO_SIZE);
    EFI_STATUS efi_status = EFI_SUCCESS;
    enum q2_status status = Q2_OK;

    if (!info)
        return mc_fail_memory(fault);
    left = free_space(file->File, info);
    if (target - old_size > left)
        target = old_size + left;
    if (target > MAX_FILE_SIZE)
        target = MAX_FILE_SIZE;
    /* The driver writes directories and the file's last page out of its cache, and the new map is
     * verified by what it reads. */
    (void)mc_fat_cache_evict(files, nb_files, MC_ALL_PAGES);
    if (target > old_size) {
        efi_status = set_size(file->File, info, target);
        note_size(file);
        status = remap(&image->volume, file, fault);
    }
    mc_free(info);
    if (status != Q2_OK || file->as.extents.mapped_size >= size)
        return status;
    status = EFI_ERROR(efi_status) ? q2_status_from_efi(efi_status) : Q2_ERR_NO_SPACE;
    return mc_fail(fault, status, "the file cannot be made as long as its room asks for",
                   file->path);
}

/* One file of a disk, and how long it should be. */
struct need {
    struct mc_file *file;
    uint64_t left;   /* bytes that can be used before it must grow */
    uint64_t wanted; /* left should be this */
    uint64_t size;   /* what the file should have then */
};

/* Metadata beside an external data file: L2 tables (16 bytes for a cluster at most) and refcounts,
 * all of them twice over, for a snapshot. */
static uint64_t metadata_bound(const struct q2_layer_info *info)
{
    return (info->virtual_size >> info->header->cluster_bits) * 64 + (1u << 20);
}

static struct need image_need(const struct mc_image *image, const struct q2_layer_info *info)
{
    const struct q2_source_extents *extents = &image->file->as.extents;
    uint64_t behind = q2_disk_room(image->disk);
    struct need need = {.file = image->file, .wanted = image->room};

    if (info->data_source != info->source && need.wanted > metadata_bound(info))
        need.wanted = metadata_bound(info);
    need.left = behind + extents->mapped_size - extents->source.size;
    need.size = extents->source.size - behind + need.wanted;
    return need;
}

/* Guest offsets are host offsets in a data file: it needs the disk's size, in whole clusters. */
static struct need data_need(const struct mc_image *image, const struct q2_layer_info *info)
{
    struct mc_file *file = (struct mc_file *)(uintptr_t)info->data_source;
    const struct q2_source_extents *extents = &file->as.extents;
    uint64_t mask = (1ull << info->header->cluster_bits) - 1;
    uint64_t full = (info->virtual_size + mask) & ~mask;
    struct need need = {.file = file, .wanted = image->room};

    if ((info->header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) != 0)
        full = info->virtual_size;
    need.left = extents->mapped_size - extents->source.size;
    if (full <= extents->source.size)
        need.wanted = 0;
    else if (full - extents->source.size < need.wanted)
        need.wanted = full - extents->source.size;
    need.size = extents->source.size + need.wanted;
    return need;
}

static enum q2_status fill_need(struct mc_image *image, const struct need *need,
                                struct q2_fault *fault)
{
    if (need->left >= need->wanted / 2 + need->wanted % 2 ||
        need->size <= need->file->as.extents.mapped_size)
        return Q2_OK;
    return grow(image, need->file, need->size, fault);
}

enum q2_status mc_image_top_up(struct mc_image *image, struct q2_fault *fault)
{
    struct q2_layer_info info;
    struct need need;
    enum q2_status status;

    if (image->mode != MC_MODE_READ_WRITE || image->no_more_room || image->room == 0 ||
        !q2_disk_is_writable(image->disk))
        return Q2_OK;
    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return Q2_OK; /* a raw image has its size */
    need = image_need(image, &info);
    status = fill_need(image, &need, fault);
    if (status == Q2_OK && info.data_source != info.source) {
        need = data_need(image, &info);
        status = fill_need(image, &need, fault);
    }
    image->no_more_room = status != Q2_OK;
    return status;
}

static uint64_t room_in_files(const struct mc_image *image)
{
    struct q2_layer_info info;
    struct need need;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return MC_ROOM_FOR_ALL;
    if (info.data_source == info.source)
        return image_need(image, &info).left;
    need = data_need(image, &info);
    return need.file->as.extents.mapped_size >= info.virtual_size ? MC_ROOM_FOR_ALL : need.left;
}

uint64_t mc_image_room(const struct mc_image *image)
{
    const struct q2_source_memory *overlay = &image->overlay.source;

    switch (image->mode) {
    case MC_MODE_OVERLAY:
        return overlay->capacity - overlay->source.size + q2_disk_room(image->disk);
    case MC_MODE_READ_WRITE:
        return room_in_files(image);
    case MC_MODE_READ_ONLY:
    default:
        return 0;
    }
}
