/* Images whose tables all want the same few slices of the cache: they push each other out, so that
 * reads fail long after the check, and changes are written while more of them come.
 *
 * test_fail_ops.c does the same for small images, whose tables stay in the cache.
 */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/read/refcount.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define GIB      (1024 * MIB)
#define CAPACITY (64 * MIB)
#define COPIED   (1ull << 63)

/* Tables of 16 KiB, one in 64 KiB: 16 sets of slices. */
#define CLUSTER   ((uint64_t)IMAGE_CROWDED_CLUSTER)
#define NB_TABLES 20u /* more than a set has ways */
#define REACH     IMAGE_CROWDED_REACH

/* Failures tried per kind of call; fewer for the file that is large. */
#define MAX_TRIES     60u
#define MAX_TRIES_FAR 8u

static struct image image;
static struct fixture f;
static uint8_t *memory;
static uint8_t *made; /* by build_by(); NULL: the image is used as it was built */
static uint64_t file_size;

/* The image as it was built or made, in a file of its size. */
static void place(void)
{
    memset(memory, 0, CAPACITY);
    memcpy(memory, made ? made : image.bytes, made ? file_size : image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, file_size, CAPACITY);
}

static enum q2_status open_image(bool writable, bool repair)
{
    f.options.writable = writable;
    f.options.repair = repair;
    return fixture_open(&f);
}

/* --- operations ------------------------------------------------------------------------------- */

static enum q2_status op_snapshot(void)
{
    enum q2_status status = open_image(true, false);

    return status == Q2_OK ? q2_disk_snapshot_create(f.disk, "one", 1, 2) : status;
}

static enum q2_status op_delete(void)
{
    enum q2_status status = open_image(true, false);

    return status == Q2_OK ? q2_disk_snapshot_delete(f.disk, "one") : status;
}

static enum q2_status op_repair(void)
{
    struct q2_repair_result result;
    enum q2_status status = open_image(true, true);

    return status == Q2_OK ? q2_disk_repair(f.disk, Q2_REPAIR_ALL, NULL, &result) : status;
}

/* --- images ----------------------------------------------------------------------------------- */

/* L2 tables in the sets of the L1 table, each with three clusters of data and one stream. */
static void build_wide(void)
{
    image_start_crowded(&image, NB_TABLES);
    for (uint64_t i = 0; i < NB_TABLES; i++)
        (void)image_compressed(&image, i * REACH + 3 * CLUSTER, 2);
    file_size = image.size;
}

/* A wrong flag on each stream. */
static void build_wrong_flags(void)
{
    build_wide();
    for (uint64_t i = 0; i < NB_TABLES; i++) {
        uint64_t at = image_l2_entry(&image, i * REACH + 3 * CLUSTER);
        image_put64(&image, at, image_get64(&image, at) | COPIED);
    }
}

static void name_far_clusters(uint64_t step)
{
    for (uint64_t i = 1; i <= 9; i++)
        image_put64(&image, image_l2_entry(&image, i * image_cluster_size(&image)),
                    (i * step) | COPIED);
}

/* Data 4 MiB apart without refcount blocks: their new refcounts are 64 KiB apart. */
static void build_without_blocks(void)
{
    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .refcount_bits = 64});
    name_far_clusters(4 * MIB);
    file_size = 40 * MIB;
}

/* What an operation made of the image is the image. */
static void build_by(enum q2_status (*op)(void))
{
    place();
    T_CHECK_U64(op(), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    file_size = f.image.source.size;
    made = realloc(made, file_size);
    memcpy(made, memory, file_size);
    fixture_end(&f);
}

/* Data 4 MiB apart, and the refcounts that a repair gives it. */
static void build_far(void)
{
    build_without_blocks();
    build_by(op_repair);
}

static void build_far_with_snapshot(void)
{
    build_far();
    build_by(op_snapshot);
}

static const struct wide_case {
    const char *name;
    void (*build)(void);
    enum q2_status (*run)(void);
    unsigned max_tries;
} cases[] = {
    {"snapshot", build_wide, op_snapshot, MAX_TRIES},
    {"repair of entries", build_wrong_flags, op_repair, MAX_TRIES},
    {"rebuilt refcounts", build_without_blocks, op_repair, MAX_TRIES},
    {"snapshot of far data", build_far, op_snapshot, MAX_TRIES_FAR},
    {"deleting a snapshot of far data", build_far_with_snapshot, op_delete, MAX_TRIES_FAR},
};

/* --- running ---------------------------------------------------------------------------------- */

/* Whatever has failed: a repair leaves nothing, and the data is there. */
static void judge(void)
{
    static uint8_t bytes[512];
    struct q2_repair_result result = {0};

    fake_source_fail_nth(&f.image, FAKE_READ, 0);
    T_CHECK_U64(open_image(true, true), Q2_OK);
    T_CHECK_U64(q2_disk_repair(f.disk, Q2_REPAIR_ALL, NULL, &result), Q2_OK);
    T_CHECK_U64(result.left.corruptions + result.left.leaks + result.left.check_errors, 0);
    T_CHECK_U64(open_image(false, false), Q2_OK);
    for (uint64_t at = 0; image.spec.cluster_bits == 14 && at < image.spec.size; at += REACH) {
        T_CHECK_U64(q2_disk_read(f.disk, at, bytes, sizeof(bytes)), Q2_OK);
        T_CHECK(bytes[0] == image_byte(1, at) && bytes[511] == image_byte(1, at + 511));
    }
}

static void run(const struct wide_case *c, enum fake_kind kind)
{
    char row[100];
    uint64_t nb;

    t_row(c->name);
    place();
    fake_source_fail_nth(&f.image, kind, 0);
    T_CHECK_U64(c->run(), Q2_OK);
    nb = fake_source_nb_calls(&f.image, kind);
    judge();
    fixture_end(&f);
    for (uint64_t n = 1; n <= nb; n += nb / c->max_tries + 1) {
        (void)snprintf(row, sizeof(row), "%s, %s %u of %u", c->name, fake_kind_names[kind],
                       (unsigned)n, (unsigned)nb);
        t_row(row);
        place();
        fake_source_fail_nth(&f.image, kind, n);
        if (c->run() == Q2_OK)
            T_CHECK(kind != FAKE_WRITE && kind != FAKE_FLUSH); /* such a failure is always told */
        judge();
        fixture_end(&f);
    }
}

static void test_fail_wide_each_call(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cases[i].build();
        for (enum fake_kind kind = 0; kind < FAKE_NB_KINDS; kind++)
            run(&cases[i], kind);
        image_free(&image);
        free(made);
        made = NULL;
    }
}

/* The new refcount blocks cannot be read back. */
static void test_fail_wide_new_blocks_unreadable(void)
{
    build_without_blocks();
    place();
    f.image.bad_start = file_size;
    f.image.bad_end = UINT64_MAX;
    T_CHECK_U64(op_repair(), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), FIXTURE_IMAGE_PATH ": a refcount cannot be changed");
    f.image.bad_end = 0;
    judge();
    fixture_end(&f);
    image_free(&image);
}

/* Refcounts of 0 for data 512 MiB apart, in blocks that all begin in one set. */
static void test_fail_wide_refcounts_in_one_set(void)
{
    image_start(&image,
                &(struct image_spec){.size = MIB, .refcount_bits = 64, .max_clusters = 81920});
    name_far_clusters(512 * MIB);
    file_size = 5 * GIB; /* what is after the image is zeros */
    place();
    f.image.nb_held = image.size;
    judge();
    for (uint64_t i = 1; i <= 9; i++) {
        uint64_t refcount = 0;
        T_CHECK_U64(q2_refcount_get(&f.disk->slices, &f.disk->layers[0], i * 8192, &refcount),
                    Q2_OK);
        T_CHECK_U64(refcount, 1);
    }
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_fail_wide_each_call);
    T_RUN(test_fail_wide_new_blocks_unreadable);
    T_RUN(test_fail_wide_refcounts_in_one_set);
    free(memory);
    return t_done();
}
