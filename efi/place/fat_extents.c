/* The extent map of a file on a FAT volume, with memory for it.
 *
 * May call core/fs and boot services. Invariant: no memory is kept after an error.
 */
#include "fat_extents.h"

#include "core/fs/fat_table.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"

/* Bytes of working memory: for a file in a few pieces, and for any other file. */
#define BUFFER_SIZE     (1024u * 1024)
#define MAX_BUFFER_SIZE (65u * 1024 * 1024)

/* Extents that are looked for at first. For a file with more, jumps in the FAT cost more time than
 * reading all of it. */
#define FEW_EXTENTS 64u

/* A file that is being mapped. */
struct job {
    const struct q2_fat_volume *volume;
    struct q2_fault *fault;
    struct mc_fat_map *map;
};

static enum q2_status map_with(const struct job *job, void *buffer, size_t size, size_t capacity)
{
    struct mc_fat_map *map = job->map;

    return q2_fat_map(job->volume, &map->file, buffer, size, map->extents, capacity, job->fault,
                      &map->chain);
}

static enum q2_status map_few(const struct job *job, void *buffer)
{
    job->map->extents = mc_alloc(FEW_EXTENTS * sizeof(job->map->extents[0]));
    if (!job->map->extents)
        return q2_fail_memory(job->fault);
    return map_with(job, buffer, BUFFER_SIZE, FEW_EXTENTS);
}

/* Follow the chain twice: to count its extents, and to keep them. */
static enum q2_status count_and_map(const struct job *job, void *buffer, size_t size)
{
    enum q2_status status = map_with(job, buffer, size, 0);

    if (status != Q2_OK)
        return status;
    job->map->extents = mc_alloc(job->map->chain.nb_extents * sizeof(job->map->extents[0]));
    if (!job->map->extents)
        return q2_fail_memory(job->fault);
    return map_with(job, buffer, size, job->map->chain.nb_extents);
}

static enum q2_status map_many(const struct job *job)
{
    uint64_t size = q2_fat_table_whole_size(job->volume);
    void *buffer;
    enum q2_status status;

    size = size < MAX_BUFFER_SIZE ? size : MAX_BUFFER_SIZE;
    mc_free(job->map->extents);
    job->map->extents = NULL;
    buffer = mc_alloc_pages((size_t)size);
    if (!buffer)
        return q2_fail_memory(job->fault);
    status = count_and_map(job, buffer, (size_t)size);
    mc_free_pages(buffer, (size_t)size);
    return status;
}

/* Say what is odd. The fault of a chain that ends early stays. */
static enum q2_status judge(const struct job *job, void *buffer)
{
    struct mc_fat_map *map = job->map;
    struct q2_fault fault;
    enum q2_status status = q2_fat_judge(job->volume, &map->file, map->extents, &map->chain, buffer,
                                         BUFFER_SIZE, &fault, &map->odd);

    if (status != Q2_OK)
        *job->fault = fault;
    return status;
}

enum q2_status mc_fat_extents(const struct q2_fat_volume *volume, const char *path,
                              struct q2_fault *fault, struct mc_fat_map *ret_map)
{
    const struct job job = {.volume = volume, .fault = fault, .map = ret_map};
    void *buffer = mc_alloc_pages(BUFFER_SIZE);
    enum q2_status status;

    *ret_map = (struct mc_fat_map){.extents = NULL};
    if (!buffer)
        return q2_fail_memory(fault);
    status = q2_fat_find(volume, path, buffer, BUFFER_SIZE, fault, &ret_map->file);
    if (status == Q2_OK)
        status = map_few(&job, buffer);
    if (status == Q2_ERR_LIMIT)
        status = map_many(&job);
    if (status == Q2_OK)
        status = judge(&job, buffer);
    mc_free_pages(buffer, BUFFER_SIZE);
    if (status != Q2_OK) {
        mc_free(ret_map->extents);
        ret_map->extents = NULL;
    }
    return status;
}

bool mc_fat_tail_is_zero(const struct q2_fat_volume *volume, const struct mc_fat_map *map)
{
    void *buffer = mc_alloc_pages(BUFFER_SIZE);
    struct q2_fault fault;
    bool is_zero = false;

    if (!buffer)
        return false;
    (void)q2_fat_tail_is_zero(volume, &map->file, map->extents, &map->chain, buffer, BUFFER_SIZE,
                              &fault, &is_zero);
    mc_free_pages(buffer, BUFFER_SIZE);
    return is_zero;
}

enum q2_status mc_fat_repair_copy(const struct q2_fat_volume *volume, const struct mc_fat_map *map,
                                  struct q2_fault *fault)
{
    struct q2_source *source = volume->source;
    void *buffer = mc_alloc_pages(BUFFER_SIZE);
    enum q2_status status;

    if (!buffer)
        return q2_fail_memory(fault);
    status = q2_fat_copy_repair(volume, map->extents, &map->chain, buffer, BUFFER_SIZE, fault);
    mc_free_pages(buffer, BUFFER_SIZE);
    if (status != Q2_OK)
        return status;
    status = source->ops->flush(source);
    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, NULL, source->path);
}
