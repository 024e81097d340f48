/* Persistent dirty bitmaps of a disk whose size changes.  (qcow2: "Bitmap table")
 *
 * May call bitmap_write.c, bitmap_record.c, alloc.c, order.c and store.c. Invariant: a bitmap that
 * is not in use has exactly the table entries that the size in the header needs, because QEMU
 * refuses the image otherwise. So every bitmap is in use while the size changes.
 */
#include "bitmap_write.h"

#include "alloc.h"
#include "order.h"
#include "core/base/range.h"
#include "core/base/text.h"
#include "core/format/bitmap_entry.h"
#include "core/read/bitmap.h"
#include "q2_bitmap.h"
#include "q2_fail.h"
#include "store.h"

static struct q2_image *top_of(struct q2_disk *disk)
{
    return &disk->layers[0];
}

static uint64_t table_length(struct q2_disk *disk, uint64_t nb_entries)
{
    uint32_t bits = top_of(disk)->rules.cluster_bits;

    return q2_shift_up(nb_entries * 8, bits) << bits;
}

/* Entries that a table needs for a size, of the bitmap in disk->bitmap. */
static uint64_t nb_entries_for(struct q2_disk *disk, uint64_t size)
{
    return q2_bitmap_nb_entries(top_of(disk), size, disk->bitmap.granularity_bits);
}

/* Change one field of an entry, durably; a field never crosses a sector. */
static enum q2_status put_field(struct q2_disk *disk, uint64_t at, const void *field, size_t length)
{
    enum q2_status status = q2_store_write(disk, top_of(disk)->source, at, field, length);

    if (status == Q2_OK)
        status = q2_store_flush(disk, top_of(disk)->source);
    return status == Q2_OK ? Q2_OK : q2_store_latch(disk, status, "a bitmap cannot be resized");
}

static enum q2_status put_table_offset(struct q2_disk *disk, uint64_t entry_at, uint64_t offset)
{
    be64 field = q2_be64_make(offset);

    return put_field(disk, entry_at + offsetof(struct q2_bitmap_disk, table_offset), &field,
                     sizeof(field));
}

static enum q2_status put_table_size(struct q2_disk *disk, uint64_t entry_at, uint64_t nb_entries)
{
    be32 field = q2_be32_make((uint32_t)nb_entries);

    return put_field(disk, entry_at + offsetof(struct q2_bitmap_disk, table_size), &field,
                     sizeof(field));
}

/* The table in a longer place. Its offset changes first: with the old size it is what it was. */
static enum q2_status move_table(struct q2_disk *disk, uint64_t entry_at, uint64_t nb_entries)
{
    struct q2_source *source = top_of(disk)->source;
    uint64_t old = disk->bitmap.table_offset, old_length = disk->bitmap.table_size * 8ull;
    uint64_t length = table_length(disk, nb_entries), offset;
    struct q2_recorded_bitmap *recorded = q2_bitmap_recorded(disk, old);
    enum q2_status status = q2_commit(disk); /* nothing waits for the old table */

    if (status == Q2_OK)
        status = q2_clusters_alloc_row(disk, length >> top_of(disk)->rules.cluster_bits, &offset);
    if (status != Q2_OK)
        return status;
    status = q2_store_copy(disk, old, offset, old_length, 0);
    if (status == Q2_OK)
        status = q2_store_zero(disk, source, offset + old_length, length - old_length);
    if (status == Q2_OK)
        status = q2_commit(disk); /* O2 */
    if (status != Q2_OK) {        /* named by nobody */
        q2_clusters_free_later(disk, offset, length);
        return status;
    }
    status = put_table_offset(disk, entry_at, offset);
    if (status == Q2_OK)
        status = put_table_size(disk, entry_at, nb_entries);
    if (status != Q2_OK)
        return status;
    if (recorded)
        recorded->table_offset = offset;
    q2_clusters_free_later(disk, old, table_length(disk, old_length / 8)); /* O3 */
    return Q2_OK;
}

/* A bitmap that grows: the bits after the old end are clean, and the table is long enough. */
static enum q2_status grow_one(struct q2_disk *disk, uint64_t entry_at, uint64_t new_size)
{
    uint64_t nb_entries = nb_entries_for(disk, new_size);
    enum q2_status status = q2_bitmap_clear_behind(
        disk, disk->bitmap.table_offset, disk->bitmap.table_size,
        q2_shift_up(top_of(disk)->virtual_size, disk->bitmap.granularity_bits));

    if (status == Q2_OK && nb_entries > disk->bitmap.table_size)
        status = move_table(disk, entry_at, nb_entries);
    return status;
}

/* A bitmap of a disk that has shrunk. The table's size changes before its clusters go (O3). */
static enum q2_status cut_one(struct q2_disk *disk, uint64_t entry_at)
{
    uint64_t table = disk->bitmap.table_offset, old = disk->bitmap.table_size;
    uint64_t nb = nb_entries_for(disk, top_of(disk)->virtual_size);
    uint64_t length = table_length(disk, nb), old_length = table_length(disk, old);
    enum q2_status status = q2_bitmap_clear_behind(
        disk, table, (uint32_t)q2_min_u64(nb, old),
        q2_shift_up(top_of(disk)->virtual_size, disk->bitmap.granularity_bits));

    if (status == Q2_OK && nb < old)
        status = put_table_size(disk, entry_at, nb);
    if (status == Q2_OK && nb < old)
        status = q2_bitmap_release(disk, table, nb, old, false);
    if (status == Q2_OK && length < old_length)
        q2_clusters_free_later(disk, table + length, old_length - length);
    return status;
}

/* A bitmap that this disk marked as in use is its own to change; one that another program left so
 * is not. */
static bool is_inconsistent(struct q2_disk *disk)
{
    return (disk->bitmap.flags & Q2_BITMAP_IN_USE) &&
           !q2_bitmap_recorded(disk, disk->bitmap.table_offset);
}

/* Can the bits of the bitmap at hand after the smaller of both sizes be cleared? */
static bool can_end_at(struct q2_disk *disk, uint64_t size)
{
    const struct q2_bitmap *bitmap = &disk->bitmap;
    uint32_t bits = top_of(disk)->rules.cluster_bits + 3; /* log2 of bits in a cluster */
    uint64_t index = q2_shift_up(size, bitmap->granularity_bits) >> bits, cluster = 0;
    bool ones = false;

    if (index >= bitmap->table_size)
        return true;
    return q2_bitmap_entry(disk, bitmap->table_offset, index, &cluster, &ones) == Q2_OK &&
           (cluster == 0 || q2_bitmap_owns(disk, cluster, 1));
}

/* May the bitmap at hand follow the disk to a new size? */
static enum q2_status check_one(struct q2_disk *disk, uint64_t new_size)
{
    const struct q2_image *top = top_of(disk);
    const struct q2_bitmap *bitmap = &disk->bitmap;
    uint32_t bits = top->rules.cluster_bits;

    if (is_inconsistent(disk))
        return q2_fail(&disk->fault, Q2_ERR_BUSY,
                       "a bitmap is inconsistent, so the size cannot change; remove it first",
                       top->source->path);
    if (new_size == 0) /* a table without entries: QEMU does not open such an image */
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "a disk of 0 bytes cannot have bitmaps; remove them first",
                       top->source->path);
    if (bitmap->granularity_bits < Q2_MIN_GRANULARITY_BITS ||
        bitmap->granularity_bits > Q2_MAX_GRANULARITY_BITS ||
        !q2_is_aligned(bitmap->table_offset, bits) ||
        !q2_bitmap_owns(disk, bitmap->table_offset, bitmap->table_size * 8ull) ||
        !can_end_at(disk, q2_min_u64(new_size, top->virtual_size)))
        return q2_fail(&disk->fault, Q2_ERR_BAD_BITMAP, "a bitmap is not fit to be resized",
                       top->source->path);
    if (nb_entries_for(disk, new_size) << bits > Q2_MAX_BITMAP_LENGTH)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT,
                             "a bitmap would be too large for the new size; remove it first",
                             top->source->path, "length", nb_entries_for(disk, new_size) << bits,
                             Q2_MAX_BITMAP_LENGTH);
    return Q2_OK;
}

enum q2_status q2_bitmaps_check_resize(struct q2_disk *disk, uint64_t new_size)
{
    const struct q2_image *top = top_of(disk);
    struct q2_bitmap_walk walk = {0};
    enum q2_status status;

    if (!q2_disk_has_bitmaps(disk))
        return Q2_OK;
    status = q2_bitmap_directory_check(top, &disk->fault);

    for (uint32_t i = 0; i < top->nb_bitmaps && status == Q2_OK; i++) {
        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        if (status != Q2_OK)
            return status;
        status = check_one(disk, new_size);
        if (status != Q2_OK)
            q2_fault_add_detail(&disk->fault, disk->bitmap.name, q2_text_length(disk->bitmap.name));
    }
    return status;
}

enum q2_status q2_bitmaps_grow(struct q2_disk *disk, uint64_t new_size)
{
    const struct q2_image *top = top_of(disk);
    struct q2_bitmap_walk walk = {0};
    bool kept;
    enum q2_status status;

    if (!q2_disk_has_bitmaps(disk))
        return Q2_OK;
    status = q2_bitmaps_distrust(disk, Q2_BITMAPS_ALL, &kept);
    if (status == Q2_OK && !kept)
        return q2_fail(&disk->fault, Q2_ERR_BAD_BITMAP,
                       "the size cannot change, because the bitmaps' directory cannot be read",
                       top->source->path);
    if (!disk->writer.keep_bitmaps)
        return status;
    for (uint32_t i = 0; new_size > top->virtual_size && i < top->nb_bitmaps && status == Q2_OK;
         i++) {
        uint64_t entry_at = top->bitmaps_offset + walk.offset;

        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        if (status == Q2_OK && !is_inconsistent(disk))
            status = grow_one(disk, entry_at, new_size);
    }
    return status == Q2_OK ? q2_commit(disk) : status;
}

enum q2_status q2_bitmaps_fit(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);
    struct q2_bitmap_walk walk = {0};
    uint32_t nb = q2_disk_has_bitmaps(disk) ? top->nb_bitmaps : 0;
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < nb && status == Q2_OK; i++) {
        uint64_t entry_at = top->bitmaps_offset + walk.offset;
        struct q2_recorded_bitmap *recorded;

        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        if (status != Q2_OK)
            break;
        recorded = q2_bitmap_recorded(disk, disk->bitmap.table_offset);
        if (!recorded)
            continue;
        status = cut_one(disk, entry_at);
        recorded->size = top->virtual_size;
        recorded->known_first = recorded->known_end = 0;
    }
    return status == Q2_OK ? q2_commit(disk) : status;
}
