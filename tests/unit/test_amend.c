/* core/amend.c, core/header_change.c: what changes, what is refused and by which words. Power cuts
 * and failing files: tests/fault/. */
#include <stdlib.h>

#include "fixture.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "t.h"

#define KIB      1024ull
#define CAPACITY (16384 * KIB)
#define UNKNOWN  0x12345678u

static struct image image;
static struct fixture f;
static uint8_t *memory;

/* Open what was built with image_start(); files that it names do not exist. */
static void setup(bool metadata_only)
{
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    f.options.writable = true;
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
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("new.img", "raw", "");
    T_CHECK_U64(q2_disk_set_backing(f.disk, NULL, NULL), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    check_names("", "", "");
    f.options.metadata_only = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
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
         "a-name-of-a-hundred-bytes-or-so-that-does-not-fit-behind-the-extension-any-more-for-sure",
         "img/top.qcow2: the names do not fit into the first cluster (cluster_size is 512, limit "
         "512)"},
        {"two sectors in use, none free", 10, 400, 0, NULL, "a",
         "img/top.qcow2: the first cluster has no room to change the header safely (cluster_size "
         "is 1024, limit 1024)"},
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

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_set_backing_of_a_file_that_is_missing);
    T_RUN(test_set_backing_keeps_what_waits_and_the_open_chain);
    T_RUN(test_set_backing_clears_unknown_autoclear_bits_only);
    T_RUN(test_set_data_file);
    T_RUN(test_names_are_refused);
    T_RUN(test_names_of_raw_external_data_and_raw_images_are_refused);
    T_RUN(test_names_without_room_are_refused);
    T_RUN(test_names_latch_after_a_failed_write);
    free(memory);
    return t_done();
}
