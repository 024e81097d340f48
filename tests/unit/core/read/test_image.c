/* core/read/image.c: header extensions, names, features, snapshots' L1 tables. What is refused, and
 * with which words, is in tests/bad/. */
#include <stdlib.h>

#include "core/format/extension.h"
#include "core/read/image.h"
#include "tests/support/fake_source.h"
#include "tests/support/image_builder.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct q2_slice_cache cache;
static struct q2_windows windows;
static struct fake_source fake;
static struct q2_image opened;
static struct q2_fault fault;

/* Open an image of which bytes [bad_start, bad_end) cannot be read. */
static enum q2_status open_broken(const struct image *image, uint64_t bad_start, uint64_t bad_end)
{
    q2_windows_clear(&windows);
    q2_slice_cache_init(&cache, &windows);
    fake_source_init(&fake, "img", image->bytes, image->size);
    fake.bad_start = bad_start;
    fake.bad_end = bad_end;
    memset(&opened, 0xa7, sizeof(opened));
    memset(&fault, 0, sizeof(fault));
    return q2_image_open(&cache, &fake.source, &fault, &opened);
}

static enum q2_status open_image(const struct image *image)
{
    return open_broken(image, 0, 0);
}

static void test_image_open_plain_values(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = 5 * MIB + 3, .l1_size = 7});
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK(opened.format == Q2_FORMAT_QCOW2 && opened.source == &fake.source);
    T_CHECK(opened.data == &fake.source && opened.cipher == NULL);
    T_CHECK(!opened.owns_source && !opened.owns_data && !opened.is_snapshot);
    T_CHECK(!opened.has_backing && !opened.has_data_file_name && !q2_image_has_data_file(&opened));
    T_CHECK_U64(opened.virtual_size, 5 * MIB + 3);
    T_CHECK_U64(opened.l1_size, 7);
    T_CHECK_U64(opened.l1_table_offset, image_field(&image, "l1_table_offset"));
    T_CHECK_U64(opened.entry_bits, 3);
    T_CHECK_U64(opened.l2_bits, 13);
    T_CHECK(opened.rules.version_3 && !opened.rules.extended && !opened.rules.external_data);
    T_CHECK_U64(opened.rules.cluster_bits, 16);
    T_CHECK_U64(opened.nb_bitmaps, 0);
    T_CHECK_U64(opened.encryption_offset, 0);
    T_CHECK_STR(opened.backing_file, "");
    T_CHECK_STR(opened.backing_format, "");
    T_CHECK_STR(opened.data_file, "");
    image_free(&image);
}

static void test_image_open_extended_and_external_values(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){
                            .size = MIB, .cluster_bits = 14, .extended = true, .external = true});
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK(opened.rules.extended && opened.rules.external_data && q2_image_has_data_file(&opened));
    T_CHECK_U64(opened.entry_bits, 4);
    T_CHECK_U64(opened.l2_bits, 10);
    image_free(&image);
}

static void test_image_open_version_2_rules(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB, .version = 2});
    image_backing(&image, "base", "raw");
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK(!opened.rules.version_3);
    T_CHECK_STR(opened.backing_file, "base");
    T_CHECK_STR(opened.backing_format, "raw");
    image_free(&image);
}

static void test_image_open_all_extensions(void)
{
    static const uint8_t bitmaps[24] = {0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0,
                                        0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0};
    static const uint8_t encryption[16] = {0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0};
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    (void)image_extension(&image, 0x11111111, "unknown", 7);
    (void)image_extension(&image, Q2_EXTENSION_BITMAPS, bitmaps, 24);
    (void)image_extension(&image, Q2_EXTENSION_ENCRYPTION, encryption, 16);
    (void)image_extension(&image, 0x22222222, "", 0);
    image_data_name(&image, "data.raw");
    image_backing(&image, "base.qcow2", "qcow2");
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK_U64(opened.nb_bitmaps, 2);
    T_CHECK_U64(opened.bitmaps_length, 0x100);
    T_CHECK_U64(opened.bitmaps_offset, 0x90000);
    T_CHECK_U64(opened.encryption_offset, 0x80000);
    T_CHECK_U64(opened.encryption_length, 0x70000);
    T_CHECK(opened.has_data_file_name && opened.has_backing);
    T_CHECK_STR(opened.data_file, "data.raw");
    T_CHECK_STR(opened.backing_file, "base.qcow2");
    T_CHECK_STR(opened.backing_format, "qcow2");
    image_free(&image);
}

static void test_image_open_names_of_the_greatest_length(void)
{
    static char name[1024], format[32];
    struct image image;

    memset(name, 'n', 1023);
    memset(format, 'f', 31);
    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data_name(&image, name);
    image_backing(&image, name, format);
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK_STR(opened.data_file, name);
    T_CHECK_STR(opened.backing_file, name);
    T_CHECK_STR(opened.backing_format, format);
    image_free(&image);
}

static void test_image_open_empty_names(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data_name(&image, "");
    (void)image_extension(&image, Q2_EXTENSION_BACKING_FORMAT, "", 0);
    image_field_set(&image, "backing_file_offset", 1024);
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK(opened.has_data_file_name && !opened.has_backing);
    T_CHECK_STR(opened.data_file, "");
    t_row("a length, but no place");
    image_field_set(&image, "backing_file_offset", 0);
    image_field_set(&image, "backing_file_size", 4);
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK(!opened.has_backing);
    T_CHECK_STR(opened.backing_file, "");
    image_free(&image);
}

static void test_image_open_nothing_is_read_behind_the_end_extension(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    (void)image_extension(&image, Q2_EXTENSION_END, "", 0);
    image_put32(&image, 120, Q2_EXTENSION_BITMAPS);
    image_put32(&image, 124, 0xffffffff);
    T_CHECK_U64(open_image(&image), Q2_OK);
    image_free(&image);
}

/* Extensions end where the backing file's name begins, without a row that says so. */
static void test_image_open_extensions_end_at_the_backing_name(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "backing_file_offset", 112 + 7);
    image_field_set(&image, "backing_file_size", 4);
    image_put(&image, 112, "Datanew", 7);
    image_put(&image, 119, "base", 4);
    T_CHECK_U64(open_image(&image), Q2_OK);
    T_CHECK_STR(opened.backing_file, "base");
    t_row("one byte more and it is an extension");
    image_field_set(&image, "backing_file_offset", 112 + 8);
    T_CHECK_U64(open_image(&image), Q2_ERR_BAD_EXTENSION);
    image_free(&image);
}

/* The format limits their number by the cluster alone. */
static void test_image_open_extensions_as_many_as_fit(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    for (uint32_t i = 0; i < (4096 - 112) / 8; i++)
        (void)image_extension(&image, 0x12345678, "", 0);
    T_CHECK_U64(open_image(&image), Q2_OK);
    image_free(&image);
}

static void test_image_open_cluster_full_of_extensions(void)
{
    static const uint8_t filler[512];
    struct image image;

    image_start(&image, &(struct image_spec){.size = 512, .cluster_bits = 9});
    (void)image_extension(&image, 0x12345678, filler, 512 - 112 - 8);
    T_CHECK_U64(open_image(&image), Q2_OK);
    image_free(&image);
}

static void test_image_open_header_without_room_for_extensions(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = 512, .cluster_bits = 9, .header_length = 512});
    T_CHECK_U64(open_image(&image), Q2_OK);
    image_free(&image);
}

/* What a short file does not have of the header is zeros: no header of version 3. */
static void test_image_open_header_of_version_3_cut_off(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = 512});
    image.size = 72;
    T_CHECK_U64(open_image(&image), Q2_ERR_BAD_HEADER);
    T_CHECK_STR(fault.field, "header_length");
    image_free(&image);
}

/* The name is looked up for the incompatible feature of that number only. A row that is cut off has
 * the part of its name that is there. */
static void test_image_open_feature_names_table(void)
{
    static const struct {
        const char *row;
        uint32_t length;
        uint8_t type, bit;
        const char *detail;
    } rows[] = {
        {"whole row", 48, 0, 5, "name"},     {"cut row", 47, 0, 5, "name"},
        {"cut name", 5, 0, 5, "nam"},        {"cut before the name", 2, 0, 5, ""},
        {"cut before the bit", 1, 0, 0, ""}, {"no row", 0, 0, 5, ""},
        {"compatible", 48, 1, 5, ""},        {"other bit", 48, 0, 6, ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_feature_name_disk disk = {rows[i].type, rows[i].bit, "name"};
        struct image image;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        (void)image_extension(&image, Q2_EXTENSION_FEATURE_NAMES, &disk, rows[i].length);
        image_field_set(&image, "incompatible_features", 1u << 5);
        T_CHECK_U64(open_image(&image), Q2_ERR_FEATURE);
        T_CHECK_STR(fault.detail, rows[i].detail);
        T_CHECK_U64(fault.value, 5);
        image_free(&image);
    }
}

static void test_image_open_all_unknown_features_are_said(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "incompatible_features", 1ull << 63 | 1u << 7 | 3);
    T_CHECK_U64(open_image(&image), Q2_ERR_FEATURE);
    T_CHECK_U64(fault.value, 1ull << 63 | 1ull << 7);
    image_free(&image);
}

static void test_image_open_dirty_and_corrupt_are_readable(void)
{
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "incompatible_features", 3);
    image_field_set(&image, "compatible_features", UINT64_MAX);
    image_field_set(&image, "autoclear_features", ~2ull);
    T_CHECK_U64(open_image(&image), Q2_OK);
    image_free(&image);
}

/* Fills more than one slice with extensions, so that every step reads. */
static void build_long(struct image *image)
{
    static uint8_t filler[6000];
    struct q2_feature_name_disk disk = {0, 9, "nine"};

    image_start(image, &(struct image_spec){.size = MIB});
    /* These two begin 8 bytes before the end of a slice: type and length read, the rest may not. */
    (void)image_extension(image, 0x12345678, filler, 4096 - 112 - 8 - 8);
    (void)image_extension(image, Q2_EXTENSION_BITMAPS, filler, 24);
    (void)image_extension(image, 0x12345678, filler, 4096 - 24 - 8 - 8);
    (void)image_extension(image, Q2_EXTENSION_ENCRYPTION, filler, 16);
    (void)image_extension(image, 0x12345678, filler, 6000);
    (void)image_extension(image, Q2_EXTENSION_FEATURE_NAMES, &disk, sizeof(disk));
    (void)image_extension(image, 0x12345678, filler, 6000);
    image_data_name(image, "data");
    image_backing(image, "base", "raw");
}

static void test_image_open_bad_sector_anywhere(void)
{
    struct image image;
    uint32_t nb_failed = 0;

    build_long(&image);
    T_CHECK_U64(open_image(&image), Q2_OK);
    for (uint64_t at = 0; at < 64 * KIB; at += 512) {
        enum q2_status status;

        q2_windows_clear(&windows);
        q2_slice_cache_init(&cache, &windows);
        fake_source_init(&fake, "img", image.bytes, image.size);
        fake.bad_start = at;
        fake.bad_end = at + 512;
        status = q2_image_open(&cache, &fake.source, &fault, &opened);
        T_CHECK(status == Q2_OK || status == Q2_ERR_IO);
        if (status != Q2_OK) {
            nb_failed++;
            T_CHECK(fault.status == Q2_ERR_IO && fault.has_offset);
            T_CHECK_STR(fault.what, at < 4096              ? "the header cannot be read"
                                    : at < 64 * KIB - 4096 ? "a header extension cannot be read"
                                                           : "a name in the header cannot be read");
        }
    }
    T_CHECK(nb_failed >= 5 * 8); /* the slices that hold extensions, and the one with the name */
    image_free(&image);
}

/* No other read follows that would fail as well: the extension is the last one. */
static void test_image_open_last_extension_unreadable(void)
{
    static const struct {
        const char *row;
        uint32_t type, length;
    } rows[] = {
        {"bitmaps", Q2_EXTENSION_BITMAPS, 24},
        {"encryption", Q2_EXTENSION_ENCRYPTION, 16},
    };
    static const uint8_t filler[4096];

    for (size_t i = 0; i < 2; i++) {
        struct image image;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        (void)image_extension(&image, 0x12345678, filler, 4096 - 112 - 8 - 8);
        (void)image_extension(&image, rows[i].type, filler, rows[i].length);
        image_field_set(&image, "backing_file_offset", 4096 + rows[i].length);
        T_CHECK_U64(open_image(&image), Q2_OK);
        T_CHECK_U64(open_broken(&image, 4096, 4097), Q2_ERR_IO);
        T_CHECK_STR(fault.what, "a header extension cannot be read");
        image_free(&image);
    }
}

/* An unknown feature is refused as such even if its name cannot be read. */
static void test_image_open_feature_name_unreadable(void)
{
    struct q2_feature_name_disk rows[200] = {{.type = 1}};
    struct image image;

    rows[199] = (struct q2_feature_name_disk){0, 9, "nine"};
    image_start(&image, &(struct image_spec){.size = MIB});
    (void)image_extension(&image, Q2_EXTENSION_FEATURE_NAMES, rows, sizeof(rows));
    image_field_set(&image, "incompatible_features", 1u << 9);
    T_CHECK_U64(open_image(&image), Q2_ERR_FEATURE);
    T_CHECK_STR(fault.detail, "nine");
    T_CHECK_U64(open_broken(&image, 4096, 8192), Q2_ERR_FEATURE);
    T_CHECK_STR(fault.detail, "");
    image_free(&image);
}

static void test_image_open_raw_values(void)
{
    static const uint8_t bytes[100];

    fake_source_init(&fake, "raw", bytes, sizeof(bytes));
    memset(&opened, 0xa7, sizeof(opened));
    q2_image_open_raw(&fake.source, &opened);
    T_CHECK(opened.format == Q2_FORMAT_RAW && opened.source == &fake.source &&
            opened.data == &fake.source && !opened.has_backing && opened.cipher == NULL);
    T_CHECK_U64(opened.virtual_size, 100);
}

static void test_image_use_snapshot_table(void)
{
    static const struct {
        const char *row;
        struct q2_snapshot snapshot;
        enum q2_status status;
    } rows[] = {
        {"as the image", {.l1_table_offset = 192 * KIB, .l1_size = 1, .virtual_size = MIB}, Q2_OK},
        {"another size",
         {.l1_table_offset = 192 * KIB, .l1_size = 2, .virtual_size = 1024 * MIB},
         Q2_OK},
        {"size 0, no table", {.l1_table_offset = 0, .l1_size = 0, .virtual_size = 0}, Q2_OK},
        {"size 0, no table, any offset",
         {.l1_table_offset = UINT64_MAX, .l1_size = 0, .virtual_size = 0},
         Q2_OK},
        {"ends with the file",
         {.l1_table_offset = 192 * KIB, .l1_size = 8192, .virtual_size = MIB},
         Q2_OK},
        {"ends past the file",
         {.l1_table_offset = 192 * KIB, .l1_size = 8193, .virtual_size = MIB},
         Q2_ERR_TRUNCATED},
        {"one byte too large",
         {.l1_table_offset = 192 * KIB, .l1_size = 1, .virtual_size = 512 * MIB + 1},
         Q2_ERR_BAD_SNAPSHOT},
        {"2^64 - 1 bytes",
         {.l1_table_offset = 192 * KIB, .l1_size = 8192, .virtual_size = UINT64_MAX},
         Q2_ERR_BAD_SNAPSHOT},
        {"unaligned",
         {.l1_table_offset = 192 * KIB + 8, .l1_size = 1, .virtual_size = MIB},
         Q2_ERR_BAD_SNAPSHOT},
        {"on the header",
         {.l1_table_offset = 0, .l1_size = 1, .virtual_size = MIB},
         Q2_ERR_BAD_SNAPSHOT},
        {"past 2^63",
         {.l1_table_offset = 0ull - 64 * KIB, .l1_size = 1, .virtual_size = MIB},
         Q2_ERR_TRUNCATED},
        {"largest table",
         {.l1_table_offset = 192 * KIB, .l1_size = Q2_MAX_L1_ENTRIES + 1, .virtual_size = MIB},
         Q2_ERR_LIMIT},
    };
    struct image image;

    image_start(&image, &(struct image_spec){.size = MIB});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct q2_snapshot *snapshot = &rows[i].snapshot;
        bool ok = rows[i].status == Q2_OK;

        t_row(rows[i].row);
        T_CHECK_U64(open_image(&image), Q2_OK);
        T_CHECK_STR(q2_status_name(q2_image_use_snapshot(&opened, snapshot, &fault)),
                    q2_status_name(rows[i].status));
        T_CHECK_U64(fault.status, rows[i].status);
        T_CHECK(opened.is_snapshot == ok);
        T_CHECK_U64(opened.virtual_size, ok ? snapshot->virtual_size : MIB);
        T_CHECK_U64(opened.l1_size, ok ? snapshot->l1_size : 1);
    }
    image_free(&image);
}

int main(void)
{
    T_RUN(test_image_open_plain_values);
    T_RUN(test_image_open_extended_and_external_values);
    T_RUN(test_image_open_version_2_rules);
    T_RUN(test_image_open_all_extensions);
    T_RUN(test_image_open_names_of_the_greatest_length);
    T_RUN(test_image_open_empty_names);
    T_RUN(test_image_open_nothing_is_read_behind_the_end_extension);
    T_RUN(test_image_open_extensions_end_at_the_backing_name);
    T_RUN(test_image_open_extensions_as_many_as_fit);
    T_RUN(test_image_open_cluster_full_of_extensions);
    T_RUN(test_image_open_header_without_room_for_extensions);
    T_RUN(test_image_open_header_of_version_3_cut_off);
    T_RUN(test_image_open_feature_names_table);
    T_RUN(test_image_open_all_unknown_features_are_said);
    T_RUN(test_image_open_dirty_and_corrupt_are_readable);
    T_RUN(test_image_open_bad_sector_anywhere);
    T_RUN(test_image_open_last_extension_unreadable);
    T_RUN(test_image_open_feature_name_unreadable);
    T_RUN(test_image_open_raw_values);
    T_RUN(test_image_use_snapshot_table);
    return t_done();
}
