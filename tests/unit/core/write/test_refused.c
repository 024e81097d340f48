/* core/write/: what is refused changes no byte of the file, not even the header's autoclear bits,
 * which the first change clears. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "q2_amend.h"
#include "q2_bitmap.h"
#include "q2_snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB         1024ull
#define CAPACITY    (8192 * KIB)
#define UNKNOWN_BIT (1ull << 40)

static struct image image;
static struct fixture f;
static uint8_t *memory, *before;
static uint64_t directory;

/* Clusters of 512 bytes, the bitmap "abc", which records, and an autoclear bit that
 * nobody knows. */
static void build(uint32_t version, uint32_t refcount_bits)
{
    uint64_t at, table;

    image_start(&image, &(struct image_spec){.size = 32 * KIB,
                                             .cluster_bits = 9,
                                             .version = version,
                                             .refcount_bits = refcount_bits});
    image_data(&image, 0, 1);
    if (refcount_bits == 1 || version == 2)
        return;
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    image_put32(&image, at + 8, 1);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, 32);
    directory = image_alloc(&image, 1);
    table = image_alloc(&image, 1);
    image_put64(&image, at + 24, directory);
    image_put64(&image, directory, table);
    image_put32(&image, directory + 8, 1);
    image_put32(&image, directory + 12, Q2_BITMAP_AUTO);
    image_put32(&image, directory + 16, 1u << 24 | 16u << 16 | 3);
    image_put(&image, directory + 24, "abc", 3);
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_BITMAPS | UNKNOWN_BIT);
}

static void setup(void)
{
    memset(memory, 0, CAPACITY);
    memcpy(memory, image.bytes, image.size);
    memcpy(before, memory, CAPACITY);
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

static enum q2_status create_long_name(struct q2_disk *disk)
{
    static char name[Q2_MAX_SNAPSHOT_NAME + 2];

    memset(name, 'n', sizeof(name) - 1);
    return q2_disk_snapshot_create(disk, name, 0, 0);
}

static enum q2_status create_snapshot(struct q2_disk *disk)
{
    return q2_disk_snapshot_create(disk, "s", 0, 0);
}

static enum q2_status apply_missing(struct q2_disk *disk)
{
    return q2_disk_snapshot_apply(disk, "none");
}

static enum q2_status delete_missing(struct q2_disk *disk)
{
    return q2_disk_snapshot_delete(disk, "none");
}

static enum q2_status add_same_name(struct q2_disk *disk)
{
    return q2_disk_bitmap_add(disk, "abc", 16, true);
}

static enum q2_status add_bad_granularity(struct q2_disk *disk)
{
    return q2_disk_bitmap_add(disk, "new", 8, true);
}

static enum q2_status add_bitmap(struct q2_disk *disk)
{
    return q2_disk_bitmap_add(disk, "new", 16, true);
}

static enum q2_status remove_missing(struct q2_disk *disk)
{
    return q2_disk_bitmap_remove(disk, "none");
}

static enum q2_status clear_missing(struct q2_disk *disk)
{
    return q2_disk_bitmap_clear(disk, "none");
}

static enum q2_status enable_missing(struct q2_disk *disk)
{
    return q2_disk_bitmap_enable(disk, "none", true);
}

static enum q2_status clear_bitmap(struct q2_disk *disk)
{
    return q2_disk_bitmap_clear(disk, "abc");
}

static enum q2_status disable_bitmap(struct q2_disk *disk)
{
    return q2_disk_bitmap_enable(disk, "abc", false);
}

static enum q2_status name_without_room(struct q2_disk *disk)
{
    static char name[401];

    memset(name, 'n', sizeof(name) - 1);
    return q2_disk_set_backing(disk, name, "qcow2");
}

static enum q2_status data_file_without_one(struct q2_disk *disk)
{
    return q2_disk_set_data_file(disk, "x");
}

static enum q2_status data_becomes_raw(struct q2_disk *disk)
{
    return q2_disk_set_raw_external_data(disk, true);
}

static enum q2_status lazy(struct q2_disk *disk)
{
    return q2_disk_set_lazy_refcounts(disk, true);
}

static enum q2_status resize_odd(struct q2_disk *disk)
{
    return q2_disk_resize(disk, 32 * KIB + 1, true);
}

static enum q2_status resize_smaller(struct q2_disk *disk)
{
    return q2_disk_resize(disk, 16 * KIB, false);
}

static enum q2_status resize_huge(struct q2_disk *disk)
{
    return q2_disk_resize(disk, 1ull << 50, false);
}

static enum q2_status resize_larger(struct q2_disk *disk)
{
    return q2_disk_resize(disk, 64 * KIB, false);
}

static enum q2_status write_behind(struct q2_disk *disk)
{
    return q2_disk_write(disk, 32 * KIB - 1, "xy", 2);
}

static enum q2_status zero_behind(struct q2_disk *disk)
{
    return q2_disk_write_zeroes(disk, 0, 32 * KIB + 1);
}

static enum q2_status discard_behind(struct q2_disk *disk)
{
    return q2_disk_discard(disk, 0, 32 * KIB + 1);
}

static enum q2_status compressed_unaligned(struct q2_disk *disk)
{
    return q2_disk_write_compressed(disk, 100, "xy", 2);
}

static enum q2_status preallocate_behind(struct q2_disk *disk)
{
    return q2_disk_preallocate(disk, 0, 33 * KIB, false);
}

static enum q2_status version_4(struct q2_disk *disk)
{
    return q2_disk_change_format(disk, &(struct q2_format_change){.version = 4});
}

static enum q2_status refcounts_of_3_bits(struct q2_disk *disk)
{
    return q2_disk_change_format(disk, &(struct q2_format_change){.refcount_bits = 3});
}

static enum q2_status refcounts_of_128_bits(struct q2_disk *disk)
{
    return q2_disk_change_format(disk, &(struct q2_format_change){.refcount_bits = 128});
}

static enum q2_status version_2_with_wide_refcounts(struct q2_disk *disk)
{
    return q2_disk_change_format(disk,
                                 &(struct q2_format_change){.version = 2, .refcount_bits = 32});
}

static enum q2_status version_2_with_lazy_refcounts(struct q2_disk *disk)
{
    return q2_disk_change_format(
        disk, &(struct q2_format_change){.version = 2, .set_lazy = true, .lazy_refcounts = true});
}

static enum q2_status version_2(struct q2_disk *disk)
{
    return q2_disk_change_format(disk, &(struct q2_format_change){.version = 2});
}

static enum q2_status version_3(struct q2_disk *disk)
{
    return q2_disk_change_format(disk, &(struct q2_format_change){.version = 3});
}

struct row {
    const char *name;
    enum q2_status (*operation)(struct q2_disk *disk);
    enum q2_status status;
};

static void check_refused(const struct row *row)
{
    t_row(row->name);
    T_CHECK_U64(row->operation(f.disk), row->status);
    T_CHECK_U64(q2_disk_bitmaps_store(f.disk), Q2_OK); /* as at close */
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.size, image.size);
    T_CHECK(memcmp(memory, before, CAPACITY) == 0);
}

static void test_refused_operation_changes_no_byte(void)
{
    static const struct row rows[] = {
        {"a snapshot's name too long", create_long_name, Q2_ERR_ARGUMENT},
        {"apply no snapshot", apply_missing, Q2_ERR_NO_SNAPSHOT},
        {"delete no snapshot", delete_missing, Q2_ERR_NO_SNAPSHOT},
        {"add a bitmap of the same name", add_same_name, Q2_ERR_ARGUMENT},
        {"a granularity out of range", add_bad_granularity, Q2_ERR_ARGUMENT},
        {"remove no bitmap", remove_missing, Q2_ERR_ARGUMENT},
        {"clear no bitmap", clear_missing, Q2_ERR_ARGUMENT},
        {"enable no bitmap", enable_missing, Q2_ERR_ARGUMENT},
        {"a backing file's name without room", name_without_room, Q2_ERR_LIMIT},
        {"no data file to rename", data_file_without_one, Q2_ERR_UNSUPPORTED},
        {"no data that becomes raw", data_becomes_raw, Q2_ERR_UNSUPPORTED},
        {"a size of part of a sector", resize_odd, Q2_ERR_ARGUMENT},
        {"shrinking that is not allowed", resize_smaller, Q2_ERR_ARGUMENT},
        {"a size out of range", resize_huge, Q2_ERR_LIMIT},
        {"write past the end", write_behind, Q2_ERR_RANGE},
        {"zeros past the end", zero_behind, Q2_ERR_RANGE},
        {"discard past the end", discard_behind, Q2_ERR_RANGE},
        {"a compressed cluster inside one", compressed_unaligned, Q2_ERR_ARGUMENT},
        {"preallocate past the end", preallocate_behind, Q2_ERR_RANGE},
        {"a version that does not exist", version_4, Q2_ERR_ARGUMENT},
        {"refcounts of 3 bits", refcounts_of_3_bits, Q2_ERR_ARGUMENT},
        {"refcounts of 128 bits", refcounts_of_128_bits, Q2_ERR_ARGUMENT},
        {"version 2 and 32 bits", version_2_with_wide_refcounts, Q2_ERR_ARGUMENT},
        {"version 2 and lazy", version_2_with_lazy_refcounts, Q2_ERR_UNSUPPORTED},
        {"version 2 with bitmaps", version_2, Q2_ERR_UNSUPPORTED},
    };

    build(3, 16);
    setup();
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refused(&rows[i]);
    cleanup();
}

static void test_refused_for_a_bitmap_in_use_changes_no_byte(void)
{
    static const struct row rows[] = {
        {"clear", clear_bitmap, Q2_ERR_BUSY},
        {"disable", disable_bitmap, Q2_ERR_BUSY},
        {"resize", resize_larger, Q2_ERR_BUSY},
    };

    build(3, 16);
    image_put32(&image, directory + 12, Q2_BITMAP_AUTO | Q2_BITMAP_IN_USE);
    setup();
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refused(&rows[i]);
    cleanup();
}

/* An extension of a type that nobody knows fills the first cluster. */
static void test_refused_bitmap_without_room_changes_no_byte(void)
{
    static const struct row row = {"add", add_bitmap, Q2_ERR_LIMIT};
    static const uint8_t extension[360];

    image_start(&image, &(struct image_spec){.size = 32 * KIB, .cluster_bits = 9});
    image_data(&image, 0, 1);
    (void)image_extension(&image, 0x12345678, extension, sizeof(extension));
    image_field_set(&image, "autoclear_features", UNKNOWN_BIT);
    setup();
    check_refused(&row);
    cleanup();
}

/* The header of version 3 is 40 bytes longer. */
static void test_refused_version_without_room_changes_no_byte(void)
{
    static const struct row row = {"version 3", version_3, Q2_ERR_LIMIT};
    static const uint8_t extension[416];

    image_start(&image, &(struct image_spec){.size = 32 * KIB, .cluster_bits = 9, .version = 2});
    image_data(&image, 0, 1);
    (void)image_extension(&image, 0x12345678, extension, sizeof(extension));
    setup();
    check_refused(&row);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a header of the other version does not fit into "
                                  "the first cluster (cluster_size is 512, limit 512)");
    T_CHECK_U64(q2_disk_can_change_format(f.disk, &(struct q2_format_change){.version = 3}),
                Q2_ERR_LIMIT);
    cleanup();
}

static void test_refused_by_the_geometry_changes_no_byte(void)
{
    static const struct row narrow = {"narrow refcounts", create_snapshot, Q2_ERR_UNSUPPORTED};
    static const struct row old[] = {{"lazy refcounts", lazy, Q2_ERR_UNSUPPORTED},
                                     {"bitmaps", add_bitmap, Q2_ERR_UNSUPPORTED}};

    build(3, 1);
    image_field_set(&image, "autoclear_features", UNKNOWN_BIT);
    setup();
    check_refused(&narrow);
    cleanup();
    build(2, 16);
    setup();
    check_refused(&old[0]);
    check_refused(&old[1]);
    cleanup();
}

int main(void)
{
    memory = malloc(CAPACITY);
    before = malloc(CAPACITY);
    if (!memory || !before)
        return 1;
    T_RUN(test_refused_operation_changes_no_byte);
    T_RUN(test_refused_for_a_bitmap_in_use_changes_no_byte);
    T_RUN(test_refused_bitmap_without_room_changes_no_byte);
    T_RUN(test_refused_version_without_room_changes_no_byte);
    T_RUN(test_refused_by_the_geometry_changes_no_byte);
    free(memory);
    free(before);
    return t_done();
}
