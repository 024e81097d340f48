/* The consistency check.
 *
 * May call count.c, references.c, copied.c and core/read/refcount.c. Every table is walked once per
 * window of host clusters; what entries break is reported in the first pass only. Invariant: the
 * disk is as usable after a check as before.
 */
#include "q2_check.h"

#include "copied.h"
#include "count.h"
#include "core/read/disk.h"
#include "q2_fail.h"
#include "core/base/range.h"
#include "core/read/refcount.h"

/* About so many times the reporter hears of progress. */
#define NB_TOLD 100u

/* One check at work. */
struct check {
    struct q2_references references;
    const struct q2_image *image;
    struct q2_check_reporter *reporter;
    struct q2_check_result result;
    uint64_t last_used; /* highest host cluster in use so far */
    bool copied_pass, overlap_pass;
    uint64_t nb_steps;             /* that references are counted in */
    uint64_t nb_flags;             /* COPIED flags looked at so far */
    uint64_t next_to_tell;         /* progress that is worth a word */
    uint64_t row[Q2_REFCOUNT_ROW]; /* refcounts of the clusters from row_first on */
    uint64_t row_first;            /* UINT64_MAX: of none */
};

static void report(struct check *c, const struct q2_check_finding *finding)
{
    if (finding->kind == Q2_CHECK_LEAK)
        c->result.leaks++;
    else if (finding->kind == Q2_CHECK_UNREADABLE)
        c->result.check_errors++;
    else
        c->result.corruptions++;
    if (finding->what == q2_snapshot_incomplete)
        c->result.snapshots_incomplete++;
    if (c->reporter)
        c->reporter->report(c->reporter, finding);
}

/* How far the check is, in clusters that are gone through twice: once to count references, and once
 * for the COPIED flags. */
static void tell_progress(struct check *c, uint64_t done)
{
    uint64_t total = 2 * c->nb_steps;

    if (!c->reporter || !c->reporter->progress || done < c->next_to_tell || done > total)
        return;
    c->next_to_tell = done + 1 + total / NB_TOLD;
    c->reporter->progress(c->reporter, done, total);
}

/* An image has about as many entries in use as host clusters; beside an external data file, as the
 * disk has clusters. */
static uint64_t count_steps(const struct check *c)
{
    uint64_t nb = c->references.nb_clusters;

    if (!c->image->rules.external_data)
        return nb;
    return q2_max_u64(nb, q2_shift_up(c->image->virtual_size, c->image->rules.cluster_bits));
}

/* Those of the windows up to the one that begins with cluster `first`. */
static uint64_t steps_up_to(const struct check *c, uint64_t first)
{
    uint64_t end = first + Q2_REFERENCES_WINDOW;

    return end < c->references.nb_clusters ? end : c->nb_steps;
}

/* An entry that is wrong in itself: every pass meets it, the first one reports it. A read that
 * fails in a later pass only must not pass as a clean check. */
static void found(struct q2_references *r, enum q2_check_kind kind, const char *what,
                  uint64_t offset)
{
    struct check *c = (struct check *)r;
    struct q2_check_finding finding = {.kind = kind, .what = what, .offset = offset};
    bool first = (r->first == 0 || c->overlap_pass) && !c->copied_pass;

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

    result->allocated_clusters++;
    tell_progress(c, q2_min_u64(result->allocated_clusters, steps_up_to(c, 0)));
    if (cluster->kind == Q2_CLUSTER_COMPRESSED) {
        result->compressed_clusters++;
        result->fragmented_clusters++;
        return;
    }
    if (*next_offset != 0 && cluster->host_offset != *next_offset)
        result->fragmented_clusters++;
    *next_offset = cluster->host_offset + (1ull << c->image->rules.cluster_bits);
}

/* Have the row that holds a cluster's refcount; false: it is not readable as a whole. */
static bool take_row(struct check *c, uint64_t index)
{
    uint64_t first = index - index % Q2_REFCOUNT_ROW;

    if (c->row_first == first)
        return true;
    if (!q2_refcount_row(&c->references.disk->slices, c->image, first, c->row))
        return false;
    c->row_first = first;
    return true;
}

static bool refcount_read(struct check *c, uint64_t index, uint64_t *ret_refcount)
{
    struct q2_check_finding finding = {.kind = Q2_CHECK_UNREADABLE,
                                       .what = q2_refcount_unreadable,
                                       .offset = index << c->image->rules.cluster_bits};

    if (take_row(c, index)) {
        *ret_refcount = c->row[index % Q2_REFCOUNT_ROW];
        return true;
    }
    if (q2_refcount_get(&c->references.disk->slices, c->image, index, ret_refcount) == Q2_OK)
        return true;
    report(c, &finding);
    return false;
}

/* A change of the table would change what else the cluster is, and the other way round, whatever
 * its refcount says. */
static void check_uses(struct check *c, uint64_t index)
{
    struct q2_check_finding finding = {
        .kind = Q2_CHECK_ENTRY,
        .what = q2_references_two_uses(&c->references, index),
        .offset = index << c->image->rules.cluster_bits,
    };

    if (finding.what)
        report(c, &finding);
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
        check_uses(c, index);
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

static enum q2_status refcount_of(struct check *c, const struct q2_copied_entry *entry,
                                  uint64_t *ret_refcount)
{
    uint64_t index = entry->host_offset >> c->image->rules.cluster_bits;

    if (c->image->rules.external_data || !take_row(c, index))
        return q2_copied_refcount(c->references.disk, entry, ret_refcount);
    *ret_refcount = c->row[index % Q2_REFCOUNT_ROW];
    return Q2_OK;
}

/* COPIED must say whether the refcount is exactly 1. */
static enum q2_status check_copied(struct q2_copied_walk *walk, const struct q2_copied_entry *entry)
{
    struct check *c = (struct check *)walk->references;
    struct q2_check_finding finding = {.kind = Q2_CHECK_COPIED,
                                       .what = "COPIED flag and refcount disagree",
                                       .offset = entry->named_at};
    enum q2_status status;

    tell_progress(c, c->nb_steps + q2_min_u64(++c->nb_flags, c->nb_steps - 1));
    if (entry->is_compressed)
        return Q2_OK; /* the count has reported those */
    status = refcount_of(c, entry, &finding.refcount);
    if (status != Q2_OK) {
        found(&c->references, Q2_CHECK_UNREADABLE, q2_refcount_unreadable, entry->named_at);
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

        status = q2_count_window(r, first, true);
        if (status != Q2_OK)
            return status;
        c->overlap_pass = true;
        q2_count_overlaps(r);
        c->overlap_pass = false;
        compare(c);
        tell_progress(c, steps_up_to(c, first));
    }
    walk_copied(c);
    c->next_to_tell = 0;
    tell_progress(c, 2 * c->nb_steps);
    c->result.total_clusters = q2_shift_up(c->image->virtual_size, bits);
    c->result.image_end_offset = (c->last_used + 1) << bits;
    return Q2_OK;
}

enum q2_status q2_disk_check(struct q2_disk *disk, struct q2_check_reporter *reporter,
                             struct q2_check_result *ret_result)
{
    struct check c = {.references = {.found = found, .seen = tally},
                      .image = &disk->layers[0],
                      .row_first = UINT64_MAX,
                      .reporter = reporter};
    enum q2_status status = check_possible(disk);

    if (status != Q2_OK)
        return status;
    q2_references_start(&c.references, disk);
    c.nb_steps = count_steps(&c);
    status = run(&c);
    q2_disk_reset_decoded(disk);
    if (status == Q2_OK)
        *ret_result = c.result;
    return status;
}
