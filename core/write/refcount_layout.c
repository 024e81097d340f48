/* A new refcount structure: its place, its table, and the switch to it.
 *
 * May call store.c and header_change.c. Invariant: nothing that the structure in force or any entry
 * names is written to, except the one sector of the header.
 */
#include "refcount_layout.h"

#include "core/base/bytes.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/format/header.h"
#include "header_change.h"
#include "q2_fail.h"
#include "store.h"

enum q2_status q2_refcount_layout_plan(struct q2_disk *disk, uint64_t first, uint32_t order,
                                       struct q2_refcount_layout *ret_layout)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    struct q2_refcount_layout l = {.first = first, .nb_blocks = 1, .nb_table = 1, .order = order};
    uint32_t block_bits = q2_refcount_layout_block_bits(disk, &l);

    while (q2_shift_up(q2_refcount_layout_end(&l), block_bits) > l.nb_blocks) {
        l.nb_blocks = q2_shift_up(q2_refcount_layout_end(&l), block_bits);
        l.nb_table = q2_shift_up(l.nb_blocks * 8, bits);
    }
    if (l.nb_table > Q2_MAX_REFCOUNT_TABLE_SIZE >> bits)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT,
                             "the file is too large for a new refcount table", top->source->path,
                             "refcount_table_clusters", l.nb_table,
                             Q2_MAX_REFCOUNT_TABLE_SIZE >> bits);
    *ret_layout = l;
    return Q2_OK;
}

enum q2_status q2_refcount_layout_reach(struct q2_disk *disk,
                                        const struct q2_refcount_layout *layout)
{
    const struct q2_image *top = &disk->layers[0];

    return q2_store_grow(disk, top->source,
                         q2_refcount_layout_end(layout) << top->rules.cluster_bits);
}

enum q2_status q2_refcount_layout_write_table(struct q2_disk *disk,
                                              const struct q2_refcount_layout *layout)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t at = (layout->first + layout->nb_blocks) << bits;
    uint64_t nb_entries = layout->nb_table << (bits - 3);
    enum q2_status status = Q2_OK;

    for (uint64_t done = 0; done < nb_entries && status == Q2_OK;) {
        size_t nb = (size_t)q2_min_u64(nb_entries - done, Q2_BOUNCE_SIZE / 8);

        memset(disk->writer.bounce, 0, nb * 8);
        for (size_t i = 0; i < nb && done + i < layout->nb_blocks; i++) {
            be64 entry = q2_be64_make((layout->first + done + i) << bits);
            memcpy(disk->writer.bounce + i * 8, &entry, sizeof(entry));
        }
        status = q2_store_write(disk, top->source, at + done * 8, disk->writer.bounce, nb * 8);
        done += nb;
    }
    return status;
}

enum q2_status q2_refcount_layout_name(struct q2_disk *disk,
                                       const struct q2_refcount_layout *layout)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    bool same_order = layout->order == header.refcount_order; /* version 2 has no such field */
    enum q2_status status;

    header.refcount_table_offset = (layout->first + layout->nb_blocks) << top->rules.cluster_bits;
    header.refcount_table_clusters = (uint32_t)layout->nb_table;
    header.refcount_order = layout->order;
    status =
        same_order
            ? q2_header_set(disk, &header,
                            Q2_HEADER_FIELDS(refcount_table_offset, refcount_table_clusters))
            : q2_header_set(disk, &header, Q2_HEADER_FIELDS(refcount_table_offset, refcount_order));
    if (status != Q2_OK)
        return status;
    disk->writer.first_free = 0;
    disk->writer.end = q2_refcount_layout_end(layout);
    return Q2_OK;
}
