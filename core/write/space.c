/* Giving space back to the file system.
 *
 * May call core/read/refcount.c, store.c and the source. Invariant: a range is given back only when
 * no entry names it, durably, and the file is cut only when the refcounts after the cut are 0,
 * durably.
 */
#include "space.h"

#include "core/base/range.h"
#include "core/read/refcount.h"
#include "store.h"

/* File systems give back whole blocks; what is smaller would only be overwritten with zeros. */
#define SMALLEST 4096u

/* Nothing that was read ahead may bring the old bytes back. */
static bool punch(struct q2_disk *disk, struct q2_source *source, uint64_t offset, uint64_t length)
{
    if (!source->ops->punch || length < SMALLEST)
        return false;
    q2_windows_forget(&disk->windows, source, offset, length);
    q2_decoded_forget(&disk->decoded, source, offset, length);
    return source->ops->punch(source, offset, length) == Q2_OK;
}

void q2_space_punch(struct q2_disk *disk, uint64_t first, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t start = first << top->rules.cluster_bits;
    uint64_t end = q2_min_u64((first + nb) << top->rules.cluster_bits, top->source->size);

    if (start < end)
        (void)punch(disk, top->source, start, end - start);
}

bool q2_space_punch_data(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    struct q2_source *data = disk->layers[0].data;

    if (offset >= data->size)
        return true;
    return punch(disk, data, offset, q2_min_u64(length, data->size - offset));
}

static bool is_used(struct q2_disk *disk, uint64_t index)
{
    uint64_t refcount = 0;

    /* What cannot be read is left alone. */
    return q2_refcount_get(&disk->slices, &disk->layers[0], index, &refcount) != Q2_OK ||
           refcount != 0;
}

/* The clusters after `end`, at least one, are free: cut them off. */
static void cut(struct q2_disk *disk, uint64_t end)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_source *source = top->source;
    uint64_t size = end << top->rules.cluster_bits, old_size = source->size;

    if (source->ops->truncate(source, size) != Q2_OK)
        return;
    q2_windows_forget(&disk->windows, source, size, old_size - size);
    q2_decoded_forget(&disk->decoded, source, size, old_size - size);
    q2_slice_cache_cut(&disk->slices, source);
    disk->writer.end = end;
    disk->writer.packed_end = 0;
}

enum q2_status q2_space_cut_end(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t nb = q2_shift_up(top->source->size, top->rules.cluster_bits), end = nb;
    enum q2_status status;

    if (!top->source->ops->truncate)
        return Q2_OK;
    while (end > 0 && !is_used(disk, end - 1))
        end--;
    if (end == nb)
        return Q2_OK;
    status = q2_store_flush(disk, top->source);
    if (status == Q2_OK)
        cut(disk, end);
    return status;
}

enum q2_status q2_space_give_back(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t end = top->source->size >> top->rules.cluster_bits, free_from = 0;
    enum q2_status status;

    if (!top->source->ops->punch)
        return q2_space_cut_end(disk);
    status = q2_store_flush(disk, top->source);
    for (uint64_t index = 0; index <= end && status == Q2_OK; index++) {
        if (index < end && !is_used(disk, index))
            continue;
        if (free_from < index)
            q2_space_punch(disk, free_from, index - free_from);
        free_from = index + 1;
    }
    return status == Q2_OK ? q2_space_cut_end(disk) : status;
}
