/* Persistent dirty bitmaps while the image is written: the mark "in use".
 *
 * May call core/read/bitmap.c, order.c, store.c, and write.c for whether the image may be written.
 * Invariant: only the flags of an entry change here, by a write of four bytes inside one sector; a
 * bitmap loses its mark only when all its bits are durable.
 */
#include "bitmap_write.h"

#include "q2_bitmap.h"
#include "q2_fail.h"
#include "order.h"
#include "core/base/range.h"
#include "core/format/bitmap_entry.h"
#include "core/read/bitmap.h"
#include "core/read/refcount.h"
#include "store.h"
#include "write.h"

/* Entries start at multiples of 8, so their flags never cross a sector. */
static enum q2_status write_flags(struct q2_disk *disk, uint64_t entry_at, uint32_t flags)
{
    be32 field = q2_be32_make(flags);

    return q2_store_write(disk, disk->layers[0].source,
                          entry_at + offsetof(struct q2_bitmap_disk, flags), &field, sizeof(field));
}

bool q2_bitmap_owns(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t end = q2_shift_up(offset + length, bits), refcount;

    for (uint64_t index = offset >> bits; index < end; index++) {
        if (q2_refcount_get(&disk->slices, top, index, &refcount) != Q2_OK || refcount != 1)
            return false;
    }
    return true;
}

/* Can the whole directory be walked, and is it nothing else? The fault of a broken one is nobody's.
 */
static bool can_walk(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_bitmap_walk walk = {0};
    struct q2_fault fault = disk->fault;
    enum q2_status status = q2_bitmap_directory_check(top, &disk->fault);
    bool owned = status == Q2_OK && q2_bitmap_owns(disk, top->bitmaps_offset, top->bitmaps_length);

    for (uint32_t i = 0; i < top->nb_bitmaps && status == Q2_OK; i++)
        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
    disk->fault = fault;
    return status == Q2_OK && owned;
}

/* Can bits be recorded in the bitmap at hand? */
static bool can_record(const struct q2_disk *disk)
{
    const struct q2_bitmap *bitmap = &disk->bitmap;
    const struct q2_image *top = &disk->layers[0];
    uint64_t nb_bits;

    if (disk->writer.nb_recorded == Q2_MAX_RECORDED ||
        bitmap->granularity_bits < Q2_MIN_GRANULARITY_BITS ||
        bitmap->granularity_bits > Q2_MAX_GRANULARITY_BITS ||
        !q2_is_aligned(bitmap->table_offset, top->rules.cluster_bits))
        return false;
    nb_bits = q2_shift_up(top->virtual_size, bitmap->granularity_bits);
    return q2_shift_up(nb_bits, top->rules.cluster_bits + 3) <= bitmap->table_size;
}

static void add_recorded(struct q2_disk *disk, uint64_t entry_at)
{
    const struct q2_bitmap *bitmap = &disk->bitmap;

    disk->writer.recorded[disk->writer.nb_recorded++] = (struct q2_recorded_bitmap){
        .entry_at = entry_at,
        .table_offset = bitmap->table_offset,
        .size = disk->layers[0].virtual_size,
        .flags = bitmap->flags,
        .granularity_bits = bitmap->granularity_bits,
    };
}

static enum q2_status mark_failed(struct q2_disk *disk, enum q2_status status)
{
    return q2_store_latch(disk, status, "the dirty bitmaps cannot be marked as in use");
}

enum q2_status q2_bitmaps_distrust(struct q2_disk *disk, enum q2_bitmaps_changed changed,
                                   bool *ret_kept)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_writer *writer = &disk->writer;
    struct q2_bitmap_walk walk = {0};
    uint32_t nb_marked = 0;
    enum q2_status status = Q2_OK;

    *ret_kept = q2_disk_has_bitmaps(disk) && can_walk(disk);
    if (q2_disk_has_bitmaps(disk) && !*ret_kept)
        writer->nb_bitmaps_lost += top->nb_bitmaps;
    for (uint32_t i = 0; *ret_kept && i < top->nb_bitmaps && status == Q2_OK; i++) {
        uint64_t entry_at = top->bitmaps_offset + walk.offset;

        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        if (status != Q2_OK || (disk->bitmap.flags & Q2_BITMAP_IN_USE) ||
            (changed == Q2_BITMAPS_RECORDING && !(disk->bitmap.flags & Q2_BITMAP_AUTO)))
            continue;
        status = write_flags(disk, entry_at, disk->bitmap.flags | Q2_BITMAP_IN_USE);
        nb_marked++;
        if (writer->keep_bitmaps && can_record(disk))
            add_recorded(disk, entry_at);
        else
            writer->nb_bitmaps_lost++;
    }
    if (status == Q2_OK && nb_marked > 0)
        status = q2_store_flush(disk, top->source); /* O7 */
    return status == Q2_OK ? Q2_OK : mark_failed(disk, status);
}

enum q2_status q2_bitmap_take(struct q2_disk *disk, uint64_t entry_at)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status;

    if (disk->bitmap.flags & Q2_BITMAP_IN_USE)
        return q2_fail(&disk->fault, Q2_ERR_BUSY,
                       "the bitmap is inconsistent, because a program did not store it; remove it "
                       "and make a full backup",
                       top->source->path);
    if (disk->writer.nb_recorded == Q2_MAX_RECORDED)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "too many bitmaps are changed at once",
                             top->source->path, "bitmaps", Q2_MAX_RECORDED + 1, Q2_MAX_RECORDED);
    if (!can_record(disk) || !q2_bitmap_owns(disk, top->bitmaps_offset, top->bitmaps_length))
        return q2_fail_at(&disk->fault, Q2_ERR_BAD_BITMAP, "the bitmap is not fit for this disk",
                          top->source->path, entry_at);
    status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    status = write_flags(disk, entry_at, disk->bitmap.flags | Q2_BITMAP_IN_USE);
    if (status == Q2_OK)
        status = q2_store_flush(disk, top->source); /* O7 */
    if (status != Q2_OK)
        return mark_failed(disk, status);
    add_recorded(disk, entry_at);
    return Q2_OK;
}

void q2_bitmap_lose(struct q2_disk *disk, struct q2_recorded_bitmap *bitmap)
{
    struct q2_writer *writer = &disk->writer;

    *bitmap = writer->recorded[--writer->nb_recorded];
    writer->nb_bitmaps_lost++;
}

void q2_bitmaps_lose(struct q2_disk *disk)
{
    while (disk->writer.nb_recorded > 0)
        q2_bitmap_lose(disk, &disk->writer.recorded[0]);
}

struct q2_recorded_bitmap *q2_bitmap_recorded(struct q2_disk *disk, uint64_t table_offset)
{
    for (uint32_t i = 0; i < disk->writer.nb_recorded; i++) {
        if (disk->writer.recorded[i].table_offset == table_offset)
            return &disk->writer.recorded[i];
    }
    return NULL;
}

enum q2_status q2_disk_bitmaps_store(struct q2_disk *disk)
{
    struct q2_writer *writer = &disk->writer;
    enum q2_status status;

    if (writer->nb_recorded == 0)
        return Q2_OK;
    writer->nb_bitmaps_lost += writer->nb_recorded; /* until they are stored */
    status = q2_write_possible(disk);
    if (status == Q2_OK)
        status = q2_commit(disk);
    for (uint32_t i = 0; i < writer->nb_recorded && status == Q2_OK; i++)
        status = write_flags(disk, writer->recorded[i].entry_at, writer->recorded[i].flags);
    if (status == Q2_OK)
        status = q2_store_flush(disk, disk->layers[0].source);
    if (status == Q2_OK)
        writer->nb_bitmaps_lost -= writer->nb_recorded;
    writer->nb_recorded = 0;
    writer->header_ready = false; /* the next write marks them again */
    if (status != Q2_OK && !writer->latched)
        return q2_store_latch(disk, status, "the dirty bitmaps cannot be stored");
    return status;
}
