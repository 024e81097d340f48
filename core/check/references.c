/* Counting references to host clusters.
 *
 * May call core/read/slice_cache.c and core/format/. Invariant: nothing is counted outside the
 * window, and no entry makes the walk longer than references.h says.
 */
#include "references.h"

#include "core/read/disk.h"
#include "core/base/bytes.h"
#include "core/format/header.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/read/l1_gate.h"

const char q2_copied_on_compressed[] = "COPIED flag on a compressed cluster";
const char q2_l1_overlap[] = "L1 tables overlap";
const char q2_refcount_unreadable[] = "refcount cannot be read";

static const struct q2_image *image_of(const struct q2_references *r)
{
    return &r->disk->layers[0];
}

void q2_references_tell(struct q2_references *r, enum q2_check_kind kind, const char *what,
                        uint64_t offset)
{
    if (r->found)
        r->found(r, kind, what, offset);
}

/* Saturating, and the marks stay out of it. */
static void add(uint32_t *count, uint32_t nb)
{
    uint32_t most = ~Q2_REFERENCE_MARKS;

    *count =
        (*count & Q2_REFERENCE_MARKS) | (nb > most - (*count & most) ? most : (*count & most) + nb);
}

void q2_references_start(struct q2_references *r, struct q2_disk *disk)
{
    const struct q2_image *image = &disk->layers[0];

    r->disk = disk;
    r->nb_clusters = q2_shift_up(image->source->size, image->rules.cluster_bits);
    r->cluster_bits = image->rules.cluster_bits;
    r->first = 0;
    r->tables_first = 0;
    r->nb_l1_left = 0;
}

void q2_references_window(struct q2_references *r, uint64_t first)
{
    uint64_t nb = q2_min_u64(Q2_REFERENCES_WINDOW, r->nb_clusters - first);

    r->first = first;
    memset(r->disk->counts.references, 0, nb * sizeof(r->disk->counts.references[0]));
}

uint32_t q2_references_of(const struct q2_references *r, uint64_t index)
{
    return r->disk->counts.references[index - r->first] & ~Q2_REFERENCE_MARKS;
}

bool q2_references_only_table(const struct q2_references *r, uint64_t offset)
{
    uint64_t index = offset >> image_of(r)->rules.cluster_bits;

    return index >= r->first && index - r->first < Q2_REFERENCES_WINDOW && index < r->nb_clusters &&
           (r->disk->counts.references[index - r->first] & Q2_REFERENCE_MARKS) ==
               Q2_REFERENCE_TABLE;
}

const char *q2_references_two_uses(const struct q2_references *r, uint64_t index)
{
    uint32_t reference = r->disk->counts.references[index - r->first];
    uint64_t host_offset = index << r->cluster_bits;

    if ((reference & Q2_REFERENCE_SOLE) && q2_references_of(r, index) > 1) {
        if (index == 0)
            return "the header is also something else";
        return q2_ranges_overlap(host_offset, 1, image_of(r)->l1_table_offset,
                                 q2_shift_up(image_of(r)->l1_size * 8ull, r->cluster_bits)
                                     << r->cluster_bits)
                   ? "the L1 table is also something else"
                   : "a table of snapshots or keys is also something else";
    }
    return (reference & Q2_REFERENCE_TABLE) && (reference & Q2_REFERENCE_OTHER)
               ? "an L2 table is also something else"
               : NULL;
}

static void count(struct q2_references *r, uint64_t offset, uint64_t length, uint32_t times,
                  uint32_t mark, uint64_t named_at)
{
    uint32_t bits = image_of(r)->rules.cluster_bits;
    uint64_t index = offset >> bits, last;

    if (length == 0)
        return;
    if (!q2_range_fits(offset, length, r->nb_clusters << bits)) {
        q2_references_tell(r, Q2_CHECK_ENTRY, "reference past the end of the file", named_at);
        return;
    }
    last = (offset + length - 1) >> bits;
    index = index > r->first ? index : r->first;
    for (; index <= last && index - r->first < Q2_REFERENCES_WINDOW; index++) {
        add(&r->disk->counts.references[index - r->first], times);
        r->disk->counts.references[index - r->first] |= mark;
    }
}

void q2_references_range(struct q2_references *r, uint64_t offset, uint64_t length,
                         uint64_t named_at)
{
    count(r, offset, length, 1, Q2_REFERENCE_OTHER, named_at);
}

void q2_references_sole(struct q2_references *r, uint64_t offset, uint64_t length,
                        uint64_t named_at)
{
    count(r, offset, length, 1, Q2_REFERENCE_OTHER | Q2_REFERENCE_SOLE, named_at);
}

bool q2_references_entry(struct q2_references *r, uint64_t offset, uint64_t *ret_entry)
{
    be64 entry;
    enum q2_status status =
        q2_slice_read(&r->disk->slices, image_of(r)->source, offset, &entry, sizeof(entry));

    if (status != Q2_OK) {
        r->status = status;
        q2_references_tell(r, Q2_CHECK_UNREADABLE, "table entry cannot be read", offset);
        return false;
    }
    *ret_entry = q2_be64_get(entry);
    return true;
}

bool q2_references_cluster(struct q2_references *r, uint64_t table, uint64_t index,
                           uint64_t guest_offset, struct q2_cluster *ret_cluster)
{
    const struct q2_image *image = image_of(r);
    uint64_t offset = table + (index << image->entry_bits);
    uint64_t entry, bitmap = 0;

    if (!q2_references_entry(r, offset, &entry))
        return false;
    if (image->rules.extended && !q2_references_entry(r, offset + 8, &bitmap))
        return false;
    q2_l2_entry_decode(entry, bitmap, guest_offset, &image->rules, ret_cluster);
    return true;
}

/* Count what one L2 entry refers to. */
static void count_cluster(struct q2_references *r, const struct q2_cluster *cluster, uint32_t times,
                          uint64_t named_at)
{
    uint64_t sector_start = cluster->host_offset & ~511ull;

    if (cluster->kind == Q2_CLUSTER_COMPRESSED) {
        if (cluster->copied)
            q2_references_tell(r, Q2_CHECK_ENTRY, q2_copied_on_compressed, named_at);
        count(r, sector_start, cluster->host_offset % 512 + cluster->stream_length, times,
              Q2_REFERENCE_OTHER, named_at);
    } else if (!image_of(r)->rules.external_data) {
        count(r, cluster->host_offset, 1ull << image_of(r)->rules.cluster_bits, times,
              Q2_REFERENCE_OTHER, named_at);
    }
}

bool q2_references_row(struct q2_references *r, uint64_t table, uint64_t index,
                       be64 ret_row[Q2_REFERENCES_ROW])
{
    const struct q2_image *image = image_of(r);

    return !image->rules.external_data && !image->rules.extended &&
           q2_slice_read(&r->disk->slices, image->source, table + index * 8, ret_row,
                         Q2_REFERENCES_ROW * sizeof(ret_row[0])) == Q2_OK;
}

/* One L2 table that is counted. */
struct table_count {
    uint64_t table, guest_offset;
    uint64_t next_offset; /* for seen() */
    uint32_t times;
    bool active;
};

/* Count the plain entries that a row begins with; returns how many. */
static uint32_t count_plain(struct q2_references *r, struct table_count *t,
                            const be64 row[Q2_REFERENCES_ROW], uint32_t from)
{
    uint32_t *counts = r->disk->counts.references, n = from;
    bool told = t->active && r->seen && r->first == 0;
    uint32_t bits = image_of(r)->rules.cluster_bits;
    struct q2_cluster cluster = {.kind = Q2_CLUSTER_DATA, .has_host_offset = true};
    uint64_t i;

    for (; n < Q2_REFERENCES_ROW && q2_references_plain(r, row[n], &cluster.host_offset); n++) {
        if (cluster.host_offset == 0)
            continue;
        if (told)
            r->seen(r, &cluster, &t->next_offset);
        i = (cluster.host_offset >> bits) - r->first;
        if (i >= Q2_REFERENCES_WINDOW)
            continue;
        add(&counts[i], t->times);
        counts[i] |= Q2_REFERENCE_OTHER;
    }
    return n - from;
}

/* Any entry; false: it cannot be read. */
static bool count_entry(struct q2_references *r, struct table_count *t, uint64_t index)
{
    const struct q2_image *image = image_of(r);
    uint64_t named_at = t->table + (index << image->entry_bits);
    struct q2_cluster cluster;

    if (!q2_references_cluster(r, t->table, index,
                               t->guest_offset + (index << image->rules.cluster_bits), &cluster))
        return false;
    if (cluster.kind == Q2_CLUSTER_BAD) {
        q2_references_tell(r, Q2_CHECK_ENTRY, cluster.breach, named_at);
    } else if (cluster.has_host_offset) {
        if (t->active && r->seen && r->first == 0)
            r->seen(r, &cluster, &t->next_offset);
        count_cluster(r, &cluster, t->times, named_at);
    }
    return true;
}

/* Count what an L2 table refers to, once for each L1 entry that names it. */
static void count_l2(struct q2_references *r, uint64_t table, uint64_t guest_offset, uint32_t times,
                     bool active)
{
    struct table_count t = {
        .table = table, .guest_offset = guest_offset, .times = times, .active = active};
    uint64_t nb = 1ull << image_of(r)->l2_bits;
    be64 row[Q2_REFERENCES_ROW];

    for (uint64_t i = 0; i < nb; i += Q2_REFERENCES_ROW) {
        bool held = q2_references_row(r, table, i, row);

        for (uint32_t n = 0; n < Q2_REFERENCES_ROW; n++) {
            n += held ? count_plain(r, &t, row, n) : 0;
            if (n < Q2_REFERENCES_ROW && !count_entry(r, &t, i + n))
                return;
        }
    }
}

void q2_references_tables_window(struct q2_references *r, uint64_t tables_first)
{
    uint64_t nb = q2_min_u64(Q2_TABLES_WINDOW, r->nb_clusters - tables_first);

    r->tables_first = tables_first;
    r->nb_l1_left = image_of(r)->source->size / 8;
    memset(r->disk->counts.tables, 0, nb * sizeof(r->disk->counts.tables[0]));
}

/* An L1 entry names a table of this window. Clusters of an external data file are stored at their
 * guest offset, which only the L1 entry's place tells: such a table is counted at once. Those
 * images have one L1 table, and it names no more L2 tables than the file has clusters. */
static void mark(struct q2_references *r, uint64_t table, uint64_t guest_offset, bool active,
                 uint64_t *nb_tables)
{
    const struct q2_image *image = image_of(r);
    uint64_t index = table >> image->rules.cluster_bits;

    if (index < r->tables_first || index - r->tables_first >= Q2_TABLES_WINDOW)
        return;
    if (image->rules.external_data) {
        if ((*nb_tables)++ < r->nb_clusters)
            count_l2(r, table, guest_offset, 1, active);
        return;
    }
    add(&r->disk->counts.tables[index - r->tables_first], 1);
    if (active)
        r->disk->counts.tables[index - r->tables_first] |= Q2_TABLE_ACTIVE;
}

/* How many entries of an L1 table to walk. */
static uint32_t l1_bound(struct q2_references *r, uint64_t l1_offset, uint32_t l1_size)
{
    if (l1_size > r->nb_l1_left) {
        if (r->tables_first == 0)
            q2_references_tell(r, Q2_CHECK_ENTRY, q2_l1_overlap, l1_offset);
        l1_size = (uint32_t)r->nb_l1_left;
    }
    r->nb_l1_left -= l1_size;
    return l1_size;
}

void q2_references_l1(struct q2_references *r, uint64_t l1_offset, uint32_t l1_size, bool active)
{
    const struct q2_image *image = image_of(r);
    uint32_t reach_bits = q2_header_l1_reach_bits(&image->header);
    uint64_t nb_tables = 0;

    if (!q2_range_fits(l1_offset, l1_size * 8ull, image->source->size))
        return; /* whoever counts the table's own clusters says so */
    l1_size = l1_bound(r, l1_offset, l1_size);
    for (uint32_t i = 0; i < l1_size; i++) {
        uint64_t named_at = l1_offset + i * 8ull, table = 0, entry;
        const char *breach = NULL;

        if (!q2_references_entry(r, named_at, &entry))
            return;
        if (q2_l1_gate(image, entry, &table, &breach) != Q2_OK && r->tables_first == 0)
            q2_references_tell(r, Q2_CHECK_ENTRY, breach, named_at);
        if (table == 0)
            continue;
        if (r->tables_first == 0)
            count(r, table, 1ull << image->rules.cluster_bits, 1, Q2_REFERENCE_TABLE, named_at);
        mark(r, table, (uint64_t)i << reach_bits, active, &nb_tables);
    }
}

void q2_references_l2s(struct q2_references *r)
{
    uint64_t nb = q2_min_u64(Q2_TABLES_WINDOW, r->nb_clusters - r->tables_first);

    for (uint64_t i = 0; i < nb; i++) {
        uint32_t times = r->disk->counts.tables[i];

        if (times != 0)
            count_l2(r, (r->tables_first + i) << image_of(r)->rules.cluster_bits, 0,
                     times & ~Q2_TABLE_ACTIVE, (times & Q2_TABLE_ACTIVE) != 0);
    }
}

void q2_references_tree(struct q2_references *r, uint64_t l1_offset, uint32_t l1_size, bool active)
{
    for (uint64_t first = 0; first < r->nb_clusters; first += Q2_TABLES_WINDOW) {
        q2_references_tables_window(r, first);
        q2_references_l1(r, l1_offset, l1_size, active);
        q2_references_l2s(r);
    }
}
