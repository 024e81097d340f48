/* Allocating host clusters.
 *
 * May call core/read/refcount.c, refcount_write.c, slice_write.c, order.c and store.c. Invariant: a
 * cluster is handed out only if its refcount is 0 and no table of the image is stored there,
 * whatever the refcounts say; a refcount block is durable before the table names it, a table before
 * the header does (O5).
 */
#include "alloc.h"

#include "order.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "core/base/memory.h"
#include "core/read/overlap.h"
#include "core/base/range.h"
#include "refcount_write.h"
#include "store.h"
#include "slice_write.h"

static enum q2_status unreadable(struct q2_disk *disk, enum q2_status status)
{
    return q2_fail(&disk->fault, status, "a refcount cannot be read", disk->layers[0].source->path);
}

/* Is the cluster free? Those past the end of the file are. */
static enum q2_status is_free(struct q2_disk *disk, uint64_t index, bool *ret_free)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t refcount;
    enum q2_status status = q2_refcount_get(&disk->slices, top, index, &refcount);

    if (status != Q2_OK)
        return unreadable(disk, status);
    *ret_free = refcount == 0 && !q2_overlaps_table(top, index << bits, 1ull << bits);
    return Q2_OK;
}

/* The first free cluster; everything below first_free is known to be taken. */
static enum q2_status find_free(struct q2_disk *disk, uint64_t *ret_index)
{
    uint64_t index = disk->writer.first_free;
    bool free = false;

    for (;; index++) {
        enum q2_status status = is_free(disk, index, &free);
        if (status != Q2_OK)
            return status;
        if (free)
            break;
    }
    disk->writer.first_free = index;
    *ret_index = index;
    return Q2_OK;
}

/* Grow the file so that clusters up to end exist. */
static enum q2_status reach(struct q2_disk *disk, uint64_t end_index)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = q2_store_grow(disk, top->source, end_index << top->rules.cluster_bits);

    if (status == Q2_OK && end_index > disk->writer.end)
        disk->writer.end = end_index;
    return status;
}

/* Zeros for a new block, or part of one; and room for its entry in the table. Nothing names the
 * block yet, so that a failure, a full device above all, costs no more than this request. */
static enum q2_status clear_block(struct q2_disk *disk, uint64_t table_index, uint64_t block_offset)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_source *source = top->source;
    uint64_t entry_at = top->header.refcount_table_offset + table_index * 8;
    enum q2_status status =
        q2_store_zero(disk, source, block_offset, 1ull << top->rules.cluster_bits);

    if (status == Q2_OK && source->ops->reserve)
        status = source->ops->reserve(source, entry_at, sizeof(be64));
    if (status == Q2_OK)
        return Q2_OK;
    return q2_fail_at(&disk->fault, status, "no room for a new refcount block", source->path,
                      block_offset);
}

/* Write the refcounts of a new block, which holds zeros and covers the clusters from first on: 1
 * for those in [taken, taken_end). Not durable yet. */
static enum q2_status write_block(struct q2_disk *disk, uint64_t block_offset, uint64_t first,
                                  uint64_t taken, uint64_t taken_end)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t end = first + (1ull << q2_refcount_block_bits(top));
    enum q2_status status = Q2_OK;

    for (uint64_t i = taken > first ? taken : first; i < taken_end && i < end && status == Q2_OK;
         i++) {
        status = q2_refcount_put_in(&disk->slices, top, block_offset, i - first, 1);
        if (status == Q2_ERR_LIMIT) { /* nothing names these yet: they may be written any time */
            status = q2_slice_write(&disk->slices, top->source, Q2_DIRTY_REFCOUNT);
            i--;
        }
    }
    if (status == Q2_OK)
        status = q2_slice_write(&disk->slices, top->source, Q2_DIRTY_REFCOUNT);
    return status;
}

/* Name a refcount block in the refcount table, durably. */
static enum q2_status link_block(struct q2_disk *disk, uint64_t table_index, uint64_t block_offset)
{
    const struct q2_image *top = &disk->layers[0];
    be64 entry = q2_be64_make(block_offset);
    enum q2_status status = q2_store_flush(disk, top->source); /* O5 */

    if (status == Q2_OK)
        status =
            q2_store_write(disk, top->source, top->header.refcount_table_offset + table_index * 8,
                           &entry, sizeof(entry));
    if (status == Q2_OK)
        status = q2_store_flush(disk, top->source);
    return status;
}

/* No block covers this free cluster: it becomes the block that covers itself. */
static enum q2_status make_block(struct q2_disk *disk, uint64_t index)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t block_bits = q2_refcount_block_bits(top);
    uint64_t offset = index << top->rules.cluster_bits;
    enum q2_status status = reach(disk, index + 1);

    if (status != Q2_OK)
        return status;
    status = clear_block(disk, index >> block_bits, offset);
    if (status != Q2_OK)
        return status;
    status = write_block(disk, offset, index >> block_bits << block_bits, index, index + 1);
    if (status == Q2_OK)
        status = link_block(disk, index >> block_bits, offset);
    return status == Q2_OK ? Q2_OK : q2_store_latch(disk, status, "no new refcount block");
}

/* A larger refcount table and the blocks that cover it, in a row from cluster `first` on. */
struct new_table {
    uint64_t first;       /* cluster index of the first block; a block begins there */
    uint64_t nb_blocks;   /* new refcount blocks */
    uint64_t nb_clusters; /* of the new table, after the blocks */
};

/* Twice the old table; then as many blocks as its clusters and their own need. */
static void plan_table(const struct q2_image *top, struct new_table *ret_plan)
{
    uint32_t block_bits = q2_refcount_block_bits(top);
    uint64_t old_entries = q2_refcount_table_entries(top);

    ret_plan->first = old_entries << block_bits;
    ret_plan->nb_clusters = 2ull * top->header.refcount_table_clusters;
    ret_plan->nb_blocks = 1;
    while (q2_shift_up(ret_plan->nb_blocks + ret_plan->nb_clusters, block_bits) >
           ret_plan->nb_blocks)
        ret_plan->nb_blocks++;
}

/* Put bytes [from, from + n) of the new table together in the bounce buffer: the old entries, then
 * the new blocks, then zeros. */
static enum q2_status compose_table(struct q2_disk *disk, const struct new_table *plan,
                                    uint64_t from, size_t n)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t old_entries = q2_refcount_table_entries(top), first = from / 8;
    uint64_t nb_old = first < old_entries ? q2_min_u64(n / 8, old_entries - first) : 0;
    uint8_t *bounce = disk->writer.bounce;
    enum q2_status status = Q2_OK;

    memset(bounce, 0, n);
    if (nb_old > 0)
        status = q2_slice_read(&disk->slices, top->source, top->header.refcount_table_offset + from,
                               bounce, nb_old * 8);
    for (uint64_t i = nb_old; i < n / 8 && first + i < old_entries + plan->nb_blocks; i++) {
        uint64_t block = plan->first + (first + i - old_entries);
        be64 entry = q2_be64_make(block << top->rules.cluster_bits);
        memcpy(bounce + i * 8, &entry, sizeof(entry));
    }
    return status;
}

static enum q2_status write_table(struct q2_disk *disk, const struct new_table *plan,
                                  uint64_t table_offset)
{
    struct q2_source *source = disk->layers[0].source;
    uint64_t length = plan->nb_clusters << disk->layers[0].rules.cluster_bits;

    for (uint64_t done = 0; done < length; done += Q2_BOUNCE_SIZE) {
        size_t n = (size_t)q2_min_u64(length - done, Q2_BOUNCE_SIZE);
        enum q2_status status = compose_table(disk, plan, done, n);

        if (status == Q2_OK)
            status = q2_store_write(disk, source, table_offset + done, disk->writer.bounce, n);
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}

/* Point the header at the new table: its offset and size are neighbours. */
static enum q2_status switch_table(struct q2_disk *disk, uint64_t offset, uint64_t nb_clusters)
{
    struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    uint64_t old_length = (uint64_t)header.refcount_table_clusters << top->rules.cluster_bits;
    enum q2_status status = q2_store_flush(disk, top->source); /* O5 */

    header.refcount_table_offset = offset;
    header.refcount_table_clusters = (uint32_t)nb_clusters;
    if (status == Q2_OK)
        status = q2_store_header(disk, &header,
                                 Q2_HEADER_FIELDS(refcount_table_offset, refcount_table_clusters));
    if (status == Q2_OK)
        status = q2_store_flush(disk, top->source);
    if (status != Q2_OK)
        return status;
    q2_clusters_free_later(disk, top->header.refcount_table_offset, old_length);
    top->header = header;
    return Q2_OK;
}

/* The refcount table covers no further cluster: double it. */
static enum q2_status grow_table(struct q2_disk *disk)
{
    struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    struct new_table plan;
    uint64_t end;
    enum q2_status status;

    plan_table(top, &plan);
    if (plan.nb_clusters << bits > Q2_MAX_REFCOUNT_TABLE_SIZE)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "the refcount table is full",
                             top->source->path, "refcount_table_clusters", plan.nb_clusters,
                             Q2_MAX_REFCOUNT_TABLE_SIZE >> bits);
    end = plan.first + plan.nb_blocks + plan.nb_clusters;
    status = reach(disk, end);
    for (uint64_t i = 0; i < plan.nb_blocks && status == Q2_OK; i++)
        status = q2_store_zero(disk, top->source, (plan.first + i) << bits, 1ull << bits);
    if (status == Q2_OK)
        status = write_table(disk, &plan, (plan.first + plan.nb_blocks) << bits);
    if (status != Q2_OK)
        return status; /* nothing names any of these */
    for (uint64_t i = 0; i < plan.nb_blocks && status == Q2_OK; i++)
        status = write_block(disk, (plan.first + i) << bits,
                             plan.first + (i << q2_refcount_block_bits(top)), plan.first, end);
    if (status == Q2_OK)
        status = switch_table(disk, (plan.first + plan.nb_blocks) << bits, plan.nb_clusters);
    return status == Q2_OK ? Q2_OK : q2_store_latch(disk, status, "no new refcount table");
}

/* Find a free cluster that a refcount block covers, making block and table where they are missing.
 */
static enum q2_status find_covered(struct q2_disk *disk, uint64_t *ret_index, uint64_t *ret_block)
{
    const struct q2_image *top = &disk->layers[0];

    for (;;) {
        uint64_t index, block;
        enum q2_status status = find_free(disk, &index);

        if (status != Q2_OK)
            return status;
        if (index >> q2_refcount_block_bits(top) >= q2_refcount_table_entries(top)) {
            status = grow_table(disk);
        } else {
            status = q2_refcount_block(&disk->slices, top, index, &block);
            if (status != Q2_OK)
                return unreadable(disk, status); /* not covered: find_free() has just read it */
            if (block != 0) {
                *ret_block = block;
                *ret_index = index;
                return Q2_OK;
            }
            status = make_block(disk, index);
        }
        if (status != Q2_OK)
            return status;
    }
}

/* How many clusters from index on are free, in a row, under the same refcount block. */
static enum q2_status run_length(struct q2_disk *disk, uint64_t block, uint64_t index,
                                 uint64_t nb_wanted, uint64_t *ret_nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t per_block = 1ull << q2_refcount_block_bits(top);
    uint64_t in_block = index & (per_block - 1);
    uint64_t most = q2_min_u64(nb_wanted, per_block - in_block), nb = 0;
    enum q2_status status =
        q2_refcount_nb_free(&disk->slices, top, block, in_block + 1, most - 1, &nb);

    if (status != Q2_OK)
        return unreadable(disk, status);
    /* Never handed out, whatever the refcounts say. */
    while (nb > 0 && q2_overlaps_table(top, (index + 1) << bits, nb << bits))
        nb /= 2;
    *ret_nb = nb + 1;
    return Q2_OK;
}

static enum q2_status take(struct q2_disk *disk, uint64_t nb_wanted, uint64_t *ret_offset,
                           uint64_t *ret_nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t mask = (1ull << q2_refcount_block_bits(top)) - 1;
    uint64_t index = 0, block = 0, nb = 0, nb_taken;
    enum q2_status status = find_covered(disk, &index, &block);

    if (status == Q2_OK)
        status = run_length(disk, block, index, nb_wanted, &nb);
    if (status != Q2_OK)
        return status;
    status = reach(disk, index + nb);
    while (status == Q2_ERR_NO_SPACE && nb > 1) {
        nb /= 2; /* what the file has room for */
        status = reach(disk, index + nb);
    }
    if (status != Q2_OK)
        return status;
    status = q2_refcount_take(&disk->slices, top, block, index & mask, nb, &nb_taken);
    if (status != Q2_OK && nb_taken > 0)
        q2_clusters_free_later(disk, index << bits, nb_taken << bits);
    if (status != Q2_OK)
        return q2_fail(&disk->fault, status, "a refcount cannot be changed", top->source->path);
    disk->writer.first_free = index + nb;
    *ret_offset = index << bits;
    *ret_nb = nb;
    return Q2_OK;
}

enum q2_status q2_clusters_alloc(struct q2_disk *disk, uint64_t nb_wanted, uint64_t *ret_offset,
                                 uint64_t *ret_nb)
{
    enum q2_status status = take(disk, nb_wanted, ret_offset, ret_nb);

    if (status != Q2_ERR_NO_SPACE || disk->writer.nb_frees == 0 || disk->writer.latched)
        return status;
    status = q2_commit(disk); /* O3: what was given up can be used again then */
    return status == Q2_OK ? take(disk, nb_wanted, ret_offset, ret_nb) : status;
}

/* The first nb free clusters in a row, covered or not. */
static enum q2_status find_row(struct q2_disk *disk, uint64_t nb, uint64_t *ret_index)
{
    uint64_t index = 0, length = 0;
    enum q2_status status = find_free(disk, &index);

    for (; status == Q2_OK && length < nb; index++) {
        bool free = false;
        status = is_free(disk, index, &free);
        length = free ? length + 1 : 0;
    }
    *ret_index = index - nb;
    return status;
}

/* A refcount block for clusters that have none, in a cluster that another block covers (or itself).
 */
static enum q2_status add_block(struct q2_disk *disk, uint64_t table_index)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t offset = 0, nb = 0, block = 0, first = table_index << q2_refcount_block_bits(top);
    enum q2_status status = q2_clusters_alloc(disk, 1, &offset, &nb);

    if (status == Q2_OK)
        status = q2_refcount_block(&disk->slices, top, first, &block);
    if (status != Q2_OK)
        return status;
    if (block != 0) { /* it has come with the cluster */
        q2_clusters_free_later(disk, offset, 1ull << top->rules.cluster_bits);
        return Q2_OK;
    }
    status = clear_block(disk, table_index, offset);
    if (status != Q2_OK) {
        q2_clusters_free_later(disk, offset, 1ull << top->rules.cluster_bits);
        return status;
    }
    status = link_block(disk, table_index, offset);
    return status == Q2_OK ? Q2_OK : q2_store_latch(disk, status, "no new refcount block");
}

/* Whether blocks cover a whole row; if not, one that was missing is there now. */
static enum q2_status cover_row(struct q2_disk *disk, uint64_t index, uint64_t nb,
                                bool *ret_covered)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t block_bits = q2_refcount_block_bits(top);
    uint64_t last = (index + nb - 1) >> block_bits;

    *ret_covered = false;
    for (uint64_t i = index >> block_bits; i <= last; i++) {
        uint64_t block;
        enum q2_status status;

        if (i >= q2_refcount_table_entries(top))
            return grow_table(disk);
        status = q2_refcount_block(&disk->slices, top, i << block_bits, &block);
        if (status != Q2_OK)
            return unreadable(disk, status); /* not covered: find_row() has just read it */
        if (block == 0)
            return add_block(disk, i);
    }
    *ret_covered = true;
    return Q2_OK;
}

/* New clusters' refcounts may be written at any time: nothing names them yet. */
static enum q2_status take_row(struct q2_disk *disk, uint64_t index, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < nb && status == Q2_OK; i++) {
        if (q2_slice_is_crowded(&disk->slices))
            status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
        if (status == Q2_OK)
            status = q2_refcount_put(&disk->slices, top, index + i, 1);
        if (status != Q2_OK && i > 0)
            q2_clusters_free_later(disk, index << top->rules.cluster_bits,
                                   i << top->rules.cluster_bits);
    }
    return status == Q2_OK ? Q2_OK : unreadable(disk, status);
}

enum q2_status q2_clusters_alloc_row(struct q2_disk *disk, uint64_t nb, uint64_t *ret_offset)
{
    uint64_t index = 0;
    bool covered = false;
    enum q2_status status = Q2_OK;

    /* Each round that covers nothing has made a block or a table: there is an end to it. */
    while (status == Q2_OK && !covered) {
        status = find_row(disk, nb, &index);
        if (status == Q2_OK)
            status = cover_row(disk, index, nb, &covered);
    }
    if (status == Q2_OK)
        status = reach(disk, index + nb);
    if (status == Q2_OK)
        status = take_row(disk, index, nb);
    if (status == Q2_OK)
        *ret_offset = index << disk->layers[0].rules.cluster_bits;
    return status;
}
