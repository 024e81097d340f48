/* Every call of the file fails once, in turn, inside what changes or reads dirty bitmaps: the check
 * finds leaks at most, and no bitmap that is called right lacks a granule that was written.
 *
 * test_fail_ops.c does this for images without bitmaps. The caches are cold, so that each read of a
 * directory, a table or bits can fail too.
 */
#include <stdlib.h>

#include "core/read/bitmap.h"
#include "core/read/disk.h"
#include "q2_amend.h"
#include "q2_bitmap.h"
#include "q2_check.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (4 * MIB)
#define SIZE     (2 * MIB)
#define GROWN    (8 * MIB)
#define SHRUNK   (1 * MIB + 512)

#define FIRST  1000ull             /* what the start has written, and both bitmaps say so */
#define SECOND (300 * KIB)         /* what an operation writes */
#define LAST   (SHRUNK - 1024)     /* written at the start; near the end of the smaller disk */
#define GONE   (SHRUNK + 64 * KIB) /* written at the start; the smaller disk does not have it */

/* Failures tried per kind of call; longer operations are sampled. */
#define MAX_TRIES 40u

static struct image image;
static struct fixture f;
static uint8_t *memory, *start;
static uint64_t start_size;
static bool forget; /* of the operation at hand */

/* --- operations ------------------------------------------------------------------------------- */

static enum q2_status op_write(struct q2_disk *disk)
{
    return q2_disk_write(disk, SECOND, "\x55", 1);
}

static enum q2_status op_grow(struct q2_disk *disk)
{
    return q2_disk_resize(disk, GROWN, false);
}

static enum q2_status op_shrink(struct q2_disk *disk)
{
    return q2_disk_resize(disk, SHRUNK, true);
}

/* After a write, so that the header and the bitmaps that record are ready for writes; then the
 * caches are cold again. */
static enum q2_status write_first(struct q2_disk *disk)
{
    enum q2_status status = op_write(disk);

    if (status == Q2_OK)
        status = q2_disk_flush(disk);
    q2_windows_clear(&disk->windows);
    q2_slice_cache_init(&disk->slices, &disk->windows);
    return status;
}

static enum q2_status op_write_and_grow(struct q2_disk *disk)
{
    enum q2_status status = write_first(disk);

    return status == Q2_OK ? op_grow(disk) : status;
}

static enum q2_status op_write_and_shrink(struct q2_disk *disk)
{
    enum q2_status status = write_first(disk);

    return status == Q2_OK ? op_shrink(disk) : status;
}

static enum q2_status op_add(struct q2_disk *disk)
{
    return q2_disk_bitmap_add(disk, "added", 0, true);
}

static enum q2_status op_remove(struct q2_disk *disk)
{
    return q2_disk_bitmap_remove(disk, "idle");
}

static enum q2_status op_clear(struct q2_disk *disk)
{
    return q2_disk_bitmap_clear(disk, "idle");
}

static enum q2_status op_enable(struct q2_disk *disk)
{
    return q2_disk_bitmap_enable(disk, "idle", true);
}

static enum q2_status op_mark(struct q2_disk *disk)
{
    struct q2_bitmap bitmap;
    enum q2_status status = q2_disk_bitmap_find(disk, "idle", &bitmap);

    return status == Q2_OK ? q2_disk_bitmap_mark(disk, &bitmap, SECOND, 100 * KIB) : status;
}

static enum q2_status op_read(struct q2_disk *disk)
{
    uint64_t offset = 0, length = 0;
    struct q2_bitmap bitmap;
    enum q2_status status = q2_disk_bitmap_find(disk, "live", &bitmap);

    if (status == Q2_OK)
        status = q2_disk_bitmap_dirty(disk, &bitmap, 0, &offset, &length);
    if (status == Q2_OK)
        T_CHECK(offset == FIRST / 512 * 512 && length == 512);
    return status;
}

static const struct op {
    const char *name;
    enum q2_status (*run)(struct q2_disk *disk);
    bool forget; /* the disk does not keep bitmaps: they are marked as in use */
} ops[] = {
    {"write", op_write, false},
    {"grow", op_grow, false},
    {"shrink", op_shrink, false},
    {"add", op_add, false},
    {"clear", op_clear, false},
    {"remove", op_remove, false},
    {"write and grow", op_write_and_grow, false},
    {"write and shrink", op_write_and_shrink, false},
    {"write, forget", op_write, true},
    {"write and grow, forget", op_write_and_grow, true},
    {"write and shrink, forget", op_write_and_shrink, true},
    {"enable", op_enable, false},
    {"mark", op_mark, false},
    {"read", op_read, false},
};

/* --- running ---------------------------------------------------------------------------------- */

static enum q2_status open_image(bool writable)
{
    f.options.writable = writable;
    f.options.keep_bitmaps = writable && !forget;
    return fixture_open(&f);
}

/* The image as it was before any operation, open for writing, nothing in its caches. */
static bool open_start(void)
{
    memset(memory, 0, CAPACITY);
    memcpy(memory, start, start_size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, start_size, CAPACITY);
    if (!T_CHECK_U64(open_image(true), Q2_OK))
        return false;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    return true;
}

/* "live" records writes, "idle" does not and has the bits that were marked in it. "new" records
 * what comes after the start. */
static void build(void)
{
    struct q2_bitmap bitmap;

    image_start(&image,
                &(struct image_spec){.size = SIZE, .cluster_bits = 9, .max_clusters = 4096});
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    T_CHECK_U64(open_image(true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "live", 9, true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "idle", 9, false), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, FIRST, "\x11", 1), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, LAST, "\x11", 1), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, GONE, "\x11", 1), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 3 * MIB / 2, start, 32 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, SIZE - 1024, "\x11", 1), Q2_OK); /* a table far away */
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "new", 9, true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "idle", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, FIRST, 1), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    start_size = f.image.source.size;
    memcpy(start, memory, start_size);
    fixture_end(&f);
}

/* A bitmap that is not in use has all that it must have; is it there and so? */
static bool judge_bitmap(const char *name, bool records)
{
    struct q2_bitmap bitmap;

    if (q2_disk_bitmap_find(f.disk, name, &bitmap) != Q2_OK || (bitmap.flags & Q2_BITMAP_IN_USE))
        return false;
    /* A table of another size makes QEMU refuse the image. */
    T_CHECK_U64(bitmap.table_size, q2_bitmap_nb_entries(&f.disk->layers[0], q2_disk_size(f.disk),
                                                        bitmap.granularity_bits));
    if (records) {
        T_CHECK(fixture_is_dirty(&f, &bitmap, FIRST) && fixture_is_dirty(&f, &bitmap, LAST));
        T_CHECK(fixture_byte(&f, SECOND) == 0 || fixture_is_dirty(&f, &bitmap, SECOND));
        T_CHECK(!fixture_is_dirty(&f, &bitmap, SHRUNK + 512));
    }
    return true;
}

/* Does what "new" says fit what the disk has lost since the start? */
static void judge_lost_data(void)
{
    struct q2_bitmap bitmap;

    if (q2_disk_size(f.disk) < SIZE || fixture_byte(&f, GONE) == 0x11 ||
        q2_disk_bitmap_find(f.disk, "new", &bitmap) != Q2_OK || (bitmap.flags & Q2_BITMAP_IN_USE))
        return;
    T_CHECK(fixture_is_dirty(&f, &bitmap, GONE));
}

/* Open again: consistent, what was written before is there, the bitmaps lack nothing. */
static void judge(bool complete, bool removed)
{

    fake_source_fail_nth(&f.image, FAKE_READ, 0);
    if (!T_CHECK_U64(open_image(false), Q2_OK))
        return;
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    T_CHECK_U64(fixture_byte(&f, FIRST), 0x11);
    T_CHECK_U64(fixture_byte(&f, LAST), 0x11);
    T_CHECK(judge_bitmap("live", true) || !complete);
    T_CHECK(judge_bitmap("idle", false) || !complete || removed);
    judge_lost_data();
}

static void run_kind(const struct op *op, enum fake_kind kind)
{
    char row[100];
    uint64_t nb;

    t_row(op->name);
    if (!open_start())
        return;
    fake_source_fail_nth(&f.image, kind, 0);
    T_CHECK(fixture_settle(&f, op->run(f.disk)) == !forget);
    nb = fake_source_nb_calls(&f.image, kind);
    judge(!forget, op->run == op_remove);
    fixture_end(&f);
    for (uint64_t n = 1; n <= nb; n += nb / MAX_TRIES + 1) {
        bool complete;

        (void)snprintf(row, sizeof(row), "%s, %s %u of %u", op->name, fake_kind_names[kind],
                       (unsigned)n, (unsigned)nb);
        t_row(row);
        if (!open_start())
            return;
        fake_source_fail_nth(&f.image, kind, n);
        complete = fixture_settle(&f, op->run(f.disk));
        judge(complete, op->run == op_remove);
        fixture_end(&f);
    }
}

static void test_fail_bitmaps_each_call(void)
{
    build();
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        forget = ops[i].forget;
        for (enum fake_kind kind = 0; kind < FAKE_NB_KINDS; kind++)
            run_kind(&ops[i], kind);
    }
    image_free(&image);
}

int main(void)
{
    memory = malloc(CAPACITY);
    start = calloc(1, CAPACITY);
    T_RUN(test_fail_bitmaps_each_call);
    free(memory);
    free(start);
    return t_done();
}
