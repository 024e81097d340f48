/* Changing COPIED flags.
 *
 * May call core/check/copied.c, which visits the entries, slice_write.c and order.c. Invariant:
 * nothing but bit 63 of an entry ever changes.
 */
#include "copied_fix.h"

#include "order.h"
#include "q2_fail.h"
#include "slice_write.h"

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
    struct q2_references *r = walk->references;
    struct q2_disk *disk = r->disk;
    uint64_t refcount = 0;
    bool may_write = true;
    enum q2_status status = Q2_OK;

    if (r->may_write)
        may_write = r->may_write(r, entry->named_at);
    if (!may_write)
        return Q2_OK;
    if (fixing->change != Q2_COPIED_CLEAR && !entry->is_compressed)
        status = q2_copied_refcount(disk, entry, &refcount);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "a refcount cannot be read",
                          disk->layers[0].source->path, entry->named_at);
    if (entry->is_set == (refcount == 1) ||
        (fixing->change != Q2_COPIED_CORRECT && entry->is_set == (fixing->change == Q2_COPIED_SET)))
        return Q2_OK;
    status = write_flag(disk, entry);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "an L1 or L2 table cannot be changed",
                          disk->layers[0].source->path, entry->named_at);
    if (r->mended_flag)
        r->mended_flag(r, entry->named_at, refcount);
    return Q2_OK;
}

enum q2_status q2_copied_fix(struct q2_references *references, uint64_t l1_offset, uint32_t l1_size,
                             enum q2_copied_change change)
{
    struct fixing fixing = {.walk = {.references = references, .visit = fix}, .change = change};

    return q2_copied_walk(&fixing.walk, l1_offset, l1_size);
}
