/* Dirty bitmaps of a disk whose L2 tables all want the same few slices of the cache: changes have
 * to be written while a bitmap is being changed, and its directory is pushed out of the cache.
 * Calls of the file fail in turn; what test_fail_bitmaps.c demands holds here too.
 */
#include <stdlib.h>

#include "core/read/bitmap.h"
#include "core/read/disk.h"
#include "core/write/slice_write.h"
#include "q2_amend.h"
#include "q2_bitmap.h"
#include "q2_check.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (4 * MIB)

/* Tables of 16 KiB, one in 64 KiB: 16 sets of slices. */
#define CLUSTER   ((uint64_t)IMAGE_CROWDED_CLUSTER)
#define NB_TABLES 20u /* more than a set has ways */
#define REACH     IMAGE_CROWDED_REACH
#define SIZE      (NB_TABLES * REACH)
#define SHRUNK    (2 * REACH + 512)

#define OLD (7 * CLUSTER) /* in table 1: what the start has written, and "live" says so */
#define NEW (5 * CLUSTER) /* in every table: what an operation writes */

/* Failures tried per kind of call. */
#define MAX_TRIES 16u

static struct image image;
static struct fixture f;
static uint8_t *memory, *start;
static uint64_t start_size;

/* --- the image -------------------------------------------------------------------------------- */

static enum q2_status open_image(bool writable)
{
    f.options.writable = f.options.keep_bitmaps = writable;
    return fixture_open(&f);
}

static void place(const uint8_t *bytes, uint64_t size)
{
    memset(memory, 0, CAPACITY);
    memcpy(memory, bytes, size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, size, CAPACITY);
    T_CHECK_U64(open_image(true), Q2_OK);
    q2_windows_clear(&f.disk->windows); /* so that every read can fail */
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
}

/* New directories, until one is where the tables want their slices. In between data takes clusters,
 * one more in each round. */
static void move_directory(void)
{
    uint64_t tables = image_l2_entry(&image, 0) % (4 * CLUSTER) / CLUSTER;

    for (uint64_t i = 0; i < 16; i++) {
        if (f.disk->layers[0].bitmaps_offset % (4 * CLUSTER) / CLUSTER == tables)
            return;
        T_CHECK_U64(q2_disk_bitmap_add(f.disk, "other", 16, false), Q2_OK);
        T_CHECK_U64(q2_disk_write(f.disk, (10 + 20 * i) * CLUSTER, start, i * CLUSTER + 1), Q2_OK);
        T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "other"), Q2_OK);
    }
    T_CHECK(false);
}

/* "live" records writes, "idle" does not and is dirty all over. */
static void build(void)
{
    struct q2_bitmap bitmap;

    image_start_crowded(&image, NB_TABLES);
    place(image.bytes, image.size);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "live", 9, true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "idle", 9, false), Q2_OK);
    move_directory();
    T_CHECK_U64(q2_disk_write(f.disk, REACH + OLD, "\x11", 1), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "idle", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 0, SIZE), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    start_size = f.image.source.size;
    memcpy(start, memory, start_size);
    fixture_end(&f);
}

/* --- operations ------------------------------------------------------------------------------- */

/* Write to one table after the other. */
static enum q2_status op_write(struct q2_disk *disk)
{
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < NB_TABLES && status == Q2_OK; i++)
        status = q2_disk_write(disk, i * REACH + NEW, "\x55", 1);
    return status;
}

/* Write until a commit is due. */
static enum q2_status crowd(struct q2_disk *disk)
{
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < NB_TABLES && status == Q2_OK; i++) {
        if (q2_slice_is_crowded(&disk->slices))
            return Q2_OK;
        status = q2_disk_write(disk, i * REACH + NEW, "\x55", 1);
    }
    T_CHECK(status != Q2_OK);
    return status;
}

static enum q2_status op_clear(struct q2_disk *disk)
{
    enum q2_status status = crowd(disk);

    return status == Q2_OK ? q2_disk_bitmap_clear(disk, "idle") : status;
}

static enum q2_status op_remove(struct q2_disk *disk)
{
    enum q2_status status = crowd(disk);

    return status == Q2_OK ? q2_disk_bitmap_remove(disk, "idle") : status;
}

static enum q2_status op_mark(struct q2_disk *disk)
{
    struct q2_bitmap bitmap;
    enum q2_status status = q2_disk_bitmap_clear(disk, "idle");

    if (status == Q2_OK)
        status = crowd(disk);
    if (status == Q2_OK)
        status = q2_disk_bitmap_find(disk, "idle", &bitmap);
    return status == Q2_OK ? q2_disk_bitmap_mark(disk, &bitmap, 100, SIZE - 5 * MIB) : status;
}

static enum q2_status op_zero(struct q2_disk *disk)
{
    return q2_disk_write_zeroes(disk, REACH + OLD + CLUSTER, SIZE - 2 * REACH);
}

static enum q2_status op_grow(struct q2_disk *disk)
{
    enum q2_status status = crowd(disk);

    return status == Q2_OK ? q2_disk_resize(disk, 2 * SIZE, false) : status;
}

static enum q2_status op_shrink(struct q2_disk *disk)
{
    enum q2_status status = crowd(disk);

    return status == Q2_OK ? q2_disk_resize(disk, SHRUNK, true) : status;
}

static const struct op {
    const char *name;
    enum q2_status (*run)(struct q2_disk *disk);
} ops[] = {
    {"write", op_write}, {"clear", op_clear}, {"remove", op_remove}, {"mark", op_mark},
    {"zero", op_zero},   {"grow", op_grow},   {"shrink", op_shrink},
};

/* --- running ---------------------------------------------------------------------------------- */

/* The bitmap has the size that the disk needs, and is there; in use: nobody trusts it. */
static bool judge_bitmap(const char *name, struct q2_bitmap *ret_bitmap)
{
    if (q2_disk_bitmap_find(f.disk, name, ret_bitmap) != Q2_OK ||
        (ret_bitmap->flags & Q2_BITMAP_IN_USE))
        return false;
    T_CHECK_U64(ret_bitmap->table_size,
                q2_bitmap_nb_entries(&f.disk->layers[0], q2_disk_size(f.disk),
                                     ret_bitmap->granularity_bits));
    return true;
}

/* Open again: consistent, the data is there, no bitmap that is called right lacks a write. */
static void judge(bool complete, bool removed)
{
    struct q2_bitmap bitmap;

    fake_source_fail_nth(&f.image, FAKE_READ, 0);
    f.image.bad_end = 0;
    if (!T_CHECK_U64(open_image(false), Q2_OK))
        return;
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    T_CHECK_U64(fixture_byte(&f, 0), image_byte(1, 0));
    T_CHECK_U64(fixture_byte(&f, REACH + OLD), 0x11);
    T_CHECK(judge_bitmap("idle", &bitmap) || !complete || removed);
    if (!judge_bitmap("live", &bitmap)) {
        T_CHECK(!complete);
        return;
    }
    T_CHECK(fixture_is_dirty(&f, &bitmap, REACH + OLD));
    for (uint64_t at = NEW; at < q2_disk_size(f.disk) && at < SIZE; at += REACH)
        T_CHECK(fixture_byte(&f, at) == 0 || fixture_is_dirty(&f, &bitmap, at));
}

static void run_kind(const struct op *op, enum fake_kind kind)
{
    char row[100];
    uint64_t nb;

    t_row(op->name);
    place(start, start_size);
    fake_source_fail_nth(&f.image, kind, 0);
    T_CHECK(fixture_settle(&f, op->run(f.disk)));
    nb = fake_source_nb_calls(&f.image, kind);
    judge(true, op->run == op_remove);
    fixture_end(&f);
    for (uint64_t n = 1; n <= nb; n += nb / MAX_TRIES + 1) {
        bool complete;

        (void)snprintf(row, sizeof(row), "%s, %s %u of %u", op->name, fake_kind_names[kind],
                       (unsigned)n, (unsigned)nb);
        t_row(row);
        place(start, start_size);
        fake_source_fail_nth(&f.image, kind, n);
        complete = fixture_settle(&f, op->run(f.disk));
        judge(complete, op->run == op_remove);
        fixture_end(&f);
    }
}

static void test_fail_bitmaps_wide_each_call(void)
{
    static const enum fake_kind kinds[] = {FAKE_READ, FAKE_WRITE, FAKE_FLUSH};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
            run_kind(&ops[i], kinds[k]);
    }
}

/* The directory was readable when the disk began to shrink, and is not when the bitmaps' tables are
 * to follow: the disk has its new size, and the bitmaps are marked as in use for good. */
static void test_fail_bitmaps_wide_directory_is_lost_on_the_way(void)
{
    struct q2_bitmap bitmap;

    place(start, start_size);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "idle", &bitmap), Q2_OK); /* it is in the cache now */
    f.image.bad_start = f.disk->layers[0].bitmaps_offset;
    f.image.bad_end = f.image.bad_start + 1;
    T_CHECK_U64(q2_disk_resize(f.disk, SHRUNK, true), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_size(f.disk), SHRUNK);
    f.image.bad_end = 0;
    T_CHECK_U64(open_image(false), Q2_OK);
    T_CHECK_U64(q2_disk_size(f.disk), SHRUNK);
    T_CHECK(!judge_bitmap("live", &bitmap) && !judge_bitmap("idle", &bitmap));
    judge(false, false);
    fixture_end(&f);
}

int main(void)
{
    memory = malloc(CAPACITY);
    start = calloc(1, CAPACITY);
    build();
    T_RUN(test_fail_bitmaps_wide_each_call);
    T_RUN(test_fail_bitmaps_wide_directory_is_lost_on_the_way);
    image_free(&image);
    free(memory);
    free(start);
    return t_done();
}
