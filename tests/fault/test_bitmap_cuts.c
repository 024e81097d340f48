/* Power cuts and failing calls while dirty bitmaps are kept, added, changed and removed.
 *
 *   test_bitmap_cuts [PART ...]   PART selects cluster sizes by name
 *
 * Images of qemu-img go through one list of steps. Judged is each content that the file may have
 * after a cut, or after a call that failed: it opens, the check finds no corruption, each sector of
 * the disk is of before or after the step under way, and each bitmap is in use, or it has the bits
 * and the flag of before or after, and if it records writes, it has a bit for each sector that is
 * not as it was before. QEMU's check agrees about some of the states.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "crash_states.h"
#include "geometry.h"
#include "q2_amend.h"
#include "q2_bitmap.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define KIB        1024ull
#define CAPACITY   (8u << 20)
#define NB_SECTORS 2048u /* of the disk that are looked at: its first MiB */
#define NB_MAPS    2u

static const struct row {
    const char *name, *options;
} rows[] = {
    {"64k", "cluster_size=65536"},
    {"4k", "cluster_size=4096,extended_l2=off"},
    {"512", "cluster_size=512,refcount_bits=1"},
};

enum kind {
    ADD,
    WRITE,
    DISCARD,
    MARK,
    STORE,
    ENABLE,
    CLEAR,
    REMOVE,
    RESIZE,
};

/* A step; map: which bitmap. */
struct step {
    enum kind kind;
    uint32_t map;
    uint64_t offset, length; /* ADD: log2 of the granularity; RESIZE: the size */
    uint8_t value;           /* WRITE: the byte; ADD, ENABLE: whether it records */
};

static const struct step steps[] = {
    {ADD, 0, 12, 0, 1},
    {WRITE, 0, 5000, 3000, 1},
    {WRITE, 0, 200 * KIB, 70 * KIB, 2},
    {STORE, 0, 0, 0, 0},
    {WRITE, 0, 100 * KIB, 512, 3},
    {ADD, 1, 9, 0, 0}, /* stores the other one */
    {MARK, 1, 300 * KIB, 2 * KIB, 0},
    {STORE, 0, 0, 0, 0},
    {ENABLE, 1, 0, 0, 1},
    {ENABLE, 0, 0, 0, 0},
    {WRITE, 0, 500 * KIB, 20 * KIB, 4},
    {DISCARD, 0, 192 * KIB, 64 * KIB, 0},
    {RESIZE, 0, 130 * KIB *KIB, 0, 0},
    {WRITE, 0, 1000 * KIB, 3 * KIB, 5},
    {STORE, 0, 0, 0, 0},
    {RESIZE, 0, 700 * KIB, 0, 0},
    {CLEAR, 1, 0, 0, 0},
    {WRITE, 0, 0, 1024, 6},
    {REMOVE, 0, 0, 0, 0},
    {REMOVE, 1, 0, 0, 0},
};
#define NB_STEPS (sizeof(steps) / sizeof(steps[0]))

static const char *const map_names[NB_MAPS] = {"a", "the other bitmap"};

struct map {
    bool exists, enabled;
    uint64_t granularity;
    bool dirty[NB_SECTORS];
};

/* What the image is before a step. */
struct version {
    uint64_t size;
    uint8_t bytes[NB_SECTORS]; /* each sector has one value */
    struct map maps[NB_MAPS];
};

/* One row at work. */
struct cuts {
    struct crash_visitor visitor;
    struct crash_log log;
    struct crash_source source;
    void *workspace;
    uint8_t *initial;
    uint64_t size;
    struct version *versions; /* NB_STEPS + 1 */
    uint64_t nb_states, nb_qemu;
    char why[600];
};

static const char *folder;
static uint64_t total_states, total_runs;

static bool wrong(struct cuts *c, const char *what, uint64_t value)
{
    (void)snprintf(c->why, sizeof(c->why), "%s 0x%" PRIx64, what, value);
    return false;
}

/* --- what is expected ------------------------------------------------------------------------- */

static void set_dirty(const struct version *v, struct map *map, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length < v->size ? offset + length : v->size;
    uint64_t first = offset / map->granularity * map->granularity;

    end = (end + map->granularity - 1) / map->granularity * map->granularity;
    for (uint64_t at = first; at < end && at / 512 < NB_SECTORS; at += 512)
        map->dirty[at / 512] = true;
}

static void change_bytes(struct version *v, const struct step *step)
{
    uint64_t end = step->offset + step->length;

    for (uint64_t at = step->offset / 512; at * 512 < end; at++)
        v->bytes[at] = step->kind == WRITE ? step->value : 0;
    for (uint32_t i = 0; i < NB_MAPS; i++) {
        if (v->maps[i].exists && v->maps[i].enabled)
            set_dirty(v, &v->maps[i], step->offset, step->length);
    }
}

static void cut_at(struct version *v, uint64_t size)
{
    for (uint64_t at = 0; at < NB_SECTORS; at++) {
        if (at * 512 >= size)
            v->bytes[at] = 0;
        for (uint32_t i = 0; i < NB_MAPS; i++) {
            uint64_t granularity = v->maps[i].exists ? v->maps[i].granularity : 512;
            if (at * 512 / granularity * granularity >= size)
                v->maps[i].dirty[at] = false;
        }
    }
    v->size = size;
}

static void apply(struct version *v, const struct step *step)
{
    struct map *map = &v->maps[step->map];

    switch (step->kind) {
    case ADD:
        *map = (struct map){true, step->value != 0, 1ull << step->offset, {false}};
        return;
    case WRITE:
    case DISCARD:
        change_bytes(v, step);
        return;
    case MARK:
        set_dirty(v, map, step->offset, step->length);
        return;
    case ENABLE:
        map->enabled = step->value != 0;
        return;
    case CLEAR:
        memset(map->dirty, 0, sizeof(map->dirty));
        return;
    case REMOVE:
        map->exists = false;
        return;
    case RESIZE:
        cut_at(v, step->offset);
        return;
    case STORE:
    default:
        return;
    }
}

/* --- what is done ----------------------------------------------------------------------------- */

static enum q2_status mark(struct q2_disk *disk, const struct step *step)
{
    struct q2_bitmap bitmap;
    enum q2_status status = q2_disk_bitmap_find(disk, map_names[step->map], &bitmap);

    return status == Q2_OK ? q2_disk_bitmap_mark(disk, &bitmap, step->offset, step->length)
                           : status;
}

/* Sectors are written whole, so that each has one value. */
static enum q2_status write_sectors(struct q2_disk *disk, const struct step *step)
{
    static uint8_t bytes[128 * 1024];
    uint64_t first = step->offset / 512 * 512,
             end = (step->offset + step->length + 511) / 512 * 512;

    memset(bytes, step->value, (size_t)(end - first));
    return q2_disk_write(disk, first, bytes, (size_t)(end - first));
}

static enum q2_status do_step(struct q2_disk *disk, const struct step *step)
{
    const char *name = map_names[step->map];

    switch (step->kind) {
    case ADD:
        return q2_disk_bitmap_add(disk, name, (uint32_t)step->offset, step->value != 0);
    case WRITE:
        return write_sectors(disk, step);
    case DISCARD:
        return q2_disk_discard(disk, step->offset, step->length);
    case MARK:
        return mark(disk, step);
    case ENABLE:
        return q2_disk_bitmap_enable(disk, name, step->value != 0);
    case CLEAR:
        return q2_disk_bitmap_clear(disk, name);
    case REMOVE:
        return q2_disk_bitmap_remove(disk, name);
    case RESIZE:
        return q2_disk_resize(disk, step->offset, true);
    case STORE:
    default:
        return q2_disk_bitmaps_store(disk);
    }
}

/* A step is durable when it ends; a bitmap that records stays in use. */
static enum q2_status act(struct q2_disk *disk, const struct step *step)
{
    enum q2_status status = do_step(disk, step);

    return status == Q2_OK ? q2_disk_flush(disk) : status;
}

/* --- the judge -------------------------------------------------------------------------------- */

static enum q2_status open_image(struct cuts *c, bool writable, struct q2_disk **ret_disk)
{
    const struct q2_disk_options options = {.writable = writable, .keep_bitmaps = writable};
    struct q2_fault fault;
    struct q2_opener opener = {0};
    enum q2_status status =
        q2_disk_open(c->workspace, &c->source.source, &opener, &options, &fault, ret_disk);

    if (status != Q2_OK)
        (void)q2_fault_format(&fault, c->why, sizeof(c->why));
    return status;
}

static bool judge_bytes(struct cuts *c, struct q2_disk *disk, const struct version *from,
                        const struct version *to, uint8_t *ret_bytes)
{
    uint64_t size = q2_disk_size(disk);
    uint8_t sector[512];

    if (size != from->size && size != to->size)
        return wrong(c, "neither the old nor the new size", size);
    for (uint64_t i = 0; i < NB_SECTORS && i * 512 < size; i++) {
        if (q2_disk_read(disk, i * 512, sector, 512) != Q2_OK)
            return wrong(c, "cannot be read", i * 512);
        if (sector[0] != from->bytes[i] && sector[0] != to->bytes[i])
            return wrong(c, "neither the old nor the new sector", i * 512);
        ret_bytes[i] = sector[0];
    }
    return true;
}

/* The sectors that a bitmap says are dirty. */
static bool read_map(struct cuts *c, struct q2_disk *disk, const struct q2_bitmap *bitmap,
                     bool *ret_dirty)
{
    uint64_t at = 0, length;

    memset(ret_dirty, 0, NB_SECTORS * sizeof(bool));
    for (;;) {
        if (q2_disk_bitmap_dirty(disk, bitmap, at, &at, &length) != Q2_OK)
            return wrong(c, "a bitmap cannot be read", at);
        if (length == 0)
            return true;
        for (uint64_t i = at / 512; i * 512 < at + length; i++) {
            if (i >= NB_SECTORS)
                return wrong(c, "dirty after all writes", i * 512);
            ret_dirty[i] = true;
        }
        at += length;
    }
}

static bool same_map(const struct map *want, const bool *dirty, uint64_t size)
{
    for (uint64_t i = 0; i < NB_SECTORS && i * 512 < size; i++) {
        if (want->dirty[i] != dirty[i])
            return false;
    }
    return true;
}

static bool judge_map(struct cuts *c, struct q2_disk *disk, uint32_t index,
                      const struct version *from, const struct version *to, const uint8_t *bytes)
{
    static bool dirty[NB_SECTORS];
    const struct map *old = &from->maps[index], *new = &to->maps[index];
    uint64_t size = q2_disk_size(disk);
    struct q2_bitmap bitmap;
    bool found = q2_disk_bitmap_find(disk, map_names[index], &bitmap) == Q2_OK, enabled;

    if (found ? !old->exists && !new->exists : old->exists &&new->exists)
        return wrong(c, "a bitmap that is there, or is not:", index);
    if (!found || (bitmap.flags & Q2_BITMAP_IN_USE))
        return true;
    enabled = (bitmap.flags & Q2_BITMAP_AUTO) != 0;
    if (!read_map(c, disk, &bitmap, dirty))
        return false;
    if (!(old->exists && enabled == old->enabled && same_map(old, dirty, size)) &&
        !(new->exists &&enabled == new->enabled &&same_map(new, dirty, size)))
        return wrong(c, "neither the old nor the new bits of bitmap", index);
    for (uint64_t i = 0; i < NB_SECTORS && i * 512 < size; i++) {
        if (old->exists && enabled && bytes[i] != from->bytes[i] && !dirty[i])
            return wrong(c, "a change that is not recorded", i * 512);
    }
    return true;
}

static bool judge_qemu(struct cuts *c)
{
    struct subject s = {.folder = folder};

    c->nb_qemu++;
    subject_store(&s, "cut.qcow2", c->source.bytes, c->source.source.size);
    return subject_try("cd '%s' && qemu-img info -U cut.qcow2 >cut.txt 2>&1 && "
                       "{ qemu-img check -q cut.qcow2 >cut.txt 2>&1 || test $? = 3; } || "
                       "{ sed 's/^/# /' cut.txt; false; }",
                       folder) == 0 ||
           wrong(c, "qemu-img finds something, see cut.txt; states:", c->nb_states);
}

/* c->source holds what is to be judged. */
static bool judge(struct cuts *c, uint32_t step, bool qemu)
{
    const struct version *from = &c->versions[step];
    const struct version *to = &c->versions[step < NB_STEPS ? step + 1 : step];
    uint8_t bytes[NB_SECTORS] = {0};
    struct q2_check_result result = {0};
    struct q2_disk *disk;
    bool ok = open_image(c, false, &disk) == Q2_OK;

    if (!ok)
        return false;
    if (q2_disk_check(disk, NULL, &result) != Q2_OK || result.corruptions + result.check_errors)
        ok = wrong(c, "the check finds corruptions:", result.corruptions);
    ok = ok && judge_bytes(c, disk, from, to, bytes);
    for (uint32_t i = 0; i < NB_MAPS && ok; i++)
        ok = judge_map(c, disk, i, from, to, bytes);
    q2_disk_close(disk);
    return ok && (!qemu || judge_qemu(c));
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct cuts *c = (struct cuts *)visitor;
    struct crash_source own = c->source;
    bool ok;

    c->source.bytes = state->files[0].bytes;
    c->source.source.size = state->files[0].size;
    total_states++;
    ok = judge(c, state->op, c->nb_states++ % 128 == 0);
    c->source = own;
    if (!ok)
        printf("# cut in step %u\n", state->op);
    return ok;
}

/* --- runs ------------------------------------------------------------------------------------- */

/* Everything once, recorded; after each step, stored or not, the image is as expected. */
static bool run_cuts(struct cuts *c)
{
    const struct crash_bounds bounds = {.all_up_to = 5, .sample = 12, .tears = 2, .seed = 1};
    const uint64_t capacity = CAPACITY;
    const uint8_t *initial = c->initial;
    struct q2_disk *disk;
    bool ok = open_image(c, true, &disk) == Q2_OK;

    for (uint32_t i = 0; i < NB_STEPS && ok; i++) {
        c->log.op = i;
        c->log.recording = true;
        ok = act(disk, &steps[i]) == Q2_OK && q2_disk_nb_bitmaps_lost(disk) == 0;
        c->log.recording = false;
        if (!ok) {
            (void)q2_fault_format(q2_disk_fault(disk), c->why, sizeof(c->why));
            printf("# step %u\n", i);
        }
    }
    if (ok)
        q2_disk_close(disk);
    if (!ok || !judge(c, NB_STEPS, true))
        return false;
    c->visitor.visit = visit;
    crash_states_visit(&c->log, &initial, &c->size, &capacity, 1, NB_STEPS, &bounds, &c->visitor);
    return c->why[0] == '\0';
}

/* Call number n fails. What fails is reported, by an error or as a bitmap that is lost. */
static bool run_failure(struct cuts *c, uint64_t n, bool *ret_called)
{
    enum q2_status status = Q2_OK;
    uint32_t step = 0;
    struct q2_disk *disk;
    bool ok = true;

    crash_source_reset(&c->source, c->initial, c->size);
    if (open_image(c, true, &disk) != Q2_OK)
        return false;
    c->log.nb_calls = 0;
    c->log.failed = 0;
    c->log.fail_calls = CRASH_CHANGES;
    c->log.fail_at = n;
    c->log.fail_status = Q2_ERR_IO;
    c->log.torn = (enum crash_torn)(n % 3);
    while (step < NB_STEPS && status == Q2_OK && c->log.failed == 0)
        status = act(disk, &steps[step++]);
    *ret_called = c->log.nb_calls >= n;
    if (status == Q2_OK && c->log.failed != 0 && q2_disk_nb_bitmaps_lost(disk) == 0)
        ok = wrong(c, "a failed call was not reported, step", step - 1);
    c->log.fail_at = 0;
    q2_disk_close(disk);
    return ok && judge(c, *ret_called ? step - 1 : NB_STEPS, n % 64 == 0);
}

static void load(struct cuts *c, const struct row *row)
{
    char path[600];
    FILE *file;

    subject_run("cd '%s' && rm -f x.qcow2 && qemu-img create -q -f qcow2 -o %s x.qcow2 1M && "
                "qemu-io -t unsafe -f qcow2 -c 'write -P 9 192k 128k' x.qcow2 >/dev/null",
                folder, row->options);
    (void)snprintf(path, sizeof(path), "%s/x.qcow2", folder);
    file = fopen(path, "rb");
    if (!file)
        abort();
    c->initial = crash_memory(NULL, CAPACITY);
    memset(c->initial, 0, CAPACITY);
    c->size = fread(c->initial, 1, CAPACITY, file);
    (void)fclose(file);
}

static void expect(struct cuts *c)
{
    c->versions = crash_memory(NULL, (NB_STEPS + 1) * sizeof(*c->versions));
    memset(c->versions, 0, sizeof(*c->versions));
    c->versions[0].size = 1024 * KIB;
    memset(c->versions[0].bytes + 192 * 2, 9, 128 * 2);
    for (uint32_t i = 0; i < NB_STEPS; i++) {
        c->versions[i + 1] = c->versions[i];
        apply(&c->versions[i + 1], &steps[i]);
    }
}

static bool run_row(struct cuts *c, const struct row *row)
{
    bool called = true, ok;

    load(c, row);
    expect(c);
    crash_source_init(&c->source, &c->log, 0, "x.qcow2", c->initial, c->size, CAPACITY);
    ok = run_cuts(c);
    for (uint64_t n = 1; called && ok; n++) {
        ok = run_failure(c, n, &called);
        total_runs++;
        if (!ok)
            printf("# call %" PRIu64 " fails\n", n);
    }
    crash_source_free(&c->source);
    crash_log_free(&c->log);
    free(c->initial);
    free(c->versions);
    if (!ok)
        printf("# %s: %s\n", row->name, c->why);
    return ok;
}

static void test_row(const struct row *row)
{
    struct cuts *c = crash_memory(NULL, sizeof(*c));
    char name[100];

    memset(c, 0, sizeof(*c));
    c->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    (void)snprintf(name, sizeof(name), "test_bitmap_cuts_%s", row->name);
    (void)t_check(run_row(c, row) && c->nb_states > 0 && c->nb_qemu > 0, __FILE__, __LINE__, name);
    t_case_end(name);
    free(c->workspace);
    free(c);
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);

    folder = choice.folder;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (choice_has(&choice, rows[i].name))
            test_row(&rows[i]);
    }
    printf("# total: %" PRIu64 " crash points, %" PRIu64 " runs with a failing call\n",
           total_states, total_runs);
    return t_done();
}
