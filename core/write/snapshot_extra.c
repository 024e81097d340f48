/* The snapshot table between the two versions of the format.
 *
 * May call core/read/snapshot.c, alloc.c, store.c, order.c and header_change.c. Invariant: the
 * table that the header names is complete and counted, durably, before the header names it (O2,
 * O6), and the one that it named before is released after that (O3).
 */
#include "snapshot_extra.h"

#include "alloc.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/format/header.h"
#include "core/format/snapshot_entry.h"
#include "header_change.h"
#include "order.h"
#include "q2_fail.h"
#include "store.h"

/* What version 3 demands of struct q2_snapshot_extra_disk. */
#define EXTRA_SIZE offsetof(struct q2_snapshot_extra_disk, icount)

/* The table that is written. */
struct copy {
    struct q2_disk *disk;
    uint64_t offset; /* of the new table, bytes into the image; 0: only its length is wanted */
    uint64_t old_length, new_length;
    bool lacking; /* an entry has less than EXTRA_SIZE */
};

/* Write an entry's fixed part and extra data at `to`, and the strings that are stored at `from`. */
static enum q2_status write_entry(struct copy *c, const struct q2_snapshot_disk *fixed,
                                  uint64_t from, uint64_t to)
{
    const struct q2_snapshot *snapshot = &c->disk->snapshot;
    struct q2_source *source = c->disk->layers[0].source;
    struct {
        struct q2_snapshot_disk fixed;
        uint8_t extra[EXTRA_SIZE];
    } head = {.fixed = *fixed};
    const struct q2_snapshot_extra_disk extra = {
        .vm_state_size_large = q2_be64_make(snapshot->vm_state_size),
        .virtual_size = q2_be64_make(snapshot->virtual_size)};
    uint64_t strings = q2_be16_get(fixed->id_size) + (uint64_t)q2_be16_get(fixed->name_size);
    enum q2_status status;

    memcpy(head.extra, &extra, EXTRA_SIZE);
    head.fixed.extra_data_size = q2_be32_make(EXTRA_SIZE);
    status = q2_store_write(c->disk, source, to, &head, sizeof(head));
    return status == Q2_OK ? q2_store_copy(c->disk, from, to + sizeof(head), strings, 0) : status;
}

/* One entry, which begins at offset `start` of the old table and ends at `end`; it is in
 * disk->snapshot. One that has its extra data is copied as it is. */
static enum q2_status copy_entry(struct copy *c, uint64_t start, uint64_t end)
{
    const struct q2_image *top = &c->disk->layers[0];
    uint64_t at = top->header.snapshots_offset + start, to = c->offset + c->new_length;
    struct q2_snapshot_disk fixed;
    uint32_t extra_size;
    enum q2_status status = q2_slice_read(&c->disk->slices, top->source, at, &fixed, sizeof(fixed));

    if (status != Q2_OK)
        return status; /* not covered: the walk has just read it */
    extra_size = q2_be32_get(fixed.extra_data_size);
    if (extra_size >= EXTRA_SIZE) {
        c->new_length += end - start;
        return c->offset == 0 ? Q2_OK : q2_store_copy(c->disk, at, to, end - start, 0);
    }
    c->lacking = true;
    c->new_length += (sizeof(fixed) + EXTRA_SIZE + q2_be16_get(fixed.id_size) +
                      q2_be16_get(fixed.name_size) + 7ull) &
                     ~7ull;
    return c->offset == 0 ? Q2_OK : write_entry(c, &fixed, at + sizeof(fixed) + extra_size, to);
}

static enum q2_status copy_table(struct copy *c)
{
    const struct q2_image *top = &c->disk->layers[0];
    struct q2_snapshot_walk walk = {0};
    enum q2_status status = Q2_OK;

    c->new_length = 0;
    for (uint32_t i = 0; i < top->header.nb_snapshots && status == Q2_OK; i++) {
        uint64_t start = walk.offset;

        status =
            q2_snapshot_next(&c->disk->slices, top, &walk, &c->disk->fault, &c->disk->snapshot);
        if (status == Q2_OK)
            status = copy_entry(c, start, walk.offset);
    }
    c->old_length = walk.offset;
    return status;
}

/* Have the header name the copy. */
static enum q2_status switch_table(struct copy *c)
{
    struct q2_header header = c->disk->layers[0].header;
    uint64_t old_offset = header.snapshots_offset;
    enum q2_status status;

    header.snapshots_offset = c->offset;
    status = q2_header_set(c->disk, &header, Q2_HEADER_FIELDS(snapshots_offset, snapshots_offset));
    if (status != Q2_OK)
        return status;
    c->disk->listing = (struct q2_snapshot_cursor){0};
    q2_clusters_free_later(c->disk, old_offset, c->old_length);
    return q2_commit(c->disk);
}

enum q2_status q2_snapshots_add_extra(struct q2_disk *disk)
{
    struct q2_image *top = &disk->layers[0];
    struct copy c = {.disk = disk};
    uint32_t bits = top->rules.cluster_bits;
    uint64_t nb, offset = 0;
    enum q2_status status = copy_table(&c);

    if (status != Q2_OK || !c.lacking)
        return status;
    if (c.new_length > Q2_MAX_SNAPSHOT_TABLE_SIZE)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "the snapshot table would be too long",
                             top->source->path, "snapshot table length", c.new_length,
                             Q2_MAX_SNAPSHOT_TABLE_SIZE);
    nb = q2_shift_up(c.new_length, bits);
    status = q2_clusters_alloc_row(disk, nb, &offset);
    if (status != Q2_OK)
        return status;
    status = q2_store_zero(disk, top->source, offset, nb << bits); /* what entries leave between */
    c.offset = offset;
    if (status == Q2_OK)
        status = copy_table(&c);
    if (status == Q2_OK)
        return switch_table(&c);
    q2_clusters_free_later(disk, offset, nb << bits); /* named by nobody */
    return status;
}

enum q2_status q2_snapshots_fit_version_2(struct q2_disk *disk, uint64_t disk_size)
{
    const struct q2_image *top = &disk->layers[0];
    const struct q2_snapshot *snapshot = &disk->snapshot;
    struct q2_snapshot_walk walk = {0};

    for (uint32_t i = 0; i < top->header.nb_snapshots; i++) {
        enum q2_status status =
            q2_snapshot_next(&disk->slices, top, &walk, &disk->fault, &disk->snapshot);

        if (status != Q2_OK)
            return status;
        if (snapshot->virtual_size != disk_size)
            return q2_fail_limit(&disk->fault, Q2_ERR_UNSUPPORTED,
                                 "in version 2 a snapshot has the disk's size, but one has another "
                                 "size; delete it first",
                                 top->source->path, "size", snapshot->virtual_size, disk_size);
        if (snapshot->vm_state_size > UINT32_MAX)
            return q2_fail_limit(&disk->fault, Q2_ERR_UNSUPPORTED,
                                 "a snapshot's VM state is too large for version 2; delete the "
                                 "snapshot first",
                                 top->source->path, "vm_state_size", snapshot->vm_state_size,
                                 UINT32_MAX);
    }
    return Q2_OK;
}
