/* Replacing zero clusters by what version 2 can say.
 *
 * May call alloc.c, refcount_write.c, slice_write.c, order.c, store.c, and core/read/ for L1
 * tables, snapshots and refcounts. Invariant: an L2 table is changed where it is stored, also one
 * that several states share, because each entry reads the same before and after; a new cluster
 * holds its zeros, durably, before the entry names it (O1, O2), and what the entry named before is
 * released after that (O3).
 */
#include "zero_expand.h"

#include "alloc.h"
#include "core/base/bytes.h"
#include "core/base/range.h"
#include "core/format/header.h"
#include "core/format/l2_entry.h"
#include "core/read/l1_gate.h"
#include "core/read/refcount.h"
#include "order.h"
#include "q2_fail.h"
#include "refcount_write.h"
#include "slice_write.h"
#include "store.h"

/* A walk through all L2 tables. */
struct walk {
    struct q2_disk *disk;
    bool only_look; /* stop at the first zero cluster */
    bool found;
    uint64_t table;         /* the L2 table at hand, bytes into the image */
    uint64_t nb_references; /* L1 entries that name it */
};

static enum q2_status failed(struct walk *w, enum q2_status status, uint64_t at)
{
    return q2_fail_at(&w->disk->fault, status, "a table cannot be read",
                      w->disk->layers[0].source->path, at);
}

/* A cluster of zeros, with as many references as the entry that will name it makes. */
static enum q2_status make_zeros(struct walk *w, uint64_t *ret_offset)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = &disk->layers[0];
    uint64_t size = 1ull << top->rules.cluster_bits, offset = 0, nb = 0;
    enum q2_status status = q2_clusters_alloc(disk, 1, &offset, &nb);

    if (status != Q2_OK)
        return status;
    status = q2_store_zero(disk, top->source, offset, size);
    if (status == Q2_OK && w->nb_references > 1)
        status = q2_refcount_put(&disk->slices, top, offset >> top->rules.cluster_bits,
                                 w->nb_references);
    if (status == Q2_OK)
        *ret_offset = offset;
    else
        q2_clusters_free_later(disk, offset, size); /* named by nobody */
    return status;
}

/* Each state that has the table gives up the cluster that its entry named. A commit on the way
 * writes the new entry before any of these. */
static enum q2_status release(struct walk *w, uint64_t offset)
{
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < w->nb_references && status == Q2_OK; i++) {
        status = q2_commit_if_crowded(w->disk);
        if (status == Q2_OK)
            q2_clusters_free_later(w->disk, offset, 1ull << w->disk->layers[0].rules.cluster_bits);
    }
    return status;
}

/* at: of the entry. */
static enum q2_status replace(struct walk *w, uint64_t at, uint64_t entry)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = &disk->layers[0];
    uint64_t offset = 0;
    be64 word;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK && top->has_backing)
        status = make_zeros(w, &offset);
    if (status != Q2_OK)
        return status;
    word = q2_be64_make(offset | (offset != 0 && w->nb_references == 1 ? Q2_ENTRY_COPIED : 0));
    status = q2_slice_put(&disk->slices, top->source, at, &word, sizeof(word), Q2_DIRTY_L2);
    if (status != Q2_OK) {
        if (offset != 0)
            (void)release(w, offset); /* named by nobody */
        return q2_fail_at(&disk->fault, status, "an L1 or L2 table cannot be changed",
                          top->source->path, at);
    }
    return (entry & Q2_ENTRY_OFFSET) != 0 ? release(w, entry & Q2_ENTRY_OFFSET) : Q2_OK;
}

#define ROW 16u

static enum q2_status visit_l2(struct walk *w)
{
    const struct q2_image *top = &w->disk->layers[0];
    be64 row[ROW];

    for (uint64_t i = 0; i < 1ull << top->l2_bits; i += ROW) {
        uint64_t at = w->table + i * sizeof(be64);
        enum q2_status status = q2_slice_read(&w->disk->slices, top->source, at, row, sizeof(row));

        if (status != Q2_OK)
            return failed(w, status, at);
        for (uint32_t n = 0; n < ROW && status == Q2_OK; n++) {
            uint64_t entry = q2_be64_get(row[n]);

            if ((entry & (Q2_ENTRY_COMPRESSED | Q2_ENTRY_ZERO)) != Q2_ENTRY_ZERO)
                continue;
            w->found = true;
            if (w->only_look)
                return Q2_OK;
            status = replace(w, at + n * sizeof(be64), entry);
        }
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}

static enum q2_status visit_l1(struct walk *w, uint64_t l1_offset, uint32_t l1_size)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < l1_size && status == Q2_OK && !(w->only_look && w->found); i++) {
        uint64_t at = l1_offset + i * sizeof(be64);
        const char *breach = NULL;
        be64 entry;

        status = q2_slice_read(&disk->slices, top->source, at, &entry, sizeof(entry));
        if (status != Q2_OK)
            return failed(w, status, at);
        status = q2_l1_gate(top, q2_be64_get(entry), &w->table, &breach);
        if (status != Q2_OK)
            return q2_fail_at(&disk->fault, status, breach, top->source->path, at);
        if (w->table == 0)
            continue;
        status = q2_refcount_get(&disk->slices, top, w->table >> top->rules.cluster_bits,
                                 &w->nb_references);
        status = status == Q2_OK ? visit_l2(w) : failed(w, status, w->table);
    }
    return status;
}

static enum q2_status visit_all(struct walk *w)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = &disk->layers[0];
    struct q2_snapshot_walk snapshots = {0};
    enum q2_status status = visit_l1(w, top->l1_table_offset, top->l1_size);

    for (uint32_t i = 0; i < top->header.nb_snapshots && status == Q2_OK; i++) {
        status = q2_snapshot_next(&disk->slices, top, &snapshots, &disk->fault, &disk->snapshot);
        if (status == Q2_OK)
            status = q2_image_check_snapshot(top, &disk->snapshot, &disk->fault);
        if (status == Q2_OK)
            status = visit_l1(w, disk->snapshot.l1_table_offset, disk->snapshot.l1_size);
    }
    return status;
}

enum q2_status q2_zero_clusters_exist(struct q2_disk *disk, bool *ret_exist)
{
    struct walk w = {.disk = disk, .only_look = true};
    enum q2_status status = visit_all(&w);

    if (status == Q2_OK)
        *ret_exist = w.found;
    return status;
}

enum q2_status q2_zero_clusters_replace(struct q2_disk *disk)
{
    struct walk w = {.disk = disk};
    enum q2_status status = visit_all(&w);

    return status == Q2_OK ? q2_commit(disk) : status;
}
