/* The extent map of a file on a FAT volume, with memory for it.
 *
 * May call core/fs/ and boot services.
 */
#include "fat_extents.h"

#include "core/fs/fat_table.h"
#include "efi/base/fail.h"
#include "efi/base/firmware.h"

/* Working memory for a file that lies in a few pieces, and for any other one. */
#define BUFFER_SIZE     (1024u * 1024)
#define MAX_BUFFER_SIZE (65u * 1024 * 1024)

/* What is followed at first. In more pieces than this, jumps cost more than reading the FAT. */
#define FEW_EXTENTS 64u

/* A map under construction. */
struct map {
    const struct q2_fat_volume *volume;
    const struct q2_fat_file *file;
    struct q2_fault *fault;
    struct q2_file_extent *extents;
    struct q2_fat_chain chain;
};

static enum q2_status map_few(struct map *map, void *buffer)
{
    map->extents = mc_alloc(FEW_EXTENTS * sizeof(map->extents[0]));
    if (!map->extents)
        return mc_fail_memory(map->fault);
    return q2_fat_map(map->volume, map->file, buffer, BUFFER_SIZE, map->extents, FEW_EXTENTS,
                      map->fault, &map->chain);
}

/* Follow the chain twice: to count its extents, and to keep them. */
static enum q2_status count_and_map(struct map *map, void *buffer, size_t size)
{
    enum q2_status status =
        q2_fat_map(map->volume, map->file, buffer, size, NULL, 0, map->fault, &map->chain);

    if (status != Q2_OK)
        return status;
    map->extents = mc_alloc(map->chain.nb_extents * sizeof(map->extents[0]));
    if (!map->extents)
        return mc_fail_memory(map->fault);
    return q2_fat_map(map->volume, map->file, buffer, size, map->extents, map->chain.nb_extents,
                      map->fault, &map->chain);
}

static enum q2_status map_many(struct map *map)
{
    uint64_t size = q2_fat_table_whole_size(map->volume);
    void *buffer;
    enum q2_status status;

    size = size < MAX_BUFFER_SIZE ? size : MAX_BUFFER_SIZE;
    mc_free(map->extents);
    map->extents = NULL;
    buffer = mc_alloc_pages((size_t)size);
    if (!buffer)
        return mc_fail_memory(map->fault);
    status = count_and_map(map, buffer, (size_t)size);
    mc_free_pages(buffer, (size_t)size);
    return status;
}

/* Only a file without an oddity that would need care is mapped. */
static enum q2_status judge(const struct map *map, void *buffer)
{
    uint32_t odd;
    enum q2_status status;

    if (map->chain.size != map->file->size)
        return Q2_ERR_BAD_VOLUME; /* q2_fat_map() gave the reason */
    status = q2_fat_judge(map->volume, map->file, map->extents, &map->chain, buffer, BUFFER_SIZE,
                          map->fault, &odd);
    if (status != Q2_OK || q2_fat_write_limit(odd) == Q2_FAT_WRITE_ALL)
        return status;
    for (size_t i = 0; q2_fat_oddity(i); i++) {
        if ((q2_fat_oddity(i)->bit & odd) != 0 && q2_fat_oddity(i)->write != Q2_FAT_WRITE_ALL)
            return mc_fail(map->fault, Q2_ERR_BAD_VOLUME, q2_fat_oddity(i)->what,
                           map->volume->source->path);
    }
    return Q2_ERR_BAD_VOLUME;
}

enum q2_status mc_fat_extents(const struct q2_fat_volume *volume, const char *path,
                              struct q2_fault *fault, struct q2_fat_file *ret_file,
                              struct q2_file_extent **ret_extents, size_t *ret_nb_extents)
{
    struct map map = {.volume = volume, .file = ret_file, .fault = fault};
    void *buffer = mc_alloc_pages(BUFFER_SIZE);
    enum q2_status status;

    if (!buffer)
        return mc_fail_memory(fault);
    status = q2_fat_find(volume, path, buffer, BUFFER_SIZE, fault, ret_file);
    if (status == Q2_OK)
        status = map_few(&map, buffer);
    if (status == Q2_ERR_LIMIT)
        status = map_many(&map);
    if (status == Q2_OK)
        status = judge(&map, buffer);
    mc_free_pages(buffer, BUFFER_SIZE);
    if (status != Q2_OK) {
        mc_free(map.extents);
        return status;
    }
    *ret_extents = map.extents;
    *ret_nb_extents = map.chain.nb_extents;
    return Q2_OK;
}
