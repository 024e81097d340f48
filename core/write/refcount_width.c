/* Writing the refcount structure again, with refcounts of another width.
 *
 * May call refcount_layout.c, order.c, store.c and core/read/refcount.c. Invariant: until one
 * sector of the header is written, the old structure is whole and in force; from then on the new
 * one is, and only then the clusters of the old one are released (O3, O5). So a power cut leaves an
 * image with right refcounts, whose old structure may be leaked.
 */
#include "refcount_width.h"

#include "core/base/bytes.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/read/refcount.h"
#include "order.h"
#include "q2_fail.h"
#include "refcount_layout.h"
#include "store.h"

static enum q2_status unreadable(struct q2_disk *disk, uint64_t index)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t refcount;
    enum q2_status status = q2_refcount_get(&disk->slices, top, index, &refcount);

    /* q2_refcount_row() tells no status: a second try at one refcount of the row finds it. */
    return q2_fail_at(&disk->fault, status == Q2_OK ? Q2_ERR_IO : status,
                      "a refcount cannot be read", top->source->path,
                      index << top->rules.cluster_bits);
}

/* Does each refcount fit into 1 << order bits? */
static enum q2_status check_fit(struct q2_disk *disk, uint32_t order)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t row[Q2_REFCOUNT_ROW], most = order == 6 ? UINT64_MAX : (1ull << (1u << order)) - 1;

    for (uint64_t index = 0; index < disk->writer.end; index += Q2_REFCOUNT_ROW) {
        if (!q2_refcount_row(&disk->slices, top, index, row))
            return unreadable(disk, index);
        for (uint32_t i = 0; i < Q2_REFCOUNT_ROW; i++) {
            if (row[i] > most)
                return q2_fail_limit(&disk->fault, Q2_ERR_UNSUPPORTED,
                                     "a cluster has more references than refcounts of this width "
                                     "can count; choose more bits, or delete snapshots",
                                     top->source->path, "refcount", row[i], most);
        }
    }
    return Q2_OK;
}

enum q2_status q2_refcount_width_can_change(struct q2_disk *disk, uint32_t order)
{
    struct q2_refcount_layout layout;
    enum q2_status status = q2_refcount_layout_plan(disk, disk->writer.end, order, &layout);

    if (status == Q2_OK && order < disk->layers[0].header.refcount_order)
        status = check_fit(disk, order);
    return status;
}

/* Put the new refcounts of clusters [index, index + nb) together in the bounce buffer: those that
 * are stored, 1 for the new structure's own clusters, 0 for the rest.
 *
 * index, nb  multiples of Q2_REFCOUNT_ROW
 */
static enum q2_status compose(struct q2_disk *disk, const struct q2_refcount_layout *layout,
                              uint64_t index, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t row[Q2_REFCOUNT_ROW], end = q2_refcount_layout_end(layout);

    for (uint64_t i = 0; i < nb; i += Q2_REFCOUNT_ROW) {
        if (index + i < layout->first && !q2_refcount_row(&disk->slices, top, index + i, row))
            return unreadable(disk, index + i);
        for (uint32_t n = 0; n < Q2_REFCOUNT_ROW; n++) {
            uint64_t cluster = index + i + n;

            q2_refcount_encode(disk->writer.bounce, i + n, layout->order,
                               cluster < layout->first ? row[n] : cluster < end);
        }
    }
    return Q2_OK;
}

static enum q2_status write_blocks(struct q2_disk *disk, const struct q2_refcount_layout *layout)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t length = layout->nb_blocks << bits, at = layout->first << bits;

    for (uint64_t done = 0; done < length;) {
        size_t n = (size_t)q2_min_u64(length - done, Q2_BOUNCE_SIZE);
        uint64_t nb = ((uint64_t)n << 3) >> layout->order;
        enum q2_status status = compose(disk, layout, (done << 3) >> layout->order, nb);

        if (status == Q2_OK)
            status = q2_store_write(disk, top->source, at + done, disk->writer.bounce, n);
        if (status != Q2_OK)
            return status;
        done += n;
    }
    return Q2_OK;
}

/* Give up a refcount table that nothing names any more, and its blocks. The table comes last,
 * because a cluster that is free may be made empty at once. */
static enum q2_status release(struct q2_disk *disk, uint64_t table, uint64_t length)
{
    const struct q2_image *top = &disk->layers[0];

    for (uint64_t at = 0; at < length; at += sizeof(be64)) {
        uint64_t block;
        be64 entry;
        enum q2_status status = q2_commit_if_crowded(disk);

        if (status == Q2_OK &&
            q2_slice_read(&disk->slices, top->source, table + at, &entry, sizeof(entry)) != Q2_OK)
            status = unreadable(disk, 0);
        if (status != Q2_OK)
            return status;
        block = q2_be64_get(entry) & Q2_REFCOUNT_TABLE_OFFSET;
        if (block != 0)
            q2_clusters_free_later(disk, block, 1ull << top->rules.cluster_bits);
    }
    q2_clusters_free_later(disk, table, length);
    return q2_commit(disk);
}

enum q2_status q2_refcount_width_change(struct q2_disk *disk, uint32_t order)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t old_table = top->header.refcount_table_offset;
    uint64_t old_length = (uint64_t)top->header.refcount_table_clusters << top->rules.cluster_bits;
    struct q2_refcount_layout layout;
    enum q2_status status = q2_commit(disk);

    if (status == Q2_OK)
        status = q2_refcount_layout_plan(disk, disk->writer.end, order, &layout);
    if (status == Q2_OK)
        status = q2_refcount_layout_reach(disk, &layout);
    if (status == Q2_OK)
        status = write_blocks(disk, &layout);
    if (status == Q2_OK)
        status = q2_refcount_layout_write_table(disk, &layout);
    if (status == Q2_OK)
        status = q2_refcount_layout_name(disk, &layout);
    return status == Q2_OK ? release(disk, old_table, old_length) : status;
}
