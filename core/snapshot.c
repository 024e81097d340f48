/* Internal snapshots.
 *
 * Data path: chain.c, disk.c -> here -> slice_cache.c. Invariant: the walk through the table reads
 * at most Q2_MAX_SNAPSHOT_TABLE_SIZE bytes and never past the file.
 */
#include "snapshot.h"

#include "fault.h"
#include "format/snapshot_entry.h"
#include "memory.h"
#include "text.h"

/* A walk through the table: where the next entry begins. */
struct walk {
    struct q2_slice_cache *cache;
    const struct q2_image *image;
    struct q2_fault *fault;
    uint64_t offset;
};

static enum q2_status read_part(const struct walk *walk, uint64_t offset, void *buffer,
                                size_t length)
{
    struct q2_source *source = walk->image->source;
    enum q2_status status;

    if (length == 0)
        return Q2_OK;
    status = q2_slice_read(walk->cache, source, offset, buffer, length);
    if (status != Q2_OK)
        return q2_fail_at(walk->fault, status, "the snapshot table cannot be read", source->path,
                          offset);
    return Q2_OK;
}

/* Ids and names: cut to the room there is; an embedded NUL ends them early. */
static enum q2_status read_string(const struct walk *walk, uint64_t offset, size_t length, char *to,
                                  size_t size)
{
    memset(to, 0, size);
    return read_part(walk, offset, to, length < size ? length : size - 1);
}

/* The extra data says what the fixed part has no room for; absent fields keep the fixed part's. */
static enum q2_status read_extra(const struct walk *walk, uint64_t offset, uint32_t length,
                                 struct q2_snapshot *snapshot)
{
    struct q2_snapshot_extra_disk extra;
    size_t known = length < sizeof(extra) ? length : sizeof(extra);
    enum q2_status status = read_part(walk, offset, &extra, known);

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

/* Read the entry at walk->offset and step behind it. */
static enum q2_status read_entry(struct walk *walk, struct q2_snapshot *ret_snapshot)
{
    const struct q2_header *header = &walk->image->header;
    const char *path = walk->image->source->path;
    struct q2_snapshot_disk disk;
    uint64_t at = walk->offset + sizeof(disk);
    uint32_t extra_size, id_size, name_size;
    enum q2_status status = read_part(walk, walk->offset, &disk, sizeof(disk));

    if (status != Q2_OK)
        return status;
    extra_size = q2_be32_get(disk.extra_data_size);
    id_size = q2_be16_get(disk.id_size);
    name_size = q2_be16_get(disk.name_size);
    if (extra_size > Q2_MAX_SNAPSHOT_EXTRA_SIZE)
        return q2_fail_limit(walk->fault, Q2_ERR_LIMIT, "a snapshot's extra data is too long", path,
                             "extra_data_size", extra_size, Q2_MAX_SNAPSHOT_EXTRA_SIZE);
    decode(&disk, header->size, ret_snapshot);
    status = read_extra(walk, at, extra_size, ret_snapshot);
    at += extra_size;
    if (status == Q2_OK)
        status = read_string(walk, at, id_size, ret_snapshot->id, sizeof(ret_snapshot->id));
    at += id_size;
    if (status == Q2_OK)
        status = read_string(walk, at, name_size, ret_snapshot->name, sizeof(ret_snapshot->name));
    at += name_size;
    walk->offset = (at + 7) & ~7ull;
    if (walk->offset - header->snapshots_offset > Q2_MAX_SNAPSHOT_TABLE_SIZE)
        return q2_fail_limit(walk->fault, Q2_ERR_LIMIT, "the snapshot table is too long", path,
                             "snapshots_offset", header->snapshots_offset,
                             Q2_MAX_SNAPSHOT_TABLE_SIZE);
    return status;
}

static struct walk walk_start(struct q2_slice_cache *cache, const struct q2_image *image,
                              struct q2_fault *fault)
{
    return (struct walk){
        .cache = cache, .image = image, .fault = fault, .offset = image->header.snapshots_offset};
}

enum q2_status q2_snapshot_read(struct q2_slice_cache *cache, const struct q2_image *image,
                                uint32_t index, struct q2_fault *fault,
                                struct q2_snapshot *ret_snapshot)
{
    struct walk walk = walk_start(cache, image, fault);

    if (index >= image->header.nb_snapshots)
        return q2_fail_limit(fault, Q2_ERR_RANGE, "no such snapshot", image->source->path,
                             "snapshot index", index, image->header.nb_snapshots);
    for (uint32_t i = 0; i <= index; i++) {
        enum q2_status status = read_entry(&walk, ret_snapshot);
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}

/* One walk through the table; by_id chooses what is compared. */
static enum q2_status find_by(struct walk walk, bool by_id, const char *wanted,
                              struct q2_snapshot *ret_snapshot)
{
    for (uint32_t i = 0; i < walk.image->header.nb_snapshots; i++) {
        enum q2_status status = read_entry(&walk, ret_snapshot);
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
    struct walk walk = walk_start(cache, image, fault);
    enum q2_status status = find_by(walk, true, id_or_name, ret_snapshot);

    if (status == Q2_ERR_NO_SNAPSHOT)
        status = find_by(walk, false, id_or_name, ret_snapshot);
    if (status == Q2_ERR_NO_SNAPSHOT)
        return q2_fail(fault, status, NULL, image->source->path);
    return status;
}
