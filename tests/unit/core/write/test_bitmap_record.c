/* core/write/bitmap_record.c, bitmap_write.c: bitmaps of a disk that keeps them, in cases that
 * ordinary images do not reach. */
#include <stdlib.h>

#include "q2_amend.h"
#include "q2_bitmap.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (8192 * KIB)
#define CLUSTER  (64 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;
static uint64_t directory, table, bits;

/* An image with nb bitmaps that record writes, with granules of 64 KiB; the first has a cluster of
 * bits. */
static void build(uint32_t nb)
{
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = 512 * KIB});
    image_data(&image, 0, 1);
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    image_put32(&image, at + 8, nb);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, nb * 32);
    directory = image_alloc(&image, 1);
    image_put64(&image, at + 24, directory);
    for (uint32_t i = 0; i < nb; i++) {
        uint64_t one = image_alloc(&image, 1), entry = directory + i * 32ull;

        if (i == 0) {
            table = one;
            bits = image_alloc(&image, 1);
            image_put64(&image, table, bits);
        }
        image_put64(&image, entry, one);
        image_put32(&image, entry + 8, 1);
        image_put32(&image, entry + 12, Q2_BITMAP_AUTO);
        image_put32(&image, entry + 16, 1u << 24 | 16u << 16 | 3);
        image_put(&image, entry + 24, i == 0 ? "abc" : "xyz", 3);
    }
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_BITMAPS);
}

static void setup(void)
{
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    f.options.writable = true;
    f.options.keep_bitmaps = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static uint32_t flags_in_file(void)
{
    return memory[directory + 15];
}

static void check_clean(void)
{
    struct q2_check_result result;

    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
}

static void check_dirty(const char *name, uint64_t offset, uint64_t length)
{
    struct q2_bitmap bitmap;
    uint64_t at = 0, found = 0;

    T_CHECK_U64(q2_disk_bitmap_find(f.disk, name, &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &found), Q2_OK);
    T_CHECK_U64(at, offset);
    T_CHECK_U64(found, length);
}

static void test_write_is_recorded_and_stored(void)
{
    build(2);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 100 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    T_CHECK_U64(memory[bits], 2);
    T_CHECK_U64(q2_disk_write(f.disk, 200 * KIB, "x", 1), Q2_OK); /* and again */
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[bits], 2 | 8);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 0);
    check_dirty("xyz", 64 * KIB, 64 * KIB);
    check_clean();
    cleanup();
}

/* A bit that is known to be set costs no write. */
static void test_write_to_what_is_dirty_writes_no_metadata(void)
{
    uint64_t nb_changes;

    build(1);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    nb_changes = q2_disk_nb_changes(f.disk);
    T_CHECK_U64(q2_disk_write(f.disk, 20, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_changes(f.disk), nb_changes);
    cleanup();
}

/* An entry that stands for a cluster of ones has them all, and gets a cluster when the disk grows,
 * whose new part is clean. */
static void test_entry_of_ones_reads_and_grows(void)
{
    build(1);
    image_put64(&image, table, 1);
    image_refcount_set(&image, bits / CLUSTER, 0);
    setup();
    check_dirty("abc", 0, 512 * KIB);
    T_CHECK_U64(q2_disk_write(f.disk, 100 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 2048 * KIB, false), Q2_OK);
    check_dirty("abc", 0, 512 * KIB);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    check_clean();
    cleanup();
}

/* A full file: the write is done, the bitmap that had no cluster yet is lost, and that is told. */
static void test_write_without_room_to_record_is_done(void)
{
    build(2);
    setup();
    f.image.capacity = image.size;
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    T_CHECK_U64(memory[directory + 32 + 15], Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    T_CHECK_U64(memory[bits], 1);
    cleanup();
}

/* A hostile image: the cluster of bits is the disk's data as well. Nothing is written to it. */
static void test_shared_cluster_is_not_written(void)
{
    build(1);
    image_refcount_set(&image, bits / CLUSTER, 2);
    image_put64(&image, image_l2_entry(&image, 3 * CLUSTER), bits); /* without COPIED */
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[bits], 0);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    cleanup();
}

static void test_more_bitmaps_than_are_recorded_are_lost(void)
{
    build(35);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 3);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    T_CHECK_U64(memory[directory + 34 * 32 + 15], Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    check_clean();
    cleanup();
}

static void test_store_that_fails_loses_the_bitmaps(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    f.image.fail_flush = f.image.nb_flushes + 2; /* that of the flags */
    f.image.fail_status = Q2_ERR_IO;
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    T_CHECK(!q2_disk_is_writable(f.disk));
    cleanup();
}

/* A table that is too short, or a granularity out of range: not recorded, not read. */
static void test_bitmap_that_does_not_fit_is_lost(void)
{
    struct q2_bitmap bitmap;
    uint64_t at, length;

    build(1);
    image_put32(&image, directory + 16, 1u << 24 | 40u << 16 | 3);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), Q2_ERR_BAD_BITMAP);
    bitmap.granularity_bits = 9;
    bitmap.table_size = 0;
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), Q2_ERR_BAD_BITMAP);
    cleanup();
}

static void test_snapshot_is_not_applied_under_bitmaps(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "s", 0, 0), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "s"), Q2_ERR_BUSY);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "s"), Q2_OK);
    check_clean();
    cleanup();
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    T_RUN(test_write_is_recorded_and_stored);
    T_RUN(test_write_to_what_is_dirty_writes_no_metadata);
    T_RUN(test_entry_of_ones_reads_and_grows);
    T_RUN(test_write_without_room_to_record_is_done);
    T_RUN(test_shared_cluster_is_not_written);
    T_RUN(test_more_bitmaps_than_are_recorded_are_lost);
    T_RUN(test_store_that_fails_loses_the_bitmaps);
    T_RUN(test_bitmap_that_does_not_fit_is_lost);
    T_RUN(test_snapshot_is_not_applied_under_bitmaps);
    free(memory);
    return t_done();
}
