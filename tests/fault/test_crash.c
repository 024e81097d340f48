/* Power cuts: every geometry runs every script once, recorded; then each content that the files may
 * have after a cut at any point is opened and judged (HAZARDS.md, W7; O1 to O9).
 *
 *   test_crash [--full] [--all-qemu] [--stop] [--seed N] [PART ...]   PART selects cases by name
 *
 * Judged are: the check finds no corruption, each sector is one of the versions since the last
 * completed flush, snapshots are untouched; for some qemu-img check agrees, and for some writing
 * goes on. A point is distinct if no other one of its case has the same bytes in all files and the
 * same completed flush after it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "tests/support/t.h"

struct plan {
    struct crash_bounds bounds;
    uint32_t nb_random, nb_seeds; /* operations of a random script, and how many scripts */
    uint32_t qemu_every, go_on_every;
    uint64_t seed;
};

static const struct plan short_plan = {.bounds = {.all_up_to = 3, .sample = 2, .tears = 1},
                                       .nb_random = 10,
                                       .nb_seeds = 1,
                                       .qemu_every = 100,
                                       .go_on_every = 24};
static const struct plan full_plan = {.bounds = {.all_up_to = 12, .sample = 4096, .tears = 512},
                                      .nb_random = 24,
                                      .nb_seeds = 6,
                                      .qemu_every = 16,
                                      .go_on_every = 8};

/* Figures. */
struct figures {
    uint64_t tried, distinct, qemu, went_on;
};
static struct figures total;

/* Hashes that were seen: open addressing, never 0. */
struct seen {
    uint64_t *slots;
    uint64_t size, used;
};

static bool seen_add(struct seen *seen, uint64_t hash)
{
    uint64_t at;

    hash += hash == 0;
    if (2 * (seen->used + 1) > seen->size) {
        struct seen larger = {.size = seen->size > 0 ? 2 * seen->size : 1024};
        larger.slots = calloc(larger.size, sizeof(*larger.slots));
        if (!larger.slots)
            abort();
        for (uint64_t i = 0; i < seen->size; i++) {
            if (seen->slots[i] != 0)
                (void)seen_add(&larger, seen->slots[i]);
        }
        free(seen->slots);
        *seen = larger;
    }
    for (at = hash % seen->size; seen->slots[at] != 0; at = (at + 1) % seen->size) {
        if (seen->slots[at] == hash)
            return false;
    }
    seen->slots[at] = hash;
    seen->used++;
    return true;
}

/* One case: a script on a subject. */
struct crash_case {
    struct crash_visitor visitor;
    const struct plan *plan;
    const struct subject *subject;
    struct bench *bench;
    struct model model;
    struct guest_op ops[MAX_OPS];
    uint32_t nb_ops;
    struct seen seen;
    struct figures figures;
    bool ok;
};

/* The version that is safe when operation op is under way: of the last flush before it. */
static uint32_t safe_version(const struct crash_case *c, uint32_t op)
{
    while (op > 0 && !op_is_durable(c->ops[op - 1].kind))
        op--;
    return op;
}

static uint64_t number_at(const uint8_t *bytes, unsigned width)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < width; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Is the image's one bitmap marked as in use?  (qcow2: "Bitmaps extension", "Bitmap directory") */
static bool bitmap_in_use(const struct crash_file *file)
{
    uint64_t at = number_at(file->bytes + 100, 4);

    while (at + 32 < 4096 && number_at(file->bytes + at, 4) != 0x23852875) {
        if (number_at(file->bytes + at, 4) == 0)
            return false;
        at += 8 + ((number_at(file->bytes + at + 4, 4) + 7) & ~UINT64_C(7));
    }
    return (file->bytes[number_at(file->bytes + at + 24, 8) + 15] & Q2_BITMAP_IN_USE) != 0;
}

/* O7: while the bitmap is said to be right nothing else may have changed. */
static bool judge_autoclear(struct crash_case *c, const struct crash_state *state)
{
    const struct subject *s = c->subject;
    const struct crash_file *file = &state->files[0];

    if (!s->geometry->bitmap || !(file->bytes[95] & Q2_AUTOCLEAR_BITMAPS) ||
        memcmp(file->bytes, s->files[0], s->sizes[0]) == 0 || bitmap_in_use(file))
        return true;
    (void)snprintf(c->bench->why, sizeof(c->bench->why),
                   "the bitmaps are declared valid, but the image has changed");
    return false;
}

/* An apply happens as a whole: all sectors are of versions before it, or all are what it leaves. */
static bool judge_content(struct crash_case *c, const struct crash_state *state)
{
    uint32_t from = safe_version(c, state->op);
    uint32_t to = state->op < c->nb_ops ? state->op + 1 : c->nb_ops;
    bool apply = state->op < c->nb_ops && c->ops[state->op].kind == OP_APPLY;

    model_snapshots_at(&c->model, c->ops, c->nb_ops, NULL, state->op);
    c->bench->flags_may_lag = state->op < c->nb_ops && c->ops[state->op].kind >= OP_CREATE;
    if (apply && bench_judge(c->bench, &c->model, from, to - 1))
        return true;
    return bench_judge(c->bench, &c->model, apply ? to : from, to);
}

/* Judge the state where it is stored; nothing is written. */
static bool judge_in_place(struct crash_case *c, const struct crash_state *state)
{
    struct bench *b = c->bench;
    struct crash_source own[CRASH_MAX_FILES];
    bool ok;

    memcpy(own, b->sources, sizeof(own));
    for (uint32_t i = 0; i < state->nb_files; i++) {
        b->sources[i].bytes = state->files[i].bytes;
        b->sources[i].source.size = state->files[i].size;
    }
    ok = judge_content(c, state) && judge_autoclear(c, state);
    if (ok && c->figures.distinct % c->plan->qemu_every == 0) {
        c->figures.qemu++;
        ok = bench_qemu_check(b);
    }
    bench_close(b);
    memcpy(b->sources, own, sizeof(own));
    return ok;
}

static bool judge_life_after(struct crash_case *c, const struct crash_state *state)
{
    struct bench *b = c->bench;

    if (c->figures.distinct % c->plan->go_on_every != 0)
        return true;
    c->figures.went_on++;
    for (uint32_t i = 0; i < state->nb_files; i++)
        crash_source_reset(&b->sources[i], state->files[i].bytes, state->files[i].size);
    return bench_go_on(b, state->hash);
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct crash_case *c = (struct crash_case *)visitor;
    uint64_t key = safe_version(c, state->op);

    c->figures.tried++;
    if (!seen_add(&c->seen, state->hash ^ crash_random(&key)))
        return true;
    c->figures.distinct++;
    if (judge_in_place(c, state) && judge_life_after(c, state))
        return true;
    c->ok = false;
    printf("# cut at operation %u (%s), state %016" PRIx64 ": %s\n", state->op,
           state->op < c->nb_ops ? op_text(&c->ops[state->op]) : "end", state->hash, c->bench->why);
    return false;
}

/* Run the script and record it. */
static bool record(struct crash_case *c)
{
    struct bench *b = c->bench;
    enum q2_status status;

    bench_reset(b);
    status = bench_open(b, true, NULL);
    b->log.recording = true;
    for (uint32_t i = 0; i < c->nb_ops && status == Q2_OK; i++) {
        b->log.op = i;
        status = op_run(&c->ops[i], b->disk, b->buffer);
        model_do(&c->model, &c->ops[i]);
    }
    b->log.recording = false;
    if (status == Q2_OK)
        status = model_read(c->subject, b->disk, b->content);
    if (status == Q2_OK && memcmp(b->content, model_newest(&c->model), c->subject->model_size) == 0)
        return true;
    printf("# the script without a cut: %s, or wrong content\n", q2_status_name(status));
    return false;
}

/* The geometries that are short of refcounts for it must have got new ones, or they test nothing.
 */
static bool judge_growth(const struct crash_case *c)
{
    const struct geometry *g = c->subject->geometry;
    const uint8_t *now = c->bench->sources[0].bytes, *then = c->subject->files[0];
    uint64_t table = 0, first = 0;

    for (uint32_t i = 0; i < 8; i++)
        table = table << 8 | then[48 + i];
    while (memcmp(then + table + 8 * first, "\0\0\0\0\0\0\0", 8) != 0)
        first++; /* refcount block that there was not */
    if (g->grows_table && memcmp(now + 48, then + 48, 12) == 0)
        printf("# the refcount table did not grow\n");
    else if (g->grows_block && memcmp(now + table + 8 * first, then + table + 8 * first, 8) == 0)
        printf("# no refcount block was added\n");
    else
        return true;
    return false;
}

/* What qemu-img says of the image in the end. */
static bool judge_end(struct crash_case *c)
{
    bench_close(c->bench);
    if (bench_qemu_compare(c->bench, model_newest(&c->model)) && bench_qemu_check(c->bench))
        return true;
    printf("# the end: %s\n", c->bench->why);
    return false;
}

static bool run_case(struct crash_case *c, const struct script *script, uint64_t seed)
{
    const uint8_t *initial[CRASH_MAX_FILES];
    struct crash_bounds bounds = c->plan->bounds;

    bounds.seed = seed;
    c->nb_ops = script_expand(script, c->subject, seed, c->plan->nb_random, c->ops);
    model_start(&c->model, c->subject);
    c->ok = record(c) && judge_end(c);
    if (c->ok && strcmp(script->name, "allocate") == 0)
        c->ok = judge_growth(c);
    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        initial[i] = c->subject->files[i];
    if (c->ok)
        crash_states_visit(&c->bench->log, initial, c->subject->sizes, c->subject->capacities,
                           c->subject->nb_files, c->nb_ops, &bounds, &c->visitor);
    model_free(&c->model);
    return c->ok;
}

static bool test_case(void *context, struct bench *bench, const struct script *script,
                      const char *name)
{
    struct crash_case *c = crash_memory(NULL, sizeof(*c));
    const struct plan *plan = context;
    bool ok = true;

    memset(c, 0, sizeof(*c));
    c->visitor.visit = visit;
    c->plan = plan;
    c->subject = bench->subject;
    c->bench = bench;
    for (uint32_t i = 0; i < (script->ops ? 1 : plan->nb_seeds) && ok; i++) {
        free(c->seen.slots);
        c->seen = (struct seen){.slots = NULL};
        ok = run_case(c, script, plan->seed + i);
        if (!ok)
            printf("# seed %" PRIu64 "\n", plan->seed + i);
    }
    (void)t_check(ok, __FILE__, __LINE__, name);
    printf("# %s: %" PRIu64 " points, %" PRIu64 " distinct, %" PRIu64 " by qemu-img, %" PRIu64
           " written on\n",
           name, c->figures.tried, c->figures.distinct, c->figures.qemu, c->figures.went_on);
    total.tried += c->figures.tried;
    total.distinct += c->figures.distinct;
    total.qemu += c->figures.qemu;
    total.went_on += c->figures.went_on;
    t_case_end(name);
    free(c->seen.slots);
    free(c);
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
    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++)
        ok = choice_run_scripts(&choice, &geometries[i], "test_crash", test_case, &plan) && ok;
    printf("# total: %" PRIu64 " crash points tried, %" PRIu64 " distinct, %" PRIu64
           " judged by qemu-img, %" PRIu64 " written on\n",
           total.tried, total.distinct, total.qemu, total.went_on);
    return t_done();
}
