/* COPIED flags.
 *
 * Beside the data path: check.c, snapshot_write.c, repair.c -> here -> references.c, refcount.c,
 * commit.c. Invariant: nothing but bit 63 of an entry ever changes.
 */
#include "copied.h"

#include "core/write/commit.h"
#include "core/base/fault.h"
#include "core/format/header.h"
#include "core/read/overlap.h"
#include "core/base/range.h"
#include "core/read/refcount.h"

static enum q2_status visit_l2(struct q2_copied_walk *walk, uint64_t table, uint64_t guest_offset)
{
    const struct q2_image *image = &walk->references->disk->layers[0];
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < 1ull << image->l2_bits && status == Q2_OK; i++) {
        struct q2_cluster cluster;
        struct q2_copied_entry entry = {.named_at = table + (i << image->entry_bits)};

        if (!q2_references_cluster(walk->references, table, i,
                                   guest_offset + (i << image->rules.cluster_bits), &cluster))
            return Q2_OK;
        if (cluster.kind == Q2_CLUSTER_BAD || !cluster.has_host_offset)
            continue;
        entry.host_offset = cluster.host_offset;
        entry.is_compressed = cluster.kind == Q2_CLUSTER_COMPRESSED;
        entry.is_set = cluster.copied;
        status = walk->visit(walk, &entry);
    }
    return status;
}

/* No L2 table is named twice by one L1 table; so many at most are looked at. */
enum q2_status q2_copied_walk(struct q2_copied_walk *walk, uint64_t l1_offset, uint32_t l1_size)
{
    const struct q2_image *image = &walk->references->disk->layers[0];
    uint64_t nb_left = walk->references->nb_clusters;
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < l1_size && status == Q2_OK; i++) {
        struct q2_copied_entry entry = {.named_at = l1_offset + i * 8ull, .is_l1 = true};
        uint64_t value, table = 0;

        if (!q2_references_entry(walk->references, entry.named_at, &value))
            return Q2_OK;
        if (q2_l1_entry_decode(value, image->rules.cluster_bits, &table) || table == 0)
            continue;
        entry.host_offset = table;
        entry.is_set = (value & Q2_ENTRY_COPIED) != 0;
        status = walk->visit(walk, &entry);
        if (status == Q2_OK && table < image->source->size && nb_left > 0) {
            status = visit_l2(walk, table, (uint64_t)i << q2_header_l1_reach_bits(&image->header));
            nb_left--;
        }
    }
    return status;
}

enum q2_status q2_copied_refcount(struct q2_disk *disk, const struct q2_copied_entry *entry,
                                  uint64_t *ret_refcount)
{
    const struct q2_image *image = &disk->layers[0];

    *ret_refcount = 1;
    if (image->rules.external_data && !entry->is_l1)
        return Q2_OK;
    return q2_refcount_get(&disk->slices, image, entry->host_offset >> image->rules.cluster_bits,
                           ret_refcount);
}

/* A walk that changes flags. */
struct fixing {
    struct q2_copied_walk walk;
    enum q2_copied_change change;
};

static enum q2_status write_flag(struct q2_disk *disk, const struct q2_copied_entry *entry)
{
    struct q2_source *source = disk->layers[0].source;
    enum q2_dirty kind = entry->is_l1 ? Q2_DIRTY_L1 : Q2_DIRTY_L2;
    enum q2_status status = Q2_OK;
    uint8_t byte;

    if (q2_slice_is_crowded(&disk->slices)) {
        status = q2_commit_kind(disk, Q2_DIRTY_L2);
        if (status == Q2_OK)
            status = q2_commit_kind(disk, Q2_DIRTY_L1);
    }
    if (status == Q2_OK)
        status = q2_slice_read(&disk->slices, source, entry->named_at, &byte, 1);
    if (status != Q2_OK)
        return status;
    byte = (uint8_t)(entry->is_set ? byte & ~0x80u : byte | 0x80u);
    return q2_slice_put(&disk->slices, source, entry->named_at, &byte, 1, kind);
}

static enum q2_status fix(struct q2_copied_walk *walk, const struct q2_copied_entry *entry)
{
    struct fixing *fixing = (struct fixing *)walk;
    struct q2_disk *disk = walk->references->disk;
    uint64_t refcount = 0;
    enum q2_status status = Q2_OK;

    if (fixing->change != Q2_COPIED_CLEAR && !entry->is_compressed)
        status = q2_copied_refcount(disk, entry, &refcount);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "a refcount cannot be read",
                          disk->layers[0].source->path, entry->named_at);
    if (entry->is_set == (refcount == 1) ||
        (fixing->change != Q2_COPIED_CORRECT && entry->is_set == (fixing->change == Q2_COPIED_SET)))
        return Q2_OK;
    /* A table that lies on other metadata is not written to. */
    if (!entry->is_l1 && q2_overlaps_table(&disk->layers[0], entry->named_at, 8))
        return Q2_OK;
    status = write_flag(disk, entry);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "an L1 or L2 table cannot be changed",
                          disk->layers[0].source->path, entry->named_at);
    if (walk->references->mended_flag)
        walk->references->mended_flag(walk->references, entry->named_at, refcount);
    return Q2_OK;
}

enum q2_status q2_copied_fix(struct q2_references *references, uint64_t l1_offset, uint32_t l1_size,
                             enum q2_copied_change change)
{
    struct fixing fixing = {.walk = {.references = references, .visit = fix}, .change = change};

    return q2_copied_walk(&fixing.walk, l1_offset, l1_size);
}
