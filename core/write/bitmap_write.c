/* Persistent dirty bitmaps while the image is written.
 *
 * May call core/read/bitmap.c and store.c. Invariant: only the flag "in use" of an entry ever
 * changes, by a write of four bytes inside one sector.
 */
#include "bitmap_write.h"

#include "q2_fail.h"
#include "core/format/bitmap_entry.h"
#include "core/read/bitmap.h"
#include "store.h"

/* Entries start at multiples of 8, so their flags never cross a sector. */
static enum q2_status mark(struct q2_disk *disk, uint64_t entry_at, uint32_t flags)
{
    be32 field = q2_be32_make(flags | Q2_BITMAP_IN_USE);

    return q2_store_write(disk, disk->layers[0].source,
                          entry_at + offsetof(struct q2_bitmap_disk, flags), &field, sizeof(field));
}

/* Can the whole directory be walked? The fault of a broken one is nobody's. */
static bool can_walk(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_bitmap_walk walk = {0};
    struct q2_fault fault = disk->fault;
    enum q2_status status = q2_bitmap_directory_check(top, &disk->fault);

    for (uint32_t i = 0; i < top->nb_bitmaps && status == Q2_OK; i++)
        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
    disk->fault = fault;
    return status == Q2_OK;
}

enum q2_status q2_bitmaps_distrust(struct q2_disk *disk, enum q2_bitmaps_changed changed,
                                   bool *ret_kept)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_bitmap_walk walk = {0};
    uint32_t nb_marked = 0;
    enum q2_status status = Q2_OK;

    *ret_kept = (top->header.autoclear_features & Q2_AUTOCLEAR_BITMAPS) && top->nb_bitmaps > 0 &&
                can_walk(disk);
    for (uint32_t i = 0; *ret_kept && i < top->nb_bitmaps && status == Q2_OK; i++) {
        uint64_t entry_at = top->bitmaps_offset + walk.offset;

        status = q2_bitmap_next(&disk->slices, top, &walk, &disk->fault, &disk->bitmap);
        if (status != Q2_OK || (disk->bitmap.flags & Q2_BITMAP_IN_USE) ||
            (changed == Q2_BITMAPS_RECORDING && !(disk->bitmap.flags & Q2_BITMAP_AUTO)))
            continue;
        status = mark(disk, entry_at, disk->bitmap.flags);
        nb_marked++;
    }
    if (status == Q2_OK && nb_marked > 0)
        status = q2_store_flush(disk, top->source); /* O7 */
    if (status != Q2_OK)
        return q2_store_latch(disk, status, "the dirty bitmaps cannot be marked as in use");
    disk->writer.nb_bitmaps_lost += nb_marked;
    return Q2_OK;
}
