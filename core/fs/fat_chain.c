/* The extent map of a file on a FAT volume.
 *
 * May call fat_table.c, and fat_volume.c for faults. Invariant: a map that is returned is valid for
 * the returned size (include/q2_extents.h), and no cluster is in it twice.
 */
#include "fat_chain.h"

#include "q2_fail.h"
#include "fat_table.h"

/* A map under construction: the last extent is kept apart until it is complete. */
struct map {
    struct q2_file_extent *extents; /* NULL: count only */
    size_t capacity, nb_extents;
    struct q2_file_extent last; /* length 0: none */
};

/* Write the last extent down. False if there is no room. */
static bool map_close_extent(struct map *map)
{
    if (map->last.length == 0)
        return true;
    if (map->nb_extents >= map->capacity)
        return false;
    if (map->extents)
        map->extents[map->nb_extents] = map->last;
    map->nb_extents++;
    return true;
}

/* Add a run of clusters, or the part of it that belongs to the file; it does not go on where the
 * last one ends, because a run is as long as it can be. False if there is no room. */
static bool map_add(struct map *map, uint64_t volume_offset, uint64_t length)
{
    uint64_t file_offset = map->last.file_offset + map->last.length;

    if (!map_close_extent(map))
        return false;
    map->last = (struct q2_file_extent){file_offset, volume_offset, length};
    return true;
}

static uint32_t nb_clusters_of(const struct q2_fat_volume *volume, uint64_t size)
{
    return (uint32_t)((size + volume->cluster_size - 1) / volume->cluster_size);
}

/* Does a chain of nb clusters name its last one, `last`, before the end as well? If a chain returns
 * to one of its clusters, it is a loop without an end. A part of it that is longer than the loop
 * then names its own last cluster a second time. */
static enum q2_status comes_twice(struct q2_fat_table *table, const struct q2_fat_file *file,
                                  uint32_t nb, uint32_t last, struct q2_fault *fault,
                                  bool *ret_twice)
{
    uint32_t cluster = file->first_cluster, left = nb - 1; /* the clusters before the last one */

    *ret_twice = false;
    while (left > 0 && !*ret_twice) {
        uint32_t first = cluster, length;
        enum q2_status status = q2_fat_table_run(table, cluster, left, fault, &length, &cluster);
        if (status != Q2_OK)
            return status;
        *ret_twice = last >= first && last - first < length;
        left -= length;
    }
    return Q2_OK;
}

/* A chain has no loop if its last cluster is followed by an end or by nothing that is a cluster. */
static enum q2_status judge_loop(struct q2_fat_table *table, const struct q2_fat_file *file,
                                 uint32_t nb, uint32_t last, struct q2_fault *fault)
{
    struct q2_fault tail;
    uint32_t next;
    bool twice;
    enum q2_status status = q2_fat_table_next(table, last, &tail, &next);

    if (status == Q2_ERR_BAD_VOLUME || (status == Q2_OK && next == Q2_FAT_END))
        return Q2_OK;
    if (status != Q2_OK) {
        *fault = tail;
        return status;
    }
    status = comes_twice(table, file, nb, last, fault, &twice);
    if (status != Q2_OK || !twice)
        return status;
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, table->volume->source,
                       "the cluster chain is a loop", "cluster", last, file->entry_offset);
}

static enum q2_status fail_short(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                                 struct q2_fault *fault)
{
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                       "the cluster chain is shorter than the file", "DIR_FileSize", file->size,
                       file->entry_offset);
}

/* Follow the chain of a file that has at least one cluster, as far as its size goes or the chain.
 * What makes it end early is left in fault, for the caller's message. */
static enum q2_status follow(struct q2_fat_table *table, const struct q2_fat_file *file,
                             struct map *map, struct q2_fault *fault, uint64_t *ret_size)
{
    const struct q2_fat_volume *volume = table->volume;
    uint32_t cluster = file->first_cluster, last = cluster;
    uint64_t left = file->size;

    while (left > 0 && cluster > Q2_FAT_BROKEN) {
        uint32_t first = cluster, nb;
        uint64_t length;
        enum q2_status status =
            q2_fat_table_run(table, first, nb_clusters_of(volume, left), fault, &nb, &cluster);
        if (status != Q2_OK)
            return status;
        last = first + nb - 1;
        length = (uint64_t)nb * volume->cluster_size;
        length = left < length ? left : length;
        if (!map_add(map, q2_fat_cluster_offset(volume, first), length))
            return q2_fail_limit(fault, Q2_ERR_LIMIT, "the file is in too many pieces",
                                 volume->source->path, "extents", map->capacity + 1, map->capacity);
        left -= length;
    }
    *ret_size = file->size - left;
    if (left > 0 && cluster == Q2_FAT_END)
        (void)fail_short(volume, file, fault);
    if (left == 0) {
        enum q2_status status =
            judge_loop(table, file, nb_clusters_of(volume, file->size), last, fault);
        if (status != Q2_OK)
            return status;
    }
    return map_close_extent(map)
               ? Q2_OK
               : q2_fail_limit(fault, Q2_ERR_LIMIT, "the file is in too many pieces",
                               volume->source->path, "extents", map->capacity + 1, map->capacity);
}

/* A file that is not empty has a valid first cluster. */
static enum q2_status judge_first_cluster(const struct q2_fat_volume *volume,
                                          const struct q2_fat_file *file, struct q2_fault *fault)
{
    if (file->size == 0 || q2_fat_cluster_valid(volume, file->first_cluster))
        return Q2_OK;
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                       "the file starts in no cluster of the volume", "DIR_FstClus",
                       file->first_cluster, file->entry_offset);
}

enum q2_status q2_fat_map(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                          void *buffer, size_t size, struct q2_file_extent *extents,
                          size_t capacity, struct q2_fault *fault, struct q2_fat_chain *ret_chain)
{
    struct map map = {.extents = extents, .capacity = capacity};
    struct q2_fat_table table;
    uint64_t mapped_size = 0;
    enum q2_status status;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fat_fail(fault, Q2_ERR_ARGUMENT, volume->source,
                           "the working buffer is too small", NULL, 0, 0);
    if (!extents || capacity > Q2_MAX_FILE_EXTENTS)
        map.capacity = Q2_MAX_FILE_EXTENTS;
    status = judge_first_cluster(volume, file, fault);
    if (status != Q2_OK)
        return status;
    q2_fat_table_init(&table, volume, volume->fat_offset, buffer, size);
    if (file->size > 0) {
        status = follow(&table, file, &map, fault, &mapped_size);
        if (status != Q2_OK)
            return status;
    }
    *ret_chain = (struct q2_fat_chain){.nb_extents = map.nb_extents, .size = mapped_size};
    return Q2_OK;
}
