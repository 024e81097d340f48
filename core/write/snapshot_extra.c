/* A snapshot table as version 3 demands it, and what version 2 can say of snapshots.
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

/* The table that is written. */
struct copy {
    struct q2_disk *disk;
    uint64_t offset; /* of the new table, bytes into the image; 0: only its length is wanted */
    uint64_t old_length, new_length;
    uint64_t file_size;    /* before the new table, bytes */
    uint32_t nb_snapshots; /* that are kept */
    bool differs;          /* from the old table */
};

/* One entry of the old table; what it says is in disk->snapshot. */
struct entry {
    struct q2_snapshot_disk fixed;
    uint64_t extra; /* where its extra data begins, bytes into the image */
    uint64_t extra_size, new_extra_size;
    uint64_t extra_kept; /* bytes that are copied: what the file has of new_extra_size */
    uint64_t strings;    /* length of id and name, bytes */
};

static uint64_t new_size(const struct entry *e)
{
    return (sizeof(e->fixed) + e->new_extra_size + e->strings + 7) & ~7ull;
}

/* The entry at offset `start` of the old table, which the walk has just passed. */
static struct entry get_entry(const struct copy *c, uint64_t start,
                              const struct q2_snapshot_walk *walk)
{
    struct entry e = {.fixed = walk->fixed, .extra_size = walk->extra_size};

    e.extra = c->disk->layers[0].header.snapshots_offset + start + sizeof(e.fixed);
    e.new_extra_size = e.extra_size < Q2_SNAPSHOT_EXTRA_V3
                           ? sizeof(struct q2_snapshot_extra_disk)
                           : q2_min_u64(e.extra_size, Q2_MAX_SNAPSHOT_EXTRA_SIZE);
    e.extra_kept = q2_min_u64(e.new_extra_size, c->file_size - e.extra);
    e.strings = q2_be16_get(e.fixed.id_size) + (uint64_t)q2_be16_get(e.fixed.name_size);
    return e;
}

/* Write the extra data of an entry that has too little at `to`. */
static enum q2_status write_extra(const struct copy *c, uint64_t to)
{
    const struct q2_snapshot *snapshot = &c->disk->snapshot;
    const struct q2_snapshot_extra_disk extra = {
        .vm_state_size_large = q2_be64_make(snapshot->vm_state_size),
        .virtual_size = q2_be64_make(snapshot->virtual_size),
        .icount = q2_be64_make(UINT64_MAX)}; /* not known */

    return q2_store_write(c->disk, c->disk->layers[0].source, to, &extra, sizeof(extra));
}

/* Write an entry at `to`: its fixed part, its extra data as far as it may go, its strings. */
static enum q2_status write_entry(const struct copy *c, struct entry *e, uint64_t to)
{
    struct q2_disk *disk = c->disk;
    enum q2_status status;

    e->fixed.extra_data_size = q2_be32_make((uint32_t)e->new_extra_size);
    status = q2_store_write(disk, disk->layers[0].source, to, &e->fixed, sizeof(e->fixed));
    to += sizeof(e->fixed);
    if (status == Q2_OK && e->extra_size < e->new_extra_size)
        status = write_extra(c, to);
    else if (status == Q2_OK)
        status = q2_store_copy(disk, e->extra, to, e->extra_kept, 0);
    if (status == Q2_OK)
        status =
            q2_store_copy(disk, e->extra + e->extra_size, to + e->new_extra_size, e->strings, 0);
    return status;
}

/* One entry, which begins at offset `start` of the old table; the walk has just passed it. */
static enum q2_status copy_entry(struct copy *c, uint64_t start,
                                 const struct q2_snapshot_walk *walk)
{
    uint64_t to = c->offset + c->new_length;
    struct entry e = get_entry(c, start, walk);

    c->differs |= e.extra_size != e.new_extra_size;
    c->new_length += new_size(&e);
    return c->offset == 0 ? Q2_OK : write_entry(c, &e, to);
}

static enum q2_status copy_table(struct copy *c)
{
    const struct q2_image *top = &c->disk->layers[0];
    struct q2_snapshot_walk walk = {.file_size = c->file_size};
    enum q2_status status;
    bool kept;

    c->new_length = 0;
    do {
        uint64_t start = walk.offset;

        status = q2_snapshot_next_kept(&c->disk->slices, top, &walk, &c->disk->fault,
                                       &c->disk->snapshot, &kept);
        if (status == Q2_OK && kept)
            status = copy_entry(c, start, &walk);
    } while (status == Q2_OK && kept);
    c->old_length = walk.offset;
    c->nb_snapshots = walk.index;
    c->differs |= walk.index < top->header.nb_snapshots;
    return status;
}

/* Have the header name the copy. */
static enum q2_status switch_table(struct copy *c)
{
    struct q2_header header = c->disk->layers[0].header;
    uint64_t old_offset = header.snapshots_offset;
    enum q2_status status;

    header.snapshots_offset = c->offset;
    header.nb_snapshots = c->nb_snapshots;
    status = q2_header_set(c->disk, &header, Q2_HEADER_FIELDS(nb_snapshots, snapshots_offset));
    if (status != Q2_OK)
        return status;
    c->disk->listing = (struct q2_snapshot_cursor){0};
    q2_clusters_free_later(c->disk, old_offset, c->old_length);
    return q2_commit(c->disk);
}

enum q2_status q2_snapshots_complete(struct q2_disk *disk)
{
    struct q2_image *top = &disk->layers[0];
    struct copy c = {.disk = disk, .file_size = top->source->size};
    uint32_t bits = top->rules.cluster_bits;
    uint64_t nb, offset = 0;
    enum q2_status status = copy_table(&c);

    if (status != Q2_OK || !c.differs)
        return status;
    if (c.new_length > Q2_MAX_SNAPSHOT_TABLE_SIZE)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "the snapshot table would be too long",
                             top->source->path, "snapshot table length", c.new_length,
                             Q2_MAX_SNAPSHOT_TABLE_SIZE);
    if (c.nb_snapshots == 0)
        return switch_table(&c);
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
