/* A new refcount structure.
 *
 * May call core/check/count.c, core/read/refcount.c, and store.c and order.c of core/write/. The
 * layout is: blocks for every cluster of the file, the new ones included, then the table, all in a
 * row after the end of the file. So every offset is known before anything is written. Invariant:
 * nothing that the old structure or any entry names is written to; the header comes last (O5).
 */
#include "rebuild.h"

#include "core/write/order.h"
#include "core/check/count.h"
#include "core/read/disk.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "core/write/header_change.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/write/refcount_write.h"
#include "core/write/store.h"
#include "core/write/slice_write.h"

struct plan {
    uint64_t first;     /* cluster index of the first block: the file's old end */
    uint64_t nb_blocks; /* refcount blocks, then */
    uint64_t nb_table;  /* clusters of the table */
};

/* As many blocks as the file's clusters, their own and the table's need. */
static enum q2_status plan(struct q2_disk *disk, struct plan *p)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits, block_bits = q2_refcount_block_bits(top);

    p->first = q2_shift_up(top->source->size, bits);
    p->nb_blocks = p->nb_table = 1;
    while (q2_shift_up(p->first + p->nb_blocks + p->nb_table, block_bits) > p->nb_blocks) {
        p->nb_blocks = q2_shift_up(p->first + p->nb_blocks + p->nb_table, block_bits);
        p->nb_table = q2_shift_up(p->nb_blocks * 8, bits);
    }
    if (p->nb_table > Q2_MAX_REFCOUNT_TABLE_SIZE >> bits)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT,
                             "the file is too large for a new refcount table", top->source->path,
                             "refcount_table_clusters", p->nb_table,
                             Q2_MAX_REFCOUNT_TABLE_SIZE >> bits);
    return q2_store_grow(disk, top->source, (p->first + p->nb_blocks + p->nb_table) << bits);
}

/* A refcount in the new blocks, which begin as zeros. */
static enum q2_status put(struct q2_disk *disk, const struct plan *p, uint64_t index,
                          uint64_t value)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t block_bits = q2_refcount_block_bits(top);
    uint64_t block = (p->first + (index >> block_bits)) << top->rules.cluster_bits;
    enum q2_status status = Q2_OK;

    if (q2_slice_is_crowded(&disk->slices))
        status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
    if (status != Q2_OK)
        return status;
    status = q2_refcount_put_in(&disk->slices, top, block, index & ((1ull << block_bits) - 1),
                                q2_min_u64(value, q2_refcount_max(top)));
    if (status != Q2_OK)
        return q2_fail(&disk->fault, status, "a refcount cannot be changed", top->source->path);
    return Q2_OK;
}

/* The file's own clusters, window by window. */
static enum q2_status put_counts(struct q2_references *r, const struct plan *p)
{
    struct q2_disk *disk = r->disk;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < p->first && status == Q2_OK; first += Q2_REFERENCES_WINDOW) {
        uint64_t end = q2_min_u64(p->first, first + Q2_REFERENCES_WINDOW);

        status = q2_count_window(r, first, false);
        for (uint64_t index = first; index < end && status == Q2_OK; index++) {
            uint64_t refcount, nb = q2_references_of(r, index);

            if (q2_refcount_get(&disk->slices, &disk->layers[0], index, &refcount) != Q2_OK)
                refcount = 0;
            if (r->counted)
                r->counted(r, index, refcount, nb);
            if (nb > 0)
                status = put(disk, p, index, nb);
        }
    }
    return status;
}

static enum q2_status write_table(struct q2_disk *disk, const struct plan *p)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t at = (p->first + p->nb_blocks) << bits;
    uint64_t nb_entries = p->nb_table << (bits - 3);
    enum q2_status status = Q2_OK;

    for (uint64_t done = 0; done < nb_entries && status == Q2_OK;) {
        size_t nb = (size_t)q2_min_u64(nb_entries - done, Q2_BOUNCE_SIZE / 8);

        memset(disk->writer.bounce, 0, nb * 8);
        for (size_t i = 0; i < nb && done + i < p->nb_blocks; i++) {
            be64 entry = q2_be64_make((p->first + done + i) << bits);
            memcpy(disk->writer.bounce + i * 8, &entry, sizeof(entry));
        }
        status = q2_store_write(disk, top->source, at + done * 8, disk->writer.bounce, nb * 8);
        done += nb;
    }
    return status;
}

static enum q2_status name_table(struct q2_disk *disk, const struct plan *p)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    enum q2_status status;

    header.refcount_table_offset = (p->first + p->nb_blocks) << top->rules.cluster_bits;
    header.refcount_table_clusters = (uint32_t)p->nb_table;
    status = q2_header_set(disk, &header,
                           Q2_HEADER_FIELDS(refcount_table_offset, refcount_table_clusters));
    if (status != Q2_OK)
        return status;
    disk->writer.first_free = 0;
    disk->writer.end = p->first + p->nb_blocks + p->nb_table;
    return Q2_OK;
}

enum q2_status q2_refcounts_rebuild(struct q2_references *r)
{
    struct q2_disk *disk = r->disk;
    struct plan p;
    enum q2_status status = plan(disk, &p);

    if (status != Q2_OK)
        return status;
    status = put_counts(r, &p);
    for (uint64_t i = 0; i < p.nb_blocks + p.nb_table && status == Q2_OK; i++)
        status = put(disk, &p, p.first + i, 1);
    if (status == Q2_OK)
        status = write_table(disk, &p);
    return status == Q2_OK ? name_table(disk, &p) : status;
}
