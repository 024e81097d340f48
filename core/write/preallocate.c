/* Allocating clusters ahead of the data.
 *
 * Implements q2_disk_preallocate(). May call write.c, table.c, store.c and order.c. Invariant: no
 * guest byte changes; an L2 entry is set only after its host cluster reads as the guest cluster
 * did.
 */
#include "alloc.h"
#include "order.h"
#include "q2_fail.h"
#include "core/read/mapping.h"
#include "q2_amend.h"
#include "core/base/range.h"
#include "store.h"
#include "table.h"
#include "write.h"

/* Clusters of one L2 table that have no place yet. */
struct run {
    uint64_t start;       /* guest bytes */
    uint64_t nb;          /* clusters, >= 1 */
    uint64_t first, last; /* what is preallocated, guest bytes [first, last) */
};

/* Nothing of a lower layer may show where a run is: a standard entry hides it. The run is cut to
 * what is known of. */
static enum q2_status check_below(struct q2_disk *disk, struct run *run)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t length = q2_min_u64(run->nb << bits, q2_disk_size(disk) - run->start), nb;
    struct q2_extent extent;
    enum q2_status status;

    if (!top->has_backing || top->rules.extended)
        return Q2_OK;
    status = q2_disk_map(disk, run->start, length, &extent);
    if (status != Q2_OK)
        return status;
    nb = extent.length == length ? run->nb : extent.length >> bits;
    if (extent.kind == Q2_EXTENT_DATA || extent.kind == Q2_EXTENT_COMPRESSED || nb == 0)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "a backing file shows through where clusters are to be allocated",
                       top->source->path);
    run->nb = nb;
    return Q2_OK;
}

/* Write zeros to the host clusters of a run, but not to subclusters that hold data: a cluster of a
 * raw data file gets its place while some of them do. */
static enum q2_status zero_run(struct q2_disk *disk, uint64_t host_offset, const struct run *run,
                               uint64_t length)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_extent extent = {.kind = Q2_EXTENT_UNALLOCATED, .length = length};
    enum q2_status status = Q2_OK;

    for (uint64_t done = 0; done < length && status == Q2_OK; done += extent.length) {
        if (top->rules.extended && q2_image_is_raw_external(top))
            status = q2_mapping_find(&disk->slices, top, run->start + done, length - done,
                                     &disk->fault, &extent);
        if (status == Q2_OK && extent.kind != Q2_EXTENT_DATA)
            status = q2_store_zero(disk, top->data, host_offset + done, extent.length);
    }
    return status;
}

/* What the guest reads as zeros must be zeros in the file. A file that grows is; subclusters need
 * not be, since their bitmap says so. A raw data file is the disk, and so are its bytes. */
static enum q2_status clear(struct q2_disk *disk, uint64_t host_offset, const struct run *run,
                            uint64_t old_size, bool write_zeros)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t length = run->nb << top->rules.cluster_bits;

    if (top->rules.external_data)
        length = q2_write_data_end(disk, run->start + length) - run->start;
    if (!write_zeros &&
        (top->rules.extended || q2_image_is_raw_external(top) || host_offset >= old_size))
        return Q2_OK;
    if (!write_zeros)
        length = q2_min_u64(length, old_size - host_offset);
    return zero_run(disk, host_offset, run, length);
}

/* The bitmap of a cluster that gets a place. It stays as it is, so what read as zeros still does.
 * But a raw data file is the disk: the guest sees the file's bytes from now on. */
static uint64_t bitmap_with_place(const struct q2_image *top, const struct run *run, uint64_t guest,
                                  uint64_t bitmap)
{
    uint32_t bits = top->rules.cluster_bits;
    uint64_t start = q2_max_u64(guest, run->first);
    uint64_t end = q2_min_u64(guest + (1ull << bits), run->last);
    uint32_t mask;

    if (!top->rules.extended || !q2_image_is_raw_external(top))
        return bitmap;
    mask = q2_subcluster_mask(bits, start, end);
    return q2_subcluster_bitmap_allocate(bitmap, mask);
}

/* Name the clusters. */
static enum q2_status link_run(struct q2_disk *disk, uint64_t table, const struct run *run,
                               uint64_t host_offset, uint64_t *ret_nb_linked)
{
    uint32_t bits = disk->layers[0].rules.cluster_bits;

    for (uint64_t i = 0; i < run->nb; i++) {
        uint64_t guest = run->start + (i << bits), entry, bitmap;
        enum q2_status status = q2_table_get(disk, table, guest, &entry, &bitmap);

        *ret_nb_linked = i;
        if (status == Q2_OK)
            status = q2_table_set(disk, table, guest, (host_offset + (i << bits)) | Q2_ENTRY_COPIED,
                                  bitmap_with_place(&disk->layers[0], run, guest, bitmap));
        if (status != Q2_OK)
            return status;
    }
    *ret_nb_linked = run->nb;
    return Q2_OK;
}

static enum q2_status allocate_run(struct q2_disk *disk, struct run *run, bool write_zeros)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t table, host_offset, nb_linked = 0, old_size;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK)
        status = check_below(disk, run);
    if (status == Q2_OK)
        status = q2_table_for_write(disk, run->start, &table);
    if (status != Q2_OK)
        return status;
    old_size = top->data->size;
    status = q2_write_room(disk, run->start, run->nb, &host_offset, &run->nb);
    if (status != Q2_OK)
        return status;
    status = clear(disk, host_offset, run, old_size, write_zeros);
    if (status == Q2_OK)
        status = link_run(disk, table, run, host_offset, &nb_linked);
    if (status != Q2_OK && !top->rules.external_data) /* the rest is named by nobody */
        q2_clusters_free_later(disk, host_offset + (nb_linked << bits),
                               (run->nb - nb_linked) << bits);
    return status;
}

/* Are the clusters of an extent as they are to be? In a raw data file, which is the disk, zeros are
 * not: the file may hold other bytes after an old end of the disk. */
static bool has_place(const struct q2_image *top, const struct q2_extent *extent)
{
    uint32_t whole = top->rules.extended ? top->rules.cluster_bits : 0;

    if (q2_image_is_raw_external(top))
        return extent->kind == Q2_EXTENT_DATA && extent->length >> whole > 0;
    return extent->has_host_offset || extent->kind == Q2_EXTENT_COMPRESSED;
}

/* Step over the clusters at guest offset `at`, or allocate some of them. */
static enum q2_status step(struct q2_disk *disk, uint64_t at, struct run run, bool write_zeros,
                           uint64_t *ret_nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t in_table = (1ull << top->l2_bits) - ((at >> bits) & ((1ull << top->l2_bits) - 1));
    uint64_t last = q2_min_u64(run.last, q2_disk_size(disk));
    struct q2_extent extent;
    enum q2_status status =
        q2_mapping_find(&disk->slices, top, at, last - at, &disk->fault, &extent);

    if (status != Q2_OK)
        return status;
    run.start = at;
    run.nb = at + extent.length == last ? q2_shift_up(extent.length, bits) : extent.length >> bits;
    run.nb = run.nb == 0 ? 1 : run.nb; /* subclusters that differ: of one cluster */
    *ret_nb = run.nb;
    if (has_place(top, &extent))
        return Q2_OK;
    run.nb = q2_min_u64(q2_min_u64(run.nb, in_table), Q2_ALLOC_MAX);
    status = allocate_run(disk, &run, write_zeros);
    *ret_nb = run.nb;
    return status;
}

enum q2_status q2_disk_preallocate(struct q2_disk *disk, uint64_t offset, uint64_t length,
                                   bool write_zeros)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t at = offset >> bits << bits, end = offset + length, nb = 0;
    const struct run run = {.first = offset, .last = end};
    enum q2_status status = q2_write_allowed(disk, offset, length);

    if (status == Q2_OK && (top->format == Q2_FORMAT_RAW || top->cipher))
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                         "raw and encrypted images cannot be preallocated", top->source->path);
    if (status != Q2_OK)
        return status;
    if (length == 0)
        return q2_commit(disk);
    status = q2_commit_header(disk);
    for (; at < end && status == Q2_OK; at += nb << bits)
        status = step(disk, at, run, write_zeros, &nb);
    return status == Q2_OK ? q2_commit(disk) : status;
}
