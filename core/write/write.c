/* Writing guest data.
 *
 * Implements q2_disk_write() and q2_disk_flush(). May call table.c, alloc.c, store.c,
 * slice_write.c, encrypt.c, bitmap_record.c, order.c, and core/read/ for the mapping and for old
 * bytes. Zeros and discard are in write_zeroes.c. What may be written at all is decided in
 * core/open/write_open.c. A request is cut into steps; each writes one run of clusters: in place
 * where they are ours alone, else into new clusters whose old content around the caller's bytes is
 * copied, and only then named by L2 entries in memory. Invariant: an L2 entry is set only after the
 * data below it was accepted by its file.
 */
#include "write.h"

#include "alloc.h"
#include "bitmap_write.h"
#include "order.h"
#include "encrypt.h"
#include "q2_fail.h"
#include "core/read/mapping.h"
#include "core/base/memory.h"
#include "core/read/overlap.h"
#include "core/base/range.h"
#include "store.h"
#include "table.h"
#include "slice_write.h"

static struct q2_image *top_of(struct q2_disk *disk)
{
    return &disk->layers[0];
}

enum q2_status q2_write_possible(struct q2_disk *disk)
{
    if (disk->writer.writable && !disk->writer.latched)
        return Q2_OK;
    return q2_fail(&disk->fault, Q2_ERR_READ_ONLY,
                   disk->writer.latched ? "the disk is read-only after a failed write" : NULL,
                   top_of(disk)->source->path);
}

enum q2_status q2_write_metadata_possible(struct q2_disk *disk)
{
    enum q2_status status = q2_write_possible(disk);

    if (status == Q2_OK && disk->layers[0].format == Q2_FORMAT_RAW)
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "a raw image has no metadata to change",
                         disk->layers[0].source->path);
    return status;
}

enum q2_status q2_write_allowed(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    enum q2_status status = q2_write_possible(disk);

    if (status != Q2_OK)
        return status;
    if (disk->metadata_only)
        return q2_fail(&disk->fault, Q2_ERR_NOT_OPEN, NULL, top_of(disk)->source->path);
    if (!q2_range_fits(offset, length, q2_disk_size(disk)))
        return q2_fail_limit(&disk->fault, Q2_ERR_RANGE, NULL, NULL, "guest offset", offset,
                             q2_disk_size(disk));
    return Q2_OK;
}

/* What one step writes. bytes NULL: zeros. */
struct step {
    uint64_t offset; /* guest bytes */
    uint64_t length;
    const uint8_t *bytes;
};

/* A file may end inside its last cluster: QEMU's end with the last byte that was written. Before
 * the rest of that cluster is written, up to `end`, the file grows, an image to the cluster's end
 * and a data file as far as it is written. To write into a cluster of which the file has nothing is
 * an error of the store. */
static enum q2_status reach_cluster_end(struct q2_disk *disk, struct q2_source *source,
                                        uint64_t end)
{
    const struct q2_image *top = top_of(disk);
    uint32_t bits = top->rules.cluster_bits;

    if (end <= source->size || top->format != Q2_FORMAT_QCOW2 ||
        (end - 1) >> bits << bits >= source->size)
        return Q2_OK;
    return q2_store_grow(disk, source,
                         source == top->source ? q2_shift_up(end, bits) << bits : end);
}

static enum q2_status store_step(struct q2_disk *disk, struct q2_source *source,
                                 uint64_t host_offset, const struct step *step)
{
    enum q2_status status = reach_cluster_end(disk, source, host_offset + step->length);

    if (status != Q2_OK)
        return status;
    if (!step->bytes)
        return q2_store_zero(disk, source, host_offset, step->length);
    return q2_store_data(disk, source, host_offset, step->bytes, (size_t)step->length);
}

/* Put guest bytes [from, from + n) together in the bounce buffer: the step's where it has them, old
 * ones elsewhere, zeros past the disk's end. */
static enum q2_status compose(struct q2_disk *disk, uint64_t from, size_t n,
                              const struct step *step)
{
    uint8_t *bounce = disk->writer.bounce;
    uint64_t size = q2_disk_size(disk), after = step->offset + step->length;
    uint64_t first = step->offset > from ? q2_min_u64(step->offset - from, n) : 0;
    uint64_t last = after > from ? q2_min_u64(after - from, n) : 0;
    uint64_t inside = size > from ? q2_min_u64(size - from, n) : 0;
    enum q2_status status = Q2_OK;

    if (first > 0)
        status = q2_disk_read(disk, from, bounce, (size_t)q2_min_u64(first, inside));
    if (status == Q2_OK && last < inside)
        status = q2_disk_read(disk, from + last, bounce + last, (size_t)(inside - last));
    memset(bounce + inside, 0, n - inside);
    if (last > first && step->bytes)
        memcpy(bounce + first, step->bytes + (from + first - step->offset), last - first);
    else if (last > first)
        memset(bounce + first, 0, last - first);
    return status;
}

/* Write guest bytes [from, to) to where they will be stored, through the bounce buffer. */
static enum q2_status fill_composed(struct q2_disk *disk, uint64_t host_offset, uint64_t from,
                                    uint64_t to, const struct step *step)
{
    const struct q2_image *top = top_of(disk);

    while (from < to) {
        size_t n = (size_t)q2_min_u64(to - from, Q2_BOUNCE_SIZE);
        enum q2_status status = compose(disk, from, n, step);

        if (status == Q2_OK && top->cipher)
            q2_sectors_encrypt(top, from, host_offset, disk->writer.bounce, n);
        if (status == Q2_OK)
            status = reach_cluster_end(disk, top->data, host_offset + n);
        if (status == Q2_OK)
            status = q2_store_data(disk, top->data, host_offset, disk->writer.bounce, n);
        if (status != Q2_OK)
            return status;
        host_offset += n;
        from += n;
    }
    return Q2_OK;
}

/* Encrypted sectors are written whole: with what is around the step in its first and last one. */
static enum q2_status write_sectors(struct q2_disk *disk, const struct q2_extent *extent,
                                    const struct step *step)
{
    uint64_t from = step->offset & ~(Q2_CIPHER_SECTOR_SIZE - 1ull);
    uint64_t to = q2_shift_up(step->offset + step->length, 9) << 9;

    return fill_composed(disk, extent->host_offset - (step->offset - from), from, to, step);
}

/* Clusters that are ours alone: no metadata changes. */
static enum q2_status write_in_place(struct q2_disk *disk, const struct q2_extent *extent,
                                     const struct step *step)
{
    struct q2_image *top = top_of(disk);

    if (top->data == top->source && top->format == Q2_FORMAT_QCOW2 &&
        q2_overlaps_table(top, extent->host_offset, step->length))
        return q2_store_latch(disk, Q2_ERR_BAD_L2, "guest data overlaps metadata");
    if (top->cipher)
        return write_sectors(disk, extent, step);
    return store_step(disk, top->data, extent->host_offset, step);
}

/* Fill new clusters for guest bytes [start, end): the step's bytes, and the old ones around them.
 * Each sector is written once and whole, so that a power cut leaves none half old and half new; and
 * what fits the bounce buffer is one request. */
static enum q2_status fill(struct q2_disk *disk, uint64_t host_offset, uint64_t start, uint64_t end,
                           const struct step *step)
{
    uint64_t after = step->offset + step->length;
    struct step middle = *step;
    enum q2_status status;

    if (top_of(disk)->cipher)
        return fill_composed(disk, host_offset, start, end, step);
    if (step->offset == start && after == end)
        return store_step(disk, top_of(disk)->data, host_offset, step);
    if (end - start <= Q2_BOUNCE_SIZE)
        return fill_composed(disk, host_offset, start, end, step);
    /* Whole sectors straight from the caller, the rest with what is around it. */
    middle.offset = q2_min_u64((step->offset + 511) & ~511ull, end);
    after = after == end ? end : after & ~511ull;
    middle.length = after > middle.offset ? after - middle.offset : 0;
    if (step->bytes)
        middle.bytes = step->bytes + (middle.offset - step->offset);
    after = middle.offset + middle.length;
    status = fill_composed(disk, host_offset, start, middle.offset, step);
    if (status == Q2_OK && middle.length > 0)
        status =
            store_step(disk, top_of(disk)->data, host_offset + (middle.offset - start), &middle);
    if (status == Q2_OK)
        status = fill_composed(disk, host_offset + (after - start), after, end, step);
    return status;
}

/* New host clusters for guest clusters in a row, and what of them is filled. */
struct fresh {
    uint64_t table;       /* the L2 table that will name them */
    uint64_t cluster, nb; /* guest offset of the first; how many */
    uint64_t host_offset; /* of the first */
    uint64_t start, end;  /* guest bytes that get content: whole clusters, or whole subclusters */
};

/* The L2 bitmap of a new cluster at a guest offset: what is filled is allocated, the rest is what
 * it was. */
static uint64_t fresh_bitmap(const struct q2_image *top, const struct fresh *fresh, uint64_t guest,
                             const struct q2_cluster *old)
{
    uint64_t after = guest + (1ull << top->rules.cluster_bits);
    uint32_t written;

    if (!top->rules.extended)
        return 0;
    written = q2_subcluster_mask(top->rules.cluster_bits, q2_max_u64(fresh->start, guest),
                                 q2_min_u64(fresh->end, after));
    return q2_subcluster_bitmap_encode(written, old->zero);
}

/* Name one new cluster by its L2 entry, and let the old one go. */
static enum q2_status link_cluster(struct q2_disk *disk, const struct fresh *fresh, uint64_t guest,
                                   uint64_t entry)
{
    struct q2_cluster old;
    enum q2_status status = q2_table_cluster(disk, fresh->table, guest, &old);

    if (status == Q2_OK)
        status = q2_table_set(disk, fresh->table, guest, entry,
                              fresh_bitmap(top_of(disk), fresh, guest, &old));
    if (status == Q2_OK)
        q2_table_release(disk, &old);
    return status;
}

/* Name new clusters by their L2 entries.
 * ret_nb_linked is set in any case: on error the clusters after those are still named by nobody. */
static enum q2_status link_clusters(struct q2_disk *disk, const struct fresh *fresh,
                                    uint64_t *ret_nb_linked)
{
    uint32_t bits = top_of(disk)->rules.cluster_bits;
    uint64_t i = 0;
    enum q2_status status = Q2_OK;

    while (i < fresh->nb && status == Q2_OK) {
        uint64_t guest = fresh->cluster + (i << bits), nb;
        uint64_t entry = (fresh->host_offset + (i << bits)) | Q2_ENTRY_COPIED;

        status = q2_table_fill(disk, fresh->table, guest, entry, fresh->nb - i, &nb);
        if (status == Q2_OK && nb == 0) { /* nothing is there only in the common case */
            status = link_cluster(disk, fresh, guest, entry);
            nb = status == Q2_OK ? 1 : 0;
        }
        i += nb;
    }
    *ret_nb_linked = i;
    return status;
}

enum q2_status q2_write_room(struct q2_disk *disk, uint64_t start, uint64_t nb_wanted,
                             uint64_t *ret_offset, uint64_t *ret_nb)
{
    struct q2_image *top = top_of(disk);
    uint64_t end = start + (nb_wanted << top->rules.cluster_bits);
    enum q2_status status;

    if (!top->rules.external_data)
        return q2_clusters_alloc(disk, nb_wanted, ret_offset, ret_nb);
    /* A raw data file has the disk's size and keeps it; others hold whole clusters. */
    status = q2_store_grow(disk, top->data, q2_min_u64(end, q2_disk_size(disk)));
    if (status == Q2_OK && top->data->ops->grow && !q2_image_is_raw_external(top))
        status = q2_store_grow(disk, top->data, end);
    if (status == Q2_ERR_NO_SPACE && top->data->size >= q2_min_u64(end, q2_disk_size(disk)))
        status = Q2_OK; /* what the last cluster has past the disk's end is not needed */
    *ret_offset = start;
    *ret_nb = nb_wanted;
    return status;
}

uint64_t q2_write_data_end(struct q2_disk *disk, uint64_t end)
{
    const struct q2_image *top = top_of(disk);

    if (!top->rules.external_data)
        return end;
    if (q2_image_is_raw_external(top))
        end = q2_min_u64(end, q2_disk_size(disk));
    return q2_min_u64(end, top->data->size);
}

/* Write a step into new clusters; its length is cut to what was done. Clusters that held nothing so
 * far get the subclusters that the step touches; others are copied whole. */
static enum q2_status write_new(struct q2_disk *disk, uint64_t table, const struct q2_cluster *old,
                                struct step *step)
{
    const struct q2_image *top = top_of(disk);
    uint32_t bits = top->rules.cluster_bits;
    bool held = old->has_host_offset || old->kind == Q2_CLUSTER_COMPRESSED;
    uint32_t whole = held ? bits : q2_write_unit_bits(top);
    struct fresh fresh = {.table = table, .cluster = step->offset >> bits << bits};
    uint64_t nb = q2_shift_up(step->offset + step->length - fresh.cluster, bits), nb_linked = 0;
    enum q2_status status = q2_write_room(disk, fresh.cluster, q2_min_u64(nb, Q2_ALLOC_MAX),
                                          &fresh.host_offset, &fresh.nb);

    if (status != Q2_OK)
        return status;
    fresh.end = fresh.cluster + (fresh.nb << bits);
    step->length = q2_min_u64(step->length, fresh.end - step->offset);
    fresh.start = step->offset >> whole << whole;
    fresh.end = q2_shift_up(step->offset + step->length, whole) << whole;
    status = fill(disk, fresh.host_offset + (fresh.start - fresh.cluster), fresh.start,
                  q2_write_data_end(disk, fresh.end), step);
    if (status == Q2_OK)
        status = link_clusters(disk, &fresh, &nb_linked);
    if (status != Q2_OK && !top->rules.external_data) /* the rest is named by nobody */
        q2_clusters_free_later(disk, fresh.host_offset + (nb_linked << bits),
                               (fresh.nb - nb_linked) << bits);
    return status;
}

/* Write a step inside one cluster whose host cluster is ours alone but reads as something else: an
 * allocated zero cluster, or subclusters that are not allocated yet. */
static enum q2_status write_reuse(struct q2_disk *disk, uint64_t table,
                                  const struct q2_cluster *old, struct step *step)
{
    const struct q2_image *top = top_of(disk);
    uint32_t bits = top->rules.cluster_bits, whole = q2_write_unit_bits(top);
    uint64_t cluster = step->offset >> bits << bits;
    uint64_t start = step->offset >> whole << whole;
    uint64_t end = q2_shift_up(step->offset + step->length, whole) << whole;
    uint64_t bitmap = 0;
    enum q2_status status;

    end = q2_write_data_end(disk, end);
    status = fill(disk, old->host_offset + (start - cluster), start, end, step);
    if (status != Q2_OK)
        return status;
    if (top->rules.extended) {
        uint32_t written = q2_subcluster_mask(bits, start, end);
        bitmap = q2_subcluster_bitmap_encode(old->alloc | written, old->zero);
    }
    return q2_table_set(disk, table, cluster, old->host_offset | Q2_ENTRY_COPIED, bitmap);
}

/* Write into clusters that must be allocated or relinked: one, if it has a host cluster. */
static enum q2_status write_mapped(struct q2_disk *disk, struct step *step)
{
    uint32_t bits = top_of(disk)->rules.cluster_bits;
    struct q2_cluster old;
    uint64_t table;
    enum q2_status status = q2_table_for_write(disk, step->offset, &table);

    if (status == Q2_OK)
        status = q2_table_cluster(disk, table, step->offset >> bits << bits, &old);
    if (status != Q2_OK)
        return status;
    if (old.has_host_offset && old.copied && old.kind != Q2_CLUSTER_COMPRESSED)
        return write_reuse(disk, table, &old, step);
    return write_new(disk, table, &old, step);
}

/* Where a step begins, as the top layer maps it. A run whose first cluster is ours alone, but not
 * all of it, looks like a shared one: that cluster is looked at by itself. */
static enum q2_status map_step(struct q2_disk *disk, const struct step *step,
                               struct q2_extent *ret_extent)
{
    const struct q2_image *top = top_of(disk);
    uint64_t left_in_cluster = (1ull << top->rules.cluster_bits) -
                               (step->offset & ((1ull << top->rules.cluster_bits) - 1));
    enum q2_status status =
        q2_mapping_find(&disk->slices, top, step->offset, step->length, &disk->fault, ret_extent);

    if (status == Q2_OK && ret_extent->kind == Q2_EXTENT_DATA && !ret_extent->copied &&
        ret_extent->length > left_in_cluster)
        status = q2_mapping_find(&disk->slices, top, step->offset, left_in_cluster, &disk->fault,
                                 ret_extent);
    return status;
}

/* One step: the longest run at its start that can be written one way. */
static enum q2_status write_step(struct q2_disk *disk, struct step *step)
{
    const struct q2_image *top = top_of(disk);
    uint64_t cluster_size = 1ull << top->rules.cluster_bits;
    uint64_t reach = ((step->offset >> top->rules.cluster_bits) + 1) << top->rules.cluster_bits;
    struct q2_extent extent;
    enum q2_status status = map_step(disk, step, &extent);

    if (status != Q2_OK)
        return status;
    step->length = q2_min_u64(step->length, extent.length);
    if (extent.kind == Q2_EXTENT_DATA && extent.copied)
        return write_in_place(disk, &extent, step);
    /* A run of clusters that some share and some do not, compressed ones, and those whose host
     * cluster gets content: one at a time. One L2 table at a time in any case. */
    if (extent.kind == Q2_EXTENT_DATA || extent.has_host_offset)
        step->length = q2_min_u64(step->length, reach - step->offset);
    reach = cluster_size << top->l2_bits;
    step->length = q2_min_u64(step->length, reach - (step->offset & (reach - 1)));
    status = q2_commit_if_crowded(disk);
    return status == Q2_OK ? write_mapped(disk, step) : status;
}

enum q2_status q2_write_all(struct q2_disk *disk, uint64_t offset, const uint8_t *bytes,
                            uint64_t length)
{
    while (length > 0) {
        struct step step = {.offset = offset, .length = length, .bytes = bytes};
        enum q2_status status = write_step(disk, &step);

        if (status != Q2_OK)
            return status;
        offset += step.length;
        length -= step.length;
        bytes = bytes ? bytes + step.length : NULL;
    }
    return Q2_OK;
}

enum q2_status q2_disk_write(struct q2_disk *disk, uint64_t offset, const void *buffer,
                             size_t length)
{
    enum q2_status status = q2_write_allowed(disk, offset, length);

    if (status == Q2_OK && length > 0)
        status = q2_commit_header(disk);
    if (status == Q2_OK)
        status = q2_bitmaps_record(disk, offset, length);
    if (status == Q2_OK)
        status = q2_write_all(disk, offset, buffer, length);
    return status;
}

enum q2_status q2_disk_flush(struct q2_disk *disk)
{
    if (!disk->writer.writable)
        return Q2_OK;
    if (disk->writer.latched)
        return q2_fail(&disk->fault, Q2_ERR_READ_ONLY, "the disk is read-only after a failed write",
                       top_of(disk)->source->path);
    return q2_commit(disk);
}

bool q2_disk_is_writable(const struct q2_disk *disk)
{
    return disk->writer.writable && !disk->writer.latched;
}

uint64_t q2_disk_nb_changes(const struct q2_disk *disk)
{
    return disk->slices.nb_changes;
}

uint32_t q2_disk_nb_bitmaps_lost(const struct q2_disk *disk)
{
    return disk->writer.nb_bitmaps_lost;
}

bool q2_disk_is_dirty(const struct q2_disk *disk)
{
    return q2_disk_is_writable(disk) &&
           (disk->writer.nb_frees > 0 || q2_slice_any_dirty(&disk->slices));
}

uint64_t q2_disk_room(const struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t end;

    if (!q2_disk_is_writable(disk) || top->format == Q2_FORMAT_RAW)
        return 0; /* nobody has looked for the end */
    end = disk->writer.end << top->rules.cluster_bits;
    return end < top->source->size ? top->source->size - end : 0;
}
