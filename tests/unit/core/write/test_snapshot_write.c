/* core/write/snapshot_write.c, copied_fix.c, q2_clusters_alloc_row(): what tests/fault/ does not
 * reach. Many
 * geometries, ids, limits, and what is refused. */
#include <stdlib.h>

#include "core/write/alloc.h"
#include "core/write/order.h"
#include "core/read/disk.h"
#include "core/read/refcount.h"
#include "core/write/refcount_write.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (64 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;

/* Open a built image for writing. */
static enum q2_status setup(void)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    return fixture_open(&f);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

/* Nothing that the check finds, in memory or in the file. */
static void check_clean(void)
{
    struct q2_check_result result;

    for (int i = 0; i < 2; i++) {
        T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
        T_CHECK_U64(result.corruptions, 0);
        T_CHECK_U64(result.leaks, 0);
        T_CHECK_U64(result.check_errors, 0);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
    }
}

/* What a state reads as: NULL is the active one. Leaves the disk open for writing. */
static void check_content(const char *snapshot, const uint8_t *want, uint64_t size)
{
    f.options.snapshot = snapshot;
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    if (f.disk)
        T_CHECK_U64(fixture_first_difference(&f, want, size), FIXTURE_SAME);
    f.options.snapshot = NULL;
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void fill(uint8_t *model, uint64_t offset, size_t length, uint8_t value)
{
    memset(model + offset, value, length);
    T_CHECK_U64(q2_disk_write(f.disk, offset, model + offset, length), Q2_OK);
}

/* Everything once: taken, written over, applied, deleted. */
static void test_snapshot_write_life_in_each_geometry(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
    } rows[] = {
        {"64 KiB", {.size = MIB}},
        {"512 bytes", {.size = 64 * KIB, .cluster_bits = 9}},
        {"2 MiB", {.size = 8 * MIB, .cluster_bits = 21, .max_clusters = 64}},
        {"version 2", {.size = MIB, .version = 2}},
        {"4 bit refcounts", {.size = MIB, .cluster_bits = 12, .refcount_bits = 4}},
        {"8 bit refcounts", {.size = MIB, .refcount_bits = 8}},
        {"64 bit refcounts", {.size = MIB, .refcount_bits = 64}},
        {"extended", {.size = MIB, .cluster_bits = 14, .extended = true}},
        {"larger L1 table than needed", {.size = MIB, .l1_size = 100}},
        {"L1 table of a whole cluster", {.size = 2 * MIB, .cluster_bits = 9}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t size = rows[i].spec.size, cluster;
        uint8_t *first, *second;
        struct q2_snapshot s;

        t_row(rows[i].row);
        image_start(&image, &rows[i].spec);
        cluster = image_cluster_size(&image);
        image_data(&image, 0, 1);
        image_data(&image, cluster, 2);
        if (rows[i].spec.version != 2)
            (void)image_zero(&image, 2 * cluster, true);
        first = malloc(size);
        second = malloc(size);
        memcpy(first, image.model.bytes, size);
        memcpy(second, first, size);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1000, 2000), Q2_OK);
        check_clean();
        T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
        T_CHECK_STR(s.id, "1");
        T_CHECK_STR(s.name, "one");
        T_CHECK(s.date_sec == 1000 && s.date_nsec == 2000);
        T_CHECK(s.virtual_size == size && s.vm_state_size == 0 && s.vm_clock_nsec == 0);
        T_CHECK(s.has_icount && s.icount == 0);
        fill(second, cluster + 5, 600, 9);
        fill(second, 3 * cluster, 100, 8);
        T_CHECK_U64(q2_disk_snapshot_create(f.disk, "two", 1, 2), Q2_OK);
        check_clean();
        check_content("one", first, size);
        check_content("2", second, size);
        T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, first, size), FIXTURE_SAME);
        check_clean();
        T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "one"), Q2_OK);
        check_clean();
        check_content(NULL, first, size);
        check_content("two", second, size);
        T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "2"), Q2_OK);
        check_clean();
        check_content(NULL, first, size);
        T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_ERR_RANGE);
        fill(first, 0, 700, 3); /* in place again */
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        check_clean();
        check_content(NULL, first, size);
        cleanup();
        free(first);
        free(second);
    }
}

/* The highest number that an id begins with, and one more; names may occur twice. */
static void test_snapshot_create_chooses_the_id(void)
{
    static const struct {
        const char *ids[3];
        const char *want; /* NULL: none is left */
    } rows[] = {
        {{"1", "2", "3"}, "4"},
        {{"9", "abc", ""}, "10"},
        {{"12x", "7", "x99"}, "13"},
        {{"18446744073709551614", "1", "2"}, "18446744073709551615"},
        {{"18446744073709551615", "1", "2"}, NULL},
        {{"99999999999999999999999", "1", "2"}, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_snapshot s;

        t_row(rows[i].ids[0]);
        image_start(&image, &(struct image_spec){.size = MIB});
        for (int k = 0; k < 3; k++)
            image_snapshot(&image,
                           &(struct image_snapshot_spec){.id = rows[i].ids[k], .name = "same"});
        (void)image_snapshots_write(&image);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_disk_snapshot_create(f.disk, "same", 0, 0),
                    rows[i].want ? Q2_OK : Q2_ERR_LIMIT);
        if (rows[i].want) {
            T_CHECK_U64(q2_disk_snapshot(f.disk, 3, &s), Q2_OK);
            T_CHECK_STR(s.id, rows[i].want);
        } else {
            T_CHECK_STR(fixture_text(&f),
                        "img/top.qcow2: no room for one more snapshot in the table");
        }
        check_clean();
        cleanup();
    }
}

/* An id comes before a name; of equal names the first entry is meant. Entries that stay are kept to
 * the byte, extra data that we do not know included. */
static void test_snapshot_delete_chooses_the_entry(void)
{
    static const struct {
        const char *wanted, *left[2];
    } rows[] = {{"1", {"twin", "twin"}}, {"twin", {"1", "twin"}}, {"2", {"1", "twin"}}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t extra[40];
        struct q2_snapshot s;

        t_row(rows[i].wanted);
        memset(extra, 0, sizeof(extra));
        extra[13] = 0x10; /* 1 MiB */
        extra[39] = 77;
        image_start(&image, &(struct image_spec){.size = MIB});
        image_data(&image, 0, 1);
        image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "1"});
        image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "twin"});
        image_snapshot(&image, &(struct image_snapshot_spec){
                                   .id = "3", .name = "twin", .extra = extra, .extra_size = 40});
        (void)image_snapshots_write(&image);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_disk_snapshot_delete(f.disk, rows[i].wanted), Q2_OK);
        check_clean();
        for (uint32_t k = 0; k < 2; k++) {
            T_CHECK_U64(q2_disk_snapshot(f.disk, k, &s), Q2_OK);
            T_CHECK_STR(s.name, rows[i].left[k]);
        }
        T_CHECK_U64(q2_disk_snapshot(f.disk, 2, &s), Q2_ERR_RANGE);
        T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "gone"), Q2_ERR_NO_SNAPSHOT);
        T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "gone"), Q2_ERR_NO_SNAPSHOT);
        check_clean();
        cleanup();
    }
}

/* Nothing is written by what is refused. */
static void check_refused(enum q2_status status, enum q2_status want, const char *text)
{
    T_CHECK_U64(status, want);
    T_CHECK_STR(fixture_text(&f), text);
    T_CHECK_U64(f.image.nb_writes, 0);
}

static void test_snapshot_write_is_refused(void)
{
    static const char external[] =
        "img/top.qcow2: an image with an external data file cannot have snapshots";
    static uint8_t raw[4096];
    char name[257];

    t_row("external data file");
    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data_name(&image, "data.raw");
    T_CHECK_U64(setup(), Q2_ERR_READ_ONLY); /* the data file is not writable here */
    fixture_end(&f);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    f.data.source.writable = true;
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_refused(q2_disk_snapshot_create(f.disk, "x", 0, 0), Q2_ERR_UNSUPPORTED, external);
    check_refused(q2_disk_snapshot_apply(f.disk, "x"), Q2_ERR_UNSUPPORTED, external);
    check_refused(q2_disk_snapshot_delete(f.disk, "x"), Q2_ERR_UNSUPPORTED, external);
    cleanup();

    t_row("read-only, and names");
    image_start(&image, &(struct image_spec){.size = MIB});
    T_CHECK_U64(setup(), Q2_OK);
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    check_refused(q2_disk_snapshot_create(f.disk, name, 0, 0), Q2_ERR_ARGUMENT,
                  "img/top.qcow2: the snapshot's name is too long");
    check_refused(q2_disk_snapshot_create(f.disk, NULL, 0, 0), Q2_ERR_ARGUMENT,
                  "img/top.qcow2: the snapshot's name is too long");
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_refused(q2_disk_snapshot_create(f.disk, "x", 0, 0), Q2_ERR_READ_ONLY,
                  "img/top.qcow2: the file can only be read");
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    name[255] = '\0';
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, name, 0, 0), Q2_OK);
    check_clean();
    cleanup();

    t_row("raw");
    fixture_start_bytes(&f, raw, sizeof(raw));
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, 4096, 4096);
    f.options.writable = true;
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_refused(q2_disk_snapshot_create(f.disk, "x", 0, 0), Q2_ERR_UNSUPPORTED,
                  "img/top.qcow2: a raw image has no snapshots");
    fixture_end(&f);
}

/* A refcount of n bits holds 2^n - 1 states of a cluster; streams that share one count each. */
static void test_snapshot_create_stops_before_a_refcount_overflows(void)
{
    static const struct {
        const char *row;
        uint32_t refcount_bits, nb_streams, nb_snapshots;
    } rows[] = {
        {"1 bit", 1, 0, 0},
        {"2 bits", 2, 0, 2},
        {"4 bits", 4, 0, 14},
        {"4 bits, 7 streams in a cluster", 4, 7, 1},
        {"4 bits, 8 streams in a cluster", 4, 8, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_snapshot s;
        enum q2_status status = Q2_OK;
        uint32_t nb = 0;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB,
                                                 .cluster_bits = 14,
                                                 .refcount_bits = rows[i].refcount_bits});
        image_data(&image, 0, 1);
        for (uint32_t k = 0; k < rows[i].nb_streams; k++)
            (void)image_compressed(&image, (k + 1) * 16 * KIB, k + 1);
        T_CHECK_U64(setup(), Q2_OK);
        while (status == Q2_OK && nb < 20) {
            status = q2_disk_snapshot_create(f.disk, "x", 0, 0);
            nb += status == Q2_OK;
            if (status == Q2_OK)
                f.image.nb_writes = 0;
        }
        T_CHECK_U64(nb, rows[i].nb_snapshots);
        T_CHECK_U64(status, Q2_ERR_UNSUPPORTED);
        T_CHECK_STR(q2_disk_fault(f.disk)->what,
                    "the refcounts are too narrow for one more snapshot");
        T_CHECK_U64(f.image.nb_writes, 0);
        T_CHECK_U64(q2_disk_snapshot(f.disk, nb, &s), Q2_ERR_RANGE);
        check_clean();
        cleanup();
    }
}

/* Nothing is allocated: a snapshot needs no second reference to anything. */
static void test_snapshot_create_of_nothing_with_refcounts_of_one_bit(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .refcount_bits = 1});
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "empty", 0, 0), Q2_OK);
    check_clean();
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "empty"), Q2_OK);
    check_clean();
    cleanup();
}

static void test_snapshot_of_a_disk_of_no_bytes(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "size", 0);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "empty", 0, 0), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "empty"), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "empty"), Q2_OK);
    check_clean();
    cleanup();
}

/* Compressed clusters that were decoded before: they are decoded anew, since their memory was used
 * to count references. */
static void test_snapshot_write_after_reads_of_compressed_clusters(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    for (uint64_t at = 0; at < 64 * KIB; at += 4 * KIB)
        (void)image_compressed(&image, at, 1);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 64 * KIB), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 0, 0), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 64 * KIB), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 64 * KIB), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "one"), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 64 * KIB), FIXTURE_SAME);
    cleanup();
}

/* QEMU does not write the padding after the last entry, so the file may end before it; the new
 * table goes into a hole in the middle of the file. */
static void test_snapshot_table_whose_file_ends_in_its_padding(void)
{
    static const char *const deleted[] = {"one", "twin", NULL};

    for (size_t i = 0; i < sizeof(deleted) / sizeof(deleted[0]); i++) {
        struct q2_snapshot s;
        uint64_t hole, table;

        t_row(deleted[i] ? deleted[i] : "one more");
        image_start(&image, &(struct image_spec){.size = MIB});
        image_data(&image, 0, 1);
        hole = image_alloc(&image, 8);
        for (uint64_t n = 0; n < 8; n++)
            image_refcount_set(&image, (hole >> 16) + n, 0);
        image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "one"});
        image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "twin"});
        table = image_snapshots_write(&image);
        image.size = table + 64 + 40 + 16 + strlen("2twin");
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(deleted[i] ? q2_disk_snapshot_delete(f.disk, deleted[i])
                               : q2_disk_snapshot_create(f.disk, "more", 0, 0),
                    Q2_OK);
        check_clean();
        T_CHECK_U64(q2_disk_snapshot(f.disk, deleted[i] ? 0 : 2, &s), Q2_OK);
        T_CHECK_STR(s.name, i == 0 ? "twin" : i == 1 ? "one" : "more");
        cleanup();
    }
}

/* An L2 table of the active state cannot be read when its flags are set again: the caller learns of
 * it. */
static void test_snapshot_delete_meets_an_unreadable_table(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "one"});
    image_data(&image, 0, 2);
    (void)image_snapshots_write(&image);
    T_CHECK_U64(setup(), Q2_OK);
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    f.image.bad_start = image_l2_entry(&image, 0);
    f.image.bad_end = f.image.bad_start + 8;
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "one"), Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "table entry cannot be read");
    f.image.bad_end = 0;
    check_clean();
    cleanup();
}

/* A refcount of 0 for what the snapshot has: its references cannot be taken away. */
static void test_snapshot_delete_meets_a_refcount_that_is_too_low(void)
{
    uint64_t host;

    image_start(&image, &(struct image_spec){.size = MIB});
    host = image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_OK);
    T_CHECK_U64(q2_refcount_put(&f.disk->slices, &f.disk->layers[0], host >> 16, 0), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "one"), Q2_ERR_BAD_REFCOUNT);
    T_CHECK(strstr(fixture_text(&f), "a refcount cannot be changed, at offset 0x") != NULL);
    cleanup();
}

/* The fault is that of the last call that did not return Q2_OK. */
static void test_snapshot_that_succeeds_leaves_the_fault(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    (void)image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "none"), Q2_ERR_NO_SNAPSHOT);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "one"), Q2_OK);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_NO_SNAPSHOT);
    cleanup();
}

/* The cluster of the last stream is the snapshot's as well: the next one begins in a new cluster.
 */
static void test_snapshot_ends_the_packing_of_streams(void)
{
    static const uint8_t stream[100] = {1}; /* of no codec: nobody reads it */
    struct q2_extent first, second;

    image_start(&image, &(struct image_spec){.size = MIB});
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, sizeof(stream)), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_OK);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 64 * KIB, stream, sizeof(stream)), Q2_OK);
    T_CHECK_U64(q2_disk_map(f.disk, 0, 1, &first), Q2_OK);
    T_CHECK_U64(q2_disk_map(f.disk, 64 * KIB, 1, &second), Q2_OK);
    T_CHECK(second.host_offset >> 16 > first.host_offset >> 16);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    check_clean();
    cleanup();
}

/* The bitmaps cannot be marked as in use: nothing is applied, and nothing is given back. */
static void test_snapshot_apply_where_bitmaps_cannot_be_marked(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    (void)image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "b", 0, true), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 64 * KIB, memory, 1), Q2_OK); /* the header is ready */
    T_CHECK_U64(q2_disk_bitmap_add(f.disk, "c", 0, false), Q2_OK);
    fake_source_fail_nth(&f.image, FAKE_WRITE, 1);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_ERR_IO);
    T_CHECK_U64(f.disk->writer.nb_frees, 0);
    cleanup();
}

/* The table ends in a bad sector: what was read before it is no snapshot that was asked for. */
static void test_snapshot_change_meets_an_unreadable_list(void)
{
    static char name[4096];

    memset(name, 'n', sizeof(name) - 1);
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = name});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "two"});
    (void)image_snapshots_write(&image);
    T_CHECK_U64(setup(), Q2_OK);
    f.image.bad_start = image_field(&image, "snapshots_offset") + 4096;
    f.image.bad_end = f.image.bad_start + 512;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "two"), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_snapshot_delete(f.disk, "two"), Q2_ERR_IO);
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* No room for the copy of the L1 table: nothing is given back that was not taken. */
static void test_snapshot_apply_without_room(void)
{
    struct q2_check_result result;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "one"});
    (void)image_snapshots_write(&image);
    T_CHECK_U64(setup(), Q2_OK);
    f.image.fail_grow = 1;
    f.image.fail_status = Q2_ERR_NO_SPACE;
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_ERR_NO_SPACE);
    T_CHECK_U64(f.disk->writer.nb_frees, 0);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "one"), Q2_OK);
    check_clean();
    cleanup();
}

/* The disk gets the snapshot's size; version 2 refuses, as QEMU does. */
static void test_snapshot_apply_changes_the_size(void)
{
    for (uint32_t version = 2; version <= 3; version++) {
        uint8_t extra[24] = {0}, *model;

        extra[13] = 0x08; /* 512 KiB */
        image_start(&image, &(struct image_spec){.size = MIB, .version = version});
        image_data(&image, 0, 1);
        image_snapshot(&image, &(struct image_snapshot_spec){
                                   .id = "1", .name = "half", .extra = extra, .extra_size = 24});
        image_data(&image, 768 * KIB, 2);
        (void)image_snapshots_write(&image);
        model = calloc(1, MIB);
        memcpy(model, image.snapshot_models[0].bytes, MIB);
        T_CHECK_U64(setup(), Q2_OK);
        if (version == 2) {
            check_refused(q2_disk_snapshot_apply(f.disk, "half"), Q2_ERR_UNSUPPORTED,
                          "img/top.qcow2: a version 2 image with snapshots cannot change its size "
                          "(size is 0x80000, limit 0x100000)");
        } else {
            T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "half"), Q2_OK);
            T_CHECK_U64(q2_disk_size(f.disk), 512 * KIB);
            check_clean();
            T_CHECK_U64(q2_disk_size(f.disk), 512 * KIB);
            check_content(NULL, model, 512 * KIB);
        }
        free(model);
        cleanup();
    }
}

/* A table at its limits: no new entry, and the others stay. */
static void test_snapshot_create_into_a_full_table(void)
{
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = MIB});
    table = image_alloc(&image, 40);
    image_field_set(&image, "nb_snapshots", 65536);
    image_field_set(&image, "snapshots_offset", table);
    T_CHECK_U64(setup(), Q2_OK);
    check_refused(q2_disk_snapshot_create(f.disk, "x", 0, 0), Q2_ERR_LIMIT,
                  "img/top.qcow2: there are too many snapshots (nb_snapshots is 0x10000, limit "
                  "0x10000)");
    cleanup();
}

/* A bitmap stays valid beside a new snapshot, since the content is the same; an applied one or a
 * write makes it wrong. */
static void test_snapshot_write_and_bitmaps(void)
{
    struct q2_layer_info info;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_field_set(&image, "autoclear_features", 1 | 1ull << 40);
    T_CHECK_U64(setup(), Q2_OK);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "x", 0, 0), Q2_OK);
    T_CHECK_U64(info.header->autoclear_features, 1);
    T_CHECK_U64(q2_disk_snapshot_apply(f.disk, "x"), Q2_OK);
    T_CHECK_U64(info.header->autoclear_features, 0);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(info.header->autoclear_features, 0);
    cleanup();
}

/* Rows longer than a refcount block covers, where no block is yet. */
static void test_alloc_row_of_many_blocks(void)
{
    static const uint64_t lengths[] = {1, 2, 63, 64, 65, 500, 5000};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint64_t offset = 0, refcount;

        t_row("64 refcounts in a block");
        image_start(&image,
                    &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .refcount_bits = 64});
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_clusters_alloc_row(f.disk, lengths[i], &offset), Q2_OK);
        T_CHECK(offset % 512 == 0 && f.image.source.size >= offset + 512 * lengths[i]);
        for (uint64_t k = 0; k < lengths[i]; k++) {
            T_CHECK_U64(
                q2_refcount_get(&f.disk->slices, &f.disk->layers[0], offset / 512 + k, &refcount),
                Q2_OK);
            T_CHECK_U64(refcount, 1);
        }
        q2_clusters_free_later(f.disk, offset, 512 * lengths[i]);
        T_CHECK_U64(q2_commit(f.disk), Q2_OK);
        check_clean();
        cleanup();
    }
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_snapshot_write_life_in_each_geometry);
    T_RUN(test_snapshot_create_chooses_the_id);
    T_RUN(test_snapshot_delete_chooses_the_entry);
    T_RUN(test_snapshot_write_is_refused);
    T_RUN(test_snapshot_create_stops_before_a_refcount_overflows);
    T_RUN(test_snapshot_create_of_nothing_with_refcounts_of_one_bit);
    T_RUN(test_snapshot_of_a_disk_of_no_bytes);
    T_RUN(test_snapshot_write_after_reads_of_compressed_clusters);
    T_RUN(test_snapshot_table_whose_file_ends_in_its_padding);
    T_RUN(test_snapshot_delete_meets_an_unreadable_table);
    T_RUN(test_snapshot_delete_meets_a_refcount_that_is_too_low);
    T_RUN(test_snapshot_that_succeeds_leaves_the_fault);
    T_RUN(test_snapshot_ends_the_packing_of_streams);
    T_RUN(test_snapshot_apply_where_bitmaps_cannot_be_marked);
    T_RUN(test_snapshot_change_meets_an_unreadable_list);
    T_RUN(test_snapshot_apply_without_room);
    T_RUN(test_snapshot_apply_changes_the_size);
    T_RUN(test_snapshot_create_into_a_full_table);
    T_RUN(test_snapshot_write_and_bitmaps);
    T_RUN(test_alloc_row_of_many_blocks);
    free(memory);
    return t_done();
}
