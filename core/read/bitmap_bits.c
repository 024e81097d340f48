/* The bits of a persistent dirty bitmap.
 *
 * May call bitmap.c and slice_cache.c. Invariant: no more table entries are looked at than the
 * disk's size needs, and none outside the table.
 */
#include "q2_bitmap.h"

#include "bitmap.h"
#include "core/base/range.h"
#include "core/base/text.h"
#include "core/format/bitmap_entry.h"
#include "disk.h"
#include "q2_fail.h"

bool q2_disk_has_bitmaps(const struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];

    return top->format == Q2_FORMAT_QCOW2 && top->nb_bitmaps > 0 &&
           (top->header.autoclear_features & Q2_AUTOCLEAR_BITMAPS) != 0;
}

enum q2_status q2_bitmap_locate(struct q2_disk *disk, const char *name, uint64_t *ret_start,
                                uint64_t *ret_end)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_bitmap_walk walk = {0};
    uint32_t nb = q2_disk_has_bitmaps(disk) ? top->nb_bitmaps : 0;
    enum q2_status status = nb > 0 ? q2_bitmap_directory_check(top, &disk->fault) : Q2_OK;

    for (uint32_t i = 0; i < nb && status == Q2_OK; i++) {
        *ret_start = walk.offset;
        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        *ret_end = walk.offset;
        if (status == Q2_OK && q2_text_equal(disk->bitmap.name, name))
            return Q2_OK;
    }
    if (status == Q2_OK)
        status = q2_fail(&disk->fault, Q2_ERR_ARGUMENT, "no valid bitmap has this name",
                         top->source->path);
    return status;
}

enum q2_status q2_disk_bitmap_find(struct q2_disk *disk, const char *name,
                                   struct q2_bitmap *ret_bitmap)
{
    uint64_t start, end;
    enum q2_status status = q2_bitmap_locate(disk, name, &start, &end);

    if (status == Q2_OK)
        *ret_bitmap = disk->bitmap;
    return status;
}

enum q2_status q2_bitmap_entry(struct q2_disk *disk, uint64_t table_offset, uint64_t index,
                               uint64_t *ret_cluster, bool *ret_ones)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t at = table_offset + index * 8, entry;
    be64 word;
    enum q2_status status = q2_slice_read(&disk->slices, top->source, at, &word, sizeof(word));

    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, "a bitmap's table cannot be read",
                          top->source->path, at);
    entry = q2_be64_get(word);
    *ret_cluster = entry & Q2_BITMAP_TABLE_OFFSET;
    *ret_ones = *ret_cluster == 0 && (entry & Q2_BITMAP_TABLE_ONES);
    if (!(entry & Q2_BITMAP_TABLE_RESERVED) &&
        q2_is_aligned(*ret_cluster, top->rules.cluster_bits) &&
        (*ret_cluster == 0 || !(entry & Q2_BITMAP_TABLE_ONES)))
        return Q2_OK;
    return q2_fail_at(&disk->fault, Q2_ERR_BAD_BITMAP,
                      "a bitmap's table entry breaks the specification", top->source->path, at);
}

/* A look for the next bit of a value. */
struct search {
    struct q2_disk *disk;
    uint64_t table_offset;
    uint64_t nb_bits; /* of the bitmap */
    bool value;
};

static bool bit_at(const uint8_t *bytes, uint64_t bit)
{
    return bytes[bit / 8] >> (bit % 8) & 1;
}

/* Inside one cluster of bits: *bit, which counts from the cluster's start, goes on to the first one
 * of the value, or to end. */
static enum q2_status search_cluster(const struct search *search, uint64_t cluster, uint64_t *bit,
                                     uint64_t end)
{
    struct q2_disk *disk = search->disk;
    uint8_t other = search->value ? 0x00 : 0xff;

    while (*bit < end) {
        const uint8_t *bytes;
        size_t length;
        uint64_t base = *bit & ~7ull, last;
        enum q2_status status = q2_slice_get(&disk->slices, disk->layers[0].source,
                                             cluster + base / 8, &bytes, &length);
        if (status != Q2_OK)
            return q2_fail_at(&disk->fault, status, "a bitmap cannot be read",
                              disk->layers[0].source->path, cluster + base / 8);
        last = q2_min_u64(end, base + length * 8ull);
        while (*bit < last) {
            if (bytes[(*bit - base) / 8] == other)
                *bit = (*bit | 7) + 1;
            else if (bit_at(bytes, *bit - base) == search->value)
                return Q2_OK;
            else
                (*bit)++;
        }
    }
    *bit = end;
    return Q2_OK;
}

/* The first bit from `bit` on that has the value; nb_bits: none has. */
static enum q2_status search_bits(const struct search *search, uint64_t bit, uint64_t *ret_bit)
{
    uint32_t bits = search->disk->layers[0].rules.cluster_bits + 3; /* log2 of bits in a cluster */

    while (bit < search->nb_bits) {
        uint64_t index = bit >> bits, start = index << bits, cluster;
        uint64_t end = q2_min_u64(1ull << bits, search->nb_bits - start);
        bool ones;
        enum q2_status status =
            q2_bitmap_entry(search->disk, search->table_offset, index, &cluster, &ones);

        if (status != Q2_OK)
            return status;
        bit -= start;
        if (cluster != 0)
            status = search_cluster(search, cluster, &bit, end);
        else if (ones != search->value)
            bit = end;
        if (status != Q2_OK)
            return status;
        if (bit < end) {
            *ret_bit = start + bit;
            return Q2_OK;
        }
        bit += start;
    }
    *ret_bit = search->nb_bits;
    return Q2_OK;
}

enum q2_status q2_disk_bitmap_dirty(struct q2_disk *disk, const struct q2_bitmap *bitmap,
                                    uint64_t from, uint64_t *ret_offset, uint64_t *ret_length)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t granularity = bitmap->granularity_bits;
    struct search search = {.disk = disk, .table_offset = bitmap->table_offset, .value = true};
    uint64_t first, after;
    enum q2_status status;

    if (granularity < Q2_MIN_GRANULARITY_BITS || granularity > Q2_MAX_GRANULARITY_BITS)
        return q2_fail(&disk->fault, Q2_ERR_BAD_BITMAP, "a bitmap's granularity is out of range",
                       top->source->path);
    search.nb_bits = q2_shift_up(top->virtual_size, granularity);
    if (q2_shift_up(search.nb_bits, top->rules.cluster_bits + 3) > bitmap->table_size)
        return q2_fail(&disk->fault, Q2_ERR_BAD_BITMAP, "a bitmap is too small for the disk",
                       top->source->path);
    /* A disk that ends inside a granule has no other one after its end. */
    first = from < top->virtual_size ? from >> granularity : search.nb_bits;
    status = search_bits(&search, first, &first);
    if (status != Q2_OK)
        return status;
    search.value = false;
    status = search_bits(&search, first, &after);
    if (status != Q2_OK)
        return status;
    *ret_offset = q2_min_u64(first << granularity, top->virtual_size);
    *ret_length = q2_min_u64(after << granularity, top->virtual_size) - *ret_offset;
    return Q2_OK;
}
