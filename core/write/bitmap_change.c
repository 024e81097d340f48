/* Adding, removing and changing persistent dirty bitmaps.  (qcow2: "Bitmaps")
 *
 * May call bitmap_write.c, bitmap_record.c, alloc.c, order.c, header_change.c, store.c, and write.c
 * for whether the image may be written. Invariant: a new directory or table is complete and
 * counted, durably, before one sector names it, and what it replaces is given back after that.
 */
#include "q2_bitmap.h"

#include "alloc.h"
#include "bitmap_write.h"
#include "order.h"
#include "core/base/range.h"
#include "core/base/text.h"
#include "core/format/bitmap_entry.h"
#include "core/read/bitmap.h"
#include "core/read/disk.h"
#include "header_change.h"
#include "q2_fail.h"
#include "store.h"
#include "write.h"

static struct q2_image *top_of(struct q2_disk *disk)
{
    return &disk->layers[0];
}

static uint64_t in_clusters(struct q2_disk *disk, uint64_t length)
{
    return q2_shift_up(length, top_of(disk)->rules.cluster_bits);
}

/* Refuse what has no bitmaps to change; then nothing waits and no bitmap is in use by this disk. */
static enum q2_status begin(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);
    enum q2_status status = q2_write_possible(disk);

    if (status != Q2_OK)
        return status;
    if (top->format != Q2_FORMAT_QCOW2 || !top->rules.version_3)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       top->format == Q2_FORMAT_QCOW2 ? "a version 2 image has no bitmaps"
                                                      : "a raw image has no bitmaps",
                       top->source->path);
    status = q2_disk_bitmaps_store(disk);
    return status == Q2_OK ? q2_commit(disk) : status;
}

/* --- the directory --------------------------------------------------------------------------- */

/* A directory: the old one's entries without those of [skip, skip_end), and room for one more. */
struct directory {
    uint64_t skip, skip_end; /* bytes from the start of the old directory */
    uint64_t old_length;     /* 0: there is no valid one */
    uint64_t length;         /* of the new one, with the room */
    uint64_t offset;         /* of the new one */
};

static uint64_t kept_length(const struct directory *d)
{
    return d->old_length - (d->skip_end - d->skip);
}

/* Allocate the new directory and copy what stays. */
static enum q2_status make_directory(struct q2_disk *disk, struct directory *d)
{
    uint64_t old = top_of(disk)->bitmaps_offset;
    enum q2_status status;

    status = q2_clusters_alloc_row(disk, in_clusters(disk, d->length), &d->offset);
    if (status != Q2_OK)
        return status;
    status = q2_store_zero(disk, top_of(disk)->source, d->offset,
                           in_clusters(disk, d->length) << top_of(disk)->rules.cluster_bits);
    if (status == Q2_OK)
        status = q2_store_copy(disk, old, d->offset, d->skip, 0);
    if (status == Q2_OK)
        status = q2_store_copy(disk, old + d->skip_end, d->offset + d->skip,
                               d->old_length - d->skip_end, 0);
    return status;
}

/* Exactly the clusters that the range touches: so they are counted. */
static void give_back(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    if (length > 0)
        q2_clusters_free_later(disk, offset, length);
}

/* Have the header name the new directory; the old one is given back. */
static enum q2_status switch_directory(struct q2_disk *disk, const struct directory *d, uint32_t nb)
{
    uint64_t old = top_of(disk)->bitmaps_offset;
    enum q2_status status = q2_commit(disk); /* O2 */

    if (status == Q2_OK)
        status = q2_header_set_bitmaps(disk, d->offset, d->length, nb);
    if (status == Q2_OK)
        give_back(disk, old, d->old_length);
    return status;
}

/* --- add -------------------------------------------------------------------------------------- */

/* A bitmap to be added. */
struct wanted {
    const char *name;
    size_t name_length;
    uint32_t granularity_bits;
    uint64_t nb_entries; /* of its table */
    uint64_t table_offset;
    bool enabled;
};

static enum q2_status bad_argument(struct q2_disk *disk, const char *what)
{
    return q2_fail(&disk->fault, Q2_ERR_ARGUMENT, what, top_of(disk)->source->path);
}

static enum q2_status check_wanted(struct q2_disk *disk, struct wanted *w)
{
    uint32_t bits = top_of(disk)->rules.cluster_bits;

    if (w->name_length == 0 || w->name_length > Q2_MAX_BITMAP_NAME)
        return bad_argument(disk, "a bitmap's name has 1 to 1023 bytes");
    if (w->granularity_bits == 0)
        w->granularity_bits = bits < 12 ? 12 : bits > 16 ? 16 : bits;
    if (w->granularity_bits < Q2_MIN_GRANULARITY_BITS ||
        w->granularity_bits > Q2_MAX_GRANULARITY_BITS)
        return bad_argument(disk, "a bitmap's granularity is 512 bytes to 2 GiB");
    if (top_of(disk)->virtual_size == 0) /* a table without entries: QEMU does not open it */
        return bad_argument(disk, "a disk of 0 bytes cannot have a bitmap; resize it first");
    w->nb_entries =
        q2_bitmap_nb_entries(top_of(disk), top_of(disk)->virtual_size, w->granularity_bits);
    if (w->nb_entries << bits > Q2_MAX_BITMAP_LENGTH)
        return q2_fail_limit(
            &disk->fault, Q2_ERR_LIMIT, "the bitmap would be too large; take a larger granularity",
            top_of(disk)->source->path, "length", w->nb_entries << bits, Q2_MAX_BITMAP_LENGTH);
    return Q2_OK;
}

/* The name is not in use, and directory and count have room for one more. */
static enum q2_status check_directory(struct q2_disk *disk, const struct wanted *w)
{
    const struct q2_image *top = top_of(disk);
    uint64_t start, end;
    enum q2_status status = q2_bitmap_locate(disk, w->name, &start, &end);

    if (status == Q2_OK)
        return bad_argument(disk, "a bitmap of this name exists already");
    if (disk->fault.status != Q2_ERR_ARGUMENT)
        return status;
    if (!q2_disk_has_bitmaps(disk))
        return Q2_OK;
    if (top->nb_bitmaps >= Q2_MAX_BITMAPS ||
        top->bitmaps_length > Q2_MAX_BITMAPS * 1024ull - 2 * 1024)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "there is no room for one more bitmap",
                             top->source->path, "nb_bitmaps", top->nb_bitmaps, Q2_MAX_BITMAPS);
    return Q2_OK;
}

static uint64_t entry_length(const struct wanted *w)
{
    return (sizeof(struct q2_bitmap_disk) + w->name_length + 7) & ~7ull;
}

/* The new bitmap's table, and its entry at the end of the new directory. */
static enum q2_status write_wanted(struct q2_disk *disk, const struct directory *d,
                                   const struct wanted *w)
{
    struct q2_source *source = top_of(disk)->source;
    uint64_t at = d->offset + kept_length(d), table_length = in_clusters(disk, w->nb_entries * 8)
                                                             << top_of(disk)->rules.cluster_bits;
    const struct q2_bitmap_disk entry = {
        .table_offset = q2_be64_make(w->table_offset),
        .table_size = q2_be32_make((uint32_t)w->nb_entries),
        .flags = q2_be32_make(w->enabled ? Q2_BITMAP_AUTO : 0),
        .type = Q2_BITMAP_TYPE_DIRTY,
        .granularity_bits = (uint8_t)w->granularity_bits,
        .name_size = q2_be16_make((uint16_t)w->name_length),
    };
    enum q2_status status = q2_store_zero(disk, source, w->table_offset, table_length);

    if (status == Q2_OK)
        status = q2_store_write(disk, source, at, &entry, sizeof(entry));
    if (status == Q2_OK)
        status = q2_store_write(disk, source, at + sizeof(entry), w->name, w->name_length);
    return status;
}

static enum q2_status add(struct q2_disk *disk, struct directory *d, struct wanted *w)
{
    uint32_t nb = d->old_length > 0 ? top_of(disk)->nb_bitmaps : 0;
    enum q2_status status = make_directory(disk, d);

    if (status == Q2_OK)
        status =
            q2_clusters_alloc_row(disk, in_clusters(disk, w->nb_entries * 8), &w->table_offset);
    if (status == Q2_OK)
        status = write_wanted(disk, d, w);
    if (status == Q2_OK)
        status = switch_directory(disk, d, nb + 1);
    if (status == Q2_OK)
        disk->writer.header_ready = false; /* the next write marks the new one */
    return status;
}

enum q2_status q2_disk_bitmap_add(struct q2_disk *disk, const char *name, uint32_t granularity_bits,
                                  bool enabled)
{
    struct wanted w = {.name = name,
                       .name_length = q2_text_length(name),
                       .granularity_bits = granularity_bits,
                       .enabled = enabled};
    struct directory d = {.offset = 0};
    enum q2_status status = begin(disk);

    if (status == Q2_OK)
        status = check_wanted(disk, &w);
    if (status == Q2_OK)
        status = check_directory(disk, &w);
    if (status == Q2_OK)
        status = q2_header_can_name_bitmaps(disk);
    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    d.old_length = q2_disk_has_bitmaps(disk) ? top_of(disk)->bitmaps_length : 0;
    d.skip = d.skip_end = d.old_length;
    d.length = d.old_length + entry_length(&w);
    status = add(disk, &d, &w);
    if (status != Q2_OK) { /* named by nobody */
        give_back(disk, d.offset, d.offset != 0 ? d.length : 0);
        give_back(disk, w.table_offset, w.table_offset != 0 ? w.nb_entries * 8 : 0);
        return status;
    }
    return q2_commit(disk);
}

/* --- remove, clear, enable, mark -------------------------------------------------------------- */

enum q2_status q2_disk_bitmap_remove(struct q2_disk *disk, const char *name)
{
    struct directory d = {.offset = 0};
    uint64_t table;
    uint32_t nb_entries;
    enum q2_status status = begin(disk);

    if (status == Q2_OK)
        status = q2_bitmap_locate(disk, name, &d.skip, &d.skip_end);
    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    table = disk->bitmap.table_offset;
    nb_entries = disk->bitmap.table_size;
    d.old_length = top_of(disk)->bitmaps_length;
    d.length = kept_length(&d);
    if (top_of(disk)->nb_bitmaps > 1) /* else nothing names it, however long the old one is */
        status = make_directory(disk, &d);
    if (status == Q2_OK)
        status = switch_directory(disk, &d, top_of(disk)->nb_bitmaps - 1);
    if (status != Q2_OK) {
        give_back(disk, d.offset, d.offset != 0 ? d.length : 0);
        return status;
    }
    status = q2_bitmap_release(disk, table, 0, nb_entries, false);
    if (status == Q2_OK)
        give_back(disk, table, nb_entries * 8ull);
    return status == Q2_OK ? q2_commit(disk) : status;
}

/* The bitmap of this name is recorded by this disk then, and its entry is in disk->bitmap. */
static enum q2_status take(struct q2_disk *disk, const char *name)
{
    uint64_t start, end;
    enum q2_status status = begin(disk);

    if (status == Q2_OK)
        status = q2_bitmap_locate(disk, name, &start, &end);
    return status == Q2_OK ? q2_bitmap_take(disk, top_of(disk)->bitmaps_offset + start) : status;
}

enum q2_status q2_disk_bitmap_clear(struct q2_disk *disk, const char *name)
{
    enum q2_status status = take(disk, name);

    if (status != Q2_OK)
        return status;
    status = q2_bitmap_release(disk, disk->bitmap.table_offset, 0, disk->bitmap.table_size, true);
    if (status == Q2_OK)
        return q2_disk_bitmaps_store(disk);
    q2_bitmaps_lose(disk); /* it alone is recorded, and a part of it is clear */
    return status;
}

enum q2_status q2_disk_bitmap_enable(struct q2_disk *disk, const char *name, bool enabled)
{
    enum q2_status status = take(disk, name);
    struct q2_recorded_bitmap *bitmap;

    if (status != Q2_OK)
        return status;
    bitmap = q2_bitmap_recorded(disk, disk->bitmap.table_offset);
    bitmap->flags = (bitmap->flags & ~Q2_BITMAP_AUTO) | (enabled ? Q2_BITMAP_AUTO : 0);
    return q2_disk_bitmaps_store(disk);
}

enum q2_status q2_disk_bitmap_mark(struct q2_disk *disk, const struct q2_bitmap *bitmap,
                                   uint64_t offset, uint64_t length)
{
    struct q2_recorded_bitmap *recorded;
    enum q2_status status = q2_write_possible(disk);

    if (status != Q2_OK)
        return status;
    recorded = q2_bitmap_recorded(disk, bitmap->table_offset);
    if (!recorded) {
        status = take(disk, bitmap->name);
        if (status != Q2_OK)
            return status;
        recorded = q2_bitmap_recorded(disk, disk->bitmap.table_offset);
    }
    status = q2_bitmap_set(disk, recorded, offset, length);
    if (status != Q2_OK) /* it lacks bits that it should have */
        q2_bitmap_lose(disk, recorded);
    return status;
}
