/* What is odd about a FAT volume and a file on it, and what that means for writing.
 *
 * May call fat_table.c, fat_volume.c for faults, and the volume's source. Invariant: only
 * q2_fat_copy_repair() writes, and only to entries of the second FAT that belong to the file's
 * clusters.
 */
#include "fat_judge.h"

#include "fat_table.h"

static const struct q2_fat_oddity oddities[] = {
    {Q2_FAT_ODD_JUMP, Q2_FAT_WRITE_ALL, "the boot sector does not start with a jump"},
    {Q2_FAT_ODD_SIGNATURE, Q2_FAT_WRITE_ALL, "the boot sector has no signature"},
    {Q2_FAT_ODD_MEDIA, Q2_FAT_WRITE_ALL, "the boot sector has an unusual media byte"},
    {Q2_FAT_ODD_SECTORS, Q2_FAT_WRITE_IN_PLACE,
     "the boot sector counts more sectors than the partition has"},
    {Q2_FAT_ODD_COVERAGE, Q2_FAT_WRITE_IN_PLACE,
     "the FATs are too small for the last clusters of the volume"},
    {Q2_FAT_ODD_ROOT_ENTRIES, Q2_FAT_WRITE_NOTHING,
     "the boot sector of FAT32 counts root entries, so other systems look for clusters elsewhere"},
    {Q2_FAT_ODD_INFO_SECTOR, Q2_FAT_WRITE_IN_PLACE,
     "the boot sector says that free clusters are counted in a sector that has something else"},
    {Q2_FAT_ODD_COPY, Q2_FAT_WRITE_REPAIRED,
     "the second FAT has other entries for this file than the first"},
    {Q2_FAT_ODD_LONG, Q2_FAT_WRITE_REPAIRED, "the cluster chain is longer than the file"},
    {Q2_FAT_ODD_LOOP, Q2_FAT_WRITE_IN_PLACE,
     "the cluster chain does not end after the file's last cluster"},
    {Q2_FAT_ODD_SHORT, Q2_FAT_WRITE_REPAIRED, "the cluster chain is shorter than the file"},
};

const struct q2_fat_oddity *q2_fat_oddity(size_t index)
{
    return index < sizeof(oddities) / sizeof(oddities[0]) ? &oddities[index] : NULL;
}

enum q2_fat_write q2_fat_write_limit(uint32_t odd)
{
    enum q2_fat_write limit = Q2_FAT_WRITE_ALL;

    for (size_t i = 0; i < sizeof(oddities) / sizeof(oddities[0]); i++) {
        if ((odd & oddities[i].bit) != 0 && oddities[i].write > limit)
            limit = oddities[i].write;
    }
    return limit;
}

/* The same window of both FATs. No entry is in two windows: a FAT12 is smaller than one, and the
 * entries of the others are aligned. */
struct windows {
    const struct q2_fat_volume *volume;
    uint8_t *first, *second;
    uint64_t size;                   /* of a window, a multiple of 4096 */
    uint64_t start, length;          /* what is loaded; length 0: nothing */
    uint64_t dirty_start, dirty_end; /* of the second, in the window */
    struct q2_fault *fault;
};

static enum q2_status fail_source(const struct windows *windows, enum q2_status status,
                                  uint64_t offset)
{
    return q2_fat_fail(windows->fault, status, windows->volume->source, NULL, NULL, 0, offset);
}

/* Write back what was changed of the second FAT. */
static enum q2_status windows_flush(struct windows *windows)
{
    struct q2_source *source = windows->volume->source;
    uint64_t offset = windows->volume->mirror_offset + windows->start + windows->dirty_start;
    size_t length = (size_t)(windows->dirty_end - windows->dirty_start);
    enum q2_status status;

    if (length == 0)
        return Q2_OK;
    if (!source->writable)
        return fail_source(windows, Q2_ERR_READ_ONLY, offset);
    status = source->ops->write_at(source, offset, windows->second + windows->dirty_start, length);
    windows->dirty_start = windows->dirty_end = 0;
    return status == Q2_OK ? Q2_OK : fail_source(windows, status, offset);
}

/* Load the windows that have a byte of the FAT. */
static enum q2_status windows_load(struct windows *windows, uint64_t offset)
{
    const struct q2_fat_volume *volume = windows->volume;
    struct q2_source *source = volume->source;
    uint64_t start = offset - offset % windows->size;
    uint64_t left = volume->fat_size - start;
    size_t length = (size_t)(left < windows->size ? left : windows->size);
    enum q2_status status;

    if (windows->length > 0 && windows->start == start)
        return Q2_OK;
    status = windows_flush(windows);
    if (status != Q2_OK)
        return status;
    windows->length = 0;
    windows->start = start;
    status = source->ops->read_at(source, volume->fat_offset + start, windows->first, length);
    if (status == Q2_OK)
        status =
            source->ops->read_at(source, volume->mirror_offset + start, windows->second, length);
    if (status != Q2_OK)
        return fail_source(windows, status, volume->fat_offset + start);
    windows->length = length;
    return Q2_OK;
}

/* An entry at a byte of a window. */
static uint32_t entry_at(enum q2_fat_type type, const uint8_t *at, uint32_t cluster)
{
    uint32_t value = (uint32_t)(at[0] | at[1] << 8);

    if (type == Q2_FAT_12)
        return (cluster & 1) != 0 ? value >> 4 : value & 0x0fff;
    if (type == Q2_FAT_32)
        value |= (uint32_t)at[2] << 16 | (uint32_t)(at[3] & 0x0f) << 24;
    return value;
}

/* Store an entry. Bits that belong to no entry or to a neighbour stay. */
static void entry_put(enum q2_fat_type type, uint8_t *at, uint32_t cluster, uint32_t value)
{
    uint32_t old = (uint32_t)(at[0] | at[1] << 8);

    if (type == Q2_FAT_12)
        value = (cluster & 1) != 0 ? (old & 0x000f) | value << 4 : (old & 0xf000) | value;
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    if (type == Q2_FAT_32) {
        at[2] = (uint8_t)(value >> 16);
        at[3] = (uint8_t)((at[3] & 0xf0) | (value >> 24 & 0x0f));
    }
}

/* Compare the entries of a cluster in the loaded windows; make the second like the first if asked.
 * Returns whether they differed. Two marks for an end are the same. */
static bool compare_entry(struct windows *windows, uint32_t cluster, bool repair)
{
    enum q2_fat_type type = windows->volume->type;
    uint64_t at = q2_fat_entry_offset(type, cluster) - windows->start;
    uint64_t end = at + (type == Q2_FAT_32 ? 4 : 2);
    uint32_t first = entry_at(type, windows->first + at, cluster);
    uint32_t second = entry_at(type, windows->second + at, cluster);

    if (first == second || (q2_fat_entry_ends(type, first) && q2_fat_entry_ends(type, second)))
        return false;
    if (repair) {
        entry_put(type, windows->second + at, cluster, first);
        if (windows->dirty_end == 0 || at < windows->dirty_start)
            windows->dirty_start = at;
        if (end > windows->dirty_end)
            windows->dirty_end = end;
    }
    return true;
}

/* Are the entries from a cluster on, as many as are in the windows and at most max, equal byte by
 * byte? Then how many there are, else 0. */
static uint32_t nb_equal(const struct windows *windows, uint32_t cluster, uint32_t max)
{
    enum q2_fat_type type = windows->volume->type;
    uint64_t at = q2_fat_entry_offset(type, cluster) - windows->start;
    uint32_t size = type == Q2_FAT_32 ? 4 : 2;
    uint64_t nb = (windows->length - at) / size;

    nb = nb < max ? nb : max;
    if (type == Q2_FAT_12 ||
        __builtin_memcmp(windows->first + at, windows->second + at, (size_t)nb * size) != 0)
        return 0;
    return (uint32_t)nb;
}

/* Compare the entries of a run of clusters. *differs is set if one differs; without repair the
 * first one is enough. */
static enum q2_status compare_run(struct windows *windows, uint32_t cluster, uint32_t nb,
                                  bool repair, bool *differs)
{
    enum q2_fat_type type = windows->volume->type;

    while (nb > 0 && q2_fat_entry_exists(windows->volume, cluster) && (repair || !*differs)) {
        enum q2_status status = windows_load(windows, q2_fat_entry_offset(type, cluster));
        uint32_t done;
        if (status != Q2_OK)
            return status;
        done = nb_equal(windows, cluster, nb);
        if (done == 0) {
            *differs = compare_entry(windows, cluster, repair) || *differs;
            done = 1;
        }
        cluster += done;
        nb -= done;
    }
    return Q2_OK;
}

static uint32_t first_cluster_of(const struct q2_fat_volume *volume,
                                 const struct q2_file_extent *extent)
{
    return (uint32_t)((extent->volume_offset - volume->data_offset) / volume->cluster_size) + 2;
}

static uint32_t nb_clusters_of(const struct q2_fat_volume *volume,
                               const struct q2_file_extent *extent)
{
    return (uint32_t)((extent->length + volume->cluster_size - 1) / volume->cluster_size);
}

/* Compare the entries of all clusters of a file. */
static enum q2_status compare_file(const struct q2_fat_volume *volume,
                                   const struct q2_file_extent *extents,
                                   const struct q2_fat_chain *chain, void *buffer, size_t size,
                                   bool repair, struct q2_fault *fault, bool *ret_differs)
{
    size_t half = size / 2 & ~(size_t)4095;
    struct windows windows = {
        .volume = volume,
        .first = buffer,
        .second = (uint8_t *)buffer + half,
        .size = half,
        .fault = fault,
    };

    *ret_differs = false;
    for (size_t i = 0; i < chain->nb_extents && (repair || !*ret_differs); i++) {
        enum q2_status status =
            compare_run(&windows, first_cluster_of(volume, &extents[i]),
                        nb_clusters_of(volume, &extents[i]), repair, ret_differs);
        if (status != Q2_OK)
            return status;
    }
    return windows_flush(&windows);
}

/* Follow what comes after the file's clusters, at most as many clusters as the volume has. */
static enum q2_status judge_tail(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_bit)
{
    uint32_t left = table->volume->nb_clusters;

    *ret_bit = Q2_FAT_ODD_LOOP;
    while (left > 0) {
        uint32_t length;
        enum q2_status status = q2_fat_table_run(table, cluster, left, fault, &length, &cluster);
        if (status != Q2_OK)
            return status;
        if (length < left && cluster <= Q2_FAT_BROKEN) {
            *ret_bit = Q2_FAT_ODD_LONG;
            return Q2_OK;
        }
        left -= length;
    }
    return Q2_OK;
}

/* The first cluster after the file's own: what the chain says after the last one, or the first
 * cluster of a file without any. Q2_FAT_END: there is none, or the FAT has no entry that says it,
 * which is an oddity of the volume. Else untrusted. */
static enum q2_status tail_start(struct q2_fat_table *table, const struct q2_fat_file *file,
                                 const struct q2_file_extent *extents,
                                 const struct q2_fat_chain *chain, struct q2_fault *fault,
                                 uint32_t *ret_cluster)
{
    const struct q2_fat_volume *volume = table->volume;
    const struct q2_file_extent *end;
    uint32_t last;
    enum q2_status status;

    *ret_cluster = file->first_cluster;
    if (chain->nb_extents == 0)
        return Q2_OK;
    *ret_cluster = Q2_FAT_END;
    end = &extents[chain->nb_extents - 1];
    last = first_cluster_of(volume, end) + nb_clusters_of(volume, end) - 1;
    if (!q2_fat_entry_exists(volume, last))
        return Q2_OK;
    status = q2_fat_table_entry(table, last, fault, ret_cluster);
    if (status != Q2_OK)
        return status;
    if (q2_fat_entry_ends(volume->type, *ret_cluster))
        *ret_cluster = Q2_FAT_END;
    else if (*ret_cluster == 0)
        *ret_cluster = Q2_FAT_BROKEN; /* free is no end */
    return Q2_OK;
}

/* Does the chain end where the file ends? */
static enum q2_status judge_end(struct q2_fat_table *table, const struct q2_fat_file *file,
                                const struct q2_file_extent *extents,
                                const struct q2_fat_chain *chain, struct q2_fault *fault,
                                uint32_t *ret_bit)
{
    uint32_t next;
    enum q2_status status = tail_start(table, file, extents, chain, fault, &next);

    *ret_bit = 0;
    if (status != Q2_OK || next == Q2_FAT_END)
        return status;
    *ret_bit = Q2_FAT_ODD_LONG;
    if (!q2_fat_cluster_valid(table->volume, next))
        return Q2_OK;
    return judge_tail(table, next, fault, ret_bit);
}

/* Are clusters in a row all zeros? */
static enum q2_status are_zeros(const struct q2_fat_volume *volume, uint32_t cluster, uint32_t nb,
                                uint8_t *buffer, size_t size, struct q2_fault *fault,
                                bool *ret_zeros)
{
    struct q2_source *source = volume->source;
    uint64_t offset = q2_fat_cluster_offset(volume, cluster);
    uint64_t left = (uint64_t)nb * volume->cluster_size;

    while (left > 0 && *ret_zeros) {
        size_t length = left < size ? (size_t)left : size;
        enum q2_status status = source->ops->read_at(source, offset, buffer, length);
        if (status != Q2_OK)
            return q2_fat_fail(fault, status, source, NULL, NULL, 0, offset);
        *ret_zeros = buffer[0] == 0 && __builtin_memcmp(buffer, buffer + 1, length - 1) == 0;
        offset += length;
        left -= length;
    }
    return Q2_OK;
}

enum q2_status q2_fat_tail_is_zero(const struct q2_fat_volume *volume,
                                   const struct q2_fat_file *file,
                                   const struct q2_file_extent *extents,
                                   const struct q2_fat_chain *chain, void *buffer, size_t size,
                                   struct q2_fault *fault, bool *ret_zero)
{
    size_t half = size / 2 & ~(size_t)4095;
    struct q2_fat_table table;
    uint32_t cluster, left = volume->nb_clusters;
    bool zeros = true;
    enum q2_status status;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fat_fail(fault, Q2_ERR_ARGUMENT, volume->source,
                           "the working buffer is too small", NULL, 0, 0);
    q2_fat_table_init(&table, volume, volume->fat_offset, (uint8_t *)buffer + half, half);
    status = tail_start(&table, file, extents, chain, fault, &cluster);
    while (status == Q2_OK && zeros && left > 0 && q2_fat_cluster_valid(volume, cluster)) {
        uint32_t first = cluster, nb;
        status = q2_fat_table_run(&table, first, left, fault, &nb, &cluster);
        if (status == Q2_OK)
            status = are_zeros(volume, first, nb, buffer, half, fault, &zeros);
        left -= nb;
    }
    if (status == Q2_OK)
        *ret_zero = zeros;
    return status;
}

enum q2_status q2_fat_judge(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                            const struct q2_file_extent *extents, const struct q2_fat_chain *chain,
                            void *buffer, size_t size, struct q2_fault *fault, uint32_t *ret_odd)
{
    struct q2_fat_table table;
    bool differs = false;
    uint32_t bit = Q2_FAT_ODD_SHORT;
    enum q2_status status = Q2_OK;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fat_fail(fault, Q2_ERR_ARGUMENT, volume->source,
                           "the working buffer is too small", NULL, 0, 0);
    if (volume->has_mirror)
        status = compare_file(volume, extents, chain, buffer, size, false, fault, &differs);
    q2_fat_table_init(&table, volume, volume->fat_offset, buffer, size);
    if (status == Q2_OK && chain->size == file->size)
        status = judge_end(&table, file, extents, chain, fault, &bit);
    if (status == Q2_OK)
        *ret_odd = volume->odd | bit | (differs ? Q2_FAT_ODD_COPY : 0);
    return status;
}

enum q2_status q2_fat_copy_repair(const struct q2_fat_volume *volume,
                                  const struct q2_file_extent *extents,
                                  const struct q2_fat_chain *chain, void *buffer, size_t size,
                                  struct q2_fault *fault)
{
    bool differs;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fat_fail(fault, Q2_ERR_ARGUMENT, volume->source,
                           "the working buffer is too small", NULL, 0, 0);
    return compare_file(volume, extents, chain, buffer, size, true, fault, &differs);
}
