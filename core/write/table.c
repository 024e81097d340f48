/* L2 tables for writing.
 *
 * May call alloc.c, order.c, store.c, slice_write.c and core/read/l1_gate.c. Invariant: a table
 * that leaves here has refcount 1, and the L1 entry that names it says so.
 */
#include "table.h"

#include "alloc.h"
#include "order.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/read/l1_gate.h"
#include "store.h"
#include "slice_write.h"

static enum q2_status table_failed(struct q2_disk *disk, enum q2_status status, uint64_t offset)
{
    return q2_fail_at(&disk->fault, status, "an L1 or L2 table cannot be changed",
                      disk->layers[0].source->path, offset);
}

/* Copy a shared table. Its clusters are shared from now on, so COPIED is cleared in the copy; but
 * not with an external data file: a data file's clusters are never shared, and there the flag also
 * tells guest cluster 0, which is stored at offset 0, from one that is not allocated. */
static enum q2_status copy_table(struct q2_disk *disk, uint64_t from, uint64_t to)
{
    const struct q2_image *top = &disk->layers[0];

    return q2_store_copy(disk, from, to, 1ull << top->rules.cluster_bits,
                         top->rules.external_data ? 0 : 1u << top->entry_bits);
}

/* Make a table in place of old (0: none) and name it in the L1 table. */
static enum q2_status make_table(struct q2_disk *disk, uint64_t guest_offset, uint64_t old,
                                 uint64_t *ret_table)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t cluster_size = 1ull << top->rules.cluster_bits;
    uint64_t table, nb;
    be64 entry;
    enum q2_status status = q2_clusters_alloc(disk, 1, &table, &nb);

    if (status != Q2_OK)
        return status;
    if (old != 0)
        status = copy_table(disk, old, table);
    else
        status = q2_store_zero(disk, top->source, table, cluster_size);
    if (status == Q2_OK) {
        entry = q2_be64_make(table | Q2_ENTRY_COPIED);
        status = q2_slice_put(&disk->slices, top->source, q2_l1_entry_offset(top, guest_offset),
                              &entry, sizeof(entry), Q2_DIRTY_L1);
    }
    if (status != Q2_OK) {
        q2_clusters_free_later(disk, table, cluster_size); /* named by nobody */
        return table_failed(disk, status, table);
    }
    if (old != 0)
        q2_clusters_free_later(disk, old, cluster_size);
    *ret_table = table;
    return Q2_OK;
}

/* Read the L1 entry for a guest offset. */
static enum q2_status l1_entry_read(struct q2_disk *disk, uint64_t guest_offset,
                                    uint64_t *ret_entry, uint64_t *ret_table)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t at = q2_l1_entry_offset(top, guest_offset);
    const char *breach = NULL;
    be64 entry;
    enum q2_status status = q2_slice_read(&disk->slices, top->source, at, &entry, sizeof(entry));

    if (status != Q2_OK)
        return table_failed(disk, status, at);
    *ret_entry = q2_be64_get(entry);
    status = q2_l1_gate(top, *ret_entry, ret_table, &breach);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, breach, top->source->path, at);
    return Q2_OK;
}

enum q2_status q2_table_find(struct q2_disk *disk, uint64_t guest_offset, uint64_t *ret_table)
{
    uint64_t entry;

    return l1_entry_read(disk, guest_offset, &entry, ret_table);
}

enum q2_status q2_table_for_write(struct q2_disk *disk, uint64_t guest_offset, uint64_t *ret_table)
{
    uint64_t entry = 0, table = 0;
    enum q2_status status = l1_entry_read(disk, guest_offset, &entry, &table);

    if (status != Q2_OK)
        return status;
    if (table != 0 && (entry & Q2_ENTRY_COPIED)) {
        *ret_table = table;
        return Q2_OK;
    }
    return make_table(disk, guest_offset, table, ret_table);
}

static uint64_t l2_entry_offset(const struct q2_image *top, uint64_t table, uint64_t guest_offset)
{
    uint64_t index = (guest_offset >> top->rules.cluster_bits) & ((1ull << top->l2_bits) - 1);

    return table + (index << top->entry_bits);
}

enum q2_status q2_table_get(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                            uint64_t *ret_entry, uint64_t *ret_bitmap)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t offset = l2_entry_offset(top, table, guest_offset);
    be64 words[2] = {{{0}}, {{0}}};
    enum q2_status status =
        q2_slice_read(&disk->slices, top->source, offset, words, (size_t)1 << top->entry_bits);

    if (status != Q2_OK)
        return table_failed(disk, status, offset);
    *ret_entry = q2_be64_get(words[0]);
    *ret_bitmap = q2_be64_get(words[1]);
    return Q2_OK;
}

enum q2_status q2_table_set(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                            uint64_t entry, uint64_t bitmap)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t offset = l2_entry_offset(top, table, guest_offset);
    be64 words[2] = {q2_be64_make(entry), q2_be64_make(bitmap)};
    enum q2_status status = q2_slice_put(&disk->slices, top->source, offset, words,
                                         (size_t)1 << top->entry_bits, Q2_DIRTY_L2);

    return status == Q2_OK ? Q2_OK : table_failed(disk, status, offset);
}

/* How many of nb_max entries are 0, in a row. */
static uint64_t nb_empty(const uint8_t *bytes, uint64_t nb_max)
{
    uint64_t n = 0, entry;

    for (; n < nb_max; n++) {
        memcpy(&entry, bytes + n * sizeof(be64), sizeof(entry));
        if (entry != 0)
            break;
    }
    return n;
}

enum q2_status q2_table_fill(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                             uint64_t entry, uint64_t nb_max, uint64_t *ret_nb_set)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t offset = l2_entry_offset(top, table, guest_offset);
    const uint8_t *held;
    uint8_t *bytes;
    size_t length;
    enum q2_status status;

    *ret_nb_set = 0;
    if (top->rules.extended)
        return Q2_OK;
    status = q2_slice_get(&disk->slices, top->source, offset, &held, &length);
    if (status != Q2_OK)
        return table_failed(disk, status, offset);
    nb_max = q2_min_u64(nb_max, q2_min_u64(length, 512 - offset % 512) / sizeof(be64));
    nb_max = nb_empty(held, nb_max);
    if (nb_max == 0)
        return Q2_OK;
    status = q2_slice_edit(&disk->slices, top->source, offset, (size_t)nb_max * sizeof(be64),
                           Q2_DIRTY_L2, &bytes);
    if (status != Q2_OK)
        return table_failed(disk, status, offset);
    for (uint64_t i = 0; i < nb_max; i++) {
        be64 word = q2_be64_make(entry + (i << top->rules.cluster_bits));
        memcpy(bytes + i * sizeof(word), &word, sizeof(word));
    }
    *ret_nb_set = nb_max;
    return Q2_OK;
}

enum q2_status q2_table_cluster(struct q2_disk *disk, uint64_t table, uint64_t guest_cluster,
                                struct q2_cluster *ret_cluster)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t entry = 0, bitmap = 0;
    enum q2_status status = q2_table_get(disk, table, guest_cluster, &entry, &bitmap);

    if (status != Q2_OK)
        return status;
    q2_l2_entry_decode(entry, bitmap, guest_cluster, &top->rules, ret_cluster);
    if (ret_cluster->kind == Q2_CLUSTER_BAD)
        return q2_fail_at(&disk->fault, Q2_ERR_BAD_L2, ret_cluster->breach, top->source->path,
                          table);
    return Q2_OK;
}

void q2_table_release(struct q2_disk *disk, const struct q2_cluster *old)
{
    const struct q2_image *top = &disk->layers[0];

    if (!old->has_host_offset || top->rules.external_data)
        return;
    if (old->kind == Q2_CLUSTER_COMPRESSED)
        q2_clusters_free_later(disk, old->host_offset & ~511ull,
                               old->host_offset % 512 + old->stream_length);
    else
        q2_clusters_free_later(disk, old->host_offset, 1ull << top->rules.cluster_bits);
}

/* Give up what each entry of a table refers to. */
static enum q2_status release_entries(struct q2_disk *disk, uint64_t table, uint64_t guest_offset)
{
    const struct q2_image *top = &disk->layers[0];

    for (uint64_t i = 0; i < 1ull << top->l2_bits; i++) {
        struct q2_cluster old;
        enum q2_status status = Q2_OK;

        if (i % (Q2_FREES_PER_STEP / 2) == 0)
            status = q2_commit_if_crowded(disk);
        if (status == Q2_OK)
            status =
                q2_table_cluster(disk, table, guest_offset + (i << top->rules.cluster_bits), &old);
        if (status != Q2_OK)
            return status;
        q2_table_release(disk, &old);
    }
    return Q2_OK;
}

enum q2_status q2_table_drop(struct q2_disk *disk, uint64_t l1_index)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t guest_offset = l1_index << q2_header_l1_reach_bits(&top->header);
    uint64_t at = q2_l1_entry_offset(top, guest_offset), entry = 0, table = 0;
    be64 zero = q2_be64_make(0);
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK)
        status = l1_entry_read(disk, guest_offset, &entry, &table);
    if (status != Q2_OK || entry == 0)
        return status;
    status = q2_slice_put(&disk->slices, top->source, at, &zero, sizeof(zero), Q2_DIRTY_L1);
    if (status != Q2_OK)
        return table_failed(disk, status, at); /* not covered: l1_entry_read() has just read it */
    /* O3: a commit on the way writes the L1 entry before any of these. */
    if (table != 0)
        status = release_entries(disk, table, guest_offset);
    if (table != 0 && status == Q2_OK)
        q2_clusters_free_later(disk, table, 1ull << top->rules.cluster_bits);
    return status;
}
