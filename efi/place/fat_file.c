/* Opening a file of the FAT place.
 *
 * Calls the file system, core/fs/ and drivers/. Invariants: a source of a file on a FAT volume
 * never calls the file system; a map is used only after it was verified against the file system.
 */
#include "fat_place.h"

#include "drivers/efi/status.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "fat_cache.h"
#include "fat_name.h"

/* Clusters that the file system shall walk at most to check the map of a file that is only read. */
#define MAX_WALK 8192u

/* Room for a path of short names: more than EDK2's driver opens. */
#define MAX_SHORT_PATH 512u

/* Pieces in which a file is read into memory: large, so that the file system walks forward. */
#define PIECE_SIZE (4u * 1024 * 1024)

/* Open a file by its short names. */
static enum q2_status open_alias(const struct mc_fat_place *place, struct mc_fat_file *file,
                                 UINT64 mode)
{
    size_t size = MAX_SHORT_PATH;
    char *alias = mc_alloc(size);
    void *buffer = mc_alloc_pages(Q2_FAT_MIN_BUFFER);
    struct q2_fault fault;
    enum q2_status status = Q2_ERR_LIMIT;

    if (alias && buffer)
        status =
            q2_fat_alias(&place->fat, file->path, buffer, Q2_FAT_MIN_BUFFER, &fault, alias, size);
    if (status == Q2_OK)
        status = mc_file_system_open(place->FileSystem, alias, mode, &file->File);
    if (buffer)
        mc_free_pages(buffer, Q2_FAT_MIN_BUFFER);
    mc_free(alias);
    return status;
}

/* What keeps the firmware from opening a file; NULL: the status says it. EDK2 denies writing to a
 * file that has the attribute. */
static const char *open_text(enum q2_status status, bool writable)
{
    return status == Q2_ERR_READ_ONLY || (status == Q2_ERR_DENIED && writable)
               ? "the file or its volume is write-protected; take the attribute away with "
                 "'attrib -r' in the shell, or use mode overlay"
               : NULL;
}

/* EDK2's driver opens no path of more than about 255 units, whatever its components are. */
static enum q2_status open_efi_file(const struct mc_fat_place *place, struct mc_fat_file *file,
                                    bool writable, struct q2_fault *fault)
{
    UINT64 mode = EFI_FILE_MODE_READ | (writable ? EFI_FILE_MODE_WRITE : 0);
    enum q2_status status = mc_file_system_open(place->FileSystem, file->path, mode, &file->File);

    if (status == Q2_ERR_ARGUMENT && place->doubt.status == Q2_OK &&
        open_alias(place, file, mode) == Q2_OK)
        return Q2_OK;
    return status == Q2_OK ? Q2_OK
                           : q2_fail(fault, status, open_text(status, writable), file->path);
}

static enum q2_status source_by_file_system(const struct mc_fat_place *place,
                                            struct mc_fat_file *file, struct q2_fault *fault,
                                            struct q2_source_efi_file *ret_source)
{
    const struct q2_efi_file by_file = {
        .File = file->File,
        .path = file->path,
        .identity = {(uintptr_t)place->handle, mc_file_system_path_id(file->path)},
    };
    enum q2_status status = q2_source_efi_file_init(ret_source, &by_file);

    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, NULL, file->path);
}

/* A file as its extents make it. Pages of the FAT driver's cache: see fat_cache.h. */
static struct q2_extents_file describe(const struct mc_fat_place *place,
                                       const struct mc_fat_file *file, const struct mc_fat_map *map,
                                       bool writable)
{
    return (struct q2_extents_file){
        .volume = (struct q2_source *)(uintptr_t)&place->device.source,
        .extents = map->extents,
        .nb_extents = map->chain.nb_extents,
        .size = map->chain.size,
        .file_id = q2_fat_file_id(&map->file),
        .path = file->path,
        .writable = writable,
        .can_grow = writable && q2_fat_write_limit(map->odd) <= Q2_FAT_WRITE_REPAIRED,
        .page_start = place->fat.root_offset,
        .page_bits = place->fat.type == Q2_FAT_12 ? MC_FAT12_PAGE_BITS : MC_FAT_PAGE_BITS,
    };
}

/* Does the map say what the file system says? A chain that ends early is compared as far as it
 * goes: the file system gives the size of the directory entry. If the file is only read, the
 * comparison stops where the file system takes long to get to: it walks 786432 clusters to the end
 * of 3 GiB, which takes ten times as long as everything else here. */
static enum q2_status verify(const struct mc_fat_place *place, struct mc_fat_file *file,
                             bool writable, const struct mc_fat_map *map, struct q2_fault *fault)
{
    uint64_t limit = writable ? UINT64_MAX : (uint64_t)MAX_WALK * place->fat.cluster_size;
    uint8_t *samples = mc_alloc(2 * Q2_VERIFY_SAMPLE_SIZE + MC_FAT_FRESH_SIZE);
    const struct q2_extents_file by_extents = describe(place, file, map, false);
    struct q2_source_extents by_map;
    struct q2_source_efi_file by_file;
    struct mc_fat_fresh fresh;
    enum q2_status status = samples ? Q2_OK : q2_fail_memory(fault);

    if (status == Q2_OK)
        status = source_by_file_system(place, file, fault, &by_file);
    if (status == Q2_OK && q2_source_extents_init(&by_map, &by_extents) != Q2_OK)
        status = q2_fail(fault, Q2_ERR_BAD_VOLUME, NULL, file->path);
    if (status == Q2_OK && by_file.source.size == map->file.size)
        by_file.source.size = map->chain.size;
    if (status == Q2_OK) {
        mc_fat_fresh_init(&fresh, &by_file.source, &by_map, samples + 2 * Q2_VERIFY_SAMPLE_SIZE);
        status = q2_extents_verify(&by_map.source, &fresh.source, map->extents,
                                   map->chain.nb_extents, limit, samples, fault);
    }
    mc_free(samples);
    return status;
}

enum q2_status mc_fat_map_make(struct mc_fat_place *place, struct mc_fat_file *file, bool writable,
                               struct q2_fault *fault, struct mc_fat_map *ret_map)
{
    enum q2_status status = mc_fat_extents(&place->fat, file->path, fault, ret_map);

    if (status == Q2_OK)
        status = verify(place, file, writable, ret_map, fault);
    if (status != Q2_OK) {
        mc_free(ret_map->extents);
        ret_map->extents = NULL;
    }
    return status;
}

/* A chain that ends early is what a power cut leaves while a qcow2 image is made longer: such an
 * image says itself what is missing, if anything is. A raw image would just be a smaller disk. */
static enum q2_status judge_short(struct mc_fat_file *file, const struct mc_fat_map *map,
                                  const struct q2_fault *why, struct q2_fault *fault)
{
    struct q2_source *source = &file->as.source;
    uint8_t magic[4];
    enum q2_status status;

    if (map->chain.size == map->file.size)
        return Q2_OK;
    status = source->size < sizeof(magic) ? Q2_ERR_TRUNCATED
                                          : source->ops->read_at(source, 0, magic, sizeof(magic));
    if (status == Q2_OK && __builtin_memcmp(magic, "QFI\xfb", sizeof(magic)) == 0)
        return Q2_OK;
    *fault = *why;
    return Q2_ERR_BAD_VOLUME;
}

static enum q2_status source_by_map(struct mc_fat_place *place, struct mc_fat_file *file,
                                    bool writable, struct q2_fault *fault, struct mc_fat_map *map)
{
    struct q2_extents_file by_extents;
    struct q2_fault why;
    enum q2_status status = mc_fat_map_make(place, file, writable, fault, map);

    why = *fault;
    if (status == Q2_OK && writable)
        status = mc_fat_make_writable(place, file, fault, map);
    if (status != Q2_OK)
        return status;
    file->map = map->extents;
    file->nb_extents = map->chain.nb_extents;
    file->file_size = map->file.size;
    file->odd = map->odd;
    by_extents = describe(place, file, map, writable);
    status = q2_source_extents_init(&file->as.extents, &by_extents);
    if (status != Q2_OK)
        return q2_fail(fault, status, NULL, file->path);
    if (!writable)
        return judge_short(file, map, &why, fault);
    status = mc_fat_guard(file, &map->file);
    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, NULL, file->path);
}

static enum q2_status read_pieces(struct q2_source *source, uint8_t *memory, struct q2_fault *fault)
{
    for (uint64_t at = 0; at < source->size; at += PIECE_SIZE) {
        uint64_t left = source->size - at;
        enum q2_status status = source->ops->read_at(source, at, memory + at,
                                                     left < PIECE_SIZE ? (size_t)left : PIECE_SIZE);
        if (status != Q2_OK)
            return q2_fail(fault, status, NULL, source->path);
    }
    return Q2_OK;
}

/* Read a file without a map into memory. fault says why there is no map, and stays if the file is
 * too large. found: its directory entry, if our reader got so far; the identity is the one that a
 * map gives, so that the file is known again. */
static enum q2_status source_in_memory(struct mc_fat_place *place, struct mc_fat_file *file,
                                       struct q2_source *by_file, const struct q2_fat_file *found,
                                       struct q2_fault *fault)
{
    uint64_t identity[2] = {by_file->identity[0], by_file->identity[1]};
    enum q2_status status;

    if (by_file->size > MC_MAX_FILE_IN_MEMORY)
        return fault->status;
    file->doubt = *fault;
    file->memory = mc_alloc_pages((size_t)by_file->size + 1);
    if (!file->memory)
        return q2_fail_memory(fault);
    status = read_pieces(by_file, file->memory, fault);
    q2_source_memory_init(&file->as.memory, file->memory, by_file->size, by_file->size, false,
                          file->path);
    if (found->entry_offset != 0)
        q2_source_extents_identity(&place->device.source, q2_fat_file_id(found), identity);
    file->as.source.identity[0] = identity[0];
    file->as.source.identity[1] = identity[1];
    return status;
}

/* May a file be read into memory because of this failure to map it? Not if our reader does not find
 * what the file system has opened: then it is not known which file that is. */
static bool is_doubt(enum q2_status status)
{
    return status == Q2_ERR_BAD_VOLUME || status == Q2_ERR_LIMIT;
}

static enum q2_status refuse_name(const struct mc_fat_file *file, enum q2_status status,
                                  struct q2_fault *fault)
{
    if (status != Q2_ERR_NOT_FOUND && status != Q2_ERR_BAD_NAME)
        return status;
    return q2_fail(fault, Q2_ERR_BAD_NAME,
                   "the firmware opens a file by this name, but its folder has no such name; write "
                   "the name as the folder has it",
                   file->path);
}

/* By extents if they can be trusted, else in memory; what is written must have extents. A writable
 * file stays open, for its room and for the file system's cache. */
static enum q2_status make_source(struct mc_fat_place *place, struct mc_fat_file *file,
                                  bool writable, struct q2_fault *fault)
{
    struct mc_fat_map map = {.extents = NULL};
    struct q2_source_efi_file by_file;
    enum q2_status status = source_by_file_system(place, file, fault, &by_file);

    if (status != Q2_OK)
        return status;
    /* What other programs wrote may still be in the file system's cache. This fails for a file that
     * is open for reading only, which has nothing to write. */
    (void)file->File->Flush(file->File);
    *fault = place->doubt;
    status = place->doubt.status;
    if (status == Q2_OK)
        status = source_by_map(place, file, writable, fault, &map);
    if (status != Q2_OK && !(is_doubt(status) || place->doubt.status != Q2_OK))
        return refuse_name(file, status, fault);
    if (writable)
        return status;
    if (status != Q2_OK) {
        mc_free(file->map);
        file->map = NULL;
        status = source_in_memory(place, file, &by_file.source, &map.file, fault);
    }
    (void)file->File->Close(file->File);
    file->File = NULL;
    return status;
}

/* The path as the volume knows it, and the file as the file system has it. */
static enum q2_status open_by_name(struct mc_fat_place *place, struct mc_fat_file *file,
                                   const char *path, bool writable, struct q2_fault *fault)
{
    size_t size = q2_text_length(path) + 2;

    file->path = mc_alloc(size);
    if (!file->path)
        return q2_fail_memory(fault);
    if (!mc_fat_path_clean(path, file->path, size))
        return q2_fail(fault, Q2_ERR_BAD_NAME, NULL, path);
    return open_efi_file(place, file, writable, fault);
}

enum q2_status mc_fat_open_file(struct q2_place *q2_place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file)
{
    struct mc_fat_place *place = (struct mc_fat_place *)q2_place;
    struct mc_fat_file *file = mc_alloc(sizeof(*file));
    enum q2_status status;

    if (!file)
        return q2_fail_memory(fault);
    file->file = (struct q2_place_file){.place = q2_place, .source = &file->as.source};
    status = open_by_name(place, file, path, writable, fault);
    if (status == Q2_OK)
        status = make_source(place, file, writable, fault);
    if (status != Q2_OK) {
        mc_fat_close_file(&file->file);
        return status;
    }
    file->file.mapped_size = file->as.source.size;
    if (writable) {
        file->next_written = place->written;
        place->written = file;
    }
    *ret_file = &file->file;
    return Q2_OK;
}

void mc_fat_close_file(struct q2_place_file *place_file)
{
    struct mc_fat_file *file = (struct mc_fat_file *)place_file;
    struct mc_fat_file **link = &mc_fat_place_of(place_file)->written;

    while (*link && *link != file)
        link = &(*link)->next_written;
    if (*link)
        *link = file->next_written;
    if (file->File)
        (void)file->File->Close(file->File);
    if (file->memory)
        mc_free_pages(file->memory, (size_t)file->as.source.size + 1);
    mc_free(file->map);
    mc_free(file->path);
    mc_free(file);
}
