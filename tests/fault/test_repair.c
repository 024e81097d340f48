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

/* --- damage ------------------------------------------------------------------------------------
 */

static uint64_t get(const uint8_t *bytes, size_t length)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void put(uint8_t *bytes, uint64_t value, size_t length)
{
    for (size_t i = length; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

static uint32_t refcount_order(const struct repair_case *c)
{
    return c->subject->geometry->version_2 ? 4 : (uint32_t)get(c->damaged + 96, 4);
}

/* Another refcount for some cluster: one more, none, the highest. */
static void damage_refcount(struct repair_case *c)
{
    uint32_t bits = c->subject->geometry->cluster_bits, order = refcount_order(c);
    uint64_t nb_clusters = c->subject->sizes[0] >> bits, per_block = 8ull << bits >> order;
    uint64_t index = crash_random(&c->seed) % nb_clusters, value = crash_random(&c->seed) % 4;
    uint64_t block = get(c->damaged + get(c->damaged + 48, 8) + index / per_block * 8, 8);
    uint64_t bit = (index % per_block) << order;

    /* A block or table that was damaged before stays as it is. */
    if (block == 0 || block % (1ull << bits) != 0 || block >= c->subject->sizes[0])
        return;
    if (value == 3)
        value = UINT64_MAX;
    if (order >= 3) {
        put(c->damaged + block + bit / 8, value, (size_t)1 << (order - 3));
    } else {
        uint8_t mask = (uint8_t)((1u << (1u << order)) - 1);
        uint8_t *byte = &c->damaged[block + bit / 8];
        *byte =
            (uint8_t)((*byte & ~((unsigned)mask << bit % 8)) | ((unsigned)value & mask) << bit % 8);
    }
}

/* The COPIED flag of an L1 entry, or of an L2 entry. */
static void damage_flag(struct repair_case *c)
{
    const struct geometry *g = c->subject->geometry;
    uint64_t l1 = get(c->damaged + 40, 8), entry_size = g->extended ? 16 : 8;
    uint8_t *entry = c->damaged + l1 + crash_random(&c->seed) % 2 * 8;
    uint64_t table = get(entry, 8) & 0x00fffffffffffe00ull;

    if (table == 0)
        return;
    if (crash_random(&c->seed) % 3 != 0)
        entry = c->damaged + table +
                crash_random(&c->seed) % ZONE_A_CLUSTERS % (c->subject->cluster_size / entry_size) *
                    entry_size;
    if (get(entry, 8) & 0x40fffffffffffe00ull)
        entry[0] ^= 0x80;
}

/* An entry of the refcount table. */
static void damage_structure(struct repair_case *c)
{
    uint8_t *entry = c->damaged + get(c->damaged + 48, 8);

    switch (crash_random(&c->seed) % 4) {
    case 0:
        entry[7] |= 1; /* reserved */
        break;
    case 1:
        entry[2] = 0x7f; /* far outside */
        break;
    case 2:
        put(entry, 0, 8); /* none */
        break;
    default:
        memcpy(entry, c->damaged + 40, 8); /* the L1 table */
        break;
    }
}

/* The only entry of the snapshot table: too little extra data, or too much. */
static void damage_snapshot(struct repair_case *c)
{
    static const uint16_t lengths[] = {0, 8, Q2_MAX_SNAPSHOT_EXTRA_SIZE + 76};
    uint64_t nb = c->subject->cluster_size < 4096 ? 2 : 3;
    uint16_t length = lengths[crash_random(&c->seed) % nb];
    uint8_t *entry = c->damaged + get(c->damaged + 64, 8);
    uint64_t strings = get(entry + 12, 2) + get(entry + 14, 2);

    memmove(entry + 40 + length, entry + 40 + get(entry + 36, 4), strings);
    put(entry + 36, length, 4);
}

static void damage(struct repair_case *c)
{
    uint64_t nb = 1 + crash_random(&c->seed) % 12;

    memcpy(c->damaged, c->subject->files[0], c->subject->sizes[0]);
    if (!c->subject->geometry->version_2)
        c->damaged[79] |= (uint8_t)(crash_random(&c->seed) % 4); /* dirty, corrupt */
    for (uint64_t i = 0; i < nb; i++) {
        if (crash_random(&c->seed) % 3 == 0)
            damage_flag(c);
        else
            damage_refcount(c);
    }
    if (crash_random(&c->seed) % 3 == 0)
        damage_structure(c);
    if (c->subject->geometry->snapshot && crash_random(&c->seed) % 2 == 0)
        damage_snapshot(c);
}

/* --- repair and judge --------------------------------------------------------------------------
 */

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
    enum q2_status status = bench_open(b, false, NULL);

    b->why[0] = '\0';
    if (status != Q2_OK)
        return wrong(c, "the damaged image does not open");
    status = model_read(c->subject, b->disk, b->content);
    if (status != Q2_OK || memcmp(b->content, c->subject->initial, c->subject->model_size) != 0)
        return wrong(c, "the content is another one after the cut");
    status = repair(c, &result);
    if (status != Q2_OK)
        return wrong(c, q2_status_name(status));
    if (result.left.corruptions + result.left.leaks + result.left.check_errors > 0)
        return wrong(c, "the repair leaves something");
    if (!bench_judge(b, &c->model, 0, 0))
        return wrong(c, "after the repair");
    if (b->leaks > 0)
        return wrong(c, "leaks are left");
    if (!c->subject->geometry->version_2 && (b->sources[0].bytes[79] & 3) != 0)
        return wrong(c, "the dirty or the corrupt bit is left");
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
        damage(&c);
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
