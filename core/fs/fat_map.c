/* The extent map of a file on a FAT volume.
 *
 * Beside the data path, at attach only. Calls fat_table.c. Invariant: a map that comes out is valid
 * (include/q2_extents.h), and no cluster is in it twice.
 */
#include "fat_map.h"

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

/* Add a cluster, or the part of it that belongs to the file. False if there is no room. */
static bool map_add(struct map *map, uint64_t volume_offset, uint64_t length)
{
    uint64_t file_offset = map->last.file_offset + map->last.length;

    if (map->last.length > 0 && map->last.volume_offset + map->last.length == volume_offset) {
        map->last.length += length;
        return true;
    }
    if (!map_close_extent(map))
        return false;
    map->last = (struct q2_file_extent){file_offset, volume_offset, length};
    return true;
}

static enum q2_status fail_limit(struct q2_fault *fault, const struct q2_source *source,
                                 uint64_t limit)
{
    *fault = (struct q2_fault){
        .status = Q2_ERR_LIMIT,
        .what = "the file lies in too many pieces",
        .limit = limit,
        .has_limit = true,
        .field = "extents",
        .value = limit + 1,
        .has_value = true,
    };
    for (size_t i = 0; source->path && source->path[i] && i < sizeof(fault->file) - 1; i++)
        fault->file[i] = source->path[i];
    return Q2_ERR_LIMIT;
}

/* The chain goes on behind the file's last cluster, with the cluster extra. If extra is one of the
 * file's own, the chain bites its tail. */
static enum q2_status fail_long_chain(const struct q2_fat_volume *volume,
                                      struct q2_fat_table *table, const struct q2_fat_file *file,
                                      uint32_t nb_clusters, uint32_t extra, struct q2_fault *fault)
{
    const char *what = "the cluster chain is longer than the file";
    uint32_t cluster = file->first_cluster;

    for (uint32_t i = 0; i < nb_clusters; i++) {
        enum q2_status status;
        if (cluster == extra) {
            what = "the cluster chain is a loop";
            break;
        }
        status = q2_fat_table_next(table, cluster, fault, &cluster);
        if (status != Q2_OK)
            return status;
    }
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source, what, "cluster", extra,
                       file->entry_offset);
}

/* Follow the chain of a file that has at least one cluster. */
static enum q2_status follow(const struct q2_fat_volume *volume, struct q2_fat_table *table,
                             const struct q2_fat_file *file, struct map *map,
                             struct q2_fault *fault)
{
    uint32_t nb_clusters =
        (uint32_t)(((uint64_t)file->size + volume->cluster_size - 1) / volume->cluster_size);
    uint32_t cluster = file->first_cluster;
    uint64_t left = file->size;

    while (left > 0) {
        uint32_t nb_left = (uint32_t)((left + volume->cluster_size - 1) / volume->cluster_size);
        uint32_t first = cluster, nb;
        uint64_t length;
        enum q2_status status;
        if (cluster == Q2_FAT_END)
            return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                               "the cluster chain is shorter than the file", "DIR_FileSize",
                               file->size, file->entry_offset);
        status = q2_fat_table_run(table, cluster, nb_left, fault, &nb, &cluster);
        if (status != Q2_OK)
            return status;
        length = (uint64_t)nb * volume->cluster_size;
        length = left < length ? left : length;
        if (!map_add(map, q2_fat_cluster_offset(volume, first), length))
            return fail_limit(fault, volume->source, map->capacity);
        left -= length;
    }
    if (cluster != Q2_FAT_END)
        return fail_long_chain(volume, table, file, nb_clusters, cluster, fault);
    return map_close_extent(map) ? Q2_OK : fail_limit(fault, volume->source, map->capacity);
}

/* An empty file has no cluster, any other one a valid first cluster. */
static enum q2_status judge_first_cluster(const struct q2_fat_volume *volume,
                                          const struct q2_fat_file *file, struct q2_fault *fault)
{
    if (file->size == 0 ? file->first_cluster == 0
                        : q2_fat_cluster_valid(volume, file->first_cluster))
        return Q2_OK;
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                       file->size == 0 ? "the cluster chain is longer than the file"
                                       : "the file starts in no cluster of the volume",
                       "DIR_FstClus", file->first_cluster, file->entry_offset);
}

enum q2_status q2_fat_map(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                          void *buffer, size_t size, struct q2_file_extent *extents,
                          size_t capacity, struct q2_fault *fault, size_t *ret_nb_extents)
{
    struct map map = {.extents = extents, .capacity = capacity};
    struct q2_fat_table table;
    enum q2_status status;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fat_fail(fault, Q2_ERR_ARGUMENT, volume->source,
                           "the working buffer is too small", NULL, 0, 0);
    if (!extents || capacity > Q2_MAX_FILE_EXTENTS)
        map.capacity = Q2_MAX_FILE_EXTENTS;
    status = judge_first_cluster(volume, file, fault);
    if (status != Q2_OK)
        return status;
    q2_fat_table_init(&table, volume, buffer, size);
    if (file->size > 0) {
        status = follow(volume, &table, file, &map, fault);
        if (status != Q2_OK)
            return status;
    }
    *ret_nb_extents = map.nb_extents;
    return Q2_OK;
}
