/* The consistency check.
 *
 * Beside the read path: q2_disk_check() -> slice_cache.c, refcount.c, snapshot.c, bitmap.c. Every
 * table is walked once per window of host clusters; what entries break is reported in the first
 * pass only. Invariant: the disk is as usable after a check as before.
 */
#include "q2_check.h"

#include "bitmap.h"
#include "disk.h"
#include "fault.h"
#include "format/bitmap_entry.h"
#include "format/bytes.h"
#include "format/header.h"
#include "memory.h"
#include "range.h"
#include "refcount.h"
#include "snapshot.h"

/* One check at work. */
struct check {
    struct q2_disk *disk;
    const struct q2_image *image;
    struct q2_check_reporter *reporter;
    struct q2_check_result result;
    uint64_t nb_clusters; /* host clusters in the file */
    uint64_t first;       /* of the window */
    bool first_pass;
    uint64_t last_used; /* highest host cluster in use so far */
};

/* An L2 table on its way through the check. */
struct table {
    uint64_t offset;
    uint64_t guest_offset; /* of its first entry */
    bool active;
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
static void report_entry(struct check *c, enum q2_check_kind kind, const char *what,
                         uint64_t offset)
{
    struct q2_check_finding finding = {.kind = kind, .what = what, .offset = offset};

    if (c->first_pass || (kind == Q2_CHECK_UNREADABLE && c->result.check_errors == 0))
        report(c, &finding);
}

/* Count a reference to each host cluster of a range. named_at: the entry that makes it. */
static void count(struct check *c, uint64_t offset, uint64_t length, uint64_t named_at)
{
    uint32_t bits = c->image->rules.cluster_bits;
    uint64_t index = offset >> bits, last;

    if (length == 0)
        return;
    if (!q2_range_fits(offset, length, c->nb_clusters << bits)) {
        report_entry(c, Q2_CHECK_ENTRY, "reference past the end of the file", named_at);
        return;
    }
    last = (offset + length - 1) >> bits;
    index = index > c->first ? index : c->first;
    for (; index <= last && index - c->first < Q2_CHECK_WINDOW; index++) {
        uint32_t *references = &c->disk->counts.references[index - c->first];
        if (*references < UINT32_MAX)
            ++*references;
    }
}

static bool entry_read(struct check *c, uint64_t offset, uint64_t *ret_entry)
{
    be64 entry;

    if (q2_slice_read(&c->disk->slices, c->image->source, offset, &entry, sizeof(entry)) != Q2_OK) {
        report_entry(c, Q2_CHECK_UNREADABLE, "table entry cannot be read", offset);
        return false;
    }
    *ret_entry = q2_be64_get(entry);
    return true;
}

static bool cluster_read(struct check *c, const struct table *table, uint64_t index,
                         struct q2_cluster *ret_cluster)
{
    const struct q2_image *image = c->image;
    uint64_t offset = table->offset + (index << image->entry_bits);
    uint64_t entry, bitmap = 0;

    if (!entry_read(c, offset, &entry))
        return false;
    if (image->rules.extended && !entry_read(c, offset + 8, &bitmap))
        return false;
    q2_l2_entry_decode(entry, bitmap, table->guest_offset + (index << image->rules.cluster_bits),
                       &image->rules, ret_cluster);
    return true;
}

/* Statistics of the active state, in the terms of qemu-img check: a compressed cluster counts as
 * fragmented, any other one if it does not follow the one before in its table. */
static void tally(struct check *c, const struct q2_cluster *cluster, uint64_t *next_offset)
{
    struct q2_check_result *result = &c->result;

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

/* Count what one L2 entry refers to. */
static void count_cluster(struct check *c, const struct q2_cluster *cluster, uint64_t named_at)
{
    uint64_t sector_start = cluster->host_offset & ~511ull;

    if (cluster->kind == Q2_CLUSTER_COMPRESSED) {
        if (cluster->copied)
            report_entry(c, Q2_CHECK_ENTRY, "COPIED flag on a compressed cluster", named_at);
        count(c, sector_start, cluster->host_offset % 512 + cluster->stream_length, named_at);
    } else if (!c->image->rules.external_data) {
        count(c, cluster->host_offset, 1ull << c->image->rules.cluster_bits, named_at);
    }
}

static void walk_l2(struct check *c, const struct table *table)
{
    const struct q2_image *image = c->image;
    uint64_t next_offset = 0;

    for (uint64_t i = 0; i < 1ull << image->l2_bits; i++) {
        uint64_t named_at = table->offset + (i << image->entry_bits);
        struct q2_cluster cluster;

        if (!cluster_read(c, table, i, &cluster))
            return;
        if (cluster.kind == Q2_CLUSTER_BAD) {
            report_entry(c, Q2_CHECK_ENTRY, cluster.breach, named_at);
            continue;
        }
        if (!cluster.has_host_offset)
            continue;
        if (c->first_pass && table->active)
            tally(c, &cluster, &next_offset);
        count_cluster(c, &cluster, named_at);
    }
}

/* Find the L2 table that L1 entry index names; false if there is none to walk. */
static bool table_read(struct check *c, uint64_t l1_offset, uint64_t index, struct table *ret_table,
                       uint64_t *ret_entry)
{
    uint64_t named_at = l1_offset + index * 8;
    uint64_t table = 0;
    const char *breach;

    if (!entry_read(c, named_at, ret_entry))
        return false;
    breach = q2_l1_entry_decode(*ret_entry, c->image->rules.cluster_bits, &table);
    if (breach)
        report_entry(c, Q2_CHECK_ENTRY, breach, named_at);
    ret_table->offset = table;
    ret_table->guest_offset = index << q2_header_l1_reach_bits(&c->image->header);
    return table != 0;
}

static void walk_l1(struct check *c, uint64_t l1_offset, uint32_t l1_size, bool active)
{
    struct table table = {.active = active};
    uint64_t entry;

    count(c, l1_offset, (uint64_t)l1_size * 8, l1_offset);
    if (!q2_range_fits(l1_offset, (uint64_t)l1_size * 8, c->image->source->size))
        return;
    for (uint32_t i = 0; i < l1_size; i++) {
        if (!table_read(c, l1_offset, i, &table, &entry))
            continue;
        count(c, table.offset, 1ull << c->image->rules.cluster_bits, l1_offset + i * 8ull);
        if (table.offset < c->image->source->size)
            walk_l2(c, &table);
    }
}

static enum q2_status walk_snapshots(struct check *c)
{
    const struct q2_header *header = &c->image->header;
    struct q2_snapshot *snapshot = &c->disk->snapshot;
    struct q2_snapshot_walk walk = {0};

    for (uint32_t i = 0; i < header->nb_snapshots; i++) {
        enum q2_status status =
            q2_snapshot_next(&c->disk->slices, c->image, &walk, &c->disk->fault, snapshot);
        if (status != Q2_OK)
            return status;
        if (snapshot->l1_size > Q2_MAX_L1_ENTRIES ||
            !q2_is_aligned(snapshot->l1_table_offset, header->cluster_bits))
            report_entry(c, Q2_CHECK_ENTRY, "a snapshot's L1 table breaks the specification",
                         header->snapshots_offset);
        else
            walk_l1(c, snapshot->l1_table_offset, snapshot->l1_size, false);
    }
    count(c, header->snapshots_offset, walk.offset, header->snapshots_offset);
    return Q2_OK;
}

static void walk_bitmap(struct check *c, const struct q2_bitmap *bitmap)
{
    uint64_t cluster_size = 1ull << c->image->rules.cluster_bits;

    count(c, bitmap->table_offset, bitmap->table_size * 8ull, bitmap->table_offset);
    for (uint32_t i = 0; i < bitmap->table_size; i++) {
        uint64_t named_at = bitmap->table_offset + i * 8ull;
        uint64_t entry;

        if (!entry_read(c, named_at, &entry))
            return;
        if (entry & Q2_BITMAP_TABLE_RESERVED)
            report_entry(c, Q2_CHECK_ENTRY, "bitmap table entry has a reserved bit set", named_at);
        else if (entry & Q2_BITMAP_TABLE_OFFSET)
            count(c, entry & Q2_BITMAP_TABLE_OFFSET, cluster_size, named_at);
    }
}

/* Bitmaps count only while their autoclear bit says that they are kept. */
static enum q2_status walk_bitmaps(struct check *c)
{
    struct q2_bitmap_walk walk = {0};
    struct q2_bitmap *bitmap = &c->disk->bitmap;
    enum q2_status status = Q2_OK;

    if (!(c->image->header.autoclear_features & Q2_AUTOCLEAR_BITMAPS))
        return Q2_OK;
    status = q2_bitmap_directory_check(c->image, &c->disk->fault);
    for (uint32_t i = 0; i < c->image->nb_bitmaps && status == Q2_OK; i++) {
        status = q2_bitmap_next(&c->disk->slices, c->image, &walk, &c->disk->fault, bitmap);
        if (status == Q2_OK)
            walk_bitmap(c, bitmap);
    }
    if (status == Q2_OK)
        count(c, c->image->bitmaps_offset, c->image->nb_bitmaps ? c->image->bitmaps_length : 0,
              c->image->bitmaps_offset);
    return status;
}

static void walk_refcounts(struct check *c)
{
    const struct q2_header *header = &c->image->header;
    uint64_t length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    count(c, header->refcount_table_offset, length, header->refcount_table_offset);
    for (uint64_t i = 0; i < length / 8; i++) {
        uint64_t named_at = header->refcount_table_offset + i * 8;
        uint64_t entry;

        if (!entry_read(c, named_at, &entry))
            return;
        if ((entry & ~Q2_REFCOUNT_TABLE_OFFSET) || !q2_is_aligned(entry, header->cluster_bits))
            report_entry(c, Q2_CHECK_ENTRY, "refcount table entry breaks the specification",
                         named_at);
        else if (entry != 0)
            count(c, entry, 1ull << header->cluster_bits, named_at);
    }
}

/* Everything that refers to a host cluster. */
static enum q2_status count_all(struct check *c)
{
    const struct q2_image *image = c->image;
    enum q2_status status;

    count(c, 0, 1ull << image->rules.cluster_bits, 0);
    walk_l1(c, image->l1_table_offset, image->l1_size, true);
    status = walk_snapshots(c);
    if (status == Q2_OK)
        status = walk_bitmaps(c);
    if (status != Q2_OK)
        return status;
    count(c, image->encryption_offset, image->encryption_length, image->encryption_offset);
    walk_refcounts(c);
    return Q2_OK;
}

static bool refcount_read(struct check *c, uint64_t index, uint64_t *ret_refcount)
{
    enum q2_status status = q2_refcount_get(&c->disk->slices, c->image, index, ret_refcount);
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
    for (uint64_t i = 0; i < Q2_CHECK_WINDOW && c->first + i < c->nb_clusters; i++) {
        uint64_t index = c->first + i, refcount;
        uint64_t references = c->disk->counts.references[i];
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

/* COPIED must say whether the refcount is exactly 1; clusters of an external data file have no
 * refcount and count as 1. */
static void check_copied(struct check *c, uint64_t host_offset, bool external, bool copied,
                         uint64_t named_at)
{
    uint64_t refcount = 1;
    struct q2_check_finding finding = {
        .kind = Q2_CHECK_COPIED, .what = "COPIED flag and refcount disagree", .offset = named_at};

    if (!external &&
        q2_refcount_get(&c->disk->slices, c->image, host_offset >> c->image->rules.cluster_bits,
                        &refcount) != Q2_OK) {
        report_entry(c, Q2_CHECK_UNREADABLE, "refcount cannot be read", named_at);
        return;
    }
    finding.refcount = refcount;
    if ((refcount == 1) != copied)
        report(c, &finding);
}

static void walk_copied_l2(struct check *c, const struct table *table)
{
    const struct q2_image *image = c->image;

    for (uint64_t i = 0; i < 1ull << image->l2_bits; i++) {
        struct q2_cluster cluster;

        if (!cluster_read(c, table, i, &cluster))
            return;
        if (cluster.has_host_offset &&
            (cluster.kind == Q2_CLUSTER_DATA || cluster.kind == Q2_CLUSTER_ZERO))
            check_copied(c, cluster.host_offset, image->rules.external_data, cluster.copied,
                         table->offset + (i << image->entry_bits));
    }
}

static void walk_copied(struct check *c)
{
    const struct q2_image *image = c->image;
    struct table table = {.active = true};
    uint64_t entry;

    for (uint32_t i = 0; i < image->l1_size; i++) {
        if (!table_read(c, image->l1_table_offset, i, &table, &entry))
            continue;
        check_copied(c, table.offset, false, (entry & Q2_ENTRY_COPIED) != 0,
                     image->l1_table_offset + i * 8ull);
        if (table.offset < image->source->size)
            walk_copied_l2(c, &table);
    }
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
    uint32_t bits = c->image->rules.cluster_bits;

    for (c->first = 0; c->first < c->nb_clusters; c->first += Q2_CHECK_WINDOW) {
        uint64_t nb = q2_min_u64(Q2_CHECK_WINDOW, c->nb_clusters - c->first);
        enum q2_status status;

        memset(c->disk->counts.references, 0, nb * sizeof(c->disk->counts.references[0]));
        c->first_pass = c->first == 0;
        status = count_all(c);
        if (status != Q2_OK)
            return status;
        compare(c);
    }
    c->first_pass = false;
    walk_copied(c);
    c->result.total_clusters = q2_shift_up(c->image->virtual_size, bits);
    c->result.image_end_offset = (c->last_used + 1) << bits;
    return Q2_OK;
}

enum q2_status q2_disk_check(struct q2_disk *disk, struct q2_check_reporter *reporter,
                             struct q2_check_result *ret_result)
{
    struct check c = {.disk = disk, .image = &disk->layers[0], .reporter = reporter};
    enum q2_status status = check_possible(disk);

    if (status != Q2_OK)
        return status;
    c.nb_clusters = q2_shift_up(c.image->source->size, c.image->rules.cluster_bits);
    status = run(&c);
    q2_disk_reset_decoded(disk);
    if (status == Q2_OK)
        *ret_result = c.result;
    return status;
}
