/* The consistency check.
 *
 * Beside the read path: q2_disk_check() -> references.c, refcount.c, snapshot.c, bitmap.c. Every
 * table is walked once per window of host clusters; what entries break is reported in the first
 * pass only. Invariant: the disk is as usable after a check as before.
 */
#include "q2_check.h"

#include "bitmap.h"
#include "copied.h"
#include "disk.h"
#include "fault.h"
#include "format/bitmap_entry.h"
#include "range.h"
#include "refcount.h"
#include "snapshot.h"

/* One check at work. */
struct check {
    struct q2_references references;
    const struct q2_image *image;
    struct q2_check_reporter *reporter;
    struct q2_check_result result;
    uint64_t last_used; /* highest host cluster in use so far */
    bool copied_pass;
};

static void report(struct check *c, const struct q2_check_finding *finding)
{
    if (finding->kind == Q2_CHECK_LEAK)
        c->result.leaks++;
    else if (finding->kind == Q2_CHECK_UNREADABLE)
        c->result.check_errors++;
    else
        c->result.corruptions++;
    if (c->reporter)
        c->reporter->report(c->reporter, finding);
}

/* An entry that is wrong in itself: every pass meets it, the first one reports it. A read that
 * fails in a later pass only must not pass as a clean check. */
static void found(struct q2_references *r, enum q2_check_kind kind, const char *what,
                  uint64_t offset)
{
    struct check *c = (struct check *)r;
    struct q2_check_finding finding = {.kind = kind, .what = what, .offset = offset};
    bool first = r->first == 0 && !c->copied_pass;

    if ((first && (kind != Q2_CHECK_UNREADABLE || r->tables_first == 0)) ||
        (kind == Q2_CHECK_UNREADABLE && c->result.check_errors == 0))
        report(c, &finding);
}

/* Statistics of the active state, in the terms of qemu-img check: a compressed cluster counts as
 * fragmented, any other one if it does not follow the one before in its table. */
static void tally(struct q2_references *r, const struct q2_cluster *cluster, uint64_t *next_offset)
{
    struct check *c = (struct check *)r;
    struct q2_check_result *result = &c->result;

    if (r->first != 0)
        return;
    result->allocated_clusters++;
    if (cluster->kind == Q2_CLUSTER_COMPRESSED) {
        result->compressed_clusters++;
        result->fragmented_clusters++;
        return;
    }
    if (*next_offset != 0 && cluster->host_offset != *next_offset)
        result->fragmented_clusters++;
    *next_offset = cluster->host_offset + (1ull << c->image->rules.cluster_bits);
}

static enum q2_status walk_snapshots(struct check *c, bool tables)
{
    const struct q2_header *header = &c->image->header;
    struct q2_disk *disk = c->references.disk;
    struct q2_snapshot *snapshot = &disk->snapshot;
    struct q2_snapshot_walk walk = {0};

    for (uint32_t i = 0; i < header->nb_snapshots; i++) {
        enum q2_status status =
            q2_snapshot_next(&disk->slices, c->image, &walk, &disk->fault, snapshot);
        bool good = snapshot->l1_size <= Q2_MAX_L1_ENTRIES &&
                    q2_is_aligned(snapshot->l1_table_offset, header->cluster_bits);
        if (status != Q2_OK)
            return status;
        if (!good && !tables)
            found(&c->references, Q2_CHECK_ENTRY, "a snapshot's L1 table breaks the specification",
                  header->snapshots_offset);
        else if (good && !tables)
            q2_references_range(&c->references, snapshot->l1_table_offset, snapshot->l1_size * 8ull,
                                snapshot->l1_table_offset);
        else if (good)
            q2_references_l1(&c->references, snapshot->l1_table_offset, snapshot->l1_size, false);
    }
    if (!tables)
        q2_references_range(&c->references, header->snapshots_offset, walk.offset,
                            header->snapshots_offset);
    return Q2_OK;
}

/* nb_left: entries that may still be walked; bitmap tables never share clusters. */
static void walk_bitmap(struct check *c, const struct q2_bitmap *bitmap, uint64_t *nb_left)
{
    uint64_t cluster_size = 1ull << c->image->rules.cluster_bits;
    uint64_t nb = q2_min_u64(bitmap->table_size, *nb_left);

    q2_references_range(&c->references, bitmap->table_offset, bitmap->table_size * 8ull,
                        bitmap->table_offset);
    if (nb < bitmap->table_size)
        found(&c->references, Q2_CHECK_ENTRY, "bitmap tables overlap", bitmap->table_offset);
    *nb_left -= nb;
    for (uint64_t i = 0; i < nb; i++) {
        uint64_t named_at = bitmap->table_offset + i * 8ull;
        uint64_t entry;

        if (!q2_references_entry(&c->references, named_at, &entry))
            return;
        if (entry & Q2_BITMAP_TABLE_RESERVED)
            found(&c->references, Q2_CHECK_ENTRY, "bitmap table entry has a reserved bit set",
                  named_at);
        else if (entry & Q2_BITMAP_TABLE_OFFSET)
            q2_references_range(&c->references, entry & Q2_BITMAP_TABLE_OFFSET, cluster_size,
                                named_at);
    }
}

/* Bitmaps count only while their autoclear bit says that they are kept. */
static enum q2_status walk_bitmaps(struct check *c)
{
    struct q2_disk *disk = c->references.disk;
    struct q2_bitmap_walk walk = {0};
    uint64_t nb_left = c->image->source->size / 8;
    enum q2_status status = Q2_OK;

    if (!(c->image->header.autoclear_features & Q2_AUTOCLEAR_BITMAPS))
        return Q2_OK;
    status = q2_bitmap_directory_check(c->image, &disk->fault);
    for (uint32_t i = 0; i < c->image->nb_bitmaps && status == Q2_OK; i++) {
        status = q2_bitmap_next(&disk->slices, c->image, &walk, &disk->fault, &disk->bitmap);
        if (status == Q2_OK)
            walk_bitmap(c, &disk->bitmap, &nb_left);
    }
    if (status == Q2_OK)
        q2_references_range(&c->references, c->image->bitmaps_offset,
                            c->image->nb_bitmaps ? c->image->bitmaps_length : 0,
                            c->image->bitmaps_offset);
    return status;
}

static void walk_refcounts(struct check *c)
{
    const struct q2_header *header = &c->image->header;
    uint64_t length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    q2_references_range(&c->references, header->refcount_table_offset, length,
                        header->refcount_table_offset);
    for (uint64_t i = 0; i < length / 8; i++) {
        uint64_t named_at = header->refcount_table_offset + i * 8;
        uint64_t entry;

        if (!q2_references_entry(&c->references, named_at, &entry))
            return;
        if ((entry & ~Q2_REFCOUNT_TABLE_OFFSET) || !q2_is_aligned(entry, header->cluster_bits))
            found(&c->references, Q2_CHECK_ENTRY, "refcount table entry breaks the specification",
                  named_at);
        else if (entry != 0)
            q2_references_range(&c->references, entry, 1ull << header->cluster_bits, named_at);
    }
}

/* What the L1 tables of all states lead to. */
static enum q2_status walk_trees(struct check *c)
{
    struct q2_references *r = &c->references;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK; first += Q2_TABLES_WINDOW) {
        q2_references_tables_window(r, first);
        q2_references_l1(r, c->image->l1_table_offset, c->image->l1_size, true);
        status = walk_snapshots(c, true);
        if (status == Q2_OK)
            q2_references_l2s(r);
    }
    return status;
}

/* Everything that refers to a host cluster. */
static enum q2_status count_all(struct check *c)
{
    const struct q2_image *image = c->image;
    struct q2_references *r = &c->references;
    enum q2_status status;

    q2_references_range(r, 0, 1ull << image->rules.cluster_bits, 0);
    q2_references_range(r, image->l1_table_offset, image->l1_size * 8ull, image->l1_table_offset);
    q2_references_range(r, image->encryption_offset, image->encryption_length,
                        image->encryption_offset);
    walk_refcounts(c);
    status = walk_trees(c);
    if (status == Q2_OK)
        status = walk_snapshots(c, false);
    if (status == Q2_OK)
        status = walk_bitmaps(c);
    return status;
}

static bool refcount_read(struct check *c, uint64_t index, uint64_t *ret_refcount)
{
    enum q2_status status =
        q2_refcount_get(&c->references.disk->slices, c->image, index, ret_refcount);
    struct q2_check_finding finding = {.kind = Q2_CHECK_UNREADABLE,
                                       .what = "refcount cannot be read",
                                       .offset = index << c->image->rules.cluster_bits};

    if (status != Q2_OK)
        report(c, &finding);
    return status == Q2_OK;
}

/* References against refcounts, for the clusters of the window. */
static void compare(struct check *c)
{
    const struct q2_references *r = &c->references;
    uint64_t end = q2_min_u64(r->nb_clusters, r->first + Q2_REFERENCES_WINDOW);

    for (uint64_t index = r->first; index < end; index++) {
        uint64_t references = q2_references_of(r, index), refcount;
        struct q2_check_finding finding;

        if (!refcount_read(c, index, &refcount))
            continue;
        if (refcount > 0 || references > 0)
            c->last_used = index;
        if (refcount == references)
            continue;
        finding = (struct q2_check_finding){
            .kind = refcount > references ? Q2_CHECK_LEAK : Q2_CHECK_REFCOUNT,
            .what = refcount > references ? "leaked cluster" : "refcount is too low",
            .offset = index << c->image->rules.cluster_bits,
            .refcount = refcount,
            .references = references,
        };
        report(c, &finding);
    }
}

/* COPIED must say whether the refcount is exactly 1. */
static enum q2_status check_copied(struct q2_copied_walk *walk, const struct q2_copied_entry *entry)
{
    struct check *c = (struct check *)walk->references;
    struct q2_check_finding finding = {.kind = Q2_CHECK_COPIED,
                                       .what = "COPIED flag and refcount disagree",
                                       .offset = entry->named_at};
    enum q2_status status;

    if (entry->is_compressed)
        return Q2_OK; /* the count has reported those */
    status = q2_copied_refcount(c->references.disk, entry, &finding.refcount);
    if (status != Q2_OK) {
        found(&c->references, Q2_CHECK_UNREADABLE, "refcount cannot be read", entry->named_at);
        return Q2_OK;
    }
    if ((finding.refcount == 1) == entry->is_set)
        return Q2_OK;
    if (!entry->is_set)
        c->result.copied_missing++;
    report(c, &finding);
    return Q2_OK;
}

static void walk_copied(struct check *c)
{
    struct q2_copied_walk walk = {.references = &c->references, .visit = check_copied};

    c->copied_pass = true;
    (void)q2_copied_walk(&walk, c->image->l1_table_offset, c->image->l1_size);
}

static enum q2_status check_possible(struct q2_disk *disk)
{
    const struct q2_image *image = &disk->layers[0];
    const struct q2_header *header = &image->header;
    uint64_t length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    if (image->format != Q2_FORMAT_QCOW2)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "a raw image has nothing to check",
                       image->source->path);
    if (image->is_snapshot)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "the check needs the image's active state",
                       image->source->path);
    if (!q2_range_fits(header->refcount_table_offset, length, image->source->size))
        return q2_fail_limit(&disk->fault, Q2_ERR_TRUNCATED,
                             "the refcount table ends past the end of the file",
                             image->source->path, "refcount_table_offset",
                             header->refcount_table_offset, image->source->size);
    return Q2_OK;
}

static enum q2_status run(struct check *c)
{
    struct q2_references *r = &c->references;
    uint32_t bits = c->image->rules.cluster_bits;

    for (uint64_t first = 0; first < r->nb_clusters; first += Q2_REFERENCES_WINDOW) {
        enum q2_status status;

        q2_references_window(r, first);
        status = count_all(c);
        if (status != Q2_OK)
            return status;
        compare(c);
    }
    walk_copied(c);
    c->result.total_clusters = q2_shift_up(c->image->virtual_size, bits);
    c->result.image_end_offset = (c->last_used + 1) << bits;
    return Q2_OK;
}

enum q2_status q2_disk_check(struct q2_disk *disk, struct q2_check_reporter *reporter,
                             struct q2_check_result *ret_result)
{
    struct check c = {.references = {.found = found, .seen = tally},
                      .image = &disk->layers[0],
                      .reporter = reporter};
    enum q2_status status = check_possible(disk);

    if (status != Q2_OK)
        return status;
    q2_references_start(&c.references, disk);
    status = run(&c);
    q2_disk_reset_decoded(disk);
    if (status == Q2_OK)
        *ret_result = c.result;
    return status;
}
