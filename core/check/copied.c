/* COPIED flags: walking the entries that have one.
 *
 * May call references.c, which reads the entries, and core/read/refcount.c. Invariant: nothing is
 * changed here; core/write/copied_fix.c does that.
 */
#include "copied.h"

#include "core/format/header.h"
#include "core/read/disk.h"
#include "core/read/l1_gate.h"
#include "core/read/refcount.h"

static enum q2_status visit_l2(struct q2_copied_walk *walk, uint64_t table, uint64_t guest_offset)
{
    const struct q2_image *image = &walk->references->disk->layers[0];
    enum q2_status status = Q2_OK;
    be64 row[Q2_REFERENCES_ROW];
    bool held = false;

    for (uint64_t i = 0; i < 1ull << image->l2_bits && status == Q2_OK; i++) {
        struct q2_cluster cluster;
        struct q2_copied_entry entry = {.named_at = table + (i << image->entry_bits)};

        if (i % Q2_REFERENCES_ROW == 0)
            held = q2_references_row(walk->references, table, i, row);
        if (held &&
            q2_references_plain(walk->references, row[i % Q2_REFERENCES_ROW], &entry.host_offset)) {
            entry.is_set = (q2_be64_get(row[i % Q2_REFERENCES_ROW]) & Q2_ENTRY_COPIED) != 0;
            status = entry.host_offset != 0 ? walk->visit(walk, &entry) : Q2_OK;
            continue;
        }
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
        const char *breach;

        if (!q2_references_entry(walk->references, entry.named_at, &value))
            return Q2_OK;
        if (q2_l1_gate(image, value, &table, &breach) != Q2_OK || table == 0)
            continue;
        entry.host_offset = table;
        entry.is_set = (value & Q2_ENTRY_COPIED) != 0;
        status = walk->visit(walk, &entry);
        if (status == Q2_OK && nb_left > 0) {
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
