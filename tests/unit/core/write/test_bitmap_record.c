/* core/write/bitmap_record.c, bitmap_write.c: bitmaps of a disk that keeps them, in cases that
 * ordinary images do not reach. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/write/bitmap_write.h"
#include "core/write/slice_write.h"
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
static void build_sized(uint32_t nb, uint64_t size)
{
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = size});
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

static void build(uint32_t nb)
{
    build_sized(nb, 512 * KIB);
}

static void setup_for(bool writable)
{
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    f.options.writable = writable;
    f.options.keep_bitmaps = writable;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void setup(void)
{
    setup_for(true);
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

/* A discard changes what the guest reads, so it is recorded: whole clusters of it, in one of which
 * there was data. */
static void test_discard_is_recorded(void)
{
    build(2);
    setup();
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 130 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[bits], 1 | 2);
    check_dirty("xyz", 0, 128 * KIB);
    check_clean();
    cleanup();
}

/* The disk ends inside the last granule, and the search that goes on from there ends. */
static void test_dirty_last_granule_is_cut_and_nothing_comes_after_it(void)
{
    struct q2_bitmap bitmap;
    uint64_t at, length, end = 96 * KIB + 512;

    build_sized(1, end);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, end - 1, "x", 1), Q2_OK);
    check_dirty("abc", 64 * KIB, 32 * KIB + 512);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    for (uint64_t from = end - 1; from < 200 * KIB; from += 32 * KIB + 1) {
        T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, from, &at, &length), Q2_OK);
        T_CHECK_U64(length, from < end ? 32 * KIB + 512 : 0);
        T_CHECK_U64(at, from < end ? 64 * KIB : end);
    }
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

/* An entry that stands for a cluster of ones becomes one without any. */
static void test_entry_of_ones_is_cleared(void)
{
    build(1);
    image_put64(&image, table, 1);
    image_refcount_set(&image, bits / CLUSTER, 0);
    setup();
    T_CHECK_U64(q2_disk_bitmap_clear(f.disk, "abc"), Q2_OK);
    check_dirty("abc", 512 * KIB, 0);
    T_CHECK_U64(memory[table + 7], 0);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    check_clean();
    cleanup();
}

/* The second bitmap is cleared and disabled, and the first one stays as it is. */
static void test_changes_of_the_second_bitmap(void)
{
    build(2);
    image.bytes[bits] = 1;
    image_put64(&image, bits + CLUSTER, 1); /* its table: all ones */
    setup();
    check_dirty("xyz", 0, 512 * KIB);
    T_CHECK_U64(q2_disk_bitmap_clear(f.disk, "xyz"), Q2_OK);
    check_dirty("xyz", 512 * KIB, 0);
    check_dirty("abc", 0, 64 * KIB);
    T_CHECK_U64(q2_disk_bitmap_enable(f.disk, "xyz", false), Q2_OK);
    T_CHECK_U64(memory[directory + 32 + 15], 0);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
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

/* A bitmap whose table has room keeps it. One that gets a longer table records at once what is
 * written where only the new entries reach. */
static void test_resize_with_and_without_a_longer_table(void)
{
    const uint64_t far = 290 * 1024 * KIB;
    struct q2_bitmap bitmap;
    uint64_t at = 0, length = 0;

    build(1);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3); /* an entry for 256 MiB */
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 0, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK_U64(bitmap.table_offset, table);
    T_CHECK_U64(q2_disk_resize(f.disk, 300 * 1024 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, far, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 0);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    check_dirty("abc", 0, 512);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK(bitmap.table_offset != table);
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 512, &at, &length), Q2_OK);
    T_CHECK_U64(at, far);
    T_CHECK_U64(length, 512);
    check_clean();
    cleanup();
}

/* They stay marked as in use; the others follow the disk, and stay right. */
static void test_resize_of_more_bitmaps_than_are_recorded(void)
{
    static const uint64_t sizes[] = {1024 * KIB, 256 * KIB};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        build(34);
        image_put32(&image, bits, 0xff000000); /* all is dirty in the first one */
        setup();
        T_CHECK_U64(q2_disk_resize(f.disk, sizes[i], true), Q2_OK);
        T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 2);
        T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
        check_dirty("abc", 0, sizes[i] < 512 * KIB ? sizes[i] : 512 * KIB);
        for (uint32_t k = 0; k < 34; k++)
            T_CHECK_U64(memory[directory + k * 32 + 15],
                        k < 32 ? Q2_BITMAP_AUTO : Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
        check_clean();
        cleanup();
    }
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

/* Nothing is recorded, so there is nothing to store: on a disk for reading as well. */
static void test_store_of_nothing(void)
{
    for (int writable = 0; writable < 2; writable++) {
        build(1);
        setup_for(writable != 0);
        fake_source_reset(&f.image);
        T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
        T_CHECK_U64(f.image.nb_writes + f.image.nb_flushes, 0);
        cleanup();
    }
}

/* A change begins with storing what was recorded; if that fails, it does no more. */
static void test_change_after_a_store_that_fails(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    f.image.fail_flush = f.image.nb_flushes + 2; /* that of the flags */
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_ERR_IO);
    T_CHECK_U64(memory[directory + 24], 'a');
    T_CHECK_U64(f.disk->layers[0].nb_bitmaps, 1);
    cleanup();
}

/* The directory's last entry is broken since the open: its bitmaps are lost, and the write is done.
 */
static void test_directory_with_a_broken_last_entry_is_lost(void)
{
    for (uint32_t nb = 1; nb <= 2; nb++) {
        build(nb);
        setup();
        memory[directory + (nb - 1) * 32 + 19] = 0; /* no name */
        q2_windows_clear(&f.disk->windows);
        q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
        T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
        T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), nb);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        cleanup();
    }
}

/* What waits in the way of a bitmap's bits cannot be written: the disk is read-only, and the write
 * is not done. (O10) */
static void test_write_ends_where_recording_fails_for_good(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 0, "x", 1), Q2_OK); /* makes all ready */
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    for (uint64_t i = 1; i <= Q2_SLICE_WAYS / 2; i++) {
        uint64_t at = i * Q2_SLICE_SETS * Q2_SLICE_SIZE;
        T_CHECK_U64(
            q2_slice_put(&f.disk->slices, &f.image.source, at, memory + at, 8, Q2_DIRTY_REFCOUNT),
            Q2_OK);
    }
    fake_source_fail_nth(&f.image, FAKE_WRITE, 1);
    T_CHECK_U64(q2_disk_write(f.disk, 7 * CLUSTER, "y", 1), Q2_ERR_IO);
    T_CHECK_U64(f.image.nb_writes, 1);
    T_CHECK(!q2_disk_is_writable(f.disk));
    cleanup();
}

/* Whichever write fails under a new cluster of bits: the cluster is named, or given back. */
static void test_recording_that_fails_leaks_nothing(void)
{
    for (uint64_t n = 1;; n++) {
        uint64_t nb_writes;

        build(2);
        setup();
        f.image.fail_write = n;
        (void)q2_disk_write(f.disk, 10, "x", 1);
        nb_writes = f.image.nb_writes;
        f.image.fail_write = 0;
        if (q2_disk_is_writable(f.disk)) {
            T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
            check_clean();
        }
        cleanup();
        if (nb_writes < n)
            break;
    }
}

static void check_said(enum q2_status status, enum q2_status wanted, const char *what)
{
    T_CHECK_U64(status, wanted);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, what);
}

static void test_reading_says_what_is_wrong(void)
{
    static const struct {
        const char *what;
        uint64_t offset;
        uint32_t size, bits;
        enum q2_status status;
    } rows[] = {
        {"a bitmap's granularity is out of range", 0, 1, 40, Q2_ERR_BAD_BITMAP},
        {"a bitmap's granularity is out of range", 0, 1, 8, Q2_ERR_BAD_BITMAP},
        {"a bitmap is too small for the disk", 0, 0, 9, Q2_ERR_BAD_BITMAP},
        {"a bitmap's table cannot be read", 1ull << 40, 1, 16, Q2_ERR_TRUNCATED},
        /* the directory's second word: a table of one entry, with flags */
        {"a bitmap's table entry breaks the specification", 8, 1, 16, Q2_ERR_BAD_BITMAP},
    };
    struct q2_bitmap bitmap;
    uint64_t at, length;

    build(1);
    setup();
    check_said(q2_disk_bitmap_find(f.disk, "nope", &bitmap), Q2_ERR_ARGUMENT,
               "no valid bitmap has this name");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].what);
        T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
        bitmap.table_offset = directory + rows[i].offset;
        bitmap.table_size = rows[i].size;
        bitmap.granularity_bits = (uint8_t)rows[i].bits;
        check_said(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), rows[i].status,
                   rows[i].what);
    }
    cleanup();
}

/* Reserved bits, an offset inside a cluster, ones and an offset. */
static void test_wrong_entry_of_a_table_is_told(void)
{
    static const uint64_t entries[] = {2, 512, 1ull << 63, 16 * CLUSTER | 1};

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        struct q2_bitmap bitmap;
        uint64_t at = 77, length = 77;

        build(1);
        image_put64(&image, table, entries[i]);
        setup_for(false);
        T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
        check_said(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), Q2_ERR_BAD_BITMAP,
                   "a bitmap's table entry breaks the specification");
        T_CHECK_U64(q2_disk_fault(f.disk)->offset, table);
        T_CHECK(at == 77 && length == 77);
        cleanup();
    }
}

/* The dirty range is in the first cluster of bits, and where it ends cannot be told. */
static void test_range_whose_end_cannot_be_read_is_told(void)
{
    struct q2_bitmap bitmap;
    uint64_t at = 77, length = 77;

    build(1);
    image_field_set(&image, "size", 512 * 1024 * KIB);
    image_put32(&image, directory + 8, 2);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    image_put64(&image, table, 1);     /* all ones */
    image_put64(&image, table + 8, 2); /* a reserved bit */
    setup_for(false);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    check_said(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), Q2_ERR_BAD_BITMAP,
               "a bitmap's table entry breaks the specification");
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, table + 8);
    T_CHECK(at == 77 && length == 77);
    cleanup();
}

static void test_add_says_what_is_wrong(void)
{
    build(1);
    setup();
    check_said(q2_disk_bitmap_add(f.disk, "", 0, true), Q2_ERR_ARGUMENT,
               "a bitmap's name has 1 to 1023 bytes");
    check_said(q2_disk_bitmap_add(f.disk, "n", 8, true), Q2_ERR_ARGUMENT,
               "a bitmap's granularity is 512 bytes to 2 GiB");
    check_said(q2_disk_bitmap_add(f.disk, "abc", 0, true), Q2_ERR_ARGUMENT,
               "a bitmap of this name exists already");
    f.disk->layers[0].bitmaps_length = Q2_MAX_BITMAPS * 1024ull - 1024;
    f.image.source.size = 1ull << 30;
    check_said(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_LIMIT,
               "there is no room for one more bitmap");
    cleanup();

    image_start(&image, &(struct image_spec){.size = 1ull << 45, .max_clusters = 1024});
    setup();
    check_said(q2_disk_bitmap_add(f.disk, "n", 9, true), Q2_ERR_LIMIT,
               "the bitmap would be too large; take a larger granularity");
    cleanup();

    image_start(&image, &(struct image_spec){.size = 512 * KIB, .version = 2});
    setup();
    check_said(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_UNSUPPORTED,
               "a version 2 image has no bitmaps");
    cleanup();

    image_start(&image, &(struct image_spec){.size = 0});
    setup();
    check_said(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_ARGUMENT,
               "a disk of 0 bytes cannot have a bitmap; resize it first");
    cleanup();

    build(1);
    setup();
    f.disk->layers[0].format = Q2_FORMAT_RAW;
    check_said(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_UNSUPPORTED,
               "a raw image has no bitmaps");
    f.disk->layers[0].format = Q2_FORMAT_QCOW2;
    cleanup();
}

/* What each of three bitmaps that cannot be changed makes of a change and of another size. */
static void test_changes_say_what_is_wrong(void)
{
    static const char inconsistent[] =
        "the bitmap is inconsistent, because a program did not store it; remove it and make a full "
        "backup";

    build(1);
    image_put32(&image, directory + 12, Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    setup();
    check_said(q2_disk_bitmap_clear(f.disk, "abc"), Q2_ERR_BUSY, inconsistent);
    check_said(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_ERR_BUSY,
               "a bitmap is inconsistent, so the size cannot change; remove it first");
    f.disk->bitmap.flags = 0;
    f.disk->writer.nb_recorded = Q2_MAX_RECORDED;
    check_said(q2_bitmap_take(f.disk, directory), Q2_ERR_LIMIT,
               "too many bitmaps are changed at once");
    f.disk->writer.nb_recorded = 0;
    cleanup();

    build(1);
    image_put32(&image, directory + 12, 0);
    image_put32(&image, directory + 16, 1u << 24 | 40u << 16 | 3);
    setup();
    check_said(q2_disk_bitmap_clear(f.disk, "abc"), Q2_ERR_BAD_BITMAP,
               "the bitmap is not fit for this disk");
    check_said(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_ERR_BAD_BITMAP,
               "a bitmap is not fit to be resized");
    cleanup();

    build(1);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    setup();
    check_said(q2_disk_resize(f.disk, 1ull << 45, false), Q2_ERR_LIMIT,
               "a bitmap would be too large for the new size; remove it first");
    check_said(q2_disk_resize(f.disk, 0, true), Q2_ERR_UNSUPPORTED,
               "a disk of 0 bytes cannot have bitmaps; remove them first");
    cleanup();
}

/* The second bitmap's table names the first one's cluster too. */
static void share_bits(void)
{
    image_put64(&image, bits + CLUSTER, bits);
    image_refcount_set(&image, bits / CLUSTER, 2);
}

/* A resize that a bitmap forbids leaves every byte as it was, and so does one that is refused for a
 * bitmap after an enabled one that could follow. */
static void test_resize_that_is_refused_changes_nothing(void)
{
    static const struct {
        const char *name;
        uint64_t at, size; /* at: of a word in the first bitmap's entry, or 0 */
        uint32_t word;
        enum q2_status status;
    } rows[] = {
        {"granularity", 16, 1024 * KIB, 1u << 24 | 40u << 16 | 3, Q2_ERR_BAD_BITMAP},
        {"granularity, smaller", 16, 256 * KIB, 1u << 24 | 40u << 16 | 3, Q2_ERR_BAD_BITMAP},
        {"too large", 16, 1ull << 45, 1u << 24 | 9u << 16 | 3, Q2_ERR_LIMIT},
        {"in use", 12, 1024 * KIB, Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE, Q2_ERR_BUSY},
        {"cluster is shared", 0, 1024 * KIB, 0, Q2_ERR_BAD_BITMAP},
        {"cluster is shared, smaller", 0, 256 * KIB, 0, Q2_ERR_BAD_BITMAP},
    };
    uint8_t *before = malloc(CAPACITY);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        build(2);
        if (rows[i].at != 0)
            image_put32(&image, directory + rows[i].at, rows[i].word);
        else
            share_bits();
        setup();
        memcpy(before, memory, CAPACITY);
        T_CHECK_U64(q2_disk_resize(f.disk, rows[i].size, true), rows[i].status);
        T_CHECK(memcmp(before, memory, CAPACITY) == 0);
        T_CHECK_U64(f.disk->writer.nb_recorded, 0);
        fixture_end(&f);
        image_free(&image);
    }
    t_row("");
    free(before);
}

/* The disk is to end inside the bits of a table's second cluster, which something else refers to as
 * well. */
static void test_shrink_into_a_shared_cluster_of_bits_is_refused(void)
{
    uint64_t shared;

    build_sized(1, 512 * 1024 * KIB);
    image_put32(&image, directory + 8, 2);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3); /* an entry for 256 MiB */
    shared = image_alloc(&image, 1);
    image_refcount_set(&image, shared / CLUSTER, 2);
    image_put64(&image, table + 8, shared);
    setup();
    check_said(q2_disk_resize(f.disk, 300 * 1024 * KIB, true), Q2_ERR_BAD_BITMAP,
               "a bitmap is not fit to be resized");
    T_CHECK_U64(q2_disk_size(f.disk), 512 * 1024 * KIB);
    cleanup();
}

/* A new cluster of bits needs an entry in a table that something else refers to as well: nothing is
 * written there, and the bitmap is lost. */
static void test_shared_table_is_not_written(void)
{
    uint64_t table2;

    build(2);
    table2 = bits + CLUSTER; /* "xyz" has a table without clusters */
    image_refcount_set(&image, table2 / CLUSTER, 2);
    image_put64(&image, image_l2_entry(&image, 3 * CLUSTER), table2); /* without COPIED */
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[table2 + 6], 0);
    T_CHECK_U64(memory[bits], 1);
    T_CHECK_U64(memory[directory + 32 + 15], Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    cleanup();
}

/* Bits that are set in the file already are not written again, although this disk did not set them.
 */
static void test_bits_that_are_set_are_not_written_again(void)
{
    uint64_t nb_changes;

    build(1);
    image.bytes[bits] = 0x7f;
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 7 * CLUSTER, "x", 1), Q2_OK); /* makes all ready */
    T_CHECK_U64(memory[bits], 0x7f);
    nb_changes = q2_disk_nb_changes(f.disk);
    T_CHECK_U64(q2_disk_write(f.disk, 0, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 0, "y", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_changes(f.disk), nb_changes);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[bits], 0xff);
    check_dirty("abc", 0, 512 * KIB);
    cleanup();
}

/* What is marked ends at the disk's end; nothing is after it. */
static void test_mark_ends_where_the_disk_ends(void)
{
    struct q2_bitmap bitmap;

    build(1);
    setup();
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 512 * KIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 7 * CLUSTER, 2 * CLUSTER), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[bits], 0x80);
    check_dirty("abc", 7 * CLUSTER, CLUSTER);
    memcpy(bitmap.name, "nope", 5);
    bitmap.table_offset = 0;
    check_said(q2_disk_bitmap_mark(f.disk, &bitmap, 0, 1), Q2_ERR_ARGUMENT,
               "no valid bitmap has this name");
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO);
    cleanup();
}

/* Nothing of bitmaps is changed on a disk that is open for reading. */
static void test_changes_need_a_writable_disk(void)
{
    struct q2_bitmap bitmap;

    build(1);
    setup();
    f.options.writable = f.options.keep_bitmaps = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_READ_ONLY);
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_ERR_READ_ONLY);
    T_CHECK_U64(q2_disk_bitmap_clear(f.disk, "abc"), Q2_ERR_READ_ONLY);
    T_CHECK_U64(q2_disk_bitmap_enable(f.disk, "abc", false), Q2_ERR_READ_ONLY);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 0, 1), Q2_ERR_READ_ONLY);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

/* Nothing is in the caches any more. */
static void forget(void)
{
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
}

/* A name is looked for in a directory that breaks off, and in bits that cannot be read. */
static void test_broken_directory_and_bits_are_told(void)
{
    struct q2_bitmap bitmap;
    uint64_t at = 77, length = 77;

    build(1);
    setup();
    memory[directory + 22] = 0xff; /* the size of extra data; it has changed in the meantime */
    forget();
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "n", 0, true), Q2_ERR_BAD_BITMAP);
    T_CHECK_U64(f.image.nb_grows, 0);
    cleanup();

    build(1);
    setup();
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    forget();
    f.image.bad_start = bits;
    f.image.bad_end = bits + CLUSTER;
    check_said(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &at, &length), Q2_ERR_IO,
               "a bitmap cannot be read");
    T_CHECK_U64(at, 77);
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
    f.image.bad_end = 0;
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(flags_in_file(), Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    cleanup();
}

/* A place in the middle of the bits that cannot be read is told as the place that it is. */
static void test_unreadable_bits_are_told_with_their_place(void)
{
    struct q2_bitmap bitmap;
    uint64_t at, length;

    build_sized(1, 32 * 1024 * KIB);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    setup_for(false);
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    f.image.bad_start = bits + 4 * KIB; /* the second half of the disk */
    f.image.bad_end = bits + 8 * KIB;
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 16 * 1024 * KIB, &at, &length), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, bits + 4 * KIB);
    cleanup();
}

/* Bits of several sectors and slices are set together: those that were asked for, and no other. */
static void test_mark_of_bits_in_many_sectors(void)
{
    const uint64_t from = 3 * 1024 * KIB + 512, end = 30 * 1024 * KIB - 512;
    struct q2_bitmap bitmap;

    build_sized(1, 32 * 1024 * KIB);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    setup();
    T_CHECK_U64(q2_disk_bitmap_find(f.disk, "abc", &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, from, end - from), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    for (uint64_t i = 0; i < 8 * KIB; i++) {
        uint8_t want = i * 4096 + 4096 <= from || i * 4096 >= end ? 0 : 0xff;

        want = i == from / 4096 ? 0xfe : i == end / 4096 ? 0x7f : want;
        if (!T_CHECK_U64(memory[bits + i], want))
            break;
    }
    cleanup();
}

/* The bits of the old size fill their cluster: what is stored after the table's entries is no entry
 * of it. */
static void test_resize_does_not_read_behind_the_table(void)
{
    build_sized(1, 256 * 1024 * KIB);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    image_put64(&image, table + 8, 2); /* no entry may look so */
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 512 * 1024 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    check_dirty("abc", 512 * 1024 * KIB, 0);
    check_clean();
    cleanup();
}

/* A bitmap without bits needs nothing of what the refcounts say about the header's cluster, where
 * an offset of 0 would lead. */
static void test_resize_with_a_bitmap_without_bits(void)
{
    build(1);
    image_put64(&image, table, 0);
    image_refcount_set(&image, bits / CLUSTER, 0);
    image_refcount_set(&image, 0, 2); /* too high, which harms nothing */
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_OK);
    check_dirty("abc", 1024 * KIB, 0);
    cleanup();
}

/* A table that fills its cluster: what the next cluster is does not matter. */
static void test_resize_with_a_table_that_fills_its_cluster(void)
{
    build(2);
    image_put32(&image, directory + 32 + 8, CLUSTER / 8);
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    check_clean();
    cleanup();
}

/* A table of two clusters, with bits of the first two entries and of the last one. */
static void build_long_table(uint64_t size)
{
    uint64_t at;

    image_start(&image,
                &(struct image_spec){.size = size, .cluster_bits = 9, .max_clusters = 2048});
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    image_put32(&image, at + 8, 1);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, 32);
    directory = image_alloc(&image, 1);
    image_put64(&image, at + 24, directory);
    table = image_alloc(&image, 2);
    image_put64(&image, directory, table);
    image_put32(&image, directory + 8, 65);
    image_put32(&image, directory + 12, Q2_BITMAP_AUTO);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    image_put(&image, directory + 24, "abc", 3);
    for (uint32_t i = 0; i < 3; i++)
        image_put64(&image, table + (i < 2 ? i : 64) * 8, image_alloc(&image, 1));
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_BITMAPS);
}

/* All bits after the new end are cleared, in every sector of them. */
static void test_shrink_clears_all_bits_after_the_end(void)
{
    build_sized(1, 32 * 1024 * KIB);
    image_put32(&image, directory + 16, 1u << 24 | 9u << 16 | 3);
    memset(image.bytes + bits, 0xff, 8 * KIB);
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 64 * KIB, true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    for (uint64_t i = 0; i < 8 * KIB; i++)
        T_CHECK_U64(memory[bits + i], i < 16 ? 0xff : 0);
    cleanup();
}

/* Without the autoclear bit the list is not to be believed: a bitmap in it forbids nothing. */
static void test_resize_beside_a_list_that_is_not_valid(void)
{
    build(1);
    image_put32(&image, directory + 12, Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    image_field_set(&image, "autoclear_features", 0);
    setup();
    T_CHECK_U64(q2_disk_can_resize(f.disk, 1024 * KIB, false, 0), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_OK);
    cleanup();
}

/* What the old directory's cluster holds after its entries does not get into the new one, and every
 * byte of an entry stays: those of a name have any value. */
static void test_remove_copies_entries_only(void)
{
    uint64_t at;

    build(2);
    image_put(&image, directory + 32 + 24, "x\xc3\xbc", 3);
    memset(image.bytes + directory + 64, 0xee, 64);
    setup();
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_OK);
    at = f.disk->layers[0].bitmaps_offset;
    T_CHECK(at != directory && memcmp(memory + at, image.bytes + directory + 32, 32) == 0);
    for (uint64_t i = 32; i < 256; i++)
        T_CHECK_U64(memory[at + i], 0);
    cleanup();
}

/* The removal of the last bitmap takes the autoclear bit with the list. */
static void test_remove_of_the_last_bitmap_clears_the_bit(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_OK);
    for (uint64_t i = 88; i < 96; i++) /* autoclear_features */
        T_CHECK_U64(memory[i], 0);
    check_clean();
    cleanup();
}

/* The directory is longer than its only entry: without a bitmap there is none. */
static void test_remove_of_the_last_bitmap_of_a_longer_directory(void)
{
    build(1);
    image_put64(&image, 112 + 8 + 8, 64);
    setup();
    T_CHECK_U64(f.disk->layers[0].bitmaps_length, 64);
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_OK);
    check_clean();
    cleanup();
}

/* A table that fills a cluster of 512 bytes. Whichever write fails while it is added, what was
 * taken for it is given back, and nothing else. */
static void test_add_of_a_table_that_fills_its_cluster(void)
{
    for (uint64_t n = 0;; n++) {
        enum q2_status status;
        uint64_t nb_writes;

        image_start(&image, &(struct image_spec){
                                .size = 128 * 1024 * KIB, .cluster_bits = 9, .max_clusters = 2048});
        (void)image_data(&image, 0, 1);
        setup();
        fake_source_reset(&f.image);
        f.image.fail_write = n;
        status = q2_disk_bitmap_add(f.disk, "n", 9, true);
        nb_writes = f.image.nb_writes;
        T_CHECK_U64(status, n == 0 || nb_writes < n ? Q2_OK : Q2_ERR_IO);
        if (q2_disk_is_writable(f.disk)) {
            T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
            check_clean();
        }
        cleanup();
        if (nb_writes < n)
            break;
    }
}

/* A directory that has room for one more entry of the longest name, and no more, gets one. */
static void test_add_to_a_directory_near_its_limit(void)
{
    const uint64_t most = Q2_MAX_BITMAPS * 1024ull - 2 * 1024;

    for (uint64_t more = 0; more <= 8; more += 8) {
        build(1);
        setup();
        f.image.source.size = 80 * 1024 * KIB; /* zeros, and nothing can be written there */
        f.disk->layers[0].bitmaps_length = most + more;
        f.image.fail_write = 1;
        T_CHECK_U64(q2_disk_bitmap_add(f.disk, "n", 0, true), more ? Q2_ERR_LIMIT : Q2_ERR_IO);
        cleanup();
    }
}

/* What a shorter table does not need any more is given back: its last cluster, and the bits that
 * its entries name. */
static void test_shrink_gives_back_what_the_table_loses(void)
{
    const uint64_t reach = 512 * 8 * 512; /* guest bytes of an entry */

    build_long_table(65 * reach);
    setup();
    T_CHECK_U64(q2_disk_resize(f.disk, 2 * reach, true), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    T_CHECK_U64(memory[directory + 11], 2);
    check_clean();
    cleanup();
}

static const struct q2_source_ops *inner;
static uint64_t nb_table_writes;

static enum q2_status watch_table(struct q2_source *source, uint64_t offset, const void *bytes,
                                  size_t length)
{
    if (offset < table + CLUSTER && offset + length > table)
        nb_table_writes++;
    return inner->write_at(source, offset, bytes, length);
}

/* Entries that name nothing are not written again: a table is 8 MiB and more for a large disk. */
static void test_clear_of_a_clean_bitmap_leaves_its_table_alone(void)
{
    struct q2_source_ops ops;

    build(1);
    setup();
    inner = f.image.source.ops;
    ops = *inner;
    ops.write_at = watch_table;
    f.image.source.ops = &ops;
    for (uint32_t i = 0; i < 2; i++) {
        nb_table_writes = 0;
        T_CHECK_U64(q2_disk_bitmap_clear(f.disk, "abc"), Q2_OK);
        T_CHECK_U64(nb_table_writes, i == 0 ? 1 : 0);
    }
    check_clean();
    cleanup();
}

/* The disk was ready for writes before there was a bitmap to record them in. */
static void test_bitmap_that_is_added_after_a_write_records_the_next(void)
{
    image_start(&image, &(struct image_spec){.size = 512 * KIB});
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 100 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "abc", 9, true), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 200 * KIB, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
    check_dirty("abc", 200 * KIB, 512);
    check_clean();
    cleanup();
}

/* A bitmap whose table has two slices. The second one cannot be read: what was cleared, or marked,
 * until then is a part of what the caller wanted, so nobody may trust the bitmap. */
static void test_change_that_ends_midway_loses_the_bitmap(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct q2_bitmap bitmap;

        image_start(&image, &(struct image_spec){
                                .size = 2ull << 30, .cluster_bits = 9, .max_clusters = 4096});
        setup();
        T_CHECK_U64(q2_disk_bitmap_add(f.disk, "wide", 9, false), Q2_OK);
        T_CHECK_U64(q2_disk_bitmap_find(f.disk, "wide", &bitmap), Q2_OK);
        T_CHECK_U64(q2_disk_bitmap_mark(f.disk, &bitmap, 0, 2 * KIB), Q2_OK);
        T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK);
        q2_windows_clear(&f.disk->windows);
        q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
        f.image.bad_start = (bitmap.table_offset + 1024 * 8 - 1) & ~4095ull;
        f.image.bad_end = f.image.bad_start + 512;
        T_CHECK_U64(i == 0 ? q2_disk_bitmap_clear(f.disk, "wide")
                           : q2_disk_bitmap_mark(f.disk, &bitmap, 0, 2ull << 30),
                    Q2_ERR_IO);
        T_CHECK_U64(q2_disk_nb_bitmaps_lost(f.disk), 1);
        T_CHECK(q2_disk_is_writable(f.disk));
        f.image.bad_end = 0;
        T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK); /* as at close */
        T_CHECK_U64(q2_disk_bitmap_find(f.disk, "wide", &bitmap), Q2_OK);
        T_CHECK_U64(bitmap.flags & Q2_BITMAP_IN_USE, Q2_BITMAP_IN_USE);
        cleanup();
    }
}

/* There is room for a new directory, and none for a table: the bitmap is not added, and nothing is
 * given up that something else uses. */
static void test_add_without_room_for_the_table(void)
{
    build(1);
    setup();
    f.image.capacity = image.size + CLUSTER;
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "new", 0, true), Q2_ERR_NO_SPACE);
    f.image.capacity = CAPACITY;
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    check_clean();
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "new", 0, true), Q2_OK);
    check_clean();
    cleanup();
}

/* How many extensions of the header list bitmaps? */
static uint32_t nb_lists(void)
{
    uint32_t nb = 0, at = 112;

    while (memory[at] | memory[at + 1] | memory[at + 2] | memory[at + 3]) {
        nb += memcmp(memory + at, "\x23\x85\x28\x75", 4) == 0;
        at += 8 + (((uint32_t)memory[at + 6] << 8 | memory[at + 7]) + 7) / 8 * 8;
    }
    return nb;
}

/* The header has one list of bitmaps, or none. (qcow2: "Header extensions") */
static void test_header_has_one_list_of_bitmaps(void)
{
    build(1);
    setup();
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "new", 0, true), Q2_OK);
    T_CHECK_U64(nb_lists(), 1);
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "abc"), Q2_OK);
    T_CHECK_U64(nb_lists(), 1);
    T_CHECK_U64(q2_disk_bitmap_remove(f.disk, "new"), Q2_OK);
    T_CHECK_U64(nb_lists(), 0);
    cleanup();
}

/* A bitmap in use that this disk does not record is somebody else's: no resize. */
static void test_shrink_refused_for_a_bitmap_of_others(void)
{
    build(2);
    setup();
    T_CHECK_U64(q2_disk_write(f.disk, 10, "x", 1), Q2_OK);
    f.disk->writer.nb_recorded = 1; /* as if there had been no room to record the other one */
    T_CHECK_U64(q2_disk_resize(f.disk, 256 * KIB, true), Q2_ERR_BUSY);
    T_CHECK_U64(q2_disk_size(f.disk), 512 * KIB);
    cleanup();
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    T_RUN(test_write_is_recorded_and_stored);
    T_RUN(test_discard_is_recorded);
    T_RUN(test_dirty_last_granule_is_cut_and_nothing_comes_after_it);
    T_RUN(test_write_to_what_is_dirty_writes_no_metadata);
    T_RUN(test_entry_of_ones_reads_and_grows);
    T_RUN(test_entry_of_ones_is_cleared);
    T_RUN(test_changes_of_the_second_bitmap);
    T_RUN(test_write_without_room_to_record_is_done);
    T_RUN(test_shared_cluster_is_not_written);
    T_RUN(test_more_bitmaps_than_are_recorded_are_lost);
    T_RUN(test_resize_with_and_without_a_longer_table);
    T_RUN(test_resize_of_more_bitmaps_than_are_recorded);
    T_RUN(test_store_that_fails_loses_the_bitmaps);
    T_RUN(test_store_of_nothing);
    T_RUN(test_change_after_a_store_that_fails);
    T_RUN(test_directory_with_a_broken_last_entry_is_lost);
    T_RUN(test_write_ends_where_recording_fails_for_good);
    T_RUN(test_recording_that_fails_leaks_nothing);
    T_RUN(test_bitmap_that_does_not_fit_is_lost);
    T_RUN(test_snapshot_is_not_applied_under_bitmaps);
    T_RUN(test_reading_says_what_is_wrong);
    T_RUN(test_wrong_entry_of_a_table_is_told);
    T_RUN(test_range_whose_end_cannot_be_read_is_told);
    T_RUN(test_add_says_what_is_wrong);
    T_RUN(test_changes_say_what_is_wrong);
    T_RUN(test_resize_that_is_refused_changes_nothing);
    T_RUN(test_shrink_into_a_shared_cluster_of_bits_is_refused);
    T_RUN(test_shared_table_is_not_written);
    T_RUN(test_bits_that_are_set_are_not_written_again);
    T_RUN(test_mark_ends_where_the_disk_ends);
    T_RUN(test_changes_need_a_writable_disk);
    T_RUN(test_broken_directory_and_bits_are_told);
    T_RUN(test_unreadable_bits_are_told_with_their_place);
    T_RUN(test_mark_of_bits_in_many_sectors);
    T_RUN(test_resize_does_not_read_behind_the_table);
    T_RUN(test_resize_with_a_bitmap_without_bits);
    T_RUN(test_resize_with_a_table_that_fills_its_cluster);
    T_RUN(test_shrink_clears_all_bits_after_the_end);
    T_RUN(test_resize_beside_a_list_that_is_not_valid);
    T_RUN(test_remove_copies_entries_only);
    T_RUN(test_remove_of_the_last_bitmap_clears_the_bit);
    T_RUN(test_remove_of_the_last_bitmap_of_a_longer_directory);
    T_RUN(test_add_of_a_table_that_fills_its_cluster);
    T_RUN(test_add_to_a_directory_near_its_limit);
    T_RUN(test_shrink_gives_back_what_the_table_loses);
    T_RUN(test_clear_of_a_clean_bitmap_leaves_its_table_alone);
    T_RUN(test_bitmap_that_is_added_after_a_write_records_the_next);
    T_RUN(test_change_that_ends_midway_loses_the_bitmap);
    T_RUN(test_add_without_room_for_the_table);
    T_RUN(test_header_has_one_list_of_bitmaps);
    T_RUN(test_shrink_refused_for_a_bitmap_of_others);
    free(memory);
    return t_done();
}
