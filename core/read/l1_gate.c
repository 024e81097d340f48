/* The one gate from an L1 index to an L2 table.
 *
 * May call core/format/. Pure. Invariant: an offset that leaves here starts at a cluster, is inside
 * the file, and names no cluster of the active L1 table or the refcount table.
 */
#include "l1_gate.h"

#include "core/base/range.h"
#include "core/format/header.h"

/* A table on other metadata of the image would let guest data pose as entries.
 * (HAZARDS.md, F2) */
static bool lies_on_table(const struct q2_image *image, uint64_t table)
{
    uint64_t cluster_size = 1ull << image->rules.cluster_bits;

    return q2_ranges_overlap(table, cluster_size, image->l1_table_offset,
                             (uint64_t)image->l1_size * 8) ||
           q2_ranges_overlap(table, cluster_size, image->header.refcount_table_offset,
                             (uint64_t)image->header.refcount_table_clusters
                                 << image->rules.cluster_bits);
}

const char q2_l1_on_table[] = "L2 table overlaps the L1 or refcount table";

enum q2_status q2_l1_gate(const struct q2_image *image, uint64_t entry, uint64_t *ret_table,
                          const char **ret_breach)
{
    uint64_t table = 0;
    const char *breach = q2_l1_entry_decode(entry, image->rules.cluster_bits, &table);

    if (!breach && table != 0 && lies_on_table(image, table))
        breach = q2_l1_on_table;
    if (breach) {
        *ret_breach = breach;
        return Q2_ERR_BAD_L1;
    }
    if (table != 0 && table >= image->source->size) {
        *ret_breach = "L1 entry points past the end of the file";
        return Q2_ERR_TRUNCATED;
    }
    *ret_table = table;
    return Q2_OK;
}

uint64_t q2_l1_entry_offset(const struct q2_image *image, uint64_t guest_offset)
{
    return image->l1_table_offset + (guest_offset >> q2_header_l1_reach_bits(&image->header)) * 8;
}
