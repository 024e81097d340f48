/* Where the tables of a layer are stored, and how much of its file they say is in use.
 *
 * May call l1_gate.c, refcount.c and slice_cache.c. Invariant: nothing outside the file is read,
 * because the tables are untrusted.
 */
#include "core/base/bytes.h"
#include "core/base/range.h"
#include "core/read/refcount.h"
#include "disk.h"
#include "l1_gate.h"

static void visit_l2_tables(struct q2_disk *disk, const struct q2_image *image,
                            struct q2_table_visitor *visitor)
{
    const struct q2_header *header = &image->header;

    for (uint64_t i = 0; i < header->l1_size; i++) {
        const char *breach;
        uint64_t table = 0;
        be64 entry;

        if (q2_slice_read(&disk->slices, image->source, header->l1_table_offset + i * 8, &entry,
                          sizeof(entry)) != Q2_OK)
            return;
        if (q2_l1_gate(image, q2_be64_get(entry), &table, &breach) == Q2_OK && table != 0)
            visitor->visit(visitor, table, 1ull << header->cluster_bits);
    }
}

static void visit_refcount_blocks(struct q2_disk *disk, const struct q2_image *image,
                                  struct q2_table_visitor *visitor)
{
    for (uint64_t i = 0; i < q2_refcount_table_entries(image); i++) {
        uint64_t block = 0;
        enum q2_status status =
            q2_refcount_block(&disk->slices, image, i << q2_refcount_block_bits(image), &block);

        if (status != Q2_OK && status != Q2_ERR_BAD_REFCOUNT)
            return;
        if (block != 0)
            visitor->visit(visitor, block, 1ull << image->rules.cluster_bits);
    }
}

void q2_disk_visit_tables(struct q2_disk *disk, uint32_t layer, struct q2_table_visitor *visitor)
{
    const struct q2_image *image = &disk->layers[layer];
    const struct q2_header *header = &image->header;
    uint64_t cluster_size = 1ull << header->cluster_bits;

    if (image->format == Q2_FORMAT_RAW)
        return;
    visitor->visit(visitor, 0, cluster_size);
    visitor->visit(visitor, header->l1_table_offset, header->l1_size * 8ull);
    visit_l2_tables(disk, image, visitor);
    visitor->visit(visitor, header->refcount_table_offset,
                   header->refcount_table_clusters * cluster_size);
    visit_refcount_blocks(disk, image, visitor);
}

enum q2_status q2_disk_nb_used(struct q2_disk *disk, uint32_t layer, uint64_t nb_enough,
                               uint64_t *ret_nb)
{
    const struct q2_image *image = &disk->layers[layer];
    uint64_t nb_clusters, row[Q2_REFCOUNT_ROW];

    *ret_nb = 0;
    if (image->format == Q2_FORMAT_RAW)
        return Q2_OK;
    nb_clusters = q2_min_u64(q2_shift_up(image->source->size, image->rules.cluster_bits),
                             q2_refcount_table_entries(image) << q2_refcount_block_bits(image));
    for (uint64_t i = 0; i < nb_clusters && *ret_nb < nb_enough; i += Q2_REFCOUNT_ROW) {
        if (!q2_refcount_row(&disk->slices, image, i, row))
            return Q2_ERR_BAD_REFCOUNT;
        for (uint64_t k = 0; k < Q2_REFCOUNT_ROW && i + k < nb_clusters; k++)
            *ret_nb += row[k] > 0;
    }
    return Q2_OK;
}
