/* Zeros and discard: whole clusters and subclusters change their entries, the rest is written.
 *
 * Implements q2_disk_write_zeroes() and q2_disk_discard(). May call table.c, store.c, space.c,
 * bitmap_record.c, order.c, and write.c for what is not a whole cluster. Invariant: as in write.c.
 */
#include "write.h"

#include "bitmap_write.h"
#include "order.h"
#include "core/base/range.h"
#include "space.h"
#include "store.h"
#include "table.h"

static struct q2_image *top_of(struct q2_disk *disk)
{
    return &disk->layers[0];
}

/* Zeros for whole clusters of one L2 table: the entry keeps its host cluster, if that is ours. */
static enum q2_status zero_cluster(struct q2_disk *disk, uint64_t table, uint64_t guest)
{
    const struct q2_image *top = top_of(disk);
    struct q2_cluster old;
    bool keep;
    uint64_t entry;
    enum q2_status status = q2_table_cluster(disk, table, guest, &old);

    if (status != Q2_OK)
        return status;
    keep = old.has_host_offset && old.kind != Q2_CLUSTER_COMPRESSED &&
           (old.copied || top->rules.external_data);
    entry = keep ? old.host_offset | Q2_ENTRY_COPIED : 0;
    if (!top->rules.extended)
        entry |= Q2_ENTRY_ZERO;
    status = q2_table_set(disk, table, guest, entry,
                          top->rules.extended ? q2_subcluster_bitmap_encode(0, UINT32_MAX) : 0);
    if (status == Q2_OK && !keep)
        q2_table_release(disk, &old);
    return status;
}

/* (qcow2: a discarded cluster reads as zeros in version 3; in version 2 it can only be unallocated,
 * which reads as zeros if nothing is below) */
static enum q2_status discard_cluster(struct q2_disk *disk, uint64_t table, uint64_t guest)
{
    const struct q2_image *top = top_of(disk);
    struct q2_cluster old;
    uint64_t entry = top->rules.version_3 && !top->rules.extended ? Q2_ENTRY_ZERO : 0;
    enum q2_status status = q2_table_cluster(disk, table, guest, &old);

    if (status != Q2_OK)
        return status;
    if (!old.has_host_offset && (!top->has_backing || old.kind == Q2_CLUSTER_ZERO))
        return Q2_OK; /* nothing to give back */
    status = q2_table_set(disk, table, guest, entry,
                          top->rules.extended ? q2_subcluster_bitmap_encode(0, UINT32_MAX) : 0);
    if (status == Q2_OK)
        q2_table_release(disk, &old);
    return status;
}

typedef enum q2_status cluster_change(struct q2_disk *disk, uint64_t table, uint64_t guest);

/* Change the entry of one whole cluster. */
static enum q2_status change_one(struct q2_disk *disk, uint64_t guest, cluster_change *change)
{
    uint64_t table;
    enum q2_status status = q2_table_for_write(disk, guest, &table);

    return status == Q2_OK ? change(disk, table, guest) : status;
}

/* Change the entries of whole clusters [start, end), table by table. Where there is no L2 table,
 * `skip_holes` leaves it so. */
static enum q2_status change_clusters(struct q2_disk *disk, uint64_t start, uint64_t end,
                                      cluster_change *change, bool skip_holes)
{
    const struct q2_image *top = top_of(disk);
    uint64_t cluster_size = 1ull << top->rules.cluster_bits, reach = cluster_size << top->l2_bits;
    uint64_t guest = start, done = 0;

    while (guest < end) {
        uint64_t table = 1;
        enum q2_status status = Q2_OK;

        if (done++ % 64 == 0) /* the caches have room for so many between two looks */
            status = q2_commit_if_crowded(disk);
        if (status == Q2_OK && skip_holes)
            status = q2_table_find(disk, guest, &table);
        if (status == Q2_OK && table != 0)
            status = change_one(disk, guest, change);
        if (status != Q2_OK)
            return status;
        guest = table != 0 ? guest + cluster_size : (guest | (reach - 1)) + 1;
    }
    return Q2_OK;
}

static enum q2_status unlink_cluster(struct q2_disk *disk, uint64_t table, uint64_t guest)
{
    struct q2_cluster old;
    enum q2_status status = q2_table_cluster(disk, table, guest, &old);

    if (status == Q2_OK)
        status = q2_table_set(disk, table, guest, 0, 0);
    if (status == Q2_OK)
        q2_table_release(disk, &old);
    return status;
}

enum q2_status q2_write_unlink(struct q2_disk *disk, uint64_t start, uint64_t end)
{
    return change_clusters(disk, start, end, unlink_cluster, true);
}

enum q2_status q2_write_raw_zeros(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    struct q2_image *top = top_of(disk);
    uint64_t size;

    if (!q2_image_is_raw_external(top))
        return Q2_OK;
    size = q2_min_u64(top->data->size, q2_disk_size(disk));
    if (offset >= size)
        return Q2_OK;
    length = q2_min_u64(length, size - offset);
    return q2_store_zero(disk, top->data, offset, length);
}

/* Whole units of 1 << bits bytes inside a range; the disk's last one counts as whole at the disk's
 * end. */
static void whole_units(struct q2_disk *disk, uint64_t offset, uint64_t length, uint32_t bits,
                        uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t end = offset + length;

    *ret_start = q2_shift_up(offset, bits) << bits;
    *ret_end = end == q2_disk_size(disk) ? q2_shift_up(end, bits) << bits : end >> bits << bits;
}

/* Zeros for whole subclusters [start, end) of one cluster: its entry keeps what it has of the host.
 * (qcow2: "Extended L2 Entries") */
static enum q2_status zero_subclusters(struct q2_disk *disk, uint64_t start, uint64_t end)
{
    uint32_t bits = top_of(disk)->rules.cluster_bits;
    uint32_t mask = q2_subcluster_mask(bits, start, end);
    uint64_t cluster = start >> bits << bits, table, entry, bitmap;
    struct q2_cluster old;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK)
        status = q2_table_for_write(disk, start, &table);
    if (status == Q2_OK)
        status = q2_table_cluster(disk, table, cluster, &old);
    if (status == Q2_OK && old.kind == Q2_CLUSTER_COMPRESSED)
        return q2_write_all(disk, start, NULL, q2_min_u64(end, q2_disk_size(disk)) - start);
    if (status == Q2_OK)
        status = q2_table_get(disk, table, cluster, &entry, &bitmap);
    if (status != Q2_OK)
        return status;
    bitmap = q2_subcluster_bitmap_encode(old.alloc & ~mask, old.zero | mask);
    return q2_table_set(disk, table, cluster, entry, bitmap);
}

/* Zeros for whole clusters. Version 2 has no entry for zeros, but with nothing below an unallocated
 * cluster reads as zeros. */
static enum q2_status zero_clusters(struct q2_disk *disk, uint64_t first, uint64_t last)
{
    if (!top_of(disk)->rules.version_3)
        return q2_write_unlink(disk, first, last);
    return change_clusters(disk, first, last, zero_cluster, false);
}

/* Zeros for whole units [start, end), of which [first, last) are whole clusters; what is before and
 * after them are subclusters of one cluster each. */
static enum q2_status zero_units(struct q2_disk *disk, uint64_t start, uint64_t first,
                                 uint64_t last, uint64_t end)
{
    enum q2_status status = Q2_OK;

    if (start < first)
        status = zero_subclusters(disk, start, first);
    if (status == Q2_OK)
        status = zero_clusters(disk, first, last);
    if (status == Q2_OK && last < end)
        status = zero_subclusters(disk, last, end);
    return status;
}

/* Does every layer say, without data, that guest bytes [from, to) read as zeros? */
static bool reads_as_zeros(struct q2_disk *disk, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct q2_extent extent;

        if (q2_disk_map(disk, from, to - from, &extent) != Q2_OK ||
            (extent.kind != Q2_EXTENT_ZERO && extent.kind != Q2_EXTENT_UNALLOCATED))
            return false;
        from += extent.length;
    }
    return true;
}

/* A unit whose rest reads as zeros becomes zeros as a whole: that takes no bytes of the file. */
static void round_to_units(struct q2_disk *disk, uint64_t *offset, uint64_t *length)
{
    uint32_t bits = q2_write_unit_bits(top_of(disk));
    uint64_t end = *offset + *length, start = *offset >> bits << bits;
    uint64_t last = q2_min_u64(q2_shift_up(end, bits) << bits, q2_disk_size(disk));

    if (start < *offset && !reads_as_zeros(disk, start, *offset))
        start = *offset;
    if (end < last && reads_as_zeros(disk, end, last))
        end = last;
    *offset = start;
    *length = end - start;
}

enum q2_status q2_disk_write_zeroes(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    const struct q2_image *top = top_of(disk);
    uint64_t start, end, first, last;
    enum q2_status status = q2_write_allowed(disk, offset, length);

    if (status != Q2_OK || length == 0)
        return status;
    status = q2_commit_header(disk);
    if (status == Q2_OK)
        status = q2_bitmaps_record(disk, offset, length);
    if (status == Q2_OK &&
        (top->format == Q2_FORMAT_RAW || (!top->rules.version_3 && top->has_backing)))
        return q2_write_all(disk, offset, NULL, length);
    round_to_units(disk, &offset, &length);
    whole_units(disk, offset, length, q2_write_unit_bits(top), &start, &end);
    whole_units(disk, offset, length, top->rules.cluster_bits, &first, &last);
    if (status == Q2_OK && start >= end)
        return q2_write_all(disk, offset, NULL, length);
    if (first >= last) /* no whole cluster: the border of two, or the end */
        first = last = q2_min_u64(first, end);
    if (status == Q2_OK)
        status = q2_write_raw_zeros(disk, start, q2_max_u64(end, last) - start);
    if (status == Q2_OK)
        status = q2_write_all(disk, offset, NULL, start - offset);
    if (status == Q2_OK)
        status = zero_units(disk, start, first, last, end);
    if (status == Q2_OK && end < offset + length)
        status = q2_write_all(disk, end, NULL, offset + length - end);
    return status;
}

enum q2_status q2_disk_discard(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    const struct q2_image *top = top_of(disk);
    uint64_t start, end;
    enum q2_status status = q2_write_allowed(disk, offset, length);

    if (status != Q2_OK)
        return status;
    whole_units(disk, offset, length, top->rules.cluster_bits, &start, &end);
    if (top->format == Q2_FORMAT_RAW) {
        (void)q2_space_punch_data(disk, offset, length);
        return Q2_OK;
    }
    if (start >= end || (!top->rules.version_3 && top->has_backing))
        return Q2_OK;
    status = q2_commit_header(disk);
    if (status == Q2_OK)
        status = q2_bitmaps_record(disk, start, q2_min_u64(end, q2_disk_size(disk)) - start);
    /* Data in a file of its own may go at once: the guest wants none of it any more. */
    if (status == Q2_OK &&
        !(top->rules.external_data &&
          q2_space_punch_data(disk, start, q2_min_u64(end, q2_disk_size(disk)) - start)))
        status = q2_write_raw_zeros(disk, start, end - start);
    if (status != Q2_OK)
        return status;
    /* With nothing below, a hole reads as zeros and has nothing to give back. */
    return change_clusters(disk, start, end, discard_cluster, !top->has_backing);
}
