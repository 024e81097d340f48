/* Power cuts and failing calls while an image is resized, preallocated and emptied, and while its
 * version and the width of its refcounts change.
 *
 *   test_amend_cuts [--full] [--stop] [PART ...]   PART selects cases by name
 *
 * Every geometry goes through the same two lists of amendments, each durable when it returns.
 * Judged is each content that the files may have after a cut, or after a call that failed: it
 * opens, the check finds no corruption, the size is that of before or after the amendment under
 * way, and each sector that the disk has is that of before or after it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "q2_amend.h"
#include "tests/support/t.h"

enum kind {
    RESIZE,
    PREALLOCATE,
    EMPTY,
    FORMAT,
};

struct amendment {
    enum kind kind;
    const char *name;
    uint64_t offset, size; /* guest bytes */
    bool flag;             /* may_shrink, or write_zeros */
    struct q2_format_change format;
};

#define NB_STEPS 6

static uint64_t nb_wanted = 24; /* calls to fail, about, per geometry */
static uint64_t nb_limits = 8;  /* limits of a file's size */
static struct crash_bounds bounds = {.all_up_to = 5, .sample = 12, .tears = 1, .seed = 1};
static bool full;

/* A geometry on its way. */
struct cuts {
    struct crash_visitor visitor;
    struct bench *bench;
    const struct subject *subject;
    struct amendment steps[NB_STEPS];
    uint32_t nb_steps;
    uint8_t *versions[NB_STEPS + 1]; /* of the zones, before each step and after the last */
    uint64_t sizes[NB_STEPS + 1];
    uint64_t nb_states, nb_qemu;
    char why[600];
};

static uint64_t total_states, total_runs;

static bool wrong(struct cuts *c, const char *what, uint64_t value)
{
    (void)snprintf(c->why, sizeof(c->why), "%s 0x%" PRIx64, what, value);
    return false;
}

static bool from_bench(struct cuts *c)
{
    (void)snprintf(c->why, sizeof(c->why), "%s", c->bench->why);
    return false;
}

/* --- amendments and what they lead to --------------------------------------------------------- */

static uint64_t l1_reach(const struct subject *s)
{
    return 1ull << (2 * s->geometry->cluster_bits - (s->geometry->extended ? 4 : 3));
}

/* Only what has all its data in plain clusters of the image can become version 2. */
static void plan_format(struct cuts *c)
{
    const struct geometry *g = c->subject->geometry;
    const struct amendment steps[] = {
        {FORMAT, "version 3", .format = {.version = 3}},
        {FORMAT, "wide refcounts", .format = {.refcount_bits = 32}},
        {FORMAT, "narrow refcounts", .format = {.refcount_bits = 4}},
        {FORMAT, "version 2", .format = {.version = 2, .refcount_bits = 16}},
        {FORMAT, "version 3 again", .format = {.version = 3, .refcount_bits = 8, .set_lazy = true}},
    };

    memcpy(c->steps, steps, sizeof(steps));
    c->nb_steps = g->data == DATA_INSIDE && !g->extended && !g->bitmap ? 5 : 3;
}

static void plan(struct cuts *c)
{
    const struct subject *s = c->subject;
    uint64_t size = s->cluster_size, reach = l1_reach(s);
    uint64_t large = (s->disk_size / reach + 1) * reach + 4 * size;
    const struct amendment steps[NB_STEPS] = {
        {RESIZE, "shrink", 0, 10 * size + 512, .flag = true},
        {RESIZE, "grow", 0, 22 * size + 1024, .flag = false},
        {PREALLOCATE, "preallocate", 12 * size + 7, 6 * size, .flag = false},
        {RESIZE, "grow the L1 table", 0, large, .flag = false},
        {PREALLOCATE, "preallocate with zeros", large - 2 * size, 2 * size, .flag = true},
        {EMPTY, "empty", 0, 0, .flag = false},
    };

    memcpy(c->steps, steps, sizeof(steps));
    c->nb_steps = s->geometry->data == DATA_FILE_RAW ? NB_STEPS - 1 : NB_STEPS;
}

static uint64_t guest_of(const struct subject *s, uint64_t at)
{
    return at < s->zone_length[0] ? at : s->zone_start[1] + (at - s->zone_length[0]);
}

/* Of an overlay of tests/fault/geometry.c. */
static uint8_t base_byte(const struct subject *s, uint64_t guest)
{
    if (!s->base || guest >= 20 * s->cluster_size)
        return 0;
    return (uint8_t)(100 + guest / s->cluster_size);
}

static void expect(struct cuts *c)
{
    const struct subject *s = c->subject;

    c->versions[0] = s->initial;
    c->sizes[0] = s->disk_size;
    for (uint32_t i = 0; i < c->nb_steps; i++) {
        const struct amendment *step = &c->steps[i];
        uint8_t *bytes = crash_memory(NULL, s->model_size);

        memcpy(bytes, c->versions[i], s->model_size);
        c->sizes[i + 1] = step->kind == RESIZE ? step->size : c->sizes[i];
        for (uint64_t at = 0; at < s->model_size; at++) {
            uint64_t guest = guest_of(s, at);
            /* A raw data file is the disk: what it holds past a smaller disk's end stays, and is on
             * the disk again when that grows. */
            if (step->kind == RESIZE && guest >= step->size && s->geometry->data != DATA_FILE_RAW)
                bytes[at] = 0;
            else if (step->kind == EMPTY)
                bytes[at] = base_byte(s, guest);
        }
        c->versions[i + 1] = bytes;
    }
}

static enum q2_status amend(struct q2_disk *disk, const struct amendment *step)
{
    switch (step->kind) {
    case RESIZE:
        return q2_disk_resize(disk, step->size, step->flag);
    case PREALLOCATE:
        return q2_disk_preallocate(disk, step->offset, step->size, step->flag);
    case FORMAT:
        return q2_disk_change_format(disk, &step->format);
    case EMPTY:
    default:
        return q2_disk_make_empty(disk);
    }
}

/* --- the judge -------------------------------------------------------------------------------- */

/* Of a disk that is being shrunk, what goes away shows its backing file before the size changes. */
static bool is_uncovered(const struct cuts *c, uint32_t step, uint64_t guest, const uint8_t *sector)
{
    const struct amendment *a = &c->steps[step];

    if (step >= c->nb_steps || a->kind != RESIZE || !a->flag || guest < a->size)
        return false;
    for (uint32_t i = 0; i < 512; i++) {
        if (sector[i] != base_byte(c->subject, guest + i))
            return false;
    }
    return true;
}

/* Every sector of the zones that the disk has is of one of two versions. */
static bool judge_content(struct cuts *c, uint32_t from, uint32_t to)
{
    struct bench *b = c->bench;
    uint64_t size = q2_disk_size(b->disk);
    uint8_t sector[512];

    if (size != c->sizes[from] && size != c->sizes[to])
        return wrong(c, "neither the old nor the new size", size);
    for (uint64_t at = 0; at < c->subject->model_size; at += 512) {
        uint64_t guest = guest_of(c->subject, at);

        if (guest >= size)
            continue;
        if (q2_disk_read(b->disk, guest, sector, 512) != Q2_OK)
            return wrong(c, "cannot be read", guest);
        if (memcmp(sector, c->versions[from] + at, 512) != 0 &&
            memcmp(sector, c->versions[to] + at, 512) != 0 && !is_uncovered(c, from, guest, sector))
            return wrong(c, "neither the old nor the new sector", guest);
    }
    if (size <= c->subject->disk_size)
        return true;
    if (q2_disk_read(b->disk, size - 512, sector, 512) != Q2_OK)
        return wrong(c, "cannot be read", size - 512);
    for (uint32_t i = 0; i < 512; i++) {
        if (sector[i] != 0)
            return wrong(c, "a new sector is not zero", size - 512);
    }
    return true;
}

static bool judge_snapshot(struct cuts *c)
{
    struct bench *b = c->bench;

    if (!c->subject->snapshot_initial)
        return true;
    if (bench_open(b, false, "before") != Q2_OK ||
        model_read(c->subject, b->disk, b->content) != Q2_OK)
        return wrong(c, "the snapshot cannot be read", 0);
    bench_close(b);
    return memcmp(b->content, c->subject->snapshot_initial, c->subject->model_size) == 0 ||
           wrong(c, "the snapshot has changed", 0);
}

static bool judge_files(struct cuts *c, uint32_t from, uint32_t to, bool qemu)
{
    struct bench *b = c->bench;
    enum q2_status status;
    bool ok;

    b->log.fail_at = 0;
    status = bench_open(b, false, NULL);
    if (status != Q2_OK) {
        (void)q2_fault_format(&b->fault, c->why, sizeof(c->why));
        return false;
    }
    ok = bench_check(b) ? judge_content(c, from, to) : from_bench(c);
    bench_close(b);
    if (!ok || !judge_snapshot(c))
        return false;
    if (!qemu)
        return true;
    c->nb_qemu++;
    return bench_qemu_check(b) || from_bench(c);
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct cuts *c = (struct cuts *)visitor;
    struct bench *b = c->bench;
    struct crash_source own[CRASH_MAX_FILES];
    uint32_t to = state->op < c->nb_steps ? state->op + 1 : state->op;
    bool ok;

    memcpy(own, b->sources, sizeof(own));
    for (uint32_t i = 0; i < state->nb_files; i++) {
        b->sources[i].bytes = state->files[i].bytes;
        b->sources[i].source.size = state->files[i].size;
    }
    total_states++;
    ok = judge_files(c, state->op, to, c->nb_states++ % 64 == 0);
    memcpy(b->sources, own, sizeof(own));
    if (!ok)
        printf("# cut in step %u (%s)\n", state->op,
               state->op < c->nb_steps ? c->steps[state->op].name : "end");
    return ok;
}

/* --- runs ------------------------------------------------------------------------------------- */

static bool qemu_tells_size(struct cuts *c)
{
    const struct subject *s = c->subject;

    return subject_try("cd '%s' && qemu-img info -f qcow2 --output=json %s 2>/dev/null | "
                       "grep -q '\"virtual-size\": %" PRIu64 ",'",
                       s->folder, s->image_name, c->sizes[c->nb_steps]) == 0 ||
           wrong(c, "qemu-img tells another size than", c->sizes[c->nb_steps]);
}

/* All of it once, recorded; qemu-img reads the same in the end. */
static bool run_recorded(struct cuts *c)
{
    struct bench *b = c->bench;
    enum q2_status status;

    bench_reset(b);
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(c, "open", b->fault.status);
    for (uint32_t i = 0; i < c->nb_steps; i++) {
        b->log.op = i;
        b->log.recording = true;
        status = amend(b->disk, &c->steps[i]);
        b->log.recording = false;
        if (status != Q2_OK) {
            (void)q2_fault_format(q2_disk_fault(b->disk), c->why, sizeof(c->why));
            printf("# step %u (%s)\n", i, c->steps[i].name);
            return false;
        }
        if (!judge_content(c, i + 1, i + 1))
            return false;
        /* Bitmaps that are not valid any more are leaked. */
        if (!bench_check(b) || (b->leaks > 0 && !c->subject->geometry->bitmap))
            return from_bench(c) && wrong(c, "leaks", b->leaks);
    }
    bench_close(b);
    return judge_files(c, c->nb_steps, c->nb_steps, true) &&
           (bench_qemu_compare(b, c->versions[c->nb_steps]) || from_bench(c)) && qemu_tells_size(c);
}

static bool run_cuts(struct cuts *c)
{
    const uint8_t *initial[CRASH_MAX_FILES];

    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        initial[i] = c->subject->files[i];
    c->visitor.visit = visit;
    crash_states_visit(&c->bench->log, initial, c->subject->sizes, c->subject->capacities,
                       c->subject->nb_files, c->nb_steps, &bounds, &c->visitor);
    return c->why[0] == '\0';
}

/* The same with call n failing: what failed is old or new, and may be repeated unless the disk is
 * read-only. */
static bool run_failing(struct cuts *c, uint64_t n, bool *ret_called)
{
    struct bench *b = c->bench;
    uint32_t i = 0;

    bench_reset(b);
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(c, "open", b->fault.status);
    b->log.nb_calls = 0;
    b->log.fail_calls = CRASH_ALL;
    b->log.fail_at = n;
    b->log.fail_status = Q2_ERR_IO;
    b->log.torn = (enum crash_torn)(n % 3);
    for (; i < c->nb_steps; i++) {
        enum q2_status status;

        b->log.failed = 0;
        status = amend(b->disk, &c->steps[i]);
        if (status == Q2_OK && (b->log.failed & CRASH_CHANGES))
            return wrong(c, "a failed call was not reported in step", i);
        if (status == Q2_OK)
            continue;
        if (status != Q2_ERR_IO || b->log.failed == 0)
            return wrong(c, "an error that is not the file's in step", i);
        if (!judge_content(c, i, i + 1))
            return false;
        if (!bench_check(b))
            return from_bench(c);
        status = amend(b->disk, &c->steps[i]);
        if (status == Q2_ERR_READ_ONLY)
            break;
        if (status != Q2_OK)
            return wrong(c, "the second try fails in step", i);
    }
    *ret_called = b->log.nb_calls >= n;
    total_runs++;
    bench_close(b);
    return judge_files(c, i, i < c->nb_steps ? i + 1 : i, false);
}

static bool run_failures(struct cuts *c)
{
    bool called = true;
    uint64_t nb, step;

    if (!run_failing(c, UINT64_MAX, &called))
        return false;
    nb = c->bench->log.nb_calls;
    step = full || nb < nb_wanted ? 1 : nb / nb_wanted;
    for (uint64_t n = 1; n <= nb; n += step) {
        if (run_failing(c, n, &called))
            continue;
        printf("# call %" PRIu64 " of %" PRIu64 " fails\n", n, nb);
        return false;
    }
    return true;
}

/* A file that cannot grow past a limit (W5): what finds no room changes nothing, and there is still
 * a disk that can be read and flushed. */
static bool run_limit(struct cuts *c, uint32_t file, uint64_t limit)
{
    struct bench *b = c->bench;
    uint32_t i = 0;

    bench_reset(b);
    b->sources[file].limit = limit;
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(c, "open", b->fault.status);
    for (; i < c->nb_steps; i++) {
        enum q2_status status = amend(b->disk, &c->steps[i]);

        if (status == Q2_OK)
            continue;
        if (status != Q2_ERR_NO_SPACE)
            return wrong(c, "not the right error for a full disk in step", i);
        if (!judge_content(c, i, i + 1))
            return false;
        if (!bench_check(b))
            return from_bench(c);
        if (q2_disk_flush(b->disk) != Q2_OK)
            return wrong(c, "no flush after a full disk in step", i);
        break;
    }
    total_runs++;
    bench_close(b);
    return judge_files(c, i, i < c->nb_steps ? i + 1 : i, false);
}

static bool run_limits(struct cuts *c)
{
    for (uint32_t file = 0; file < c->subject->nb_files; file++) {
        uint64_t first = c->subject->sizes[file], last, step;
        bool called;

        if (!run_failing(c, UINT64_MAX, &called))
            return false;
        last = c->bench->sources[file].source.size;
        step = full ? 512 : ((last - first) / nb_limits / 512 + 1) * 512;
        for (uint64_t limit = first; limit <= last; limit += step) {
            if (run_limit(c, file, limit))
                continue;
            printf("# file %u limited to 0x%" PRIx64 "\n", file, limit);
            return false;
        }
    }
    return true;
}

static bool test_plan(const struct subject *subject, const char *list,
                      void (*make_plan)(struct cuts *c))
{
    struct bench bench;
    struct cuts *c = crash_memory(NULL, sizeof(*c));
    char name[128];
    bool ok;

    memset(c, 0, sizeof(*c));
    bench_start(&bench, subject);
    c->bench = &bench;
    c->subject = subject;
    make_plan(c);
    expect(c);
    ok = run_recorded(c) && run_cuts(c) && run_failures(c) && run_limits(c);
    if (!ok)
        printf("# %s: %s\n", subject->geometry->name, c->why);
    (void)snprintf(name, sizeof(name), "test_amend_cuts_%s%s", subject->geometry->name, list);
    (void)t_check(ok && c->nb_states > 0, __FILE__, __LINE__, name);
    t_case_end(name);
    for (uint32_t i = 1; i <= c->nb_steps; i++)
        free(c->versions[i]);
    free(c);
    bench_free(&bench);
    return ok;
}

static bool test_geometry(const struct geometry *geometry, const char *folder)
{
    struct subject subject;
    bool ok;

    subject_load(&subject, geometry, folder);
    ok = test_plan(&subject, "", plan);
    ok = test_plan(&subject, "_format", plan_format) && ok;
    subject_free(&subject);
    return ok;
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);
    bool ok = true;

    full = choice.full;
    if (full)
        bounds = (struct crash_bounds){.all_up_to = 10, .sample = 1024, .tears = 64, .seed = 1};
    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++) {
        if (choice_has(&choice, geometries[i].name))
            ok = test_geometry(&geometries[i], choice.folder) && ok;
    }
    printf("# total: %" PRIu64 " crash points, %" PRIu64 " runs with a failing call\n",
           total_states, total_runs);
    return t_done();
}
