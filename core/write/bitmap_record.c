/* Setting bits in persistent dirty bitmaps.  (qcow2: "Bitmap table", "Bitmap Data")
 *
 * May call bitmap_write.c, alloc.c, order.c, slice_write.c and store.c. Invariant: a bitmap that
 * changes here is marked as in use in the file, so its bits may wait and be torn; only clusters
 * that nothing else refers to are written.
 */
#include "bitmap_write.h"

#include "alloc.h"
#include "order.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/format/bitmap_entry.h"
#include "core/read/bitmap.h"
#include "q2_fail.h"
#include "slice_write.h"
#include "store.h"

static enum q2_status put_entry(struct q2_disk *disk, uint64_t table_offset, uint64_t index,
                                uint64_t entry)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t at = table_offset + index * 8;
    be64 word = q2_be64_make(entry);
    enum q2_status status = Q2_ERR_BAD_BITMAP;

    if (q2_bitmap_owns(disk, at, sizeof(word)))
        status = q2_slice_put(&disk->slices, top->source, at, &word, sizeof(word), Q2_DIRTY_BITMAP);
    return status == Q2_OK ? Q2_OK
                           : q2_fail_at(&disk->fault, status, "a bitmap's table cannot be changed",
                                        top->source->path, at);
}

/* A new cluster of bits, all of them clear, that the table names. */
static enum q2_status make_cluster(struct q2_disk *disk, uint64_t table_offset, uint64_t index,
                                   uint64_t *ret_cluster)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t size = 1ull << top->rules.cluster_bits, nb;
    enum q2_status status = q2_clusters_alloc(disk, 1, ret_cluster, &nb);

    if (status != Q2_OK)
        return status;
    status = q2_store_zero(disk, top->source, *ret_cluster, size);
    if (status == Q2_OK)
        status = put_entry(disk, table_offset, index, *ret_cluster);
    if (status != Q2_OK)
        q2_clusters_free_later(disk, *ret_cluster, size); /* named by nobody */
    return status;
}

/* The byte's bits that are in [first, end), which count from the start of its cluster. */
static uint8_t mask_of(uint64_t byte, uint64_t first, uint64_t end)
{
    uint32_t from = first > byte * 8 ? (uint32_t)(first - byte * 8) : 0;
    uint32_t to = (uint32_t)q2_min_u64(8, end - byte * 8);

    return (uint8_t)((0xffu << from) & (0xffu >> (8 - to)));
}

static bool all_set(const uint8_t *bytes, uint64_t first, uint64_t end)
{
    for (uint64_t byte = first / 8; byte * 8 < end; byte++) {
        uint8_t mask = mask_of(byte, first, end);
        if ((bytes[byte - first / 8] & mask) != mask)
            return false;
    }
    return true;
}

/* Set or clear bits [first, end) of one sector; they count from the cluster's start. */
static enum q2_status put_sector(struct q2_disk *disk, uint64_t cluster, uint64_t first,
                                 uint64_t end, bool value)
{
    struct q2_source *source = disk->layers[0].source;
    uint64_t at = cluster + first / 8;
    size_t length = (size_t)((end + 7) / 8 - first / 8), held_length;
    const uint8_t *held;
    uint8_t *bytes;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK)
        status = q2_slice_get(&disk->slices, source, at, &held, &held_length);
    if (status == Q2_OK && value && length <= held_length && all_set(held, first, end))
        return Q2_OK;
    if (status == Q2_OK)
        status = q2_slice_edit(&disk->slices, source, at, length, Q2_DIRTY_BITMAP, &bytes);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "a bitmap cannot be changed", source->path, at);
    for (size_t i = 0; i < length; i++) {
        uint8_t mask = mask_of(first / 8 + i, first, end);
        bytes[i] = value ? bytes[i] | mask : (uint8_t)(bytes[i] & ~mask);
    }
    return Q2_OK;
}

/* Set or clear bits [first, end) of one cluster. */
static enum q2_status put_bits(struct q2_disk *disk, uint64_t cluster, uint64_t first, uint64_t end,
                               bool value)
{
    enum q2_status status = Q2_OK;

    if (!q2_bitmap_owns(disk, cluster, 1))
        return q2_fail_at(&disk->fault, Q2_ERR_BAD_BITMAP,
                          "a bitmap's cluster is something else as well",
                          disk->layers[0].source->path, cluster);
    while (first < end && status == Q2_OK) {
        uint64_t last = q2_min_u64(end, (first / (512 * 8) + 1) * (512 * 8));

        status = put_sector(disk, cluster, first, last, value);
        first = last;
    }
    return status;
}

/* Set bits [first, end) of the cluster that the table's entry `index` names. */
static enum q2_status set_in_cluster(struct q2_disk *disk, uint64_t table_offset, uint64_t index,
                                     uint64_t first, uint64_t end)
{
    uint64_t cluster = 0;
    bool ones = false;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (status == Q2_OK)
        status = q2_bitmap_entry(disk, table_offset, index, &cluster, &ones);
    if (status != Q2_OK || ones)
        return status;
    if (cluster == 0)
        status = make_cluster(disk, table_offset, index, &cluster);
    return status == Q2_OK ? put_bits(disk, cluster, first, end, true) : status;
}

/* What is known to be set grows where it is touched, else it starts anew. */
static void learn(struct q2_recorded_bitmap *bitmap, uint64_t first, uint64_t end)
{
    if (first <= bitmap->known_end && end >= bitmap->known_first) {
        first = q2_min_u64(first, bitmap->known_first);
        end = q2_max_u64(end, bitmap->known_end);
    }
    bitmap->known_first = first;
    bitmap->known_end = end;
}

enum q2_status q2_bitmap_set(struct q2_disk *disk, struct q2_recorded_bitmap *bitmap,
                             uint64_t offset, uint64_t length)
{
    uint32_t bits = disk->layers[0].rules.cluster_bits + 3; /* log2 of bits in a cluster */
    uint64_t end = q2_min_u64(offset + length, bitmap->size);
    uint64_t bit = offset >> bitmap->granularity_bits, first = bit;
    enum q2_status status = Q2_OK;

    if (offset >= end)
        return Q2_OK;
    end = q2_shift_up(end, bitmap->granularity_bits);
    if (bit >= bitmap->known_first && end <= bitmap->known_end)
        return Q2_OK;
    while (bit < end && status == Q2_OK) {
        uint64_t start = bit >> bits << bits, last = q2_min_u64(end, start + (1ull << bits));

        status = set_in_cluster(disk, bitmap->table_offset, bit >> bits, bit - start, last - start);
        bit = last;
    }
    if (status == Q2_OK)
        learn(bitmap, first, end);
    return status;
}

enum q2_status q2_bitmaps_record(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    struct q2_writer *writer = &disk->writer;

    for (uint32_t i = 0; i < writer->nb_recorded;) {
        struct q2_recorded_bitmap *bitmap = &writer->recorded[i];
        struct q2_fault fault = disk->fault;
        enum q2_status status = Q2_OK;

        if (bitmap->flags & Q2_BITMAP_AUTO)
            status = q2_bitmap_set(disk, bitmap, offset, length);
        if (writer->latched)
            return status;
        if (status == Q2_OK) {
            i++;
            continue;
        }
        disk->fault = fault;
        q2_bitmap_lose(disk, bitmap);
    }
    return Q2_OK;
}

enum q2_status q2_bitmap_clear_behind(struct q2_disk *disk, uint64_t table_offset,
                                      uint32_t nb_entries, uint64_t nb_bits)
{
    uint32_t bits = disk->layers[0].rules.cluster_bits + 3; /* log2 of bits in a cluster */
    uint64_t index = nb_bits >> bits, first = nb_bits - (index << bits), cluster = 0;
    bool ones = false;
    enum q2_status status = q2_commit_if_crowded(disk);

    if (index >= nb_entries)
        return status;
    if (status == Q2_OK)
        status = q2_bitmap_entry(disk, table_offset, index, &cluster, &ones);
    if (status != Q2_OK || (cluster == 0 && !ones))
        return status;
    if (cluster == 0) {
        status = make_cluster(disk, table_offset, index, &cluster);
        return status == Q2_OK ? put_bits(disk, cluster, 0, first, true) : status;
    }
    return put_bits(disk, cluster, first, 1ull << bits, false);
}

enum q2_status q2_bitmap_release(struct q2_disk *disk, uint64_t table_offset, uint64_t first,
                                 uint64_t end, bool clear)
{
    uint64_t size = 1ull << disk->layers[0].rules.cluster_bits;

    for (uint64_t index = first; index < end; index++) {
        uint64_t cluster = 0;
        bool ones = false;
        enum q2_status status = q2_commit_if_crowded(disk);

        if (status == Q2_OK)
            status = q2_bitmap_entry(disk, table_offset, index, &cluster, &ones);
        if (status == Q2_OK && clear && (cluster != 0 || ones))
            status = put_entry(disk, table_offset, index, 0);
        if (status != Q2_OK)
            return status;
        if (cluster != 0)
            q2_clusters_free_later(disk, cluster, size); /* O3 */
    }
    return Q2_OK;
}
