/* core/write/bitmap_write.c: what a write makes wrong is marked as inconsistent, durably and before
 * anything else changes; nothing leaks. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (4096 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;
static uint64_t directory;

/* Two bitmaps: "live" records writes, "frozen" does not. */
static void build(void)
{
    uint64_t at, table;

    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    image_data(&image, 0, 1);
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    image_put32(&image, at + 8, 2);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, 64);
    directory = image_alloc(&image, 1);
    image_put64(&image, at + 24, directory);
    for (uint32_t i = 0; i < 2; i++) {
        table = image_alloc(&image, 1);
        image_put64(&image, table, image_alloc(&image, 1));
        image_put64(&image, directory + i * 32, table);
        image_put32(&image, directory + i * 32 + 8, 1);
        image_put32(&image, directory + i * 32 + 12, i == 0 ? Q2_BITMAP_AUTO : 0);
        image_put32(&image, directory + i * 32 + 16, 1u << 24 | 16u << 16 | (i == 0 ? 4 : 6));
        image_put(&image, directory + i * 32 + 24, i == 0 ? "live" : "frozen", i == 0 ? 4 : 6);
    }
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_BITMAPS | 1ull << 40);
}

static void setup(void)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static void check_flags(uint32_t live, uint32_t frozen, uint32_t nb_lost)
{
    struct q2_check_result result;
    struct q2_layer_info info;
    struct q2_bitmap bitmap;

    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), nb_lost);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->autoclear_features, Q2_AUTOCLEAR_BITMAPS);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_OK);
    T_CHECK_U64(bitmap.flags, live);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 1, &bitmap), Q2_OK);
    T_CHECK_U64(bitmap.flags, frozen);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
}

static void test_write_marks_the_bitmaps_that_record_it(void)
{
    build();
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "x", 1), Q2_OK);
    check_flags(Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE, 0, 1);
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "y", 1), Q2_OK);
    check_flags(Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE, 0, 0); /* it was marked before */
    cleanup();
}

static void test_resize_marks_every_bitmap(void)
{
    build();
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 512 * KIB, false), Q2_OK);
    check_flags(Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE, Q2_BITMAP_IN_USE, 2);
    cleanup();
}

static void test_names_and_new_snapshots_leave_bitmaps_alone(void)
{
    build();
    setup();
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "s", 0, 0), Q2_OK);
    check_flags(Q2_BITMAP_AUTO, 0, 0);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "s"), Q2_OK);
    check_flags(Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE, Q2_BITMAP_IN_USE, 2);
    cleanup();
}

/* A mark that cannot be written: nothing else is. */
static void test_bitmap_that_cannot_be_marked_stops_the_write(void)
{
    build();
    setup();
    f.image.fail_write = 1;
    f.image.fail_status = Q2_ERR_IO;
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "x", 1), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the dirty bitmaps cannot be marked as in use");
    T_CHECK(!q2_disk_is_writable(f.disk));
    cleanup();
}

/* The directory shares its cluster with something else, into which no mark may be written: the
 * bitmaps are given up. */
static void test_directory_that_is_something_else_is_not_marked(void)
{
    struct q2_layer_info info;

    build();
    image_refcount_set(&image, directory / (64 * KIB), 2);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 2);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK(memcmp(memory + directory, image.bytes + directory, 64 * KIB) == 0);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->autoclear_features, 0);
    cleanup();
}

/* Once the bitmaps are marked, a write does not ask the directory again, and so its loss does not
 * matter to the image. */
static void test_directory_is_read_for_the_first_write_only(void)
{
    struct q2_layer_info info;

    build();
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    f.image.bad_start = directory;
    f.image.bad_end = directory + 64 * KIB;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_disk_write(f.disk, 70 * KIB, "y", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->autoclear_features, Q2_AUTOCLEAR_BITMAPS);
    cleanup();
}

/* The header cannot be written, which comes before the mark: the bitmap stays as it was. */
static void test_bitmap_that_cannot_be_taken_stays(void)
{
    struct q2_bitmap bitmap;

    build();
    setup();
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "live", &bitmap), Q2_OK);
    fake_source_fail_nth(&f.image, FAKE_WRITE, 1);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 0, 1), Q2_ERR_IO);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    T_RUN(test_write_marks_the_bitmaps_that_record_it);
    T_RUN(test_resize_marks_every_bitmap);
    T_RUN(test_names_and_new_snapshots_leave_bitmaps_alone);
    T_RUN(test_bitmap_that_cannot_be_marked_stops_the_write);
    T_RUN(test_directory_that_is_something_else_is_not_marked);
    T_RUN(test_directory_is_read_for_the_first_write_only);
    T_RUN(test_bitmap_that_cannot_be_taken_stays);
    free(memory);
    return t_done();
}
