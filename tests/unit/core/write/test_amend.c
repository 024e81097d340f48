/* core/write/amend.c, core/write/header_change.c: what changes, what is refused and by which words.
 * Power cuts and failing files: tests/fault/. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "tests/support/fixture.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (16384 * KIB)
#define UNKNOWN  0x12345678u

static struct image image;
static struct fixture f;
static uint8_t *memory;

/* Open what was built with image_start(); files that it names do not exist. */
static void setup(bool metadata_only)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    f.options.metadata_only = metadata_only;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static void check_names(const char *file, const char *format, const char *data)
{
    struct q2_layer_info info;

    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_STR(info.backing_file, file);
    T_CHECK_STR(info.backing_format, format);
    T_CHECK_STR(info.data_file, data);
}

static void test_set_backing_of_a_file_that_is_missing(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    image_backing(&image, "gone.img", "qcow2");
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "new.img", "raw"), Q2_OK);
    check_names("new.img", "raw", "");
    T_CHECK(f.disk->layers[0].has_backing);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("new.img", "raw", "");
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_set_backing(f.disk, NULL, NULL), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, 1); /* all of it is in the first sector */
    T_CHECK(!f.disk->layers[0].has_backing);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("", "", "");
    f.options.metadata_only = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    cleanup();
}

static void test_set_backing_with_the_longest_names(void)
{
    char name[Q2_MAX_NAME_LENGTH + 1] = {0}, format[Q2_MAX_FORMAT_LENGTH + 1] = {0};

    memset(name, 'n', Q2_MAX_NAME_LENGTH);
    memset(format, 'f', Q2_MAX_FORMAT_LENGTH);
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, name, format), Q2_OK);
    check_names(name, format, "");
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names(name, format, "");
    cleanup();
}

/* The name stands directly after the header: no room for an extension, not even the last one. */
static void test_set_backing_of_an_image_without_extensions(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    image_put(&image, 112, "old.img", 8);
    image_field_set(&image, "backing_file_offset", 112);
    image_field_set(&image, "backing_file_size", 7);
    setup(true);
    check_names("old.img", "", "");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "new.img", "raw"), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("new.img", "raw", "");
    cleanup();
}

/* Asked before, the answer is the same, and nothing is written. */
static void test_can_set_backing(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(true);
    T_CHECK_U64(q2_disk_can_set_backing(f.disk, "new.img", "raw"), Q2_OK);
    T_CHECK_U64(q2_disk_can_set_backing(f.disk, NULL, "raw"), Q2_ERR_ARGUMENT);
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

static void test_set_backing_keeps_what_waits_and_the_open_chain(void)
{
    uint8_t bytes[3000], read[3000];

    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    setup(false);
    memset(bytes, 9, sizeof(bytes));
    T_CHECK_U64(q2_disk_write(f.disk, 70000, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "base.img", "raw"), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 70000, read, sizeof(read)), Q2_OK);
    T_CHECK(memcmp(bytes, read, sizeof(read)) == 0);
    T_CHECK_U64(q2_disk_read(f.disk, 0, read, sizeof(read)), Q2_OK);
    T_CHECK_U64(read[0], 0);
    f.options.metadata_only = true; /* not flushed: it was durable */
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("base.img", "raw", "");
    cleanup();
}

/* Bitmaps stay valid, since no guest byte changes; bits that nobody knows do not. (O7) */
static void test_set_backing_clears_unknown_autoclear_bits_only(void)
{
    struct q2_layer_info info;

    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    image_field_set(&image, "autoclear_features", 0x81);
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "base.img", "raw"), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->autoclear_features, Q2_AUTOCLEAR_BITMAPS);
    cleanup();
}

static void test_set_lazy_refcounts(void)
{
    struct q2_layer_info info;

    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(true);
    for (int lazy = 1; lazy >= 0; lazy--) {
        T_CHECK_U64(q2_disk_set_lazy_refcounts(f.disk, lazy != 0), Q2_OK);
        T_CHECK_U64(f.image.nb_unflushed, 0);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        q2_disk_layer_info(f.disk, 0, &info);
        T_CHECK_U64(info.header->compatible_features & Q2_COMPAT_LAZY_REFCOUNTS, (uint64_t)lazy);
    }
    cleanup();
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .version = 2});
    setup(true);
    T_CHECK_U64(q2_disk_set_lazy_refcounts(f.disk, true), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "images of version 2 have no lazy refcounts");
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

static void test_set_raw_external_data(void)
{
    struct q2_layer_info info;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .external = true});
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
    setup(true);
    T_CHECK_U64(q2_disk_set_raw_external_data(f.disk, true), Q2_OK);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    T_CHECK_U64(q2_disk_set_raw_external_data(f.disk, false), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->autoclear_features, 0);
    T_CHECK_U64(q2_disk_set_raw_external_data(f.disk, false), Q2_OK);
    T_CHECK_U64(q2_disk_set_raw_external_data(f.disk, true), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "the data of an existing image does not become raw");
    cleanup();
    t_row("unknown bits that cannot be cleared before"); /* O7 */
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .external = true});
    image_field_set(&image, "autoclear_features", 0x80 | Q2_AUTOCLEAR_RAW_EXTERNAL);
    setup(true);
    f.image.fail_write = f.image.nb_writes + 1;
    T_CHECK_U64(q2_disk_set_raw_external_data(f.disk, false), Q2_ERR_IO);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
    t_row("");
}

static void test_set_data_file(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .external = true});
    image_data_name(&image, "old.raw");
    setup(true);
    T_CHECK_U64(q2_disk_set_data_file(f.disk, "new.raw"), Q2_OK);
    check_names("", "", "new.raw");
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("", "", "new.raw");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "base.img", "raw"), Q2_OK);
    T_CHECK_U64(q2_disk_set_data_file(f.disk, ""), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("base.img", "raw", "");
    cleanup();
}

static void test_names_are_refused(void)
{
    static char name[Q2_MAX_NAME_LENGTH + 2];

    memset(name, 'n', Q2_MAX_NAME_LENGTH + 1);
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, name, "raw"), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the name is too long (backing_file is 1024, "
                                  "limit 1023)");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", name), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_field(&f), "backing_fmt");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "", "raw"), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a backing format without a backing file");
    T_CHECK_U64(q2_disk_set_data_file(f.disk, "a"), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the image has no external data file");
    T_CHECK_U64(f.image.nb_writes, 0);
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", "raw"), Q2_ERR_READ_ONLY);
    cleanup();
}

static void test_names_of_raw_external_data_and_raw_images_are_refused(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .external = true});
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", "raw"), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: raw external data does not go with a backing file");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "", ""), Q2_OK);
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", "raw"), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a raw image has no metadata to change");
    cleanup();
}

static void test_names_without_room_are_refused(void)
{
    static uint8_t bytes[70000];
    static const struct {
        const char *row;
        uint32_t cluster_bits, extension, header_length;
        const char *first, *second, *text;
    } rows[] = {
        {"names too long for the cluster", 9, 300, 0, "a",
         "a-name-of-a-hundred-bytes-or-so-that-does-not-fit-after-the-extension-any-more-for-sure",
         "img/top.qcow2: the names do not fit into the first cluster (cluster_size is 512, limit "
         "512)"},
        {"two sectors in use, none free", 10, 400, 0, NULL, "a",
         "img/top.qcow2: the first cluster has no room to change the header safely (cluster_size "
         "is 1024, limit 1024)"},
        {"two sectors in use, too few free", 11, 1000, 0, NULL, "a",
         "img/top.qcow2: the first cluster has no room to change the header safely (cluster_size "
         "is 2048, limit 2048)"},
        {"a header that ends with its sector, a list in the next", 12, 0, 512, NULL, "a",
         "img/top.qcow2: the first cluster has no room to change the header safely (cluster_size "
         "is 4096, limit 4096)"},
        {"an extension longer than the area", 17, 70000, 0, NULL, "b",
         "img/top.qcow2: the header is too long to change (cluster_size is 0x20000, limit "
         "0x10000)"},
        {"a header longer than the area", 17, 0, 70000, NULL, "b",
         "img/top.qcow2: the header is too long to change (cluster_size is 0x20000, limit "
         "0x10000)"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *before;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = 64 * KIB,
                                                 .cluster_bits = rows[i].cluster_bits,
                                                 .header_length = rows[i].header_length});
        if (rows[i].extension > 0)
            (void)image_extension(&image, UNKNOWN, bytes, rows[i].extension);
        setup(true);
        if (rows[i].first)
            T_CHECK_U64(q2_disk_set_backing(f.disk, rows[i].first, ""), Q2_OK);
        before = malloc(image.size);
        memcpy(before, memory, image.size);
        T_CHECK_U64(q2_disk_set_backing(f.disk, rows[i].second, ""), Q2_ERR_LIMIT);
        T_CHECK_STR(fixture_text(&f), rows[i].text);
        T_CHECK(memcmp(before, memory, image.size) == 0);
        check_names(rows[i].first ? rows[i].first : "", "", "");
        free(before);
        cleanup();
    }
}

/* Both names reach over several sectors, which no single write changes: the header goes to free
 * sectors and back. Each way is what nobody reads, a barrier, one sector, and a barrier. */
static void test_long_names_replace_each_other_safely(void)
{
    static const uint32_t cluster_bits[] = {12, 16};
    static char first[901], second[901];

    memset(first, 'f', 900);
    memset(second, 's', 900);
    for (size_t i = 0; i < sizeof(cluster_bits) / sizeof(cluster_bits[0]); i++) {
        uint64_t size;

        t_row(cluster_bits[i] == 12 ? "clusters of 4 KiB" : "clusters of 64 KiB");
        image_start(&image,
                    &(struct image_spec){.size = 64 * KIB, .cluster_bits = cluster_bits[i]});
        size = image_cluster_size(&image);
        setup(true);
        T_CHECK_U64(q2_disk_set_backing(f.disk, first, "raw"), Q2_OK);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        fake_source_reset(&f.image);
        T_CHECK_U64(q2_disk_set_backing(f.disk, second, "qcow2"), Q2_OK);
        T_CHECK(f.image.nb_flushes >= 4);
        T_CHECK(q2_disk_is_writable(f.disk));
        /* In one piece again: the first extension is the format, and none spans free sectors. */
        T_CHECK(memcmp(memory + 112, "\xe2\x79\x2a\xca", 4) == 0);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        check_names(second, "qcow2", "");
        T_CHECK(memcmp(memory + size, image.bytes + size, image.size - size) == 0);
        cleanup();
    }
    t_row("");
}

/* The first cluster is full, so the header goes by way of one without the names of feature bits.
 * The second sector is no part of that, and all zeros in the end. */
static void test_shorter_header_leaves_nothing_of_the_longer_one(void)
{
    static char rows[7 * 48], unknown[48];

    memset(rows, 'n', sizeof(rows));
    memset(unknown, 'u', sizeof(unknown));
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 10});
    (void)image_extension(&image, 0x6803f857, rows, sizeof(rows));
    (void)image_extension(&image, UNKNOWN, unknown, sizeof(unknown)); /* up to byte 512 */
    setup(true);
    T_CHECK_U64(q2_disk_set_backing(f.disk, "base.img", "raw"), Q2_OK);
    T_CHECK(memcmp(memory + 512, unknown, 16) == 0);
    T_CHECK_U64(q2_disk_set_backing(f.disk, NULL, NULL), Q2_OK);
    T_CHECK(memcmp(memory, image.bytes, 1024) == 0);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("", "", "");
    cleanup();
}

/* The second write of a change fails: the disk is read-only. (O10) */
static void test_names_latch_after_a_failed_write(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(true);
    f.image.fail_write = 1;
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", "raw"), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the header cannot be written");
    T_CHECK_U64(q2_disk_set_backing(f.disk, "a", "raw"), Q2_ERR_READ_ONLY);
    cleanup();
}

static enum q2_status resize_more(void)
{
    return q2_disk_resize(f.disk, 128 * KIB, false);
}

static enum q2_status resize_less(void)
{
    return q2_disk_resize(f.disk, 32 * KIB, true);
}

static enum q2_status make_empty(void)
{
    return q2_disk_make_empty(f.disk);
}

static enum q2_status preallocate(void)
{
    return q2_disk_preallocate(f.disk, 0, 64 * KIB, false);
}

static enum q2_status flushed(enum q2_status status)
{
    return status == Q2_OK ? q2_disk_flush(f.disk) : status;
}

static enum q2_status write_some(void)
{
    static const uint8_t bytes[5000] = {1};

    return flushed(q2_disk_write(f.disk, 1000, bytes, sizeof(bytes)));
}

static enum q2_status zero_all(void)
{
    return flushed(q2_disk_write_zeroes(f.disk, 0, 64 * KIB));
}

static enum q2_status discard_all(void)
{
    return flushed(q2_disk_discard(f.disk, 0, 64 * KIB));
}

static enum q2_status compress_one(void)
{
    static const uint8_t stream[100] = {1}; /* of no codec: nobody reads it */

    return flushed(q2_disk_write_compressed(f.disk, 8 * KIB, stream, sizeof(stream)));
}

static const struct change {
    const char *row;
    enum q2_status (*run)(void);
} changes[] = {
    {"resize to more", resize_more}, {"resize to less", resize_less},
    {"make empty", make_empty},      {"preallocate", preallocate},
    {"write", write_some},           {"write zeroes", zero_all},
    {"discard", discard_all},        {"write compressed", compress_one},
};
#define NB_CHANGES (sizeof(changes) / sizeof(changes[0]))

static void setup_change(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    image_data(&image, 4096, 1);
    image_field_set(&image, "autoclear_features", 0x80); /* a bit that nobody knows */
    setup(false);
}

/* O7: an unknown autoclear bit is cleared, and that is durable before anything else is written. */
static void test_changes_clear_unknown_autoclear_bits_first(void)
{
    for (size_t i = 0; i < NB_CHANGES; i++) {
        struct q2_layer_info info;

        setup_change();
        f.image.fail_flush = 1; /* the barrier after the header */
        T_CHECK_U64(changes[i].run(), Q2_ERR_IO);
        T_CHECK_U64(f.image.nb_writes, 1);
        t_row(changes[i].row);
        T_CHECK_U64(memory[95], 0); /* the last byte of autoclear_features */
        cleanup();
        setup_change();
        T_CHECK_U64(changes[i].run(), Q2_OK);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        q2_disk_layer_info(f.disk, 0, &info);
        T_CHECK_U64(info.header->autoclear_features, 0);
        cleanup();
    }
}

/* A request of no bytes changes nothing, the header neither. */
static void test_requests_of_no_bytes_leave_the_header_alone(void)
{
    setup_change();
    T_CHECK_U64(q2_disk_write(f.disk, 0, memory, 0), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 0, 0), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 0), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 64 * KIB, 0), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK_U64(memory[95], 0x80);
    cleanup();
}

/* Whichever write or flush fails, the change says so. */
static void test_changes_report_each_write_and_flush_that_fails(void)
{
    for (size_t i = 0; i < NB_CHANGES; i++) {
        uint64_t nb_writes, nb_flushes;

        setup_change();
        fake_source_reset(&f.image);
        T_CHECK_U64(changes[i].run(), Q2_OK);
        nb_writes = f.image.nb_writes;
        nb_flushes = f.image.nb_flushes;
        cleanup();
        for (uint64_t n = 1; n <= nb_writes + nb_flushes; n++) {
            setup_change();
            fake_source_reset(&f.image);
            if (n <= nb_writes)
                f.image.fail_write = n;
            else
                f.image.fail_flush = n - nb_writes;
            T_CHECK_U64(changes[i].run(), Q2_ERR_IO);
            t_row(changes[i].row);
            cleanup();
        }
    }
}

/* --- size, allocation ------------------------------------------------------------------------ */

/* Begin an image whose external data file is raw. */
static void start_raw_external(const struct image_spec *spec)
{
    image_start(&image, spec);
    image_data_name(&image, "data.raw");
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
}

static uint8_t data_bytes[4096 * KIB];

/* The same with a data file of size bytes that can grow. */
static void setup_external(uint64_t data_size)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_opener_init(&f.opener);
    fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data_bytes, data_size,
                              sizeof(data_bytes));
    fake_opener_add(&f.opener, FIXTURE_DATA_PATH, &f.data);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

/* Opened again it reads as want, and the check finds nothing. */
static void check_content(const uint8_t *want, uint64_t size)
{
    struct q2_check_result result;

    fixture_reopen(&f);
    T_CHECK_U64(q2_disk_size(f.disk), size);
    T_CHECK_U64(fixture_first_difference(&f, want, size), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
}

static void test_resize_is_refused(void)
{
    static const struct {
        const char *row;
        uint64_t size;
        enum q2_status status;
        const char *text;
    } rows[] = {
        {"not whole sectors", 1000, Q2_ERR_ARGUMENT,
         "img/top.qcow2: the new size is not a multiple of 512 (size is 1000)"},
        {"smaller", 512, Q2_ERR_ARGUMENT,
         "img/top.qcow2: shrinking loses data and was not allowed (size is 512, limit 0x10000)"},
        {"over 2^62", (1ull << 62) + 512, Q2_ERR_LIMIT,
         "img/top.qcow2: the virtual size is too large (size is 0x4000000000000200, limit "
         "0x4000000000000000)"},
        {"L1 table", 1ull << 60, Q2_ERR_LIMIT,
         "img/top.qcow2: the virtual size needs too large an L1 table (l1_size is 0x80000000, "
         "limit 0x400000)"},
    };

    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK_U64(q2_disk_can_resize(f.disk, rows[i].size, false, 0), rows[i].status);
        T_CHECK_U64(q2_disk_resize(f.disk, rows[i].size, false), rows[i].status);
        T_CHECK_STR(fixture_text(&f), rows[i].text);
    }
    t_row("the same size");
    T_CHECK_U64(q2_disk_resize(f.disk, 64 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_can_resize(f.disk, 128 * KIB, false, 0), Q2_OK);
    T_CHECK_U64(q2_disk_can_resize(f.disk, 512, true, 0), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, 0);
    t_row("metadata only");
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 128 * KIB, false), Q2_ERR_NOT_OPEN);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 512, false), Q2_ERR_NOT_OPEN);
    cleanup();
    t_row("version 2");
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .version = 2});
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, 128 * KIB, false), Q2_OK);
    cleanup();
    t_row("version 2 with snapshots");
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .version = 2});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s"});
    (void)image_snapshots_write(&image);
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, 128 * KIB, false), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: a version 2 image with snapshots has one size for all");
    T_CHECK_U64(q2_disk_can_resize(f.disk, 128 * KIB, false, 3), Q2_OK);
    cleanup();
}

/* What is past the end of the last cluster, and in clusters after that, never shows. */
static void test_resize_hides_what_lies_behind_the_end(void)
{
    static uint8_t want[1024 * KIB];

    image_start(&image, &(struct image_spec){.size = 512 * KIB});
    image_data(&image, 64 * KIB, 3);
    image_data(&image, 192 * KIB, 4);
    image_compressed(&image, 256 * KIB, 5);
    memset(want, 0, sizeof(want));
    memcpy(want, image.model.bytes, 70 * KIB);
    image_field_set(&image, "size", 70 * KIB);
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, 1024 * KIB, false), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, want, 1024 * KIB), FIXTURE_SAME);
    check_content(want, 1024 * KIB);
    cleanup();
}

/* A disk of no bytes has no L1 table yet. */
static void test_resize_from_nothing_and_back(void)
{
    static uint8_t want[2048 * KIB];

    image_start(&image, &(struct image_spec){.size = 0, .cluster_bits = 9, .max_clusters = 4096});
    image_refcount_set(&image, image_field(&image, "l1_table_offset") / 512, 0);
    image_field_set(&image, "l1_table_offset", 0);
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, 2048 * KIB, false), Q2_OK);
    memset(want, 7, 3000);
    T_CHECK_U64(q2_disk_write(f.disk, 0, want, 3000), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    check_content(want, 2048 * KIB);
    T_CHECK_U64(q2_disk_resize(f.disk, 0, true), Q2_OK);
    check_content(want, 0);
    memset(want, 0, 3000);
    T_CHECK_U64(q2_disk_resize(f.disk, 4096, false), Q2_OK);
    check_content(want, 4096);
    cleanup();
}

/* The data file follows the disk. A raw one is the disk: what it had after the old end shows. */
static void test_resize_with_a_raw_data_file(void)
{
    static uint8_t want[256 * KIB];

    start_raw_external(&(struct image_spec){.size = 64 * KIB, .external = true});
    memset(data_bytes, 'x', 100 * KIB);
    setup_external(100 * KIB);
    T_CHECK_U64(q2_disk_resize(f.disk, 256 * KIB, false), Q2_OK);
    T_CHECK_U64(f.data.source.size, 256 * KIB);
    T_CHECK_U64(data_bytes[64 * KIB - 1], 'x');
    memset(want + 64 * KIB, 'x', 36 * KIB);
    T_CHECK(memcmp(data_bytes + 64 * KIB, want + 64 * KIB, 192 * KIB) == 0);
    check_content(want, 256 * KIB);
    T_CHECK_U64(q2_disk_make_empty(f.disk), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: raw external data cannot be emptied without being written");
    cleanup();
}

/* A longer L1 table is stored elsewhere; the clusters of the old one are free then. */
static void test_resize_gives_back_the_old_l1_table(void)
{
    static uint8_t want[4096 * KIB];

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_data(&image, 0, 1);
    memcpy(want, image.model.bytes, 64 * KIB);
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, sizeof(want), false), Q2_OK);
    check_content(want, sizeof(want));
    cleanup();
}

/* There is no room for a longer L1 table: the data file does not grow either. */
static void test_resize_without_room_for_the_l1_table(void)
{
    start_raw_external(&(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .external = true});
    setup_external(64 * KIB);
    fake_source_fail_nth(&f.image, FAKE_GROW, 1);
    T_CHECK_U64(q2_disk_resize(f.disk, 4096 * KIB, false), Q2_ERR_NO_SPACE);
    T_CHECK_U64(q2_disk_size(f.disk), 64 * KIB);
    T_CHECK_U64(f.data.source.size, 64 * KIB);
    cleanup();
}

/* A longer backing file shows where the disk grows. Its first clusters there are hidden, but what
 * the next table names cannot be read: the disk keeps its size. */
static void test_resize_over_an_unreadable_backing_file(void)
{
    struct fake_source source;
    struct image base;

    image_start(&base,
                &(struct image_spec){.size = 192 * KIB, .cluster_bits = 9, .max_clusters = 1024});
    for (uint64_t at = 64 * KIB; at < 96 * KIB; at += 512)
        image_data(&base, at, 1);
    (void)image_l2_entry(&base, 96 * KIB);
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_backing(&image, "base.img", "qcow2");
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_source_init(&source, "img/base.img", base.bytes, base.size);
    fake_opener_add(&f.opener, "img/base.img", &source);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    source.bad_start = image_l2_entry(&base, 96 * KIB) & ~511ull;
    source.bad_end = source.bad_start + 512;
    T_CHECK_U64(q2_disk_resize(f.disk, 192 * KIB, false), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_size(f.disk), 64 * KIB);
    cleanup();
    image_free(&base);
}

/* The disk ends inside a cluster, and so does the raw data file: it grows before anything is asked
 * of what it has then. */
static void test_resize_of_a_raw_data_file_that_ends_in_a_cluster(void)
{
    static uint8_t want[256 * KIB];

    start_raw_external(&(struct image_spec){.size = 64 * KIB, .external = true});
    image_data(&image, 0, 1);
    image_field_set(&image, "size", 10 * KIB);
    memset(data_bytes, 'y', 10 * KIB);
    memset(data_bytes + 10 * KIB, 'z', 10 * KIB); /* of the memory, not of the file */
    memset(want, 'y', 10 * KIB);
    setup_external(10 * KIB);
    T_CHECK_U64(q2_disk_resize(f.disk, 256 * KIB, false), Q2_OK);
    T_CHECK_U64(f.data.source.size, 256 * KIB);
    check_content(want, 256 * KIB);
    cleanup();
}

/* Behind the end of a short data file there is nothing to overwrite. */
static void test_discard_behind_a_raw_data_file(void)
{
    start_raw_external(&(struct image_spec){.size = 256 * KIB, .external = true});
    memset(data_bytes, 'x', 64 * KIB);
    setup_external(64 * KIB);
    T_CHECK_U64(q2_disk_discard(f.disk, 128 * KIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(f.data.nb_writes, 0);
    T_CHECK_U64(data_bytes[64 * KIB - 1], 'x');
    cleanup();
}

/* Zeros after the end of a short raw data file: nothing is written for what reads as zeros there
 * already, and the bytes before the end stay. */
static void test_zeros_behind_a_raw_data_file(void)
{
    static uint8_t want[256 * KIB];

    start_raw_external(&(struct image_spec){.size = 256 * KIB, .external = true});
    image_data(&image, 0, 1);
    memset(data_bytes, 'x', 64 * KIB);
    memset(want, 'x', 64 * KIB);
    setup_external(64 * KIB);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 128 * KIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(f.data.nb_writes, 0);
    check_content(want, 256 * KIB);
    cleanup();
}

static enum q2_status refuse_to_truncate(struct q2_source *source, uint64_t new_size)
{
    (void)source, (void)new_size;
    return Q2_ERR_DENIED;
}

/* A file that cannot become shorter: the disk is empty all the same, and its old clusters are free
 * ones at the end of the file. */
static void test_make_empty_of_a_file_that_keeps_its_size(void)
{
    static uint8_t zeros[512 * KIB];
    struct q2_source_ops ops;
    uint64_t size;

    image_start(&image, &(struct image_spec){.size = 512 * KIB});
    image_data(&image, 0, 1);
    image_data(&image, 64 * KIB, 2);
    setup(false);
    ops = *f.image.source.ops;
    ops.truncate = refuse_to_truncate;
    f.image.source.ops = &ops;
    size = f.image.source.size;
    T_CHECK_U64(q2_disk_make_empty(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.size, size);
    check_content(zeros, 512 * KIB);
    cleanup();
}

/* Clusters that were used before do not bring their old bytes back. */
static void test_preallocate_changes_no_byte(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
        bool write_zeros;
    } rows[] = {
        {"version 3", {.size = 500 * KIB + 512, .cluster_bits = 14}, false},
        {"extended", {.size = 500 * KIB + 512, .cluster_bits = 14, .extended = true}, false},
        {"version 2", {.size = 500 * KIB + 512, .cluster_bits = 14, .version = 2}, true},
        {"runs over many L2 tables", {.size = 500 * KIB + 512, .cluster_bits = 9}, false},
    };
    static uint8_t want[512 * KIB];
    static uint8_t bytes[256 * KIB];

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct q2_extent extent;

        t_row(rows[row].row);
        image_start(&image, &rows[row].spec);
        image_data(&image, 16 * KIB, 1);
        image_compressed(&image, 64 * KIB, 2);
        memcpy(want, image.model.bytes, image.spec.size);
        setup(false);
        memset(bytes, 'o', sizeof(bytes));
        T_CHECK_U64(q2_disk_write(f.disk, 240 * KIB, bytes, sizeof(bytes)), Q2_OK);
        T_CHECK_U64(q2_disk_discard(f.disk, 240 * KIB, sizeof(bytes)), Q2_OK);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        T_CHECK_U64(q2_disk_preallocate(f.disk, 1, image.spec.size - 1, rows[row].write_zeros),
                    Q2_OK);
        check_content(want, image.spec.size);
        for (uint64_t at = 0; at < image.spec.size; at += extent.length) {
            if (!T_CHECK_U64(q2_disk_map(f.disk, at, UINT32_MAX, &extent), Q2_OK))
                break;
            T_CHECK(extent.has_host_offset);
        }
        cleanup();
    }
}

/* Some subclusters of a raw data file's cluster hold data, others are zeros: only those are filled
 * with zeros. */
static void test_preallocate_keeps_the_data_beside_zeros_in_a_raw_data_file(void)
{
    static uint8_t want[64 * KIB];
    struct q2_extent extent;

    start_raw_external(&(struct image_spec){
        .size = 64 * KIB, .cluster_bits = 14, .extended = true, .external = true});
    memset(data_bytes, 'o', 64 * KIB); /* of no cluster yet */
    setup_external(64 * KIB);
    memset(want, 'k', 3 * KIB);
    T_CHECK_U64(q2_disk_write(f.disk, 0, want, 3 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 64 * KIB, true), Q2_OK);
    T_CHECK_U64(q2_disk_map(f.disk, 0, 64 * KIB, &extent), Q2_OK);
    T_CHECK(extent.kind == Q2_EXTENT_DATA && extent.length == 64 * KIB);
    T_CHECK_U64(fixture_first_difference(&f, want, 64 * KIB), FIXTURE_SAME);
    check_content(want, 64 * KIB);
    cleanup();
}

/* A part of a cluster gets its place: what is zeros beside it stays so. */
static void test_preallocate_keeps_the_zeros_beside_it_in_a_raw_data_file(void)
{
    struct q2_extent extent;

    start_raw_external(&(struct image_spec){
        .size = 64 * KIB, .cluster_bits = 14, .extended = true, .external = true});
    (void)image_subclusters(&image, 0, 0, UINT32_MAX, 0);
    memset(data_bytes, 0, 64 * KIB);
    setup_external(64 * KIB);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 4 * KIB, 4 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_map(f.disk, 4 * KIB, 64 * KIB, &extent), Q2_OK);
    T_CHECK(extent.kind == Q2_EXTENT_DATA && extent.length == 4 * KIB);
    T_CHECK_U64(q2_disk_map(f.disk, 8 * KIB, 64 * KIB, &extent), Q2_OK);
    T_CHECK(extent.kind == Q2_EXTENT_ZERO && extent.length == 8 * KIB);
    cleanup();
}

/* Clusters in a row get their places and their zeros together. */
static void test_preallocate_writes_the_zeros_of_a_run_at_once(void)
{
    image_start(&image, &(struct image_spec){.size = 32 * KIB, .cluster_bits = 9});
    setup(false);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 32 * KIB, true), Q2_OK);
    T_CHECK(f.image.nb_writes < 20);
    cleanup();
}

/* The disk ends inside a cluster that was made zeros. What the raw data file holds after that end
 * is on the disk when it grows. */
static void test_resize_of_a_raw_data_file_after_zeros_at_its_end(void)
{
    static uint8_t want[64 * KIB];

    start_raw_external(
        &(struct image_spec){.size = 64 * KIB, .cluster_bits = 14, .external = true});
    image_field_set(&image, "size", 40 * KIB);
    memset(data_bytes, 'b', 64 * KIB);
    setup_external(64 * KIB);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 40 * KIB, false), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 32 * KIB, 8 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 64 * KIB, false), Q2_OK);
    memcpy(want, data_bytes, 64 * KIB);
    T_CHECK(want[32 * KIB] == 0 && want[40 * KIB] == 'b');
    check_content(want, 64 * KIB);
    cleanup();
}

/* A call that has nothing to change makes durable what was written before, like any other. */
static void test_resize_and_preallocate_of_nothing_flush(void)
{
    static const uint8_t byte = 'w';

    for (uint32_t row = 0; row < 2; row++) {
        image_start(&image, &(struct image_spec){.size = 64 * KIB});
        setup(false);
        T_CHECK_U64(q2_disk_write(f.disk, 0, &byte, 1), Q2_OK);
        T_CHECK(q2_disk_is_dirty(f.disk));
        if (row == 0)
            T_CHECK_U64(q2_disk_resize(f.disk, 64 * KIB, false), Q2_OK);
        else
            T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 0, false), Q2_OK);
        T_CHECK(!q2_disk_is_dirty(f.disk));
        cleanup();
    }
}

static void test_preallocate_is_refused_where_a_backing_file_shows(void)
{
    static uint8_t base[200 * KIB];
    struct fake_source source;

    for (uint32_t extended = 0; extended < 2; extended++) {
        static uint8_t want[512 * KIB];

        t_row(extended ? "extended" : "standard");
        memset(base, 'b', sizeof(base));
        memset(want, 0, sizeof(want));
        memcpy(want, base, sizeof(base));
        image_start(&image, &(struct image_spec){
                                .size = 512 * KIB, .cluster_bits = 14, .extended = extended == 1});
        image_backing(&image, "base.img", "raw");
        fixture_start_writable(&f, &image, memory, CAPACITY);
        fake_source_init(&source, "img/base.img", base, sizeof(base));
        fake_opener_add(&f.opener, "img/base.img", &source);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 64 * KIB, false),
                    extended ? Q2_OK : Q2_ERR_UNSUPPORTED);
        if (!extended)
            T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a backing file shows through where "
                                          "clusters are to be allocated");
        T_CHECK_U64(q2_disk_preallocate(f.disk, 256 * KIB, 256 * KIB, false), Q2_OK);
        check_content(want, 512 * KIB);
        cleanup();
    }
}

/* The backing file cannot be read: whether it shows is not known. */
static void test_preallocate_over_an_unreadable_backing_file(void)
{
    struct fake_source source;
    struct image base;

    image_start(&base, &(struct image_spec){.size = 512 * KIB, .cluster_bits = 14});
    image_start(&image, &(struct image_spec){.size = 512 * KIB, .cluster_bits = 14});
    image_backing(&image, "base.img", "qcow2");
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_source_init(&source, "img/base.img", base.bytes, base.size);
    fake_opener_add(&f.opener, "img/base.img", &source);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    source.bad_end = UINT64_MAX;
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 64 * KIB, false), Q2_ERR_IO);
    T_CHECK_U64(f.image.nb_writes, 0);
    source.bad_end = 0;
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 64 * KIB, false), Q2_OK);
    cleanup();
    image_free(&base);
}

static void test_preallocate_and_empty_refuse_raw_images(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB});
    setup(false);
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, 512, false), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: raw and encrypted images cannot be preallocated");
    T_CHECK_U64(q2_disk_make_empty(f.disk), Q2_ERR_UNSUPPORTED);
    T_CHECK_U64(q2_disk_resize(f.disk, 0, true), Q2_ERR_UNSUPPORTED);
    cleanup();
}

/* Shared tables and clusters lose one reference; the snapshot keeps what it has. */
static void test_make_empty_gives_everything_back(void)
{
    static uint8_t zeros[1024 * KIB];
    struct q2_check_result result;

    image_start(&image, &(struct image_spec){.size = 1024 * KIB, .cluster_bits = 12});
    for (uint64_t at = 0; at < 1024 * KIB; at += 8 * KIB)
        image_data(&image, at, 1);
    image_compressed(&image, 4 * KIB, 2);
    image_zero(&image, 12 * KIB, true);
    setup(true);
    T_CHECK_U64(q2_disk_make_empty(f.disk), Q2_OK);
    f.options.metadata_only = false;
    check_content(zeros, 1024 * KIB);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.allocated_clusters, 0);
    cleanup();
}

/* The clusters past the new end are unmapped in an L2 table that stays, and are free. */
static void test_shrink_unmaps_what_is_past_the_end(void)
{
    static const uint8_t zeros[64 * KIB];
    struct q2_check_result result;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    for (uint64_t at = 32 * KIB; at < 64 * KIB; at += 4 * KIB)
        image_data(&image, at, 1);
    setup(false);
    T_CHECK_U64(q2_disk_resize(f.disk, 32 * KIB, true), Q2_OK);
    check_content(zeros, 32 * KIB);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.allocated_clusters, 0);
    T_CHECK_U64(q2_disk_resize(f.disk, 64 * KIB, false), Q2_OK);
    check_content(zeros, 64 * KIB);
    cleanup();
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_set_backing_of_a_file_that_is_missing);
    T_RUN(test_set_backing_with_the_longest_names);
    T_RUN(test_set_backing_of_an_image_without_extensions);
    T_RUN(test_can_set_backing);
    T_RUN(test_set_backing_keeps_what_waits_and_the_open_chain);
    T_RUN(test_set_backing_clears_unknown_autoclear_bits_only);
    T_RUN(test_set_lazy_refcounts);
    T_RUN(test_set_raw_external_data);
    T_RUN(test_set_data_file);
    T_RUN(test_names_are_refused);
    T_RUN(test_names_of_raw_external_data_and_raw_images_are_refused);
    T_RUN(test_names_without_room_are_refused);
    T_RUN(test_long_names_replace_each_other_safely);
    T_RUN(test_shorter_header_leaves_nothing_of_the_longer_one);
    T_RUN(test_names_latch_after_a_failed_write);
    T_RUN(test_changes_clear_unknown_autoclear_bits_first);
    T_RUN(test_requests_of_no_bytes_leave_the_header_alone);
    T_RUN(test_changes_report_each_write_and_flush_that_fails);
    T_RUN(test_resize_is_refused);
    T_RUN(test_resize_hides_what_lies_behind_the_end);
    T_RUN(test_resize_from_nothing_and_back);
    T_RUN(test_resize_gives_back_the_old_l1_table);
    T_RUN(test_resize_without_room_for_the_l1_table);
    T_RUN(test_resize_over_an_unreadable_backing_file);
    T_RUN(test_resize_with_a_raw_data_file);
    T_RUN(test_resize_of_a_raw_data_file_that_ends_in_a_cluster);
    T_RUN(test_discard_behind_a_raw_data_file);
    T_RUN(test_zeros_behind_a_raw_data_file);
    T_RUN(test_make_empty_of_a_file_that_keeps_its_size);
    T_RUN(test_preallocate_changes_no_byte);
    T_RUN(test_preallocate_keeps_the_data_beside_zeros_in_a_raw_data_file);
    T_RUN(test_preallocate_keeps_the_zeros_beside_it_in_a_raw_data_file);
    T_RUN(test_preallocate_writes_the_zeros_of_a_run_at_once);
    T_RUN(test_resize_of_a_raw_data_file_after_zeros_at_its_end);
    T_RUN(test_resize_and_preallocate_of_nothing_flush);
    T_RUN(test_preallocate_is_refused_where_a_backing_file_shows);
    T_RUN(test_preallocate_over_an_unreadable_backing_file);
    T_RUN(test_preallocate_and_empty_refuse_raw_images);
    T_RUN(test_make_empty_gives_everything_back);
    T_RUN(test_shrink_unmaps_what_is_past_the_end);
    free(memory);
    return t_done();
}
