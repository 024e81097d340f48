/* Counting all references anew, into a new refcount structure after the end of the file.
 *
 * May call core/check/count.c, core/read/refcount.c, and refcount_layout.c and order.c of
 * core/write/. Invariant: nothing that the old structure or any entry names is written to; the
 * header comes last (O5).
 */
#include "rebuild.h"

#include "core/write/order.h"
#include "core/check/count.h"
#include "core/read/disk.h"
#include "q2_fail.h"
#include "core/base/range.h"
#include "core/write/refcount_layout.h"
#include "core/write/refcount_write.h"
#include "core/write/slice_write.h"

/* A refcount in the new blocks, which begin as zeros. */
static enum q2_status put(struct q2_disk *disk, const struct q2_refcount_layout *layout,
                          uint64_t index, uint64_t value)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t block_bits = q2_refcount_block_bits(top);
    uint64_t block = (layout->first + (index >> block_bits)) << top->rules.cluster_bits;
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
static enum q2_status put_counts(struct q2_references *r, const struct q2_refcount_layout *layout)
{
    struct q2_disk *disk = r->disk;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < layout->first && status == Q2_OK;
         first += Q2_REFERENCES_WINDOW) {
        uint64_t end = q2_min_u64(layout->first, first + Q2_REFERENCES_WINDOW);

        status = q2_count_window(r, first, false);
        for (uint64_t index = first; index < end && status == Q2_OK; index++) {
            uint64_t refcount, nb = q2_references_of(r, index);

            if (q2_refcount_get(&disk->slices, &disk->layers[0], index, &refcount) != Q2_OK)
                refcount = 0;
            if (r->counted)
                r->counted(r, index, refcount, nb);
            if (nb > 0)
                status = put(disk, layout, index, nb);
        }
    }
    return status;
}

enum q2_status q2_refcounts_rebuild(struct q2_references *r)
{
    struct q2_disk *disk = r->disk;
    const struct q2_image *top = &disk->layers[0];
    struct q2_refcount_layout layout;
    uint64_t end = q2_shift_up(top->source->size, top->rules.cluster_bits);
    enum q2_status status = q2_refcount_layout_plan(disk, end, top->header.refcount_order, &layout);

    if (status == Q2_OK)
        status = q2_refcount_layout_reach(disk, &layout);
    if (status != Q2_OK)
        return status;
    status = put_counts(r, &layout);
    for (uint64_t i = end; i < q2_refcount_layout_end(&layout) && status == Q2_OK; i++)
        status = put(disk, &layout, i, 1);
    if (status == Q2_OK)
        status = q2_refcount_layout_write_table(disk, &layout);
    return status == Q2_OK ? q2_refcount_layout_name(disk, &layout) : status;
}
