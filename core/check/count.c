/* Everything that refers to a host cluster.
 *
 * May call references.c, and snapshot.c and bitmap.c of core/read/. Invariant: every table is
 * walked once per window, and no further than the file has room for.
 */
#include "count.h"

#include "core/read/bitmap.h"
#include "core/read/disk.h"
#include "core/format/bitmap_entry.h"
#include "core/format/snapshot_entry.h"
#include "core/base/range.h"
#include "core/read/refcount.h"
#include "core/read/snapshot.h"

const char q2_snapshot_l1_broken[] = "a snapshot's L1 table breaks the specification";
const char q2_snapshot_incomplete[] = "a snapshot's extra data is incomplete";
const char q2_snapshots_past_limit[] = "snapshots past the limit of the table";

static const struct q2_image *image_of(const struct q2_references *r)
{
    return &r->disk->layers[0];
}

/* A snapshot's own L1 table, and what its entry at `named_at` has wrong. */
static void count_snapshot(struct q2_references *r, const struct q2_snapshot_walk *walk, bool good,
                           uint64_t named_at)
{
    const struct q2_image *image = image_of(r);
    const struct q2_snapshot *snapshot = &r->disk->snapshot;

    if (walk->extra_size > Q2_MAX_SNAPSHOT_EXTRA_SIZE)
        q2_references_tell(r, Q2_CHECK_SNAPSHOT, "a snapshot's extra data is too long", named_at);
    if (walk->extra_size < Q2_SNAPSHOT_EXTRA_V3 && image->rules.version_3)
        q2_references_tell(r, Q2_CHECK_SNAPSHOT, q2_snapshot_incomplete, named_at);
    if (good)
        q2_references_sole(r, snapshot->l1_table_offset, snapshot->l1_size * 8ull,
                           snapshot->l1_table_offset);
    else
        q2_references_tell(r, Q2_CHECK_ENTRY, q2_snapshot_l1_broken,
                           image->header.snapshots_offset);
}

/* tables: mark the L2 tables of all snapshots; else count the clusters of their L1 tables. */
static enum q2_status walk_snapshots(struct q2_references *r, bool tables)
{
    const struct q2_header *header = &image_of(r)->header;
    struct q2_disk *disk = r->disk;
    struct q2_snapshot *snapshot = &disk->snapshot;
    struct q2_snapshot_walk walk = {0};

    for (;;) {
        uint64_t at = header->snapshots_offset + walk.offset;
        bool kept, good;
        enum q2_status status =
            q2_snapshot_next_kept(&disk->slices, image_of(r), &walk, &disk->fault, snapshot, &kept);
        if (status != Q2_OK)
            return status;
        if (!kept)
            break;
        good = snapshot->l1_size <= Q2_MAX_L1_ENTRIES &&
               q2_is_aligned(snapshot->l1_table_offset, header->cluster_bits);
        if (!tables)
            count_snapshot(r, &walk, good, at);
        else if (good)
            q2_references_l1(r, snapshot->l1_table_offset, snapshot->l1_size, false);
    }
    if (tables)
        return Q2_OK;
    if (walk.index < header->nb_snapshots)
        q2_references_tell(r, Q2_CHECK_SNAPSHOT, q2_snapshots_past_limit,
                           header->snapshots_offset + walk.offset);
    q2_references_sole(r, header->snapshots_offset, walk.offset, header->snapshots_offset);
    return Q2_OK;
}

/* nb_left: entries that may still be walked; bitmap tables never share clusters. */
static void walk_bitmap(struct q2_references *r, const struct q2_bitmap *bitmap, uint64_t *nb_left)
{
    uint64_t cluster_size = 1ull << image_of(r)->rules.cluster_bits;
    uint64_t nb = q2_min_u64(bitmap->table_size, *nb_left);

    q2_references_range(r, bitmap->table_offset, bitmap->table_size * 8ull, bitmap->table_offset);
    if (nb < bitmap->table_size)
        q2_references_tell(r, Q2_CHECK_ENTRY, "bitmap tables overlap", bitmap->table_offset);
    *nb_left -= nb;
    for (uint64_t i = 0; i < nb; i++) {
        uint64_t named_at = bitmap->table_offset + i * 8ull;
        uint64_t entry;

        if (!q2_references_entry(r, named_at, &entry))
            return;
        if (entry & Q2_BITMAP_TABLE_RESERVED)
            q2_references_tell(r, Q2_CHECK_ENTRY, "bitmap table entry has a reserved bit set",
                               named_at);
        else if (entry & Q2_BITMAP_TABLE_OFFSET)
            q2_references_range(r, entry & Q2_BITMAP_TABLE_OFFSET, cluster_size, named_at);
    }
}

/* Bitmaps count only while their autoclear bit says that they are kept. */
static enum q2_status walk_bitmaps(struct q2_references *r)
{
    struct q2_disk *disk = r->disk;
    struct q2_bitmap_walk walk = {0};
    uint64_t nb_left = image_of(r)->source->size / 8;
    enum q2_status status = Q2_OK;

    if (!(image_of(r)->header.autoclear_features & Q2_AUTOCLEAR_BITMAPS))
        return Q2_OK;
    status = q2_bitmap_directory_check(image_of(r), &disk->fault);
    for (uint32_t i = 0; i < image_of(r)->nb_bitmaps && status == Q2_OK; i++) {
        status = q2_bitmap_next(&disk->slices, image_of(r), &walk, &disk->fault, &disk->bitmap);
        if (status == Q2_OK)
            walk_bitmap(r, &disk->bitmap, &nb_left);
    }
    if (status == Q2_OK)
        q2_references_range(r, image_of(r)->bitmaps_offset,
                            image_of(r)->nb_bitmaps ? image_of(r)->bitmaps_length : 0,
                            image_of(r)->bitmaps_offset);
    return status;
}

/* A refcount block that is outside cannot be used; the other findings here are of q2_check_kind
 * STRUCTURE as well, so that a repair knows to build the structure anew. */
static void count_block(struct q2_references *r, uint64_t entry, uint64_t named_at)
{
    const struct q2_header *header = &image_of(r)->header;

    if ((entry & ~Q2_REFCOUNT_TABLE_OFFSET) || !q2_is_aligned(entry, header->cluster_bits))
        q2_references_tell(r, Q2_CHECK_STRUCTURE, "refcount table entry breaks the specification",
                           named_at);
    else if (entry != 0 && entry >> header->cluster_bits >= r->nb_clusters)
        q2_references_tell(r, Q2_CHECK_STRUCTURE, "refcount block past the end of the file",
                           named_at);
    else if (entry != 0)
        q2_references_range(r, entry, 1ull << header->cluster_bits, named_at);
}

static void walk_refcounts(struct q2_references *r)
{
    const struct q2_header *header = &image_of(r)->header;
    uint64_t length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    q2_references_range(r, header->refcount_table_offset, length, header->refcount_table_offset);
    for (uint64_t i = 0; i < length / 8; i++) {
        uint64_t named_at = header->refcount_table_offset + i * 8, entry;

        if (!q2_references_entry(r, named_at, &entry))
            return;
        count_block(r, entry, named_at);
    }
}

/* What the L1 tables of all states lead to. */
static enum q2_status walk_trees(struct q2_references *r)
{
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK; first += Q2_TABLES_WINDOW) {
        q2_references_tables_window(r, first);
        q2_references_l1(r, image_of(r)->l1_table_offset, image_of(r)->l1_size, true);
        status = walk_snapshots(r, true);
        if (status == Q2_OK)
            q2_references_l2s(r);
    }
    return status;
}

enum q2_status q2_count_window(struct q2_references *r, uint64_t first, bool refcounts)
{
    const struct q2_image *image = image_of(r);
    enum q2_status status;

    q2_references_window(r, first);
    q2_references_sole(r, 0, 1ull << image->rules.cluster_bits, 0);
    q2_references_sole(r, image->l1_table_offset, image->l1_size * 8ull, image->l1_table_offset);
    q2_references_sole(r, image->encryption_offset, image->encryption_length,
                       image->encryption_offset);
    if (refcounts)
        walk_refcounts(r);
    status = walk_trees(r);
    if (status == Q2_OK)
        status = walk_snapshots(r, false);
    if (status == Q2_OK)
        status = walk_bitmaps(r);
    return status;
}

enum q2_status q2_count_revisit(struct q2_references *r)
{
    return walk_trees(r);
}

static bool is_shared(const struct q2_references *r, uint64_t offset)
{
    uint64_t index = offset >> image_of(r)->rules.cluster_bits;

    return index >= r->first && index - r->first < Q2_REFERENCES_WINDOW && index < r->nb_clusters &&
           q2_references_of(r, index) > 1;
}

void q2_count_overlaps(struct q2_references *r)
{
    const struct q2_header *header = &image_of(r)->header;
    uint64_t table = header->refcount_table_offset, cluster_size = 1ull << header->cluster_bits;
    uint64_t length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    for (uint64_t at = table; at < table + length; at += cluster_size) {
        if (is_shared(r, at))
            q2_references_tell(r, Q2_CHECK_STRUCTURE, "the refcount table overlaps something else",
                               at);
    }
    for (uint64_t at = table; at < table + length; at += 8) {
        uint64_t entry;

        if (!q2_references_entry(r, at, &entry))
            return;
        if (entry != 0 && q2_is_aligned(entry, header->cluster_bits) && is_shared(r, entry))
            q2_references_tell(r, Q2_CHECK_STRUCTURE, "a refcount block overlaps something else",
                               at);
    }
}
