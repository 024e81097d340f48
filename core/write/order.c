/* The order of metadata writes.
 *
 * May call slice_write.c, refcount_write.c, bitmap_write.c, space.c, store.c and
 * core/read/refcount.c. Invariant: when a commit has returned Q2_OK, no slice is dirty and no free
 * range waits.
 */
#include "order.h"

#include "q2_fail.h"
#include "core/format/header.h"
#include "bitmap_write.h"
#include "refcount_write.h"
#include "space.h"
#include "store.h"
#include "slice_write.h"

static const char write_failed[] =
    "metadata cannot be written; the disk is read-only until reopened";

enum q2_status q2_commit_kind(struct q2_disk *disk, enum q2_dirty kind)
{
    enum q2_status status = q2_slice_write(&disk->slices, disk->layers[0].source, kind);

    return status == Q2_OK ? Q2_OK : q2_store_latch(disk, status, write_failed);
}

/* Data, new tables and refcounts: all that entries are about to name. */
static enum q2_status commit_targets(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT); /* O2 */

    if (status == Q2_OK && top->data != top->source)
        status = q2_store_flush(disk, top->data); /* O9 */
    if (status == Q2_OK)
        status = q2_store_flush(disk, top->source); /* O1, O2, O4 */
    return status;
}

/* The entries that name them. Bits of a bitmap may be written at any time, since it is marked as in
 * use; entries of its table are entries like others. L2 and L1 entries need no order among
 * themselves: a new L2 table was written when it was made, empty or as a copy, so it is durable and
 * right without its new entries. */
static enum q2_status commit_entries(struct q2_disk *disk)
{
    enum q2_status status;

    if (!q2_slice_is_dirty(&disk->slices, Q2_DIRTY_L1) &&
        !q2_slice_is_dirty(&disk->slices, Q2_DIRTY_L2) &&
        !q2_slice_is_dirty(&disk->slices, Q2_DIRTY_BITMAP))
        return Q2_OK;
    status = q2_commit_kind(disk, Q2_DIRTY_BITMAP);
    if (status == Q2_OK)
        status = q2_commit_kind(disk, Q2_DIRTY_L2);
    if (status == Q2_OK)
        status = q2_commit_kind(disk, Q2_DIRTY_L1);
    return status == Q2_OK ? q2_store_flush(disk, disk->layers[0].source) : status;
}

enum q2_status q2_refcount_lower(struct q2_disk *disk, uint64_t index, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t refcount;
    enum q2_status status = q2_refcount_get(&disk->slices, top, index, &refcount);

    if (status != Q2_OK || refcount < nb)
        return status == Q2_OK ? Q2_ERR_BAD_REFCOUNT : status;
    status = q2_refcount_put(&disk->slices, top, index, refcount - nb);
    if (status != Q2_OK || refcount > nb)
        return status;
    if (index < disk->writer.first_free)
        disk->writer.first_free = index;
    if (index == disk->writer.packed_end >> top->rules.cluster_bits)
        disk->writer.packed_end = 0; /* its cluster may become anything now */
    return Q2_OK;
}

/* One reference less to every cluster of a range. Nothing but refcounts waits in the cache now:
 * they are written before they take all its room, so that reading goes on even if that fails. */
static enum q2_status release_range(struct q2_disk *disk, const struct q2_free_range *range)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t free_from = range->offset >> top->rules.cluster_bits;
    uint64_t last = (range->offset + range->length - 1) >> top->rules.cluster_bits;
    enum q2_status status = Q2_OK;

    for (uint64_t index = free_from; index <= last && status == Q2_OK; index++) {
        uint64_t refcount = 0;

        if (q2_slice_is_crowded(&disk->slices))
            status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
        if (status == Q2_OK)
            status = q2_refcount_lower(disk, index, 1);
        if (status == Q2_OK)
            status = q2_refcount_get(&disk->slices, top, index, &refcount);
        if (status != Q2_OK || refcount == 0)
            continue;
        q2_space_punch(disk, free_from, index - free_from);
        free_from = index + 1;
    }
    if (status == Q2_OK)
        q2_space_punch(disk, free_from, last + 1 - free_from);
    return status;
}

/* O3: the entries are durable, the references are gone. The lower refcounts need no barrier of
 * their own: until they are durable the clusters are leaked, no more. */
static enum q2_status commit_frees(struct q2_disk *disk)
{
    struct q2_writer *writer = &disk->writer;

    for (uint32_t i = 0; i < writer->nb_frees; i++) {
        enum q2_status status = release_range(disk, &writer->frees[i]);

        if (status != Q2_OK)
            return q2_store_latch(disk, status, write_failed);
    }
    writer->nb_frees = 0;
    return q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
}

enum q2_status q2_commit(struct q2_disk *disk)
{
    enum q2_status status = commit_targets(disk);

    if (status == Q2_OK)
        status = commit_entries(disk);
    if (status == Q2_OK && disk->writer.nb_frees > 0)
        status = commit_frees(disk);
    return status;
}

enum q2_status q2_commit_if_crowded(struct q2_disk *disk)
{
    if (disk->writer.nb_frees <= Q2_MAX_FREES - Q2_FREES_PER_STEP &&
        !q2_slice_is_crowded(&disk->slices))
        return Q2_OK;
    return q2_commit(disk);
}

/* Clear all autoclear bits but some. */
static enum q2_status clear_features(struct q2_disk *disk, uint64_t but)
{
    struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    enum q2_status status;

    header.autoclear_features &= but;
    if (header.autoclear_features == top->header.autoclear_features)
        return Q2_OK;
    status =
        q2_store_header(disk, &header, Q2_HEADER_FIELDS(autoclear_features, autoclear_features));
    if (status == Q2_OK)
        status = q2_store_flush(disk, top->source); /* O7 */
    if (status != Q2_OK)
        return q2_store_latch(disk, status, write_failed);
    top->header = header;
    return Q2_OK;
}

enum q2_status q2_commit_header(struct q2_disk *disk)
{
    bool kept = false;
    enum q2_status status;

    if (disk->writer.header_ready)
        return Q2_OK;
    status = q2_bitmaps_distrust(disk, Q2_BITMAPS_RECORDING, &kept);
    if (status == Q2_OK)
        status =
            clear_features(disk, Q2_AUTOCLEAR_RAW_EXTERNAL | (kept ? Q2_AUTOCLEAR_BITMAPS : 0));
    disk->writer.header_ready = status == Q2_OK;
    return status;
}

enum q2_status q2_commit_names(struct q2_disk *disk)
{
    return clear_features(disk, Q2_AUTOCLEAR_RAW_EXTERNAL | Q2_AUTOCLEAR_BITMAPS);
}

void q2_clusters_free_later(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    struct q2_writer *writer = &disk->writer;
    struct q2_free_range *last = &writer->frees[writer->nb_frees - (writer->nb_frees > 0)];
    uint64_t cluster_mask = (1ull << disk->layers[0].rules.cluster_bits) - 1;

    /* Neighbours make one range, but only whole clusters: two streams in one cluster are two
     * references to it. */
    if (writer->nb_frees > 0 && last->offset + last->length == offset && !(offset & cluster_mask)) {
        last->length += length;
        return;
    }
    writer->frees[writer->nb_frees++] = (struct q2_free_range){offset, length};
}
