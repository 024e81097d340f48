/* Random operations against a plain array (HAZARDS.md, W8).
 *
 *   test_model [--full] [--ops N] [--seed N] [--stop] [PART ...]   PART selects cases by name
 *
 * After every operation what it touched and another range are read, and the check counts every
 * reference: no host cluster may have two owners. Now and then the whole content is compared, the
 * disk is flushed or closed and opened again. After a flush nothing is leaked. In the end qemu-img
 * checks and reads the image. Each second case runs with a cache that keeps as little as can be.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "tests/support/t.h"

struct model_case {
    const struct subject *subject;
    struct bench *bench;
    uint8_t *model;
    uint64_t seed;
    bool small_cache;
    uint32_t nb_done;
    char why[700];
};

static uint64_t total_ops;

static bool wrong(struct model_case *c, const char *what, enum q2_status status)
{
    (void)snprintf(c->why, sizeof(c->why), "%s: %s", what, q2_status_name(status));
    return false;
}

/* Read a guest range and compare it. */
static bool read_range(struct model_case *c, uint64_t offset, uint64_t length)
{
    struct bench *b = c->bench;
    enum q2_status status = q2_disk_read(b->disk, offset, b->content, length);

    if (status != Q2_OK)
        return wrong(c, "read", status);
    return memcmp(b->content, c->model + model_offset(c->subject, offset), length) == 0 ||
           wrong(c, "wrong content", Q2_OK);
}

static bool read_all(struct model_case *c)
{
    const struct subject *s = c->subject;

    return read_range(c, s->zone_start[0], s->zone_length[0]) &&
           read_range(c, s->zone_start[1], s->zone_length[1]);
}

static bool check(struct model_case *c)
{
    if (bench_check(c->bench))
        return true;
    (void)snprintf(c->why, sizeof(c->why), "%s", c->bench->why);
    return false;
}

static bool flush(struct model_case *c)
{
    enum q2_status status = q2_disk_flush(c->bench->disk);

    if (status != Q2_OK)
        return wrong(c, "flush", status);
    /* The bitmaps that the first write gave up stay as leaks. */
    if (!check(c) || (c->bench->leaks > 0 && !c->subject->geometry->bitmap))
        return c->why[0] != '\0' || wrong(c, "clusters are leaked after a flush", Q2_OK);
    return true;
}

static bool reopen(struct model_case *c)
{
    enum q2_status status;

    if (!flush(c))
        return false;
    status = bench_open(c->bench, true, NULL);
    if (status != Q2_OK)
        return wrong(c, "open", status);
    return read_all(c);
}

static bool change(struct model_case *c, const struct guest_op *op)
{
    enum q2_status status = op_run(op, c->bench->disk, c->bench->buffer);
    struct guest_op other = script_random(c->subject, &c->seed);

    if (status != Q2_OK)
        return wrong(c, "the operation fails", status);
    op_apply(op, c->subject, c->model);
    return read_range(c, op->offset, op->length) && read_range(c, other.offset, other.length) &&
           check(c);
}

static bool step(struct model_case *c)
{
    uint64_t kind = crash_random(&c->seed) % 64;
    struct guest_op op;
    bool ok;

    if (kind == 0)
        return reopen(c);
    if (kind < 7)
        return flush(c);
    if (kind == 7)
        return read_all(c);
    op = script_random(c->subject, &c->seed);
    ok = change(c, &op);
    if (!ok)
        printf("# operation %u: %s: %s\n", c->nb_done, op_text(&op), c->why);
    return ok;
}

static bool run(struct model_case *c, uint32_t nb_ops)
{
    struct bench *b = c->bench;
    enum q2_status status;

    bench_reset(b);
    if (c->small_cache)
        bench_evict(b);
    status = bench_open(b, true, NULL);
    if (status != Q2_OK)
        return wrong(c, "open", status);
    for (c->nb_done = 0; c->nb_done < nb_ops; c->nb_done++) {
        if (!step(c))
            return false;
        total_ops++;
    }
    if (!reopen(c))
        return false;
    bench_close(b);
    if (bench_qemu_compare(b, c->model) && bench_qemu_check(b))
        return true;
    (void)snprintf(c->why, sizeof(c->why), "the end: %s", b->why);
    return false;
}

static bool test_case(const struct subject *subject, struct bench *bench, const char *name,
                      uint64_t seed, bool small_cache, uint32_t nb_ops)
{
    struct model_case c = {
        .subject = subject, .bench = bench, .seed = seed, .small_cache = small_cache};
    bool ok;

    c.model = crash_memory(NULL, subject->model_size);
    memcpy(c.model, subject->initial, subject->model_size);
    ok = run(&c, nb_ops);
    if (!ok)
        printf("# seed %" PRIu64 ", after %u operations: %s\n", seed, c.nb_done, c.why);
    (void)t_check(ok, __FILE__, __LINE__, name);
    t_case_end(name);
    free(c.model);
    return ok;
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);
    uint32_t nb_ops = choice.nb_ops > 0 ? choice.nb_ops : choice.full ? 10000 : 150;
    bool ok = true;

    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++) {
        struct subject subject;
        struct bench bench;
        char name[128];

        (void)snprintf(name, sizeof(name), "test_model_%s_", geometries[i].name);
        if (!choice_has(&choice, name))
            continue;
        subject_load(&subject, &geometries[i], choice.folder);
        bench_start(&bench, &subject);
        for (uint32_t small = 0; small < 2; small++) {
            (void)snprintf(name, sizeof(name), "test_model_%s_%s", geometries[i].name,
                           small ? "small_cache" : "random");
            ok = test_case(&subject, &bench, name, choice.seed + 2 * i + small, small != 0,
                           nb_ops) &&
                 ok;
        }
        bench_free(&bench);
        subject_free(&subject);
    }
    printf("# total: %" PRIu64 " operations\n", total_ops);
    return t_done();
}
