/* Internal snapshots.
 *
 * May call slice_cache.c. Invariant: the walk through the table reads at most
 * Q2_MAX_SNAPSHOT_TABLE_SIZE bytes and never past the file.
 */
#include "snapshot.h"

#include "q2_fail.h"
#include "core/format/snapshot_entry.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/base/text.h"

/* What reading one entry hands around. */
struct reading {
    struct q2_slice_cache *cache;
    const struct q2_image *image;
    struct q2_fault *fault;
};

static enum q2_status read_part(const struct reading *reading, uint64_t offset, void *buffer,
                                size_t length)
{
    struct q2_source *source = reading->image->source;
    enum q2_status status;

    if (length == 0)
        return Q2_OK;
    status = q2_slice_read(reading->cache, source, offset, buffer, length);
    if (status != Q2_OK)
        return q2_fail_at(reading->fault, status, "the snapshot table cannot be read", source->path,
                          offset);
    return Q2_OK;
}

/* Ids and names: cut to the room there is; an embedded NUL ends them early. */
static enum q2_status read_string(const struct reading *reading, uint64_t offset, size_t length,
                                  char *to, size_t size)
{
    memset(to, 0, size);
    return read_part(reading, offset, to, length < size ? length : size - 1);
}

/* The extra data says what the fixed part has no room for; absent fields keep the fixed part's. */
static enum q2_status read_extra(const struct reading *reading, uint64_t offset, uint32_t length,
                                 struct q2_snapshot *snapshot)
{
    struct q2_snapshot_extra_disk extra;
    size_t known = length < sizeof(extra) ? length : sizeof(extra);
    enum q2_status status = read_part(reading, offset, &extra, known);

    if (status != Q2_OK)
        return status;
    if (known >= offsetof(struct q2_snapshot_extra_disk, virtual_size))
        snapshot->vm_state_size = q2_be64_get(extra.vm_state_size_large);
    if (known >= offsetof(struct q2_snapshot_extra_disk, icount))
        snapshot->virtual_size = q2_be64_get(extra.virtual_size);
    if (known >= sizeof(extra)) {
        snapshot->icount = q2_be64_get(extra.icount);
        snapshot->has_icount = snapshot->icount != UINT64_MAX;
    }
    return Q2_OK;
}

static void decode(const struct q2_snapshot_disk *disk, uint64_t virtual_size,
                   struct q2_snapshot *ret_snapshot)
{
    memset(ret_snapshot, 0, sizeof(*ret_snapshot));
    ret_snapshot->l1_table_offset = q2_be64_get(disk->l1_table_offset);
    ret_snapshot->l1_size = q2_be32_get(disk->l1_size);
    ret_snapshot->date_sec = q2_be32_get(disk->date_sec);
    ret_snapshot->date_nsec = q2_be32_get(disk->date_nsec);
    ret_snapshot->vm_clock_nsec = q2_be64_get(disk->vm_clock_nsec);
    ret_snapshot->vm_state_size = q2_be32_get(disk->vm_state_size);
    ret_snapshot->virtual_size = virtual_size;
}

/* Read the extra data and the strings that follow the fixed part. */
static enum q2_status read_rest(const struct reading *reading, const struct q2_snapshot_disk *disk,
                                uint64_t at, struct q2_snapshot *snapshot)
{
    uint32_t extra_size = q2_be32_get(disk->extra_data_size);
    uint32_t id_size = q2_be16_get(disk->id_size);
    enum q2_status status = read_extra(reading, at, extra_size, snapshot);

    at += extra_size;
    if (status == Q2_OK)
        status = read_string(reading, at, id_size, snapshot->id, sizeof(snapshot->id));
    at += id_size;
    if (status == Q2_OK)
        status = read_string(reading, at, q2_be16_get(disk->name_size), snapshot->name,
                             sizeof(snapshot->name));
    return status;
}

/* Is extra_data_size so large that id and name would be stored past the end of the file? */
static bool strings_are_lost(const struct q2_snapshot_disk *disk, uint64_t extra_at,
                             uint64_t file_size)
{
    uint32_t extra_size = q2_be32_get(disk->extra_data_size);
    uint64_t length = q2_be16_get(disk->id_size) + (uint64_t)q2_be16_get(disk->name_size);

    return extra_size > Q2_MAX_SNAPSHOT_EXTRA_SIZE &&
           !q2_range_fits(extra_at + extra_size, length, file_size);
}

/* Read the entry that the walk stands before, and move the walk.
 *
 * most_extra  bytes of extra data that it may have
 */
static enum q2_status read_entry(const struct reading *reading, uint32_t most_extra,
                                 struct q2_snapshot_walk *walk, struct q2_snapshot *ret_snapshot)
{
    const struct q2_header *header = &reading->image->header;
    uint64_t at = header->snapshots_offset + walk->offset;
    uint64_t file_size = walk->file_size ? walk->file_size : reading->image->source->size;
    struct q2_snapshot_disk *fixed = &walk->fixed;
    bool strings_lost;
    enum q2_status status = read_part(reading, at, fixed, sizeof(*fixed));

    if (status != Q2_OK)
        return status;
    walk->extra_size = q2_be32_get(fixed->extra_data_size);
    if (walk->extra_size > most_extra)
        return q2_fail_limit(
            reading->fault, Q2_ERR_LIMIT,
            "a snapshot's extra data is too long; 'metalcow check -r all' shortens it",
            reading->image->source->path, "extra_data_size", walk->extra_size, most_extra);
    decode(fixed, header->size, ret_snapshot);
    strings_lost = strings_are_lost(fixed, at + sizeof(*fixed), file_size);
    if (strings_lost)
        fixed->id_size = fixed->name_size = q2_be16_make(0);
    status = read_rest(reading, fixed, at + sizeof(*fixed), ret_snapshot);
    if (status != Q2_OK)
        return status;
    walk->offset += (sizeof(*fixed) + (uint64_t)walk->extra_size + q2_be16_get(fixed->id_size) +
                     q2_be16_get(fixed->name_size) + 7) &
                    ~7ull;
    if (strings_lost && walk->offset <= Q2_MAX_SNAPSHOT_TABLE_SIZE)
        walk->offset = (file_size - header->snapshots_offset + 7) & ~7ull;
    walk->index++;
    return Q2_OK;
}

enum q2_status q2_snapshot_next(struct q2_slice_cache *cache, const struct q2_image *image,
                                struct q2_snapshot_walk *walk, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot)
{
    const struct reading reading = {.cache = cache, .image = image, .fault = fault};
    enum q2_status status = read_entry(&reading, Q2_MAX_SNAPSHOT_EXTRA_SIZE, walk, ret_snapshot);

    if (status == Q2_OK && walk->offset > Q2_MAX_SNAPSHOT_TABLE_SIZE)
        return q2_fail_limit(fault, Q2_ERR_LIMIT,
                             "the snapshot table is too long; 'metalcow check -r all' removes the "
                             "snapshots past the limit",
                             image->source->path, "snapshot table length", walk->offset,
                             Q2_MAX_SNAPSHOT_TABLE_SIZE);
    return status;
}

enum q2_status q2_snapshot_next_kept(struct q2_slice_cache *cache, const struct q2_image *image,
                                     struct q2_snapshot_walk *walk, struct q2_fault *fault,
                                     struct q2_snapshot *ret_snapshot, bool *ret_kept)
{
    const struct reading reading = {.cache = cache, .image = image, .fault = fault};
    const struct q2_snapshot_walk before = *walk;
    enum q2_status status;

    *ret_kept = walk->index < image->header.nb_snapshots && walk->index < Q2_MAX_SNAPSHOTS;
    if (!*ret_kept)
        return Q2_OK;
    status = read_entry(&reading, UINT32_MAX, walk, ret_snapshot);
    if (status == Q2_OK && walk->offset > Q2_MAX_SNAPSHOT_TABLE_SIZE) {
        *walk = before;
        *ret_kept = false;
    }
    return status;
}

enum q2_status q2_snapshot_read(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint32_t index, struct q2_snapshot_cursor *cursor,
                                struct q2_fault *fault, struct q2_snapshot *ret_snapshot)
{
    if (index >= image->header.nb_snapshots)
        return q2_fail_limit(fault, Q2_ERR_RANGE, "no such snapshot", image->source->path,
                             "snapshot index", index, image->header.nb_snapshots);
    if (index < cursor->index)
        *cursor = (struct q2_snapshot_cursor){0};
    while (cursor->index <= index) {
        enum q2_status status = q2_snapshot_next(cache, image, &cursor->walk, fault, ret_snapshot);
        if (status != Q2_OK) {
            *cursor = (struct q2_snapshot_cursor){0};
            return status;
        }
        cursor->index++;
    }
    return Q2_OK;
}

/* One walk through the table; by_id chooses what is compared. */
static enum q2_status find_by(const struct reading *reading, bool by_id, const char *wanted,
                              struct q2_snapshot *ret_snapshot)
{
    struct q2_snapshot_walk walk = {0};

    for (uint32_t i = 0; i < reading->image->header.nb_snapshots; i++) {
        enum q2_status status =
            q2_snapshot_next(reading->cache, reading->image, &walk, reading->fault, ret_snapshot);
        if (status != Q2_OK)
            return status;
        if (q2_text_equal(by_id ? ret_snapshot->id : ret_snapshot->name, wanted))
            return Q2_OK;
    }
    return Q2_ERR_NO_SNAPSHOT;
}

enum q2_status q2_snapshot_find(struct q2_slice_cache *cache, const struct q2_image *image,
                                const char *id_or_name, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot)
{
    const struct reading reading = {.cache = cache, .image = image, .fault = fault};
    enum q2_status status = find_by(&reading, true, id_or_name, ret_snapshot);

    if (status == Q2_ERR_NO_SNAPSHOT)
        status = find_by(&reading, false, id_or_name, ret_snapshot);
    if (status == Q2_ERR_NO_SNAPSHOT)
        return q2_fail(fault, status, NULL, image->source->path);
    return status;
}
