/* Failing files: every geometry runs every script again and again; the n-th call of its files
 * fails, for every n (HAZARDS.md, W4, W5, W6; O10).
 *
 *   test_fail_nth [--full] [--stop] [PART ...]   PART selects cases by name
 *
 * Without --full some n are left out. Judged are: the request that met the failure reports it, what
 * it was to change is old or new in each sector, everything else is exact and readable, after a
 * failed flush the disk is read-only and else a second try succeeds; the files, as they are and
 * after power cuts, pass the check and hold what was flushed.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "tests/support/t.h"

/* How calls fail. */
struct mode {
    const char *name;
    unsigned calls;
    bool on; /* and every later one */
    enum q2_status status;
    bool evict; /* nothing stays in the cache that need not */
};

static const struct mode modes[] = {
    {"once", CRASH_ALL, false, Q2_ERR_IO, false},
    {"once, with a small cache", CRASH_ALL, false, Q2_ERR_IO, true},
    {"changes from then on", CRASH_CHANGES, true, Q2_ERR_IO, false},
    {"all from then on", CRASH_ALL, true, Q2_ERR_NO_MEDIA, false},
    {"no space once", CRASH_WRITE | CRASH_GROW, false, Q2_ERR_NO_SPACE, false},
};
#define NB_MODES (sizeof(modes) / sizeof(modes[0]))

/* About how many n are tried per case and mode, and after which of them the power is cut. */
static uint64_t nb_wanted = 2;
static uint64_t cuts_every = 80;

/* One run of a script. */
struct run {
    struct crash_visitor visitor;
    const struct subject *subject;
    struct bench *bench;
    const struct guest_op *ops;
    uint32_t nb_ops;
    const struct mode *mode;
    uint64_t n;
    struct model model;
    uint32_t safe;                   /* version of the last completed flush */
    uint32_t safe_at[MAX_OPS + 1];   /* the same before each operation */
    uint32_t newest_at[MAX_OPS + 1]; /* newest version after each operation */
    uint32_t op;
    bool had_error, latched;
    bool failed[MAX_OPS];
    char why[700];
};

static uint64_t total_runs, total_points;

static bool wrong(struct run *r, const char *what, enum q2_status status)
{
    if (r->why[0] == '\0')
        (void)snprintf(r->why, sizeof(r->why), "%s: %s at operation %u (%s)", what,
                       q2_status_name(status), r->op,
                       r->op < r->nb_ops ? op_text(&r->ops[r->op]) : "end");
    return false;
}

/* Read the disk with no read failing. */
static bool read_back(struct run *r)
{
    struct crash_log *log = &r->bench->log;
    unsigned calls = log->fail_calls;
    enum q2_status status;

    log->fail_calls = 0;
    status = model_read(r->subject, r->bench->disk, r->bench->content);
    log->fail_calls = calls;
    return status == Q2_OK || wrong(r, "the disk cannot be read", status);
}

/* An operation failed: its range is old or new, the rest is as it was. What was found is the next
 * version. */
static bool take_failed(struct run *r, const struct guest_op *op)
{
    const uint8_t *found = r->bench->content, *old = model_newest(&r->model), *new;
    uint64_t start, length;

    model_do(&r->model, op);
    new = model_newest(&r->model);
    op_range(op, r->subject, &start, &length);
    if (!read_back(r))
        return false;
    for (uint64_t at = 0; at < r->subject->model_size; at += 512) {
        bool inside = at >= start && at < start + length;
        if (memcmp(found + at, old + at, 512) == 0 ||
            (inside && memcmp(found + at, new + at, 512) == 0))
            continue;
        return wrong(r, inside ? "a sector is neither old nor new" : "another range has changed",
                     Q2_OK);
    }
    memcpy(model_add(&r->model), found, r->subject->model_size);
    return true;
}

/* May an operation have succeeded although calls of these kinds failed? Reads may be repeated. For
 * lack of room two kinds of calls may fail and be made again by core/write/alloc.c, after it asked
 * for fewer clusters or committed, which frees some: a GROW, and a WRITE of a refcount block that
 * is being made and that nothing names. (Of these scripts only 4k-refcount-64_burst meets that
 * WRITE.) What an external data file has past the disk's end is not needed, so its GROW may fail,
 * too. A failed write of guest data ends its request, one of metadata in use latches the disk. */
static bool may_be_hidden(const struct run *r, unsigned failed)
{
    if (r->mode->status == Q2_ERR_NO_SPACE)
        failed &= ~(unsigned)(CRASH_GROW | CRASH_WRITE);
    return (failed & CRASH_CHANGES) == 0;
}

/* After a failure that must latch, nothing is written any more. */
static bool check_latched(struct run *r)
{
    uint8_t sector[512] = {0};

    r->latched = true;
    if (q2_disk_write(r->bench->disk, 0, sector, sizeof(sector)) != Q2_ERR_READ_ONLY ||
        q2_disk_write_zeroes(r->bench->disk, 0, 4096) != Q2_ERR_READ_ONLY ||
        q2_disk_discard(r->bench->disk, 0, r->subject->cluster_size) != Q2_ERR_READ_ONLY ||
        q2_disk_flush(r->bench->disk) != Q2_ERR_READ_ONLY)
        return wrong(r, "the disk is not read-only after a failed flush", Q2_OK);
    return true;
}

static bool judge_success(struct run *r, const struct guest_op *op, unsigned failed)
{
    if (!may_be_hidden(r, failed))
        return wrong(r, "a failed call was not reported", Q2_OK);
    model_do(&r->model, op);
    if (op_is_durable(op->kind))
        r->safe = r->model.nb_versions - 1;
    return true;
}

static bool judge_error(struct run *r, const struct guest_op *op, enum q2_status status,
                        unsigned failed)
{
    if (status == Q2_ERR_READ_ONLY && r->had_error) {
        r->latched = true;
        return failed == 0 || wrong(r, "a read-only disk calls its files", status);
    }
    r->had_error = true;
    if (failed == 0)
        return wrong(r, "an error without a failed call", status);
    if (status != r->mode->status)
        return wrong(r, "another error than the file's", status);
    if (q2_disk_fault(r->bench->disk)->status != status)
        return wrong(r, "the fault tells of another error", q2_disk_fault(r->bench->disk)->status);
    if (!take_failed(r, op))
        return false;
    if (op->kind == OP_FLUSH || (failed & CRASH_FLUSH))
        return check_latched(r);
    return true;
}

/* A failure that is over: the same operation succeeds now, unless metadata was lost. */
static bool try_again(struct run *r, const struct guest_op *op)
{
    enum q2_status status = op_run(op, r->bench->disk, r->bench->buffer);

    if (status == Q2_ERR_READ_ONLY) {
        r->latched = true;
        return true;
    }
    if (status == Q2_ERR_NO_SNAPSHOT && op->kind == OP_DELETE)
        status = Q2_OK; /* it was gone before its clusters were given back */
    if (status != Q2_OK)
        return wrong(r, "the second try fails", status);
    return judge_success(r, op, 0);
}

static bool run_op(struct run *r)
{
    const struct guest_op *op = &r->ops[r->op];
    struct crash_log *log = &r->bench->log;
    bool latched = r->latched;
    enum q2_status status;
    bool ok;

    log->op = r->op;
    log->failed = 0;
    r->safe_at[r->op] = r->safe;
    status = op_run(op, r->bench->disk, r->bench->buffer);
    if (latched && status != Q2_ERR_READ_ONLY)
        return wrong(r, "the disk did not stay read-only", status);
    ok = status == Q2_OK ? judge_success(r, op, log->failed)
                         : judge_error(r, op, status, log->failed);
    if (ok && status != Q2_OK && !r->latched && !r->mode->on)
        ok = try_again(r, op);
    r->failed[r->op] = status != Q2_OK;
    r->newest_at[r->op] = r->model.nb_versions - 1;
    return ok;
}

/* May flags be clear that could be set? Where a snapshot operation was cut off. */
static bool lags(const struct run *r, uint32_t op)
{
    for (uint32_t i = 0; i < r->nb_ops && i <= op; i++) {
        if (r->ops[i].kind >= OP_CREATE && (i == op || r->failed[i]))
            return true;
    }
    return false;
}

/* Judge one power cut of the run. */
static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct run *r = (struct run *)visitor;
    struct crash_source own[CRASH_MAX_FILES];
    bool ok;

    memcpy(own, r->bench->sources, sizeof(own));
    for (uint32_t i = 0; i < state->nb_files; i++) {
        r->bench->sources[i].bytes = state->files[i].bytes;
        r->bench->sources[i].source.size = state->files[i].size;
    }
    total_points++;
    model_snapshots_at(&r->model, r->ops, r->nb_ops, r->failed, state->op);
    r->bench->flags_may_lag = lags(r, state->op);
    ok = bench_judge(r->bench, &r->model, r->safe_at[state->op], r->newest_at[state->op]);
    memcpy(r->bench->sources, own, sizeof(own));
    if (!ok)
        (void)snprintf(r->why, sizeof(r->why), "after a power cut at operation %u: %s", state->op,
                       r->bench->why);
    return ok;
}

/* The failure and then the power. */
static bool judge_cuts(struct run *r)
{
    const struct crash_bounds bounds = {.all_up_to = 2, .sample = 4, .tears = 0, .seed = r->n};
    const uint8_t *initial[CRASH_MAX_FILES];

    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        initial[i] = r->subject->files[i];
    crash_states_visit(&r->bench->log, initial, r->subject->sizes, r->subject->capacities,
                       r->subject->nb_files, r->nb_ops, &bounds, &r->visitor);
    return r->why[0] == '\0';
}

/* The disk in memory, then the files. */
static bool judge_end(struct run *r)
{
    struct bench *b = r->bench;
    enum q2_status status;

    b->log.fail_calls = 0;
    r->op = r->nb_ops;
    r->safe_at[r->op] = r->safe;
    r->newest_at[r->op] = r->model.nb_versions - 1;
    if (!read_back(r))
        return false;
    if (memcmp(b->content, model_newest(&r->model), r->subject->model_size) != 0)
        return wrong(r, "wrong content in the end", Q2_OK);
    model_snapshots_at(&r->model, r->ops, r->nb_ops, r->failed, r->nb_ops);
    b->flags_may_lag = lags(r, r->nb_ops);
    if (!bench_check(b)) {
        (void)snprintf(r->why, sizeof(r->why), "in memory: %s", b->why);
        return false;
    }
    status = q2_disk_flush(b->disk);
    if (status != (r->latched ? Q2_ERR_READ_ONLY : Q2_OK))
        return wrong(r, "the last flush", status);
    if (status == Q2_OK)
        r->safe = r->model.nb_versions - 1;
    bench_close(b);
    if (!bench_judge(b, &r->model, r->safe, r->model.nb_versions - 1)) {
        (void)snprintf(r->why, sizeof(r->why), "reopened: %s", b->why);
        return false;
    }
    return true;
}

/* Run with call n failing. ret_called: whether there was such a call. */
static bool run_n(struct run *r, bool cuts, bool *ret_called)
{
    struct bench *b = r->bench;
    bool ok = true;

    bench_reset(b);
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(r, "open", b->fault.status);
    if (r->mode->evict)
        bench_evict(b);
    model_restart(&r->model);
    r->safe = 0;
    r->had_error = r->latched = false;
    memset(r->failed, 0, sizeof(r->failed));
    b->log.recording = true;
    b->log.fail_calls = r->mode->calls;
    b->log.fail_at = r->n;
    b->log.fail_on = r->mode->on;
    b->log.fail_status = r->mode->status;
    b->log.torn = (enum crash_torn)(r->n % 3);
    b->log.nb_calls = 0;
    for (r->op = 0; r->op < r->nb_ops && ok; r->op++)
        ok = run_op(r);
    r->op -= ok ? 0 : 1;
    *ret_called = b->log.nb_calls >= r->n;
    b->log.recording = false;
    ok = ok && judge_end(r);
    if (ok && cuts)
        ok = judge_cuts(r);
    bench_close(b);
    total_runs++;
    return ok;
}

/* How many calls of a mode's kinds a run has without failures. */
static uint64_t count_calls(struct run *r)
{
    bool called;

    r->n = UINT64_MAX;
    return run_n(r, false, &called) ? r->bench->log.nb_calls : 0;
}

static bool run_mode(struct run *r)
{
    uint64_t nb = count_calls(r);
    uint64_t step = nb / nb_wanted > 0 ? nb / nb_wanted : 1;
    bool called = true, ok = nb > 0;

    for (uint64_t n = 1 + nb % step; ok && called; n += step) {
        r->n = n;
        ok = run_n(r, total_runs % cuts_every == 0, &called);
    }
    if (!ok)
        printf("# call %" PRIu64 " of %" PRIu64 " fails (%s): %s\n", r->n, nb, r->mode->name,
               r->why);
    return ok;
}

/* --- no room ---------------------------------------------------------------------------------- */

/* A snapshot that there was no room for cannot be found later. */
static bool create_failed(const struct run *r, uint32_t snapshot)
{
    for (uint32_t i = 0; i < r->op; i++) {
        if (r->ops[i].kind == OP_CREATE && r->ops[i].snapshot == snapshot)
            return r->failed[i];
    }
    return false;
}

/* A file that cannot grow past a limit (W5). */
static bool run_op_limited(struct run *r)
{
    const struct guest_op *op = &r->ops[r->op];
    enum q2_status status = op_run(op, r->bench->disk, r->bench->buffer);

    r->failed[r->op] = status != Q2_OK;
    if (status == Q2_OK) {
        model_do(&r->model, op);
        return true;
    }
    if (status == Q2_ERR_NO_SNAPSHOT && create_failed(r, op->snapshot))
        return true;
    if (status != Q2_ERR_NO_SPACE || op->kind == OP_FLUSH)
        return wrong(r, "not the right error for a full disk", status);
    return take_failed(r, op);
}

/* Clusters that exist can still be written. */
static bool write_allocated(struct run *r)
{
    struct guest_op op = {.kind = OP_WRITE, .offset = 3, .length = 600, .seed = r->n};
    struct q2_extent extent;
    enum q2_status status = q2_disk_map(r->bench->disk, op.offset, op.length, &extent);

    if (status != Q2_OK)
        return wrong(r, "map", status);
    if (extent.kind != Q2_EXTENT_DATA || !extent.copied || extent.length < op.length ||
        extent.layer != 0)
        return true;
    status = op_run(&op, r->bench->disk, r->bench->buffer);
    op_apply(&op, r->subject, model_add(&r->model));
    return status == Q2_OK || wrong(r, "an allocated cluster cannot be written", status);
}

static bool run_limit(struct run *r, uint32_t file, uint64_t limit)
{
    struct bench *b = r->bench;
    bool ok = true;

    bench_reset(b);
    b->sources[file].limit = limit;
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(r, "open", b->fault.status);
    model_restart(&r->model);
    r->latched = false;
    memset(r->failed, 0, sizeof(r->failed));
    r->n = limit;
    for (r->op = 0; r->op < r->nb_ops && ok; r->op++)
        ok = run_op_limited(r);
    r->op -= ok ? 0 : 1;
    ok = ok && write_allocated(r) && judge_end(r);
    bench_close(b);
    total_runs++;
    return ok;
}

/* Every limit from what there is to what the script needs. */
static bool run_limits(struct run *r, bool full)
{
    bool ok = true, called;

    r->mode = &modes[0];
    for (uint32_t file = 0; file < r->subject->nb_files && ok; file++) {
        uint64_t first = r->subject->sizes[file], last, step;

        r->n = UINT64_MAX;
        if (!run_n(r, false, &called))
            return false;
        last = r->bench->sources[file].source.size;
        step = full ? 512 : (last - first) / nb_wanted / 512 * 512 + 512;
        if (step < r->subject->cluster_size / 4)
            step = r->subject->cluster_size / 4;
        for (uint64_t limit = first; limit <= last && ok; limit += step) {
            ok = run_limit(r, file, limit);
            if (!ok)
                printf("# file %u limited to 0x%" PRIx64 ": %s\n", file, limit, r->why);
        }
    }
    return ok;
}

/* --- cases ------------------------------------------------------------------------------------ */

static bool test_case(void *context, struct bench *bench, const struct script *script,
                      const char *name)
{
    struct guest_op ops[MAX_OPS];
    struct run *r = crash_memory(NULL, sizeof(*r));
    bool ok = true;

    memset(r, 0, sizeof(*r));
    r->visitor.visit = visit;
    r->subject = bench->subject;
    r->bench = bench;
    r->ops = ops;
    r->nb_ops = script_expand(script, bench->subject, 1, 14, ops);
    model_start(&r->model, r->subject);
    for (uint32_t i = 0; i < NB_MODES && ok; i++) {
        r->mode = &modes[i];
        ok = run_mode(r);
    }
    ok = ok && run_limits(r, *(const bool *)context);
    (void)t_check(ok, __FILE__, __LINE__, name);
    t_case_end(name);
    model_free(&r->model);
    free(r);
    return ok;
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);
    bool full = choice.full, ok = true;

    if (full) {
        nb_wanted = UINT64_MAX;
        cuts_every = 4;
    }
    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++)
        ok = choice_run_scripts(&choice, &geometries[i], "test_fail", test_case, &full) && ok;
    printf("# total: %" PRIu64 " runs with failures, %" PRIu64 " crash points in them\n",
           total_runs, total_points);
    return t_done();
}
