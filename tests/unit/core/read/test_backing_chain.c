/* core/read/backing_chain.c: data files, backing chains, what is opened and closed when
 * (HAZARDS.md, F7 to F10, F13). The sentences of the refusals are in tests/bad/. */
#include <pthread.h>
#include <stdlib.h>

#include "q2_create.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB        1024ull
#define MIB        (1024 * KIB)
#define MAX_IMAGES 4

/* A chain: images[0] on top, each naming the next "L1", "L2", ... */
struct chain {
    struct image images[MAX_IMAGES];
    struct fake_source fakes[MAX_IMAGES];
    struct fixture f;
    uint32_t nb;
};

static const char *const names[MAX_IMAGES] = {NULL, "L1", "L2", "L3"};
static const char *const paths[MAX_IMAGES] = {NULL, "img/L1", "img/L2", "img/L3"};

/* Layer i holds cluster n if n % (i + 2) == 0, and zeros at n % 5 == 4 in odd layers (not in
 * version 2, which has none). */
static void chain_fill(struct image *image, uint32_t i)
{
    uint64_t size = image_cluster_size(image);

    for (uint64_t n = 0; n * size < image->spec.size; n++) {
        if (i % 2 == 1 && n % 5 == 4 && image->spec.version > 2)
            image_zero(image, n * size, n % 2 == 0);
        else if (n % (i + 2) == 0)
            image_data(image, n * size, i + 1);
    }
}

static void chain_start(struct chain *chain, const struct image_spec *specs, uint32_t nb)
{
    memset(chain, 0, sizeof(*chain));
    chain->nb = nb;
    for (uint32_t i = 0; i < nb; i++) {
        image_start(&chain->images[i], &specs[i]);
        chain_fill(&chain->images[i], i);
        if (i + 1 < nb)
            image_backing(&chain->images[i], names[i + 1], "qcow2");
        if (i > 0)
            fake_source_init(&chain->fakes[i], paths[i], chain->images[i].bytes,
                             chain->images[i].size);
    }
    /* What the top reads as, from the bottom up. */
    for (uint32_t i = nb - 1; i > 0; i--)
        image_model_over(&chain->images[i - 1], chain->images[i].model.bytes,
                         chain->images[i].spec.size);
    fixture_start(&chain->f, &chain->images[0]);
    for (uint32_t i = 1; i < nb; i++)
        fake_opener_add(&chain->f.opener, paths[i], &chain->fakes[i]);
}

static void chain_end(struct chain *chain)
{
    fixture_close(&chain->f);
    T_CHECK_U64(chain->f.opener.nb_open, 0);
    fixture_end(&chain->f);
    for (uint32_t i = 0; i < chain->nb; i++)
        image_free(&chain->images[i]);
}

static struct chain chain;

static void test_chain_open_geometries_read_as_the_model(void)
{
    static const struct {
        const char *row;
        uint32_t nb;
        struct image_spec specs[MAX_IMAGES];
    } rows[] = {
        {"one", 1, {{.size = MIB}}},
        {"two alike", 2, {{.size = MIB}, {.size = MIB}}},
        {"four alike", 4, {{.size = MIB}, {.size = MIB}, {.size = MIB}, {.size = MIB}}},
        {"overlay larger", 2, {{.size = MIB}, {.size = 300 * KIB + 512}}},
        {"overlay smaller", 2, {{.size = 300 * KIB}, {.size = MIB}}},
        {"middle smallest", 3, {{.size = MIB}, {.size = 200 * KIB}, {.size = MIB}}},
        {"base of size 0", 2, {{.size = MIB}, {.size = 0}}},
        {"sizes no multiple of 512",
         3,
         {{.size = 100 * KIB + 7}, {.size = 90 * KIB + 1}, {.size = 80 * KIB + 511}}},
        {"small clusters over large",
         2,
         {{.size = MIB / 8, .cluster_bits = 9, .max_clusters = 512}, {.size = MIB / 8}}},
        {"large clusters over small",
         2,
         {{.size = MIB / 8}, {.size = MIB / 8, .cluster_bits = 9, .max_clusters = 512}}},
        {"version 2 below version 3", 2, {{.size = MIB}, {.size = MIB, .version = 2}}},
        {"extended over standard",
         2,
         {{.size = MIB / 2, .cluster_bits = 14, .extended = true}, {.size = MIB / 2}}},
        {"standard over extended",
         2,
         {{.size = MIB / 2}, {.size = MIB / 2, .cluster_bits = 14, .extended = true}}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        chain_start(&chain, rows[i].specs, rows[i].nb);
        T_CHECK_STR(q2_status_name(fixture_open(&chain.f)), "Q2_OK");
        if (chain.f.disk) {
            T_CHECK_U64(q2_disk_nb_layers(chain.f.disk), rows[i].nb);
            T_CHECK_U64(chain.f.opener.nb_open, rows[i].nb - 1);
            T_CHECK_U64(fixture_first_difference(&chain.f, chain.images[0].model.bytes,
                                                 chain.images[0].spec.size),
                        FIXTURE_SAME);
        }
        chain_end(&chain);
    }
}

/* Subclusters that the overlay does not hold come from the base. */
static void test_chain_read_subclusters_over_a_base(void)
{
    static const struct image_spec specs[2] = {
        {.size = 128 * KIB, .cluster_bits = 14, .extended = true}, {.size = 128 * KIB}};

    chain_start(&chain, specs, 2);
    for (uint64_t at = 0; at < 128 * KIB; at += 16 * KIB)
        image_subclusters(&chain.images[0], at, 0x11110000u << at / (16 * KIB) / 2, 0x0000f00f,
                          (uint32_t)at);
    image_model_over(&chain.images[0], chain.images[1].model.bytes, 128 * KIB);
    chain.f.image.bytes = chain.images[0].bytes;
    chain.f.image.source.size = chain.f.image.nb_held = chain.images[0].size;
    T_CHECK_U64(fixture_open(&chain.f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&chain.f, chain.images[0].model.bytes, 128 * KIB),
                FIXTURE_SAME);
    chain_end(&chain);
}

static void test_chain_map_names_the_layer(void)
{
    static const struct image_spec specs[3] = {{.size = MIB}, {.size = MIB}, {.size = 512 * KIB}};
    struct q2_extent e;

    chain_start(&chain, specs, 3);
    T_CHECK_U64(fixture_open(&chain.f), Q2_OK);
    T_CHECK_U64(q2_disk_map(chain.f.disk, 0, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_DATA && e.layer == 0 && e.length == 64 * KIB);
    t_row("in no layer: the last one that was asked");
    T_CHECK_U64(q2_disk_map(chain.f.disk, 64 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_UNALLOCATED && e.length == 64 * KIB && e.layer == 2);
    T_CHECK_U64(q2_disk_map(chain.f.disk, 3 * 64 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_DATA && e.layer == 1 && e.length == 64 * KIB);
    T_CHECK_U64(q2_disk_map(chain.f.disk, 5 * 64 * KIB + 9, 100, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_UNALLOCATED && e.length == 100);
    t_row("zeros of the middle layer");
    T_CHECK_U64(q2_disk_map(chain.f.disk, 9 * 64 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_ZERO && e.layer == 1);
    t_row("after the end of the base");
    T_CHECK_U64(q2_disk_map(chain.f.disk, 11 * 64 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_UNALLOCATED && e.length == 64 * KIB && e.layer == 1);
    chain_end(&chain);
}

static void test_chain_open_raw_base(void)
{
    static const struct {
        const char *row, *format;
        bool allow;
        enum q2_status status;
    } rows[] = {
        {"raw by name", "raw", false, Q2_OK},
        {"no format, raw allowed", NULL, true, Q2_OK},
        {"empty format, raw allowed", "", true, Q2_OK},
        {"no format", NULL, false, Q2_ERR_BACKING_FORMAT},
        {"empty format", "", false, Q2_ERR_BACKING_FORMAT},
        {"other format, raw allowed", "qed", true, Q2_ERR_UNSUPPORTED},
        {"other case", "RAW", false, Q2_ERR_UNSUPPORTED},
    };
    static uint8_t base[100 * 1024 + 1];

    memset(base, 'b', sizeof(base));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_source fake;
        struct image image;
        struct fixture f;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_data(&image, 65536, 1);
        image_backing(&image, "base", rows[i].format);
        image_model_over(&image, base, sizeof(base));
        fixture_start(&f, &image);
        fake_source_init(&fake, "img/base", base, sizeof(base));
        fake_opener_add(&f.opener, "img/base", &fake);
        f.options.backing_format = rows[i].allow ? Q2_UNSAID_RAW : Q2_UNSAID_REFUSED;
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        if (f.disk) {
            struct q2_layer_info info;

            T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
            q2_disk_layer_info(f.disk, 1, &info);
            T_CHECK(info.format == Q2_FORMAT_RAW && info.source == &fake.source);
        }
        fixture_close(&f);
        T_CHECK_U64(f.opener.nb_open, 0);
        fixture_end(&f);
        image_free(&image);
    }
}

/* A raw base that holds a qcow2 image stays raw: formats are never probed. */
static void test_chain_open_raw_base_is_never_probed(void)
{
    struct image image, base;
    struct fake_source fake;
    struct fixture f;
    uint8_t magic[4];

    image_start(&base, &(struct image_spec){.size = 64 * KIB});
    image_start(&image, &(struct image_spec){.size = MIB});
    image_backing(&image, "base", "raw");
    fixture_start(&f, &image);
    fake_source_init(&fake, "img/base", base.bytes, base.size);
    fake_opener_add(&f.opener, "img/base", &fake);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_layers(f.disk), 2);
    T_CHECK_U64(q2_disk_read(f.disk, 0, magic, 4), Q2_OK);
    T_CHECK(memcmp(magic, "QFI\xfb", 4) == 0);
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

static void test_chain_open_given_files_win(void)
{
    struct image image;
    struct fake_source data, base;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data(&image, 0, 1);
    image_data_name(&image, "../not/allowed");
    image_backing(&image, "/not/allowed", "raw");
    fixture_start(&f, &image);
    fake_source_init(&data, "D", image.data, image.data_size);
    fake_source_init(&base, "B", image.data, 65536);
    fake_opener_add(&f.opener, "C:\\any where", &data);
    fake_opener_add(&f.opener, "/my/base", &base);
    f.options.data_file = "C:\\any where";
    f.options.backing_files = &(struct q2_given_file){.path = "/my/base"};
    f.options.nb_backing_files = 1;
    f.options.names = Q2_NAMES_NONE;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    T_CHECK_U64(f.opener.nb_open, 2);
    T_CHECK(!f.opener.last_writable);
    fixture_close(&f);
    t_row("closed last first");
    T_CHECK_STR(f.opener.last_closed, "C:\\any where");
    fixture_end(&f);
    image_free(&image);
}

static void test_chain_open_given_files_are_for_the_top_only(void)
{
    static const struct image_spec specs[3] = {{.size = MIB}, {.size = MIB}, {.size = MIB}};

    chain_start(&chain, specs, 3);
    chain.f.options.backing_files = &(struct q2_given_file){.path = "img/L1"};
    chain.f.options.nb_backing_files = 1;
    T_CHECK_U64(fixture_open(&chain.f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_layers(chain.f.disk), 3);
    chain_end(&chain);
}

static void test_chain_open_names_policy_any(void)
{
    struct image image;
    struct fake_source base;
    struct fixture f;
    static const uint8_t bytes[512] = {7};

    image_start(&image, &(struct image_spec){.size = MIB});
    image_backing(&image, "../base", "raw");
    fixture_start(&f, &image);
    fake_source_init(&base, "img/../base", bytes, sizeof(bytes));
    fake_opener_add(&f.opener, "img/../base", &base);
    T_CHECK_U64(fixture_open(&f), Q2_ERR_NAME_DENIED);
    T_CHECK_U64(f.opener.nb_calls, 0);
    f.options.names = Q2_NAMES_ANY;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fixture_end(&f);
    image_free(&image);
}

/* Names of every kind under the rules of UEFI and of POSIX, with and without a look beside the file
 * ("img/base" holds 7, what the name itself leads to holds 9). */
static void test_chain_open_names_table(void)
{
    static const char json[] = "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
                               "\"filename\":\"base\"}}";
    static const char plain_json[] = "json:{\"driver\":\"file\",\"filename\":\"base\"}";
    static const struct {
        const char *row, *name, *path; /* path: where a file is, other than img/base */
        const char *format;
        enum q2_name_policy policy;
        enum q2_name_rules rules;
        bool look_beside;
        enum q2_unsaid_format unsaid;
        enum q2_status status, path_status;
        uint8_t byte;
        bool is_beside;
    } rows[] = {
        {"beside: absolute", "/far/base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI, true,
         Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, true},
        {"beside: of Windows", "C:\\vm\\base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         true, Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, true},
        {"beside: drive", "C:base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI, true,
         Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, true},
        {"beside: not there", "/far/none", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI, true,
         Q2_UNSAID_REFUSED, Q2_ERR_NOT_FOUND, Q2_OK, 0, false},
        {"beside: nothing left of the name", "/far/", NULL, "raw", Q2_NAMES_BELOW,
         Q2_NAME_RULES_UEFI, true, Q2_UNSAID_REFUSED, Q2_ERR_NAME_DENIED, Q2_OK, 0, false},
        {"not beside: no names", "/far/base", NULL, "raw", Q2_NAMES_NONE, Q2_NAME_RULES_UEFI, true,
         Q2_UNSAID_REFUSED, Q2_ERR_NAME_DENIED, Q2_OK, 0, false},
        {"beside is not asked for", "/far/base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         false, Q2_UNSAID_REFUSED, Q2_ERR_NAME_DENIED, Q2_OK, 0, false},
        {"allowed, there", "sub/base", "img/sub/base", "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         true, Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 9, false},
        {"allowed, beside", "sub/base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI, true,
         Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, true},
        {"allowed, not asked for", "sub/base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         false, Q2_UNSAID_REFUSED, Q2_ERR_NOT_FOUND, Q2_OK, 0, false},
        {"allowed, fails", "sub/base", "img/sub/base", "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         true, Q2_UNSAID_REFUSED, Q2_ERR_IO, Q2_ERR_IO, 0, false},
        {"POSIX", "base", NULL, "raw", Q2_NAMES_BELOW, Q2_NAME_RULES_POSIX, false,
         Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, false},
        {"POSIX: backslash is a letter", "sub\\base", "img/sub\\base", "raw", Q2_NAMES_BELOW,
         Q2_NAME_RULES_POSIX, false, Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 9, false},
        {"POSIX: a protocol", "nbd:host:1", NULL, "raw", Q2_NAMES_ANY, Q2_NAME_RULES_POSIX, false,
         Q2_UNSAID_REFUSED, Q2_ERR_UNSUPPORTED, Q2_OK, 0, false},
        {"JSON states the format", json, NULL, NULL, Q2_NAMES_BELOW, Q2_NAME_RULES_POSIX, false,
         Q2_UNSAID_REFUSED, Q2_OK, Q2_OK, 7, false},
        {"JSON wins over what is said of all", json, NULL, NULL, Q2_NAMES_BELOW,
         Q2_NAME_RULES_POSIX, false, Q2_UNSAID_QCOW2, Q2_OK, Q2_OK, 7, false},
        {"JSON without a format", plain_json, NULL, NULL, Q2_NAMES_BELOW, Q2_NAME_RULES_POSIX,
         false, Q2_UNSAID_REFUSED, Q2_ERR_BACKING_FORMAT, Q2_OK, 0, false},
        {"JSON without a format, said of all", plain_json, NULL, NULL, Q2_NAMES_BELOW,
         Q2_NAME_RULES_POSIX, false, Q2_UNSAID_RAW, Q2_OK, Q2_OK, 7, false},
        {"broken JSON, said of all", "json:{", NULL, NULL, Q2_NAMES_BELOW, Q2_NAME_RULES_POSIX,
         false, Q2_UNSAID_RAW, Q2_ERR_BAD_NAME, Q2_OK, 0, false},
        {"no JSON under the rules of UEFI", json, NULL, NULL, Q2_NAMES_BELOW, Q2_NAME_RULES_UEFI,
         false, Q2_UNSAID_REFUSED, Q2_ERR_BACKING_FORMAT, Q2_OK, 0, false},
    };
    static const uint8_t seven[512] = {7}, nine[512] = {9};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_source beside, there;
        struct image image;
        struct fixture f;
        uint8_t byte = 0;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_backing(&image, rows[i].name, rows[i].format);
        fixture_start(&f, &image);
        fake_source_init(&beside, "img/base", seven, sizeof(seven));
        fake_source_init(&there, "there", nine, sizeof(nine));
        fake_opener_add(&f.opener, "img/base", &beside);
        if (rows[i].path && rows[i].path_status == Q2_OK)
            fake_opener_add(&f.opener, rows[i].path, &there);
        else if (rows[i].path)
            fake_opener_fail(&f.opener, rows[i].path, rows[i].path_status);
        f.options.names = rows[i].policy;
        f.options.name_rules = rows[i].rules;
        f.options.look_beside = rows[i].look_beside;
        f.options.backing_format = rows[i].unsaid;
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        T_CHECK_U64(fixture_status(&f), rows[i].status);
        if (f.disk) {
            struct q2_layer_info info;

            T_CHECK_U64(q2_disk_read(f.disk, 0, &byte, 1), Q2_OK);
            T_CHECK_U64(byte, rows[i].byte);
            q2_disk_layer_info(f.disk, 1, &info);
            T_CHECK_U64(info.is_beside, rows[i].is_beside);
        }
        fixture_close(&f);
        T_CHECK_U64(f.opener.nb_open, 0);
        fixture_end(&f);
        image_free(&image);
    }
    t_row("");
}

/* The image's folder and the name's last component together are a path, which may be too long. */
static void test_chain_open_beside_in_a_long_folder(void)
{
    static const struct {
        size_t length; /* of the path beside the image */
        enum q2_status status;
    } rows[] = {{Q2_MAX_PATH_LENGTH, Q2_ERR_NOT_FOUND},
                {Q2_MAX_PATH_LENGTH + 1, Q2_ERR_NAME_DENIED}};
    static char path[Q2_MAX_PATH_LENGTH + 16];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image image;
        struct fixture f;

        memset(path, 'f', rows[i].length);
        memcpy(path + rows[i].length - strlen("/base"), "/top.qcow2", sizeof("/top.qcow2"));
        image_start(&image, &(struct image_spec){.size = MIB});
        image_backing(&image, "/far/base", "raw");
        fixture_start(&f, &image);
        f.image.source.path = path;
        f.options.look_beside = true;
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        fixture_end(&f);
        image_free(&image);
    }
}

/* The data file is looked for beside the image too. */
static void test_chain_open_data_file_beside(void)
{
    struct q2_layer_info info;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data(&image, 0, 1);
    image_data_name(&image, "/far/data.raw");
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_ERR_NAME_DENIED);
    f.options.look_beside = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK(info.is_beside);
    fixture_end(&f);
    image_free(&image);
}

/* Being beside the image is said of each file for itself. */
static void test_chain_open_beside_is_of_one_layer(void)
{
    static const uint8_t seven[512] = {7};
    struct fake_source middle, base;
    struct q2_layer_info info;
    struct image image, below;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_backing(&image, "/far/middle", "qcow2");
    image_start(&below, &(struct image_spec){.size = MIB});
    image_backing(&below, "base", "raw");
    fixture_start(&f, &image);
    fake_source_init(&middle, "img/middle", below.bytes, below.size);
    fake_source_init(&base, "img/base", seven, sizeof(seven));
    fake_opener_add(&f.opener, "img/middle", &middle);
    fake_opener_add(&f.opener, "img/base", &base);
    f.options.look_beside = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_layers(f.disk), 3);
    for (uint32_t i = 0; i < 3; i++) {
        q2_disk_layer_info(f.disk, i, &info);
        T_CHECK_U64(info.is_beside, i == 1);
    }
    fixture_end(&f);
    image_free(&image);
    image_free(&below);
}

/* What is said of one given file is of that file only, and before what is said of all. */
static void test_chain_open_given_format_table(void)
{
    static const struct {
        const char *row;
        const char *path; /* NULL: no file is given, only a format */
        enum q2_unsaid_format given, all;
        enum q2_status status;
    } rows[] = {
        {"given raw", "img/base", Q2_UNSAID_RAW, Q2_UNSAID_REFUSED, Q2_OK},
        {"given raw wins", "img/base", Q2_UNSAID_RAW, Q2_UNSAID_QCOW2, Q2_OK},
        {"given nothing", "img/base", Q2_UNSAID_REFUSED, Q2_UNSAID_RAW, Q2_OK},
        {"given qcow2", "img/base", Q2_UNSAID_QCOW2, Q2_UNSAID_RAW, Q2_ERR_BAD_MAGIC},
        {"no path: the image's name", NULL, Q2_UNSAID_RAW, Q2_UNSAID_QCOW2, Q2_OK},
        {"no path, qcow2", NULL, Q2_UNSAID_QCOW2, Q2_UNSAID_RAW, Q2_ERR_BAD_MAGIC},
        {"nothing said", NULL, Q2_UNSAID_REFUSED, Q2_UNSAID_RAW, Q2_OK},
    };
    static const uint8_t bytes[512] = {7};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_source base;
        struct image image;
        struct fixture f;
        uint8_t byte = 0;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_backing(&image, "base", NULL);
        fixture_start(&f, &image);
        fake_source_init(&base, "img/base", bytes, sizeof(bytes));
        fake_opener_add(&f.opener, "img/base", &base);
        f.options.backing_files =
            &(struct q2_given_file){.path = rows[i].path, .format = rows[i].given};
        f.options.nb_backing_files = 1;
        f.options.backing_format = rows[i].all;
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        if (f.disk) {
            T_CHECK_U64(q2_disk_read(f.disk, 0, &byte, 1), Q2_OK);
            T_CHECK_U64(byte, 7);
        }
        fixture_end(&f);
        image_free(&image);
    }
    t_row("");
}

/* An overlay takes the writes; the image below it, its data file too, is only read. */
static void test_chain_open_overlay(void)
{
    const struct q2_create_options create = {.virtual_size = MIB, .cluster_bits = 12};
    uint8_t *memory = calloc(1, MIB), *before, byte = 0;
    struct fake_source overlay;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data(&image, 0, 1);
    image_data_name(&image, "data.raw");
    before = malloc(image.size);
    memcpy(before, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&overlay, "overlay", memory, 0, MIB);
    T_CHECK_U64(q2_create(f.workspace, &overlay.source, &create, &f.fault), Q2_OK);
    f.options.writable = true;
    f.options.overlay = &overlay.source;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_layers(f.disk), 2);
    T_CHECK(!f.opener.last_writable);
    T_CHECK_U64(q2_disk_write(f.disk, 1, "\x55", 1), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 1, &byte, 1), Q2_OK);
    T_CHECK_U64(byte, 0x55);
    T_CHECK_U64(q2_disk_read(f.disk, 2, &byte, 1), Q2_OK);
    T_CHECK_U64(byte, image_byte(1, 2));
    T_CHECK(memcmp(before, image.bytes, image.size) == 0);
    T_CHECK_U64(image.data[1], image_byte(1, 1));
    fixture_close(&f);
    t_row("an overlay that is none");
    memory[0] ^= 1;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_BAD_MAGIC);
    T_CHECK_STR(f.fault.file, "overlay");
    T_CHECK_U64(f.opener.nb_open, 0);
    t_row("no guest bytes, so no overlay");
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_ARGUMENT);
    T_CHECK_STR(f.fault.what, "an overlay needs more than metadata");
    fixture_end(&f);
    image_free(&image);
    free(before);
    free(memory);
}

/* Opening for reading only takes no option that writes. */
static void test_chain_open_for_reading_table(void)
{
    struct q2_disk_options rows[4] = {
        {.writable = false}, {.writable = true}, {.repair = true}, {.repair_if_dirty = true}};
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    fixture_start(&f, &image);
    for (size_t i = 0; i < 4; i++) {
        struct q2_disk *disk = NULL;
        uint8_t byte = 0;

        T_CHECK_U64(q2_disk_open_for_reading(f.workspace, &f.image.source, &f.opener.opener,
                                             &rows[i], &f.fault, &disk),
                    i == 0 ? Q2_OK : Q2_ERR_ARGUMENT);
        if (i > 0) {
            T_CHECK(!disk);
            T_CHECK_STR(f.fault.what, "a disk that is opened for reading cannot be written");
            continue;
        }
        T_CHECK_U64(q2_disk_read(disk, 0, &byte, 1), Q2_OK);
        T_CHECK_U64(byte, image_byte(1, 0));
        T_CHECK(!q2_disk_is_writable(disk));
        T_CHECK_U64(q2_disk_room(disk), 0);
        q2_disk_close(disk);
    }
    fixture_end(&f);
    image_free(&image);
}

/* Both halves of an identity count. */
static void test_chain_open_identity_table(void)
{
    static const struct {
        const char *row;
        uint64_t first, second;
        enum q2_status status;
    } rows[] = {
        {"the same file", 1, 2, Q2_ERR_CHAIN_LOOP},
        {"another file of the volume", 1, 3, Q2_OK},
        {"another volume", 2, 2, Q2_OK},
    };
    static const uint8_t bytes[512] = {7};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_source base;
        struct image image;
        struct fixture f;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_backing(&image, "base", "raw");
        fixture_start(&f, &image);
        fake_source_init(&base, "img/base", bytes, sizeof(bytes));
        fake_opener_add(&f.opener, "img/base", &base);
        f.image.source.identity[0] = 1;
        f.image.source.identity[1] = 2;
        base.source.identity[0] = rows[i].first;
        base.source.identity[1] = rows[i].second;
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        fixture_end(&f);
        image_free(&image);
    }
}

/* A base's data file is opened by the base's own name, in the base's own folder. */
static void test_chain_open_base_with_a_data_file(void)
{
    struct image image, base;
    struct fake_source fake, data;
    struct fixture f;

    image_start(&base, &(struct image_spec){.size = MIB, .external = true});
    image_data_name(&base, "data.raw");
    image_data(&base, 0, 1);
    image_data(&base, MIB - 1, 2);
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 65536, 3);
    image_backing(&image, "sub/base", "qcow2");
    image_model_over(&image, base.model.bytes, MIB);
    fixture_start(&f, &image);
    fake_source_init(&fake, "img/sub/base", base.bytes, base.size);
    fake_source_init(&data, "img/sub/data.raw", base.data, base.data_size);
    fake_opener_add(&f.opener, "img/sub/base", &fake);
    fake_opener_add(&f.opener, "img/sub/data.raw", &data);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    fixture_close(&f);
    T_CHECK_U64(f.opener.nb_open, 0);
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

/* Whatever open() fails, everything opened before is closed. */
static void test_chain_open_failure_closes_everything(void)
{
    static const struct image_spec specs[4] = {
        {.size = MIB}, {.size = MIB}, {.size = MIB}, {.size = MIB}};

    for (uint32_t bad = 1; bad < 4; bad++) {
        for (uint32_t how = 0; how < 3; how++) {
            enum q2_status want = how == 0   ? Q2_ERR_NOT_FOUND
                                  : how == 1 ? Q2_ERR_BAD_MAGIC
                                             : Q2_ERR_IO;

            chain_start(&chain, specs, 4);
            if (how == 0)
                chain.f.opener.files[bad - 1].path = "elsewhere";
            else if (how == 1)
                image_field_set(&chain.images[bad], "magic", 0);
            else
                chain.fakes[bad].fail_call = 1;
            T_CHECK_U64(fixture_open(&chain.f), want);
            T_CHECK_STR(chain.f.fault.file, paths[bad]);
            T_CHECK_U64(chain.f.opener.nb_open, 0);
            T_CHECK_U64(chain.f.opener.nb_opened, how == 0 ? bad - 1 : bad);
            chain_end(&chain);
        }
    }
}

/* ---- depth (HAZARDS.md, F7) ---- */

struct deep {
    struct image image;
    struct fake_source fakes[200];
    struct fixture f;
    uint32_t nb;
    enum q2_status status;
};

static struct deep deep;

static void deep_start(uint32_t nb)
{
    memset(&deep, 0, sizeof(deep));
    deep.nb = nb;
    image_start(&deep.image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_backing(&deep.image, "next", "qcow2");
    fixture_start(&deep.f, &deep.image);
    for (uint32_t i = 0; i < nb; i++) {
        fake_source_init(&deep.fakes[i], "img/next", deep.image.bytes, deep.image.size);
        fake_opener_add(&deep.f.opener, "img/next", &deep.fakes[i]);
    }
}

static void deep_end(void)
{
    fixture_close(&deep.f);
    T_CHECK_U64(deep.f.opener.nb_open, 0);
    fixture_end(&deep.f);
    image_free(&deep.image);
}

/* A chain of Q2_MAX_LAYERS ends in an image of its own without a backing file. */
static void test_chain_open_deepest_chain(void)
{
    uint8_t buffer[512];
    struct image base;
    uint32_t last = Q2_MAX_LAYERS - 2; /* index of the file that the last overlay opens */

    deep_start(Q2_MAX_LAYERS - 1);
    image_start(&base, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_data(&base, 0, 5);
    deep.fakes[last].bytes = base.bytes;
    deep.fakes[last].source.size = deep.fakes[last].nb_held = base.size;
    T_CHECK_U64(fixture_open(&deep.f), Q2_OK);
    if (deep.f.disk) {
        T_CHECK_U64(q2_disk_nb_layers(deep.f.disk), Q2_MAX_LAYERS);
        T_CHECK_U64(q2_disk_read(deep.f.disk, 0, buffer, 512), Q2_OK);
        T_CHECK(memcmp(buffer, base.model.bytes, 512) == 0);
    }
    deep_end();
    image_free(&base);
}

static void *open_deep(void *argument)
{
    (void)argument;
    deep.status = fixture_open(&deep.f);
    return NULL;
}

/* 200 deep, on a stack of 128 KiB: refused, and without using it up. */
static void test_chain_open_200_deep_on_a_small_stack(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    deep_start(200);
    T_CHECK(pthread_attr_init(&attributes) == 0);
    T_CHECK(pthread_attr_setstacksize(&attributes, 128 * KIB) == 0);
    T_CHECK(pthread_create(&thread, &attributes, open_deep, NULL) == 0);
    T_CHECK(pthread_join(thread, NULL) == 0);
    (void)pthread_attr_destroy(&attributes);
    T_CHECK_U64(deep.status, Q2_ERR_LIMIT);
    T_CHECK_U64(deep.f.opener.nb_opened, Q2_MAX_LAYERS - 1);
    deep_end();
}

/* ---- encryption (HAZARDS.md, F13) ---- */

struct fake_unlocker {
    struct q2_unlocker unlocker;
    struct q2_cipher ciphers[4];
    uint32_t nb_unlocked, nb_locked;
    uint32_t fail_call; /* from 1 */
    uint32_t method;
    uint64_t offset, length;
};

static enum q2_status fake_unlock(struct q2_unlocker *unlocker, struct q2_source *image,
                                  uint32_t crypt_method, uint64_t offset, uint64_t length,
                                  struct q2_cipher **ret_cipher)
{
    struct fake_unlocker *fake = (struct fake_unlocker *)unlocker;

    (void)image;
    fake->method = crypt_method;
    fake->offset = offset;
    fake->length = length;
    if (fake->nb_unlocked + 1 == fake->fail_call)
        return Q2_ERR_ENCRYPTED;
    *ret_cipher = &fake->ciphers[fake->nb_unlocked++];
    return Q2_OK;
}

static void fake_lock(struct q2_unlocker *unlocker, struct q2_cipher *cipher)
{
    struct fake_unlocker *fake = (struct fake_unlocker *)unlocker;

    fake->nb_locked++;
    T_CHECK(cipher == &fake->ciphers[fake->nb_unlocked - fake->nb_locked]);
}

static const struct q2_unlocker_ops fake_unlocker_ops = {.unlock = fake_unlock, .lock = fake_lock};

static void test_chain_open_each_encrypted_layer_is_unlocked_and_locked(void)
{
    static const struct image_spec specs[3] = {{.size = MIB}, {.size = MIB}, {.size = MIB}};

    for (uint32_t fail_call = 0; fail_call <= 2; fail_call++) {
        struct fake_unlocker fake = {.unlocker = {.ops = &fake_unlocker_ops},
                                     .fail_call = fail_call};

        chain_start(&chain, specs, 3);
        image_field_set(&chain.images[0], "crypt_method", 1);
        image_field_set(&chain.images[2], "crypt_method", 1);
        chain.f.options.unlocker = &fake.unlocker;
        T_CHECK_U64(fixture_open(&chain.f), fail_call ? Q2_ERR_ENCRYPTED : Q2_OK);
        T_CHECK_U64(fake.nb_unlocked, fail_call ? fail_call - 1 : 2);
        chain_end(&chain);
        T_CHECK_U64(fake.nb_locked, fake.nb_unlocked);
        T_CHECK_U64(fake.method, 1);
        T_CHECK_U64(fake.length, 0);
    }
}

static void test_chain_open_luks_gets_its_header(void)
{
    struct fake_unlocker fake = {.unlocker = {.ops = &fake_unlocker_ops}};
    struct image image;
    struct fixture f;
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = MIB});
    at = image_extension(&image, 0x0537be77, "0123456789abcdef", 16);
    image_put64(&image, at + 8, 64 * KIB);
    image_put64(&image, at + 16, image.size - 64 * KIB);
    image_field_set(&image, "crypt_method", 2);
    fixture_start(&f, &image);
    f.options.unlocker = &fake.unlocker;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(fake.method == 2 && fake.offset == 64 * KIB);
    T_CHECK_U64(fake.length, image.size - 64 * KIB);
    fixture_end(&f);
    T_CHECK_U64(fake.nb_locked, 1);
    image_free(&image);
}

static void test_chain_open_encrypted_metadata_needs_no_key(void)
{
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "crypt_method", 2);
    fixture_start(&f, &image);
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    T_RUN(test_chain_open_geometries_read_as_the_model);
    T_RUN(test_chain_read_subclusters_over_a_base);
    T_RUN(test_chain_map_names_the_layer);
    T_RUN(test_chain_open_raw_base);
    T_RUN(test_chain_open_raw_base_is_never_probed);
    T_RUN(test_chain_open_given_files_win);
    T_RUN(test_chain_open_given_files_are_for_the_top_only);
    T_RUN(test_chain_open_names_policy_any);
    T_RUN(test_chain_open_names_table);
    T_RUN(test_chain_open_beside_in_a_long_folder);
    T_RUN(test_chain_open_data_file_beside);
    T_RUN(test_chain_open_beside_is_of_one_layer);
    T_RUN(test_chain_open_given_format_table);
    T_RUN(test_chain_open_overlay);
    T_RUN(test_chain_open_for_reading_table);
    T_RUN(test_chain_open_identity_table);
    T_RUN(test_chain_open_base_with_a_data_file);
    T_RUN(test_chain_open_failure_closes_everything);
    T_RUN(test_chain_open_deepest_chain);
    T_RUN(test_chain_open_200_deep_on_a_small_stack);
    T_RUN(test_chain_open_each_encrypted_layer_is_unlocked_and_locked);
    T_RUN(test_chain_open_luks_gets_its_header);
    T_RUN(test_chain_open_encrypted_metadata_needs_no_key);
    return t_done();
}
