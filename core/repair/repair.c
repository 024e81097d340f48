/* Mending what the check finds.
 *
 * Beside the data path: q2_disk_repair() -> core/check/ to know, rebuild.c and core/write/ to mend.
 * Invariant: what guests read never changes; a refcount falls only when every reference is known,
 * and only after all that are too low have risen, durably.
 */
#include "q2_check.h"

#include "core/write/order.h"
#include "core/write/copied_fix.h"
#include "core/check/count.h"
#include "core/read/disk.h"
#include "core/read/l1_gate.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "core/write/header_change.h"
#include "core/base/range.h"
#include "rebuild.h"
#include "core/write/refcount_write.h"
#include "core/write/slice_write.h"
#include "core/write/snapshot_extra.h"

/* One repair at work. */
struct repair {
    struct q2_references references;
    struct q2_disk *disk;
    struct q2_check_reporter *reporter;
    struct q2_repair_result result;
    enum q2_status broken; /* met while mending: the image cannot be read as before */
    uint64_t broken_at;
};

/* What the check has found, by what it takes to mend it. */
struct survey {
    struct q2_check_reporter reporter;
    struct q2_disk *disk;
    uint64_t nb_too_low, nb_structure, nb_mendable, nb_entries, nb_snapshot;
    bool block_missing;
    bool unknown_entries, unknown_refcounts; /* some cannot be read */
    bool unknown_snapshots;                  /* some are past the limit */
};

static const struct q2_image *top_of(const struct repair *p)
{
    return &p->disk->layers[0];
}

/* Is there a table that the check cannot follow? What that refers to is not known: it may be a
 * table that the check took for a table alone. */
static bool hides_references(const struct q2_check_finding *finding)
{
    const char *const hiding[] = {q2_l1_reserved, q2_l1_unaligned, q2_l1_on_table, q2_l1_overlap,
                                  q2_snapshot_l1_broken};

    for (size_t i = 0; i < sizeof(hiding) / sizeof(hiding[0]); i++) {
        if (finding->what == hiding[i])
            return true;
    }
    return finding->kind == Q2_CHECK_UNREADABLE;
}

static void note(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct survey *s = (struct survey *)reporter;
    const struct q2_image *top = &s->disk->layers[0];
    uint64_t block;

    if (finding->kind == Q2_CHECK_STRUCTURE)
        s->nb_structure++;
    if (finding->kind == Q2_CHECK_ENTRY)
        s->nb_entries++;
    if (finding->kind == Q2_CHECK_SNAPSHOT)
        s->nb_snapshot++;
    if (finding->what == q2_snapshots_past_limit)
        s->unknown_snapshots = true;
    if (finding->what == q2_copied_on_compressed || finding->what == q2_l2_unaligned ||
        finding->what == q2_l2_copied_nowhere)
        s->nb_mendable++;
    if (finding->kind == Q2_CHECK_UNREADABLE && finding->what == q2_refcount_unreadable)
        s->unknown_refcounts = true;
    else if (hides_references(finding))
        s->unknown_entries = true;
    if (finding->kind != Q2_CHECK_REFCOUNT)
        return;
    s->nb_too_low++;
    if (q2_refcount_block(&s->disk->slices, top, finding->offset >> top->rules.cluster_bits,
                          &block) != Q2_OK ||
        block == 0)
        s->block_missing = true;
}

static enum q2_status look(struct q2_disk *disk, struct survey *s, struct q2_check_result *result)
{
    *s = (struct survey){.reporter = {.report = note}, .disk = disk};
    return q2_disk_check(disk, &s->reporter, result);
}

static void report(struct repair *p, enum q2_check_kind kind, const char *what, uint64_t offset,
                   uint64_t refcount, uint64_t references)
{
    struct q2_check_finding finding = {.kind = kind,
                                       .what = what,
                                       .offset = offset,
                                       .refcount = refcount,
                                       .references = references,
                                       .fixed = true};

    if (kind == Q2_CHECK_LEAK)
        p->result.leaks_fixed++;
    else
        p->result.corruptions_fixed++;
    if (p->reporter)
        p->reporter->report(p->reporter, &finding);
}

/* --- entries ---------------------------------------------------------------------------------- */

/* An allocated zero cluster without a right place: its place holds nothing that anybody reads. */
static enum q2_status drop_place(struct repair *p, uint64_t at, bool *ret_done)
{
    const struct q2_image *top = top_of(p);
    struct q2_slice_cache *slices = &p->disk->slices;
    be64 words[2] = {{{0}}, {{0}}};
    size_t length = (size_t)1 << top->entry_bits;
    uint64_t entry, bitmap;
    enum q2_status status = q2_slice_read(slices, top->source, at, words, length);

    entry = q2_be64_get(words[0]);
    bitmap = q2_be64_get(words[1]);
    *ret_done = status == Q2_OK &&
                (top->rules.extended ? (uint32_t)bitmap == 0
                                     : top->rules.version_3 && (entry & Q2_ENTRY_ZERO) != 0);
    if (!*ret_done)
        return status;
    words[0] = q2_be64_make((uint64_t)(top->rules.extended ? 0 : Q2_ENTRY_ZERO));
    return q2_slice_put(slices, top->source, at, words, length, Q2_DIRTY_L2);
}

static enum q2_status clear_copied(struct repair *p, uint64_t at, bool *ret_done)
{
    const struct q2_image *top = top_of(p);
    uint8_t byte;
    enum q2_status status = q2_slice_read(&p->disk->slices, top->source, at, &byte, 1);

    *ret_done = true;
    byte &= 0x7f;
    return status == Q2_OK ? q2_slice_put(&p->disk->slices, top->source, at, &byte, 1, Q2_DIRTY_L2)
                           : status;
}

/* Is the entry one of an L1 table, or of an L2 table to which nothing else refers? If a cluster is
 * an L2 table and guest data at the same time, a change of an entry would change that data. */
static bool may_write(struct q2_references *r, uint64_t named_at)
{
    const struct q2_image *top = &r->disk->layers[0];

    if (named_at >= top->l1_table_offset && named_at - top->l1_table_offset < top->l1_size * 8ull)
        return r->first == 0;
    return q2_references_only_table(r, named_at);
}

/* Each L2 entry is met once. No table is on other metadata, because q2_l1_gate() refuses those. */
static void mend_entry(struct q2_references *r, enum q2_check_kind kind, const char *what,
                       uint64_t offset)
{
    struct repair *p = (struct repair *)r;
    bool done = false;
    enum q2_status status = Q2_OK;

    if (kind == Q2_CHECK_UNREADABLE)
        status = r->status;
    else if (!may_write(r, offset))
        return;
    if (q2_slice_is_crowded(&p->disk->slices) && status == Q2_OK)
        status = q2_commit_kind(p->disk, Q2_DIRTY_L2);
    if (status == Q2_OK && (what == q2_l2_unaligned || what == q2_l2_copied_nowhere))
        status = drop_place(p, offset, &done);
    else if (status == Q2_OK && what == q2_copied_on_compressed)
        status = clear_copied(p, offset, &done);
    if (done && status == Q2_OK)
        report(p, Q2_CHECK_ENTRY, what, offset, 0, 0);
    if (status != Q2_OK && p->broken == Q2_OK) {
        p->broken = status;
        p->broken_at = offset;
    }
}

static enum q2_status judge(struct repair *p)
{
    if (p->broken == Q2_OK)
        return Q2_OK;
    return q2_fail_at(&p->disk->fault, p->broken, "the image cannot be repaired",
                      top_of(p)->source->path, p->broken_at);
}

/* Entries that are left as they are have been told of; what cannot be read now could be before. */
static void meet_entry(struct q2_references *r, enum q2_check_kind kind, const char *what,
                       uint64_t offset)
{
    struct repair *p = (struct repair *)r;

    (void)what;
    if (kind != Q2_CHECK_UNREADABLE || p->broken != Q2_OK)
        return;
    p->broken = r->status;
    p->broken_at = offset;
}

/* Count a window of references, with all entries readable. */
static enum q2_status count(struct repair *p, uint64_t first)
{
    enum q2_status status;

    p->references.found = meet_entry;
    status = q2_count_window(&p->references, first, true);
    return status == Q2_OK ? judge(p) : status;
}

static enum q2_status mend_entries(struct repair *p)
{
    struct q2_references *r = &p->references;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK;
         first += Q2_REFERENCES_WINDOW) {
        status = count(p, first);
        r->found = mend_entry;
        if (status == Q2_OK)
            status = q2_count_revisit(r);
        if (status == Q2_OK)
            status = judge(p);
    }
    return status == Q2_OK ? q2_commit(p->disk) : status;
}

/* --- refcounts -------------------------------------------------------------------------------- */

static enum q2_status mend_refcount(struct repair *p, uint64_t index, bool raise)
{
    const struct q2_image *top = top_of(p);
    uint64_t nb = q2_references_of(&p->references, index), refcount;
    uint64_t offset = index << top->rules.cluster_bits;
    enum q2_status status = q2_refcount_get(&p->disk->slices, top, index, &refcount);

    if (status == Q2_OK &&
        (refcount == nb || (refcount < nb) != raise || nb > q2_refcount_max(top)))
        return Q2_OK;
    if (status == Q2_OK && q2_slice_is_crowded(&p->disk->slices))
        status = q2_commit_kind(p->disk, Q2_DIRTY_REFCOUNT);
    if (status == Q2_OK && raise)
        status = q2_refcount_put(&p->disk->slices, top, index, nb);
    else if (status == Q2_OK)
        status = q2_refcount_lower(p->disk, index, refcount - nb);
    if (status != Q2_OK)
        return q2_fail_at(&p->disk->fault, status, "a refcount cannot be changed",
                          top->source->path, offset);
    report(p, raise ? Q2_CHECK_REFCOUNT : Q2_CHECK_LEAK,
           raise ? "refcount is too low" : "leaked cluster", offset, refcount, nb);
    return Q2_OK;
}

/* Raise or lower every refcount that is wrong, durably. */
static enum q2_status mend_refcounts(struct repair *p, bool raise)
{
    struct q2_references *r = &p->references;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK;
         first += Q2_REFERENCES_WINDOW) {
        uint64_t end = q2_min_u64(r->nb_clusters, first + Q2_REFERENCES_WINDOW);

        status = count(p, first);
        for (uint64_t index = first; index < end && status == Q2_OK; index++)
            status = mend_refcount(p, index, raise);
    }
    return status == Q2_OK ? q2_commit(p->disk) : status;
}

static void counted(struct q2_references *r, uint64_t index, uint64_t refcount,
                    uint64_t nb_references)
{
    struct repair *p = (struct repair *)r;

    if (refcount != nb_references)
        report(p, refcount < nb_references ? Q2_CHECK_REFCOUNT : Q2_CHECK_LEAK,
               refcount < nb_references ? "refcount is too low" : "leaked cluster",
               index << top_of(p)->rules.cluster_bits, refcount, nb_references);
}

/* Build the refcounts anew. Not while entries are wrong: they may name clusters past the end of the
 * file, where the new structure would be stored. */
static enum q2_status rebuild(struct repair *p, const struct survey *s)
{
    enum q2_status status;

    if (s->nb_entries > 0)
        return q2_fail_value(&p->disk->fault, Q2_ERR_CORRUPT,
                             "the refcounts cannot be built anew while entries are broken",
                             top_of(p)->source->path, "broken entries", s->nb_entries);
    p->references.found = meet_entry;
    status = q2_refcounts_rebuild(&p->references);
    p->result.corruptions_fixed += status == Q2_OK ? s->nb_structure : 0;
    q2_references_start(&p->references, p->disk); /* the file has grown */
    return status == Q2_OK ? judge(p) : status;
}

/* --- the snapshot table ----------------------------------------------------------------------- */

static void meet_snapshot(struct q2_references *r, enum q2_check_kind kind, const char *what,
                          uint64_t offset)
{
    if (kind == Q2_CHECK_SNAPSHOT)
        report((struct repair *)r, kind, what, offset, 0, 0);
}

/* The new table goes into free clusters, so no refcount may be too low by now. */
static enum q2_status mend_snapshots(struct repair *p)
{
    enum q2_status status;

    p->references.found = meet_snapshot;
    status = q2_count_window(&p->references, 0, true);
    if (status == Q2_OK)
        status = q2_snapshots_complete(p->disk);
    q2_references_start(&p->references, p->disk); /* the file may have grown */
    return status;
}

/* --- COPIED flags ----------------------------------------------------------------------------- */

static void mended_flag(struct q2_references *r, uint64_t named_at, uint64_t refcount)
{
    report((struct repair *)r, Q2_CHECK_COPIED, "COPIED flag and refcount disagree", named_at,
           refcount, 0);
}

/* A flag must not be set while it is not known who else refers to the cluster. */
static enum q2_status mend_flags(struct repair *p, enum q2_copied_change change)
{
    const struct q2_image *top = top_of(p);
    struct q2_references *r = &p->references;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK;
         first += Q2_REFERENCES_WINDOW) {
        status = count(p, first);
        if (status == Q2_OK)
            status = q2_copied_fix(r, top->l1_table_offset, top->l1_size, change);
        if (status == Q2_OK)
            status = judge(p);
    }
    return status == Q2_OK ? q2_commit(p->disk) : status;
}

/* --- all of it -------------------------------------------------------------------------------- */

static enum q2_status begin(struct repair *p, struct q2_disk *disk,
                            struct q2_check_reporter *reporter)
{
    const struct q2_writer *writer = &disk->writer;
    enum q2_status status;

    *p = (struct repair){
        .references = {.may_write = may_write, .mended_flag = mended_flag, .counted = counted},
        .disk = disk,
        .reporter = reporter};
    if ((!writer->repairable && !writer->writable) || writer->latched)
        return q2_fail(&disk->fault, Q2_ERR_READ_ONLY,
                       writer->latched ? "the disk is read-only after a failed write" : NULL,
                       disk->layers[0].source->path);
    status = q2_commit(disk);
    q2_references_start(&p->references, disk);
    return status;
}

/* before: what the check found; s: how to mend it. */
static enum q2_status mend(struct repair *p, enum q2_repair what, struct q2_check_result *before,
                           struct survey *s)
{
    struct q2_check_result now = *before;
    bool corruption = what != Q2_REPAIR_LEAKS;
    enum q2_status status = q2_commit_names(p->disk); /* O7 */

    if (status == Q2_OK && corruption && s->nb_mendable > 0) {
        status = mend_entries(p);
        if (status == Q2_OK)
            status = look(p->disk, s, &now);
    }
    if (status == Q2_OK && corruption && (s->nb_structure > 0 || s->block_missing)) {
        status = rebuild(p, s);
        if (status == Q2_OK)
            status = look(p->disk, s, &now);
    }
    if (status == Q2_OK && corruption && s->nb_too_low > 0)
        status = mend_refcounts(p, true);
    if (status == Q2_OK && what == Q2_REPAIR_ALL && s->nb_snapshot > 0 &&
        s->nb_entries + s->nb_structure == 0)
        status = mend_snapshots(p); /* what a removed entry alone referred to is a leak by now */
    if (status == Q2_OK && now.leaks > 0 && s->nb_entries + s->nb_structure == 0)
        status = mend_refcounts(p, false);
    if (status != Q2_OK)
        return status;
    if (s->nb_entries + s->nb_structure == 0)
        return mend_flags(p, corruption ? Q2_COPIED_CORRECT : Q2_COPIED_SET);
    return corruption ? mend_flags(p, Q2_COPIED_CLEAR_WRONG) : Q2_OK;
}

/* (qcow2: "Header", incompatible features: dirty bit, corrupt bit) */
static enum q2_status mark_clean(struct q2_disk *disk)
{
    struct q2_header header = disk->layers[0].header;
    uint64_t before = header.incompatible_features;

    header.incompatible_features &= ~(Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT);
    if (header.incompatible_features == before)
        return Q2_OK;
    return q2_header_set(disk, &header,
                         Q2_HEADER_FIELDS(incompatible_features, incompatible_features));
}

/* What cannot be read may refer to anything, and so may a table that is not followed. Tables that
 * are guest data of such a table would be changed, and what they hold would be wrong when the entry
 * that hides them is right again. Refcounts that cannot be read, since the structure is broken, are
 * counted anew. Snapshots past the limit are listed until the table is written anew. */
static bool is_mendable(const struct survey *s, enum q2_repair what)
{
    return !s->unknown_entries && (!s->unknown_refcounts || s->nb_structure > 0) &&
           (!s->unknown_snapshots || what == Q2_REPAIR_ALL);
}

enum q2_status q2_disk_repair(struct q2_disk *disk, enum q2_repair what,
                              struct q2_check_reporter *reporter,
                              struct q2_repair_result *ret_result)
{
    struct q2_check_result before;
    struct repair p;
    struct survey s;
    enum q2_status status = begin(&p, disk, reporter);

    if (status == Q2_OK)
        status = look(disk, &s, &before);
    if (status != Q2_OK)
        return status;
    if (is_mendable(&s, what) && before.leaks + before.corruptions > 0)
        status = mend(&p, what, &before, &s);
    if (status == Q2_OK)
        status = q2_disk_check(disk, reporter, &p.result.left);
    q2_disk_reset_decoded(disk);
    if (status != Q2_OK)
        return status;
    if (p.result.left.corruptions + p.result.left.check_errors == 0)
        status = mark_clean(disk);
    if (status == Q2_OK)
        *ret_result = p.result;
    return status;
}
