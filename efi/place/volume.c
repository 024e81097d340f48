/* Files of a volume as byte sources.
 *
 * Below attach.c and opener.c; calls the file system (at attach and detach) and drivers/.
 * Invariant: a source of a file on a FAT volume never calls the file system.
 */
#include "volume.h"

#include "drivers/efi/status.h"
#include "efi/base/fail.h"
#include "fat_cache.h"
#include "fat_extents.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

/* Clusters that the file system shall walk at most to check the map of a file that is only read. */
#define MAX_WALK 8192u

/* Pieces in which a file is read into memory: large, so that the file system walks forward. */
#define PIECE_SIZE (4u * 1024 * 1024)

/* What kind of file system is it? Only FAT has the lock that forbids using its files, and a FAT
 * that is damaged is one too. */
static void look_at_device(struct mc_volume *volume)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(volume->handle, &mc_block_io_guid);
    EFI_DISK_IO_PROTOCOL *disk_io = mc_protocol(volume->handle, &mc_disk_io_guid);
    enum q2_status status;

    if (!block_io || !disk_io)
        return;
    volume->io_align = block_io->Media->IoAlign;
    status = q2_source_efi_disk_io_init(&volume->device, disk_io, block_io, "volume");
    if (status != Q2_OK) {
        volume->is_fat = true; /* unknown: the careful way */
        (void)mc_fail(&volume->doubt, status, NULL, "volume");
        return;
    }
    volume->device.BlockIo2 = mc_protocol(volume->handle, &mc_block_io2_guid);
    status = q2_fat_volume_open(&volume->device.source, &volume->doubt, &volume->fat);
    volume->is_fat = status != Q2_ERR_UNSUPPORTED;
    if (status == Q2_OK)
        volume->doubt.status = Q2_OK;
}

enum q2_status mc_volume_open(EFI_HANDLE handle, struct q2_fault *fault,
                              struct mc_volume *ret_volume)
{
    *ret_volume = (struct mc_volume){.handle = handle};
    ret_volume->FileSystem = mc_protocol(handle, &mc_file_system_guid);
    if (!ret_volume->FileSystem)
        return mc_fail(fault, Q2_ERR_UNSUPPORTED, "no file system that the firmware can read",
                       NULL);
    look_at_device(ret_volume);
    return Q2_OK;
}

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

static enum q2_status open_in(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
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

enum q2_status mc_file_system_open(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   EFI_FILE_PROTOCOL **ret_File)
{
    return open_in(FileSystem, path, EFI_FILE_MODE_READ, ret_File);
}

/* A folder can be read too, but gives records. It has no end to seek to. */
static bool is_folder(EFI_FILE_PROTOCOL *File)
{
    bool is = File->SetPosition(File, UINT64_MAX) == EFI_UNSUPPORTED;

    (void)File->SetPosition(File, 0);
    return is;
}

enum q2_status mc_file_system_read(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   void *buffer, size_t *length, struct q2_fault *fault)
{
    EFI_FILE_PROTOCOL *file;
    UINTN n = *length;
    enum q2_status status = mc_file_system_open(FileSystem, path, &file);

    if (status != Q2_OK)
        return mc_fail(fault, status, NULL, path);
    status = is_folder(file) ? Q2_ERR_DENIED : q2_status_from_efi(file->Read(file, &n, buffer));
    (void)file->Close(file);
    if (status != Q2_OK)
        return mc_fail(fault, status, NULL, path);
    *length = n;
    return Q2_OK;
}

static enum q2_status open_efi_file(const struct mc_volume *volume, struct mc_file *file,
                                    bool writable, struct q2_fault *fault)
{
    UINT64 mode = EFI_FILE_MODE_READ | (writable ? EFI_FILE_MODE_WRITE : 0);
    enum q2_status status = open_in(volume->FileSystem, file->path, mode, &file->File);

    return status == Q2_OK ? Q2_OK : mc_fail(fault, status, NULL, file->path);
}

/* A number for a file that the volume does not number: of its path, with the case of ASCII letters
 * dropped. Two names of one file would escape it; two files that differ by case are taken for one,
 * which is refused where it matters. */
static uint64_t path_id(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (; *path != '\0'; path++) {
        char c = *path >= 'A' && *path <= 'Z' ? (char)(*path + ('a' - 'A')) : *path;
        hash = (hash ^ (uint8_t)c) * 0x100000001b3;
    }
    return hash;
}

static enum q2_status source_by_file_system(const struct mc_volume *volume, struct mc_file *file,
                                            struct q2_fault *fault,
                                            struct q2_source_efi_file *ret_source)
{
    const struct q2_efi_file by_file = {
        .File = file->File,
        .path = file->path,
        .identity = {(uintptr_t)volume->handle, path_id(file->path)},
    };
    enum q2_status status = q2_source_efi_file_init(ret_source, &by_file);

    return status == Q2_OK ? Q2_OK : mc_fail(fault, status, NULL, file->path);
}

/* A file as its extents make it. Pages of the FAT driver's cache: see fat_cache.h. */
static struct q2_extents_file describe(const struct mc_volume *volume, const struct mc_file *file,
                                       const struct mc_map *map, bool writable)
{
    return (struct q2_extents_file){
        .volume = (struct q2_source *)(uintptr_t)&volume->device.source,
        .extents = map->extents,
        .nb_extents = map->nb,
        .size = map->file.size,
        .file_id = q2_fat_file_id(&map->file),
        .path = file->path,
        .writable = writable,
        .can_grow = writable,
        .page_start = volume->fat.root_offset,
        .page_bits = volume->fat.type == Q2_FAT_12 ? MC_FAT12_PAGE_BITS : MC_FAT_PAGE_BITS,
    };
}

/* Does the map say what the file system says? If the file is only read, just where the file system
 * gets to soon: it walks 786432 clusters to the end of 3 GiB, which takes ten times as long as
 * everything else here. */
static enum q2_status verify(const struct mc_volume *volume, struct mc_file *file, bool writable,
                             const struct mc_map *map, struct q2_fault *fault)
{
    uint64_t limit = writable ? UINT64_MAX : (uint64_t)MAX_WALK * volume->fat.cluster_size;
    uint8_t *samples = mc_alloc(2 * Q2_VERIFY_SAMPLE_SIZE);
    const struct q2_extents_file by_extents = describe(volume, file, map, false);
    struct q2_source_extents by_map;
    struct q2_source_efi_file by_file;
    enum q2_status status = samples ? Q2_OK : mc_fail_memory(fault);

    if (status == Q2_OK)
        status = source_by_file_system(volume, file, fault, &by_file);
    if (status == Q2_OK && q2_source_extents_init(&by_map, &by_extents) != Q2_OK)
        status = mc_fail(fault, Q2_ERR_BAD_VOLUME, NULL, file->path);
    if (status == Q2_OK)
        status = q2_extents_verify(&by_map.source, &by_file.source, map->extents, map->nb, limit,
                                   samples, fault);
    mc_free(samples);
    return status;
}

enum q2_status mc_map_make(struct mc_volume *volume, struct mc_file *file, bool writable,
                           struct q2_fault *fault, struct mc_map *ret_map)
{
    struct mc_map map = {.extents = NULL};
    enum q2_status status =
        mc_fat_extents(&volume->fat, file->path, fault, &map.file, &map.extents, &map.nb);

    if (status == Q2_OK)
        status = verify(volume, file, writable, &map, fault);
    if (status != Q2_OK)
        mc_free(map.extents);
    else
        *ret_map = map;
    return status;
}

static enum q2_status source_by_extents(struct mc_volume *volume, struct mc_file *file,
                                        bool writable, struct q2_fault *fault)
{
    struct mc_map map;
    struct q2_extents_file by_extents;
    enum q2_status status = mc_map_make(volume, file, writable, fault, &map);

    if (status != Q2_OK)
        return status;
    file->map = map.extents;
    file->nb_extents = map.nb;
    file->file_size = map.file.size;
    by_extents = describe(volume, file, &map, writable);
    status = q2_source_extents_init(&file->as.extents, &by_extents);
    return status == Q2_OK ? Q2_OK : mc_fail(fault, status, NULL, file->path);
}

static enum q2_status read_pieces(struct q2_source *source, uint8_t *memory, struct q2_fault *fault)
{
    for (uint64_t at = 0; at < source->size; at += PIECE_SIZE) {
        uint64_t left = source->size - at;
        enum q2_status status = source->ops->read_at(source, at, memory + at,
                                                     left < PIECE_SIZE ? (size_t)left : PIECE_SIZE);
        if (status != Q2_OK)
            return mc_fail(fault, status, NULL, source->path);
    }
    return Q2_OK;
}

/* The way out for a FAT file without a map. fault says why there is none, and stays if the file is
 * too large. */
static enum q2_status source_in_memory(struct mc_file *file, struct q2_source *by_file,
                                       struct q2_fault *fault)
{
    enum q2_status status;

    if (by_file->size > MC_MAX_FILE_IN_MEMORY)
        return fault->status;
    file->doubt = *fault;
    file->memory = mc_alloc_pages((size_t)by_file->size + 1);
    if (!file->memory)
        return mc_fail_memory(fault);
    file->way = MC_FILE_IN_MEMORY;
    status = read_pieces(by_file, file->memory, fault);
    q2_source_memory_init(&file->as.memory, file->memory, by_file->size, by_file->size, false,
                          file->path);
    file->as.source.identity[0] = by_file->identity[0];
    file->as.source.identity[1] = by_file->identity[1];
    return status;
}

/* By extents if they can be trusted, else in memory; what is written must have extents. The file
 * stays open if it is written: for room, and for fat_cache.c. */
static enum q2_status make_fat_source(struct mc_volume *volume, struct mc_file *file, bool writable,
                                      struct q2_fault *fault)
{
    struct q2_source_efi_file by_file;
    enum q2_status status = source_by_file_system(volume, file, fault, &by_file);

    if (status != Q2_OK)
        return status;
    /* What other programs wrote may still be in the file system's cache. Refused for a file that is
     * open for reading only, which has nothing to write. */
    (void)file->File->Flush(file->File);
    *fault = volume->doubt;
    status = volume->doubt.status;
    if (status == Q2_OK)
        status = source_by_extents(volume, file, writable, fault);
    if (writable)
        return status;
    if (status != Q2_OK) {
        mc_free(file->map);
        file->map = NULL;
        status = source_in_memory(file, &by_file.source, fault);
    }
    (void)file->File->Close(file->File);
    file->File = NULL;
    return status;
}

static enum q2_status make_source(struct mc_volume *volume, struct mc_file *file, bool writable,
                                  struct q2_fault *fault)
{
    if (volume->is_fat)
        return make_fat_source(volume, file, writable, fault);
    if (writable)
        return mc_fail(fault, Q2_ERR_UNSUPPORTED, "only files on FAT volumes can be written",
                       file->path);
    file->way = MC_FILE_BY_FILE_SYSTEM;
    return source_by_file_system(volume, file, fault, &file->as.file);
}

enum q2_status mc_file_open(struct mc_volume *volume, const char *path, bool writable,
                            struct q2_fault *fault, struct mc_file **ret_file)
{
    size_t size = mc_text_length(path) + 2;
    struct mc_file *file = mc_alloc(sizeof(*file));
    enum q2_status status = Q2_OK;

    if (file)
        file->path = mc_alloc(size);
    if (!file || !file->path)
        status = mc_fail_memory(fault);
    else if (!mc_path_clean(path, file->path, size))
        status = mc_fail(fault, Q2_ERR_BAD_NAME, NULL, path);
    if (status == Q2_OK)
        status = open_efi_file(volume, file, writable, fault);
    if (status == Q2_OK)
        status = make_source(volume, file, writable, fault);
    if (status != Q2_OK) {
        mc_file_close(file);
        return status;
    }
    *ret_file = file;
    return Q2_OK;
}

void mc_file_close(struct mc_file *file)
{
    if (!file)
        return;
    if (file->File)
        (void)file->File->Close(file->File);
    if (file->memory)
        mc_free_pages(file->memory, (size_t)file->as.source.size + 1);
    mc_free(file->map);
    mc_free(file->path);
    mc_free(file);
}
