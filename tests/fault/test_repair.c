/* Repairing damaged images: every geometry is damaged by seed and repaired, recorded; then each
 * content that the files may have after a power cut, and each run in which one call fails, is
 * repaired again (HAZARDS.md, W4, W7; O5, O10).
 *
 *   test_repair [--full] [--all-qemu] [--stop] [--seed N] [PART ...]   PART selects cases by name
 *
 * Judged are: what the guest reads is the same all the time, and in the end the check finds
 * nothing, not even a leak; for some qemu-img check agrees.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "damaged.h"
#include "q2_check.h"
#include "tests/support/t.h"

struct plan {
    struct crash_bounds bounds;
    uint32_t nb_seeds;
    uint64_t nb_fails; /* calls that fail, about, per case */
    uint32_t qemu_every;
    uint64_t seed;
};

static const struct plan short_plan = {.bounds = {.all_up_to = 4, .sample = 6, .tears = 1},
                                       .nb_seeds = 2,
                                       .nb_fails = 6,
                                       .qemu_every = 40};
static const struct plan full_plan = {.bounds = {.all_up_to = 10, .sample = 1024, .tears = 64},
                                      .nb_seeds = 30,
                                      .nb_fails = UINT64_MAX,
                                      .qemu_every = 20};

static uint64_t total_points, total_fails, total_qemu;

struct repair_case {
    struct crash_visitor visitor;
    const struct plan *plan;
    const struct subject *subject;
    struct bench *bench;
    uint8_t *damaged; /* the image file, of the subject's size */
    struct model model;
    uint64_t seed;
    char why[700];
};

static bool wrong(struct repair_case *c, const char *what)
{
    (void)snprintf(c->why, sizeof(c->why), "%s: %s", what, c->bench->why);
    return false;
}

/* --- repair and judge ------------------------------------------------------------------------- */

/* Put the damaged files in place. */
static void reset(struct repair_case *c)
{
    bench_reset(c->bench);
    crash_source_reset(&c->bench->sources[0], c->damaged, c->subject->sizes[0]);
}

static enum q2_status repair(struct repair_case *c, struct q2_repair_result *result)
{
    struct bench *b = c->bench;
    enum q2_status status;

    b->repair = true;
    status = bench_open(b, true, NULL);
    b->repair = false;
    return status == Q2_OK ? q2_disk_repair(b->disk, Q2_REPAIR_ALL, NULL, result) : status;
}

/* The same content before, another repair that leaves nothing, the same content after it. */
static bool judge(struct repair_case *c, bool qemu)
{
    struct bench *b = c->bench;
    struct q2_repair_result result = {0};
    enum q2_status status;

    if (!damaged_judge_content(b))
        return wrong(c, "after the cut");
    status = repair(c, &result);
    if (status != Q2_OK)
        return wrong(c, q2_status_name(status));
    if (result.left.corruptions + result.left.leaks + result.left.check_errors > 0)
        return wrong(c, "the repair leaves something");
    if (!damaged_judge_repaired(b, &c->model))
        return wrong(c, "after the repair");
    if (!qemu)
        return true;
    total_qemu++;
    if (bench_open(b, true, NULL) != Q2_OK)
        return wrong(c, "the repaired image does not open for writing");
    bench_close(b);
    return bench_qemu_check(b) || wrong(c, "qemu-img");
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct repair_case *c = (struct repair_case *)visitor;

    for (uint32_t i = 0; i < state->nb_files; i++)
        crash_source_reset(&c->bench->sources[i], state->files[i].bytes, state->files[i].size);
    return judge(c, ++total_points % c->plan->qemu_every == 0);
}

/* Repair once, recorded, and cut the power everywhere. */
static bool run_cuts(struct repair_case *c)
{
    struct bench *b = c->bench;
    const uint8_t *initial[CRASH_MAX_FILES];
    struct crash_bounds bounds = c->plan->bounds;
    struct q2_repair_result result;
    enum q2_status status;

    reset(c);
    b->log.recording = true;
    status = repair(c, &result);
    b->log.recording = false;
    if (status != Q2_OK) {
        (void)q2_fault_format(b->disk ? q2_disk_fault(b->disk) : &b->fault, b->why, sizeof(b->why));
        return wrong(c, "the repair fails");
    }
    bench_close(b);
    bounds.seed = c->seed;
    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        initial[i] = c->subject->files[i];
    initial[0] = c->damaged;
    crash_states_visit(&b->log, initial, c->subject->sizes, c->subject->capacities,
                       c->subject->nb_files, 1, &bounds, &c->visitor);
    return c->why[0] == '\0';
}

/* Let call n fail: an error, or a repair that did not need it; then another repair. */
static bool run_fail(struct repair_case *c, uint64_t n, bool *ret_called)
{
    struct bench *b = c->bench;
    struct q2_repair_result result;
    enum q2_status status;

    reset(c);
    b->repair = true;
    status = bench_open(b, true, NULL);
    b->repair = false;
    if (status != Q2_OK)
        return wrong(c, "open");
    b->log.fail_calls = CRASH_ALL;
    b->log.fail_at = n;
    b->log.fail_status = Q2_ERR_IO;
    b->log.torn = (enum crash_torn)(n % 3);
    b->log.nb_calls = 0;
    b->log.failed = 0;
    status = q2_disk_repair(b->disk, Q2_REPAIR_ALL, NULL, &result);
    *ret_called = b->log.nb_calls >= n;
    b->log.fail_at = 0;
    b->log.fail_calls = 0;
    if (status == Q2_OK && (b->log.failed & CRASH_CHANGES))
        return wrong(c, "a failed call was not reported");
    if (status != Q2_OK && b->log.failed == 0)
        return wrong(c, "an error without a failed call");
    total_fails++;
    return judge(c, total_fails % c->plan->qemu_every == 0);
}

static bool run_fails(struct repair_case *c)
{
    uint64_t nb, step;
    bool called = false;

    if (!run_fail(c, UINT64_MAX, &called))
        return false;
    reset(c);
    {
        struct q2_repair_result result;

        c->bench->log.fail_calls = CRASH_ALL;
        c->bench->log.fail_at = UINT64_MAX;
        (void)repair(c, &result);
        nb = c->bench->log.nb_calls;
    }
    step = nb / c->plan->nb_fails > 0 ? nb / c->plan->nb_fails : 1;
    called = true;
    for (uint64_t n = 1; called; n += step) {
        if (!run_fail(c, n, &called)) {
            printf("# call %" PRIu64 " fails\n", n);
            return false;
        }
    }
    return true;
}

static bool test_case(const struct plan *plan, struct bench *bench, const char *name)
{
    struct repair_case c = {.visitor.visit = visit,
                            .plan = plan,
                            .subject = bench->subject,
                            .bench = bench,
                            .damaged = crash_memory(NULL, bench->subject->sizes[0])};
    bool ok = true;

    model_start(&c.model, c.subject);
    for (uint32_t i = 0; i < plan->nb_seeds && ok; i++) {
        c.seed = plan->seed + i;
        damage_image(c.subject, c.damaged, true, &c.seed);
        ok = run_cuts(&c) && run_fails(&c);
        if (!ok)
            printf("# seed %" PRIu64 ": %s\n", plan->seed + i, c.why);
    }
    (void)t_check(ok, __FILE__, __LINE__, name);
    t_case_end(name);
    model_free(&c.model);
    free(c.damaged);
    return ok;
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);
    struct plan plan = choice.full ? full_plan : short_plan;
    bool ok = true;

    plan.seed = choice.seed;
    if (choice.all_qemu)
        plan.qemu_every = 1;
    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++) {
        struct subject subject;
        struct bench bench;
        char name[128];

        (void)snprintf(name, sizeof(name), "test_repair_%s_", geometries[i].name);
        if (!choice_has(&choice, name))
            continue;
        subject_load(&subject, &geometries[i], choice.folder);
        bench_start(&bench, &subject);
        ok = test_case(&plan, &bench, name) && ok;
        bench_free(&bench);
        subject_free(&subject);
    }
    printf("# total: %" PRIu64 " crash points, %" PRIu64 " runs with failures, %" PRIu64
           " judged by qemu-img\n",
           total_points, total_fails, total_qemu);
    return t_done();
}
