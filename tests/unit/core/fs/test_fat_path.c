/* Finding files: long and short names, case, folders, and every way in which they can be broken. */
#include "core/fs/fat_path.h"
#include "tests/support/fat_builder.h"
#include "tests/support/t.h"

static uint8_t buffer[Q2_FAT_MIN_BUFFER];

static enum q2_status find(struct fat_builder *fb, const char *path, struct q2_fault *fault,
                           struct q2_fat_file *file)
{
    struct q2_fat_volume volume;

    memset(fault, 0, sizeof(*fault));
    T_CHECK_U64(q2_fat_volume_open(&fb->memory.source, fault, &volume), Q2_OK);
    return q2_fat_find(&volume, path, buffer, sizeof(buffer), fault, file);
}

/* The status of a search, and the size of the file as its mark. */
static void expect(struct fat_builder *fb, const char *path, enum q2_status status, uint32_t size)
{
    struct q2_fault fault;
    struct q2_fat_file file = {0};

    t_row(path);
    T_CHECK_U64(find(fb, path, &fault, &file), status);
    if (status == Q2_OK)
        T_CHECK_U64(file.size, size);
    else
        T_CHECK_U64(fault.status, status);
}

static void make(struct fat_builder *fb, uint32_t bits)
{
    fb_make(fb, bits, 512, 1, bits == 12 ? 1000 : bits == 16 ? 4085 : 65600, 2);
    if (bits == 32)
        fb_set(fb, FB_ROOT_CLUSTER, FB_EOC(fb));
}

static void test_find_short_names_match_without_case(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        make(&fb, all_bits[b]);
        fb_entry(&fb, fb_root_entry(&fb, 0), "MYLABEL    ", Q2_FAT_LABEL, 0, 9);
        fb_entry(&fb, fb_root_entry(&fb, 1),
                 "\xe5"
                 "EBIAN  IMG",
                 0, 5, 1);
        fb_entry(&fb, fb_root_entry(&fb, 2), "DEBIAN  IMG", 0, 5, 2);
        fb_entry(&fb, fb_root_entry(&fb, 3), "NOEXT      ", Q2_FAT_READ_ONLY, 5, 3);
        fb_entry(&fb, fb_root_entry(&fb, 4), "A       B  ", 0, 5, 4);
        fb_entry(&fb, fb_root_entry(&fb, 6), "BEHIND  END", 0, 5, 6);
        expect(&fb, "/debian.img", Q2_OK, 2);
        expect(&fb, "DEBIAN.IMG", Q2_OK, 2);
        expect(&fb, "//Debian.Img", Q2_OK, 2);
        expect(&fb, "/./debian.img", Q2_OK, 2);
        expect(&fb, "/debian.img/", Q2_OK, 2);
        expect(&fb, "/noext", Q2_OK, 3);
        expect(&fb, "/a.b", Q2_OK, 4);
        expect(&fb, "/a.", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/a.bc", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/noex", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/mylabel", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/behind.end", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/debian.img/x", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/..", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/../debian.img", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/", Q2_ERR_NOT_A_FILE, 0);
        expect(&fb, "", Q2_ERR_NOT_A_FILE, 0);
        fb_free(&fb);
    }
}

static void test_find_gives_cluster_size_attributes_and_place(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_file file;

    make(&fb, 32);
    fb_entry(&fb, fb_root_entry(&fb, 3), "X          ", Q2_FAT_ARCHIVE, 0x12345, 0xfffffffe);
    for (uint32_t i = 0; i < 3; i++)
        fb_entry(&fb, fb_root_entry(&fb, i), "\xe5          ", 0, 0, 0);
    T_CHECK_U64(find(&fb, "/x", &fault, &file), Q2_OK);
    T_CHECK_U64(file.first_cluster, 0x12345);
    T_CHECK_U64(file.size, 0xfffffffe);
    T_CHECK_U64(file.attributes, Q2_FAT_ARCHIVE);
    T_CHECK_U64(file.entry_offset, fb_root_entry(&fb, 3));
    T_CHECK_U64(q2_fat_file_id(&file), 0x12345);
    fb_free(&fb);
    make(&fb, 16); /* the upper half is OS/2's there */
    fb_entry(&fb, fb_root_entry(&fb, 0), "X          ", 0, 0x12345, 7);
    T_CHECK_U64(find(&fb, "/x", &fault, &file), Q2_OK);
    T_CHECK_U64(file.first_cluster, 0x2345);
    fb_free(&fb);
}

static void test_find_file_ids_of_empty_files_differ(void)
{
    const struct q2_fat_file a = {.entry_offset = 0x1000}, b = {.entry_offset = 0x1020};

    T_CHECK(q2_fat_file_id(&a) != q2_fat_file_id(&b));
    T_CHECK(q2_fat_file_id(&a) > UINT32_MAX);
}

static void test_find_long_names_match_in_full(void)
{
    static const char *const names[] = {
        "debian-12.qcow2",
        "exactly13char",
        "exactly-26-characters-long",
        "0123456789012345678901234567890123456789",
        "with space.and.dots",
    };
    struct fat_builder fb;

    make(&fb, 16);
    uint64_t at = fb_root_entry(&fb, 0);
    for (uint32_t i = 0; i < 5; i++) {
        char short_name[12];
        (void)snprintf(short_name, sizeof(short_name), "DEBIAN~%uQCO", i + 1);
        at = fb_long_ascii(&fb, at, names[i], short_name);
        fb_entry(&fb, at, short_name, 0, 5, i + 1);
        at += 32;
    }
    for (uint32_t i = 0; i < 5; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/%s", names[i]);
        expect(&fb, path, Q2_OK, i + 1);
        path[1] = (char)(path[1] == 'd' ? 'D' : path[1]);
        expect(&fb, path, Q2_OK, i + 1);
        path[strlen(path) - 1] = '\0'; /* a prefix */
        expect(&fb, path, Q2_ERR_NOT_FOUND, 0);
        (void)snprintf(path, sizeof(path), "/%sx", names[i]);
        expect(&fb, path, Q2_ERR_NOT_FOUND, 0);
    }
    expect(&fb, "/debian~3.qco", Q2_OK, 3);
    fb_free(&fb);
}

/* Some programs store parts that a name does not need. It ends at its first NUL all the same, for
 * the firmware's driver and for Linux. */
static void test_find_long_name_ends_at_its_nul_whatever_parts_it_has(void)
{
    static const struct {
        const char *path;
        size_t end, stored; /* units: where the NUL is, and what is stored in all */
        bool found;
    } rows[] = {
        {"/exactly13char", 13, 14, true},  {"/exactly13char", 13, 40, true},
        {"/short", 5, 20, true},           {"/exactly-26-characters-long", 26, 39, true},
        {"/exactly13char", 20, 20, false},                                /* goes on instead */
        {"/short", 5, 20 * 13, true},      {"/short", 5, 21 * 13, false}, /* no name has so many */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        uint16_t units[21 * 13];

        for (size_t n = 0; n < 21 * 13; n++)
            units[n] = n < strlen(rows[i].path) - 1 ? (uint8_t)rows[i].path[n + 1] : 'x';
        if (rows[i].end < rows[i].stored)
            units[rows[i].end] = 0;
        make(&fb, 16);
        uint64_t at = fb_long(&fb, fb_root_entry(&fb, 0), units, rows[i].stored, "SPARE~1    ");
        fb_entry(&fb, at, "SPARE~1    ", 0, 5, 9);
        t_row(rows[i].path);
        expect(&fb, rows[i].path, rows[i].found ? Q2_OK : Q2_ERR_NOT_FOUND, 9);
        expect(&fb, "/spare~1", Q2_OK, 9);
        fb_free(&fb);
    }
}

static void test_find_longest_name_is_found_and_a_longer_one_refused(void)
{
    struct fat_builder fb;
    char path[300] = "/";

    make(&fb, 16);
    memset(path + 1, 'n', 255);
    path[256] = '\0';
    uint64_t at = fb_long_ascii(&fb, fb_root_entry(&fb, 0), path + 1, "NNNNNN~1   ");
    fb_entry(&fb, at, "NNNNNN~1   ", 0, 5, 77);
    expect(&fb, path, Q2_OK, 77);
    path[256] = 'n';
    path[257] = '\0';
    expect(&fb, path, Q2_ERR_BAD_NAME, 0);
    fb_free(&fb);
}

static void test_find_letters_beyond_ascii_fold_where_the_table_has_them(void)
{
    static const struct {
        uint16_t units[3];
        const char *path, *folded; /* UTF-8 of it, and in the other case; NULL: has none here */
    } rows[] = {
        {{0x00c4, 0x00d6, 0x00df}, "/\xc3\x84\xc3\x96\xc3\x9f", "/\xc3\xa4\xc3\xb6\xc3\x9f"},
        {{0x0414, 0x0411, 0x0401}, "/\xd0\x94\xd0\x91\xd0\x81", "/\xd0\xb4\xd0\xb1\xd1\x91"},
        {{0x0391, 0x03a9, 0x0021}, "/\xce\x91\xce\xa9!", "/\xce\xb1\xcf\x89!"},
        {{0x4e2d, 0x6587, 0x00f7}, "/\xe4\xb8\xad\xe6\x96\x87\xc3\xb7", NULL},
        {{0xd83d, 0xde00, 0x0021}, "/\xf0\x9f\x98\x80!", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        make(&fb, 12);
        uint64_t at = fb_long(&fb, fb_root_entry(&fb, 0), rows[i].units, 3, "S          ");
        fb_entry(&fb, at, "S          ", 0, 5, 42);
        expect(&fb, rows[i].path, Q2_OK, 42);
        if (rows[i].folded)
            expect(&fb, rows[i].folded, Q2_OK, 42);
        fb_free(&fb);
    }
}

/* The firmware's driver drops blanks before a name, and blanks and dots after it. */
static void test_find_names_are_trimmed_as_the_firmware_trims_them(void)
{
    static const struct {
        const char *path;
        enum q2_status status;
    } rows[] = {
        {"/plain.qcow2", Q2_OK},
        {"/plain.qcow2.", Q2_OK},
        {"/plain.qcow2 ", Q2_OK},
        {"/plain.qcow2. . ..", Q2_OK},
        {"/  plain.qcow2", Q2_OK},
        {"/PLAIN~1.QCO.", Q2_OK},
        {"/a./plain.qcow2", Q2_ERR_NOT_FOUND},
        {"/ .plain.qcow2", Q2_ERR_NOT_FOUND},
        {"/plain. qcow2", Q2_ERR_NOT_FOUND},
        {"/...", Q2_ERR_BAD_NAME},
        {"/ ", Q2_ERR_BAD_NAME},
        {"/.. /plain.qcow2", Q2_ERR_BAD_NAME},
        {"/ ../plain.qcow2", Q2_ERR_BAD_NAME},
        {"/. /plain.qcow2", Q2_ERR_BAD_NAME},
    };
    struct fat_builder fb;
    uint64_t at;

    make(&fb, 16);
    at = fb_long_ascii(&fb, fb_root_entry(&fb, 0), "plain.qcow2", "PLAIN~1 QCO");
    fb_entry(&fb, at, "PLAIN~1 QCO", 0, 5, 21);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect(&fb, rows[i].path, rows[i].status, 21);
    fb_free(&fb);
}

/* The firmware's driver reads the upper half of a short name as Latin-1 and ignores LDIR_Type. */
static void test_find_upper_half_of_short_names_is_latin_1(void)
{
    struct fat_builder fb;
    uint64_t at;

    make(&fb, 16);
    fb_entry(&fb, fb_root_entry(&fb, 0),
             "\xdc"
             "BER    IMG",
             0, 5, 3);
    expect(&fb,
           "/\xc3\x9c"
           "ber.img",
           Q2_OK, 3);
    expect(&fb,
           "/\xc3\xbc"
           "ber.img",
           Q2_OK, 3);
    expect(&fb, "/uber.img", Q2_ERR_NOT_FOUND, 0);
    at = fb_long_ascii(&fb, fb_root_entry(&fb, 1), "typed.qcow2", "TYPED~1 QCO");
    fb_entry(&fb, at, "TYPED~1 QCO", 0, 5, 4);
    fb.bytes[at - 32 + 12] = 1;
    expect(&fb, "/typed.qcow2", Q2_OK, 4);
    fb_free(&fb);
}

static void test_find_bytes_that_are_no_utf8_are_refused(void)
{
    static const char *const paths[] = {
        "/\x80",         "/a\xff",        "/\xc3",     "/\xc3/x",           "/\xc0\xaf",
        "/\xe0\x80\xaf", "/\xed\xa0\x80", "/\xe2\x82", "/\xf4\x90\x80\x80", "/\xf8\x88\x80\x80",
    };
    struct fat_builder fb;

    make(&fb, 12);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        expect(&fb, paths[i], Q2_ERR_BAD_NAME, 0);
    fb_free(&fb);
}

/* One long name, broken by one byte. The short name still finds the file. */
static void test_find_orphaned_long_entries_are_ignored(void)
{
    static const struct {
        const char *row;
        uint64_t offset; /* in the directory; the name has two long entries */
        uint8_t value;
    } rows[] = {
        {"checksum of the last part", 13, 0x00}, {"checksum of the first part", 32 + 13, 0x00},
        {"order of the first part", 32, 2},      {"order too high", 0, 0x40 | 21},
        {"order 0 with the last flag", 0, 0x40}, {"last flag missing", 0, 2},
        {"last flag twice", 32, 0x41},           {"part deleted", 32, 0xe5},
        {"cluster not 0", 32 + 26, 1},           {"short entry changed", 64, 'Y'},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        uint64_t root;
        make(&fb, 16);
        root = fb_root_entry(&fb, 0);
        T_CHECK_U64(fb_long_ascii(&fb, root, "a-long-name.qcow2", "XLONGN~1QCO"), root + 64);
        fb_entry(&fb, root + 64, "XLONGN~1QCO", 0, 5, 11);
        expect(&fb, "/a-long-name.qcow2", Q2_OK, 11);
        expect(&fb, "/xlongn~1.qco", Q2_OK, 11);
        T_CHECK(fb.bytes[root + rows[i].offset] != rows[i].value);
        fb.bytes[root + rows[i].offset] = rows[i].value;
        expect(&fb, "/a-long-name.qcow2", Q2_ERR_NOT_FOUND, 0);
        t_row(rows[i].row);
        expect(&fb, rows[i].offset == 64 ? "/ylongn~1.qco" : "/xlongn~1.qco", Q2_OK, 11);
        fb_free(&fb);
    }
}

/* A name of three parts whose middle part is missing, or stands where it must not. */
static void test_find_parts_of_a_long_name_out_of_order_are_no_name(void)
{
    static const char name[] = "a-long-name-with-three-parts.qcow2";
    static const struct {
        const char *row;
        unsigned parts[3]; /* which of the right entries are stored in a row, from 1; 0: none */
    } rows[] = {
        {"the middle part missing", {1, 3, 0}}, {"the first part missing", {1, 2, 0}},
        {"two parts swapped", {1, 3, 2}},       {"the middle part twice", {1, 2, 2}},
        {"the last part not first", {2, 1, 3}}, {"the last part missing", {2, 3, 0}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        uint8_t right[3 * 32];
        uint64_t root, at;

        make(&fb, 16);
        root = at = fb_root_entry(&fb, 0);
        T_CHECK_U64(fb_long_ascii(&fb, root, name, "ALONGN~1QCO"), root + sizeof(right));
        fb_entry(&fb, root + sizeof(right), "ALONGN~1QCO", 0, 5, 11);
        expect(&fb, "/a-long-name-with-three-parts.qcow2", Q2_OK, 11);
        memcpy(right, fb.bytes + root, sizeof(right));
        memset(fb.bytes + root, 0, sizeof(right) + 32);
        for (size_t j = 0; j < 3 && rows[i].parts[j] != 0; j++, at += 32)
            memcpy(fb.bytes + at, right + (size_t)(rows[i].parts[j] - 1) * 32, 32);
        fb_entry(&fb, at, "ALONGN~1QCO", 0, 5, 11);
        expect(&fb, "/a-long-name-with-three-parts.qcow2", Q2_ERR_NOT_FOUND, 0);
        t_row(rows[i].row);
        expect(&fb, "/alongn~1.qco", Q2_OK, 11);
        fb_free(&fb);
    }
}

static void test_find_long_name_in_front_of_a_label_or_deleted_entry_is_not_passed_on(void)
{
    struct fat_builder fb;
    uint64_t at;

    make(&fb, 16);
    at = fb_long_ascii(&fb, fb_root_entry(&fb, 0), "ghost.qcow2", "GHOST~1 QCO");
    fb_entry(&fb, at, "\xe5HOST~1 QCO", 0, 5, 1);
    fb_entry(&fb, at + 32, "GHOST~1 QCO", 0, 5, 2); /* the checksum would fit */
    expect(&fb, "/ghost.qcow2", Q2_ERR_NOT_FOUND, 0);
    fb_entry(&fb, at, "LABEL      ", Q2_FAT_LABEL, 0, 0);
    expect(&fb, "/ghost.qcow2", Q2_ERR_NOT_FOUND, 0);
    expect(&fb, "/ghost~1.qco", Q2_OK, 2);
    fb_free(&fb);
}

/* /A/B/C/FILE with each folder in a cluster of its own; ".." leads back. */
static void make_tree(struct fat_builder *fb, uint32_t bits)
{
    static const char *const names[] = {"A          ", "B          ", "C          "};

    make(fb, bits);
    fb_entry(fb, fb_root_entry(fb, 0), names[0], Q2_FAT_DIRECTORY, 10, 0);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t at = fb_cluster_offset(fb, 10 + i);
        fb_set(fb, 10 + i, FB_EOC(fb));
        fb_entry(fb, at, ".          ", Q2_FAT_DIRECTORY, 10 + i, 0);
        fb_entry(fb, at + 32, "..         ", Q2_FAT_DIRECTORY, i == 0 ? 0 : 9 + i, 0);
        if (i < 2)
            fb_entry(fb, at + 64, names[i + 1], Q2_FAT_DIRECTORY, 11 + i, 0);
    }
    fb_entry(fb, fb_cluster_offset(fb, 12) + 64, "FILE       ", 0, 20, 5);
}

static void test_find_walks_folders_both_ways(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        make_tree(&fb, all_bits[b]);
        expect(&fb, "/a/b/c/file", Q2_OK, 5);
        expect(&fb, "/a/b/../b/./c/../../../a/b/c/file", Q2_OK, 5);
        expect(&fb, "/a/../../a/b/c/file", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/a/b/file", Q2_ERR_NOT_FOUND, 0);
        fb_set(&fb, 20, FB_EOC(&fb)); /* the file's bytes look like a folder */
        fb_entry(&fb, fb_cluster_offset(&fb, 20), "INSIDE     ", 0, 21, 6);
        expect(&fb, "/a/b/c/file/inside", Q2_ERR_NOT_FOUND, 0);
        expect(&fb, "/a/b/c", Q2_ERR_NOT_A_FILE, 0);
        expect(&fb, "/a/..", Q2_ERR_NOT_A_FILE, 0);
        fb_free(&fb);
    }
}

static void test_find_folder_goes_on_in_its_next_clusters(void)
{
    struct fat_builder fb;
    const uint32_t chain[] = {10, 700, 30, 31};
    uint64_t name_at;

    make_tree(&fb, 12);
    fb_chain(&fb, chain, 4);
    for (size_t c = 0; c < 4; c++) { /* 16 entries in a cluster, all in use, a name across two */
        for (uint32_t i = c == 0 ? 3 : 0; i < 16; i++)
            fb_entry(&fb, fb_cluster_offset(&fb, chain[c]) + i * 32, "FILL       ", 0, 5, 0);
    }
    name_at = fb_cluster_offset(&fb, 31); /* 30 and 31 are in a row in memory */
    T_CHECK_U64(fb_long_ascii(&fb, name_at - 32, "a-long-name.qcow2", "ALONGN~1QCO"), name_at + 32);
    fb_entry(&fb, name_at + 32, "ALONGN~1QCO", 0, 5, 99);
    expect(&fb, "/a/a-long-name.qcow2", Q2_OK, 99);
    expect(&fb, "/a/missing", Q2_ERR_NOT_FOUND, 0);
    fb_free(&fb);
}

/* What is wrong with the chain of a folder in cluster 10 that has no end in its entries. */
static void test_find_broken_folder_chains_are_refused(void)
{
    static const struct {
        const char *row;
        uint32_t link; /* of cluster 10; low nibble of a mark if >= 0xf0 */
        const char *what;
    } rows[] = {
        {"free", 0, "a cluster of the chain is marked free"},
        {"reserved", 1, "a cluster of the chain is marked reserved"},
        {"bad", 0xf7, "a cluster of the chain is marked bad"},
        {"outside", 0xf0, "the chain leaves the volume"},
        {"loop", 10, "a directory has more than 65536 entries or does not end"},
    };
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t n = 0; n < 3 * sizeof(rows) / sizeof(rows[0]); n++) {
        size_t i = n / 3;
        struct fat_builder fb;
        struct q2_fault fault;
        struct q2_fat_file file;

        t_row(rows[i].row);
        make_tree(&fb, all_bits[n % 3]);
        for (uint32_t e = 2; e < 16; e++)
            fb_entry(&fb, fb_cluster_offset(&fb, 10) + e * 32, "FILL       ", 0, 5, 0);
        fb_set(&fb, 10, rows[i].link >= 0xf0 ? fb_mark(&fb, rows[i].link & 15) : rows[i].link);
        T_CHECK_U64(find(&fb, "/a/missing", &fault, &file), Q2_ERR_BAD_VOLUME);
        T_CHECK_STR(fault.what, rows[i].what);
        T_CHECK_STR(fault.file, "vol");
        T_CHECK(fault.has_offset);
        T_CHECK_U64(find(&fb, "/a/fill", &fault, &file), Q2_OK); /* found before the damage */
        fb_free(&fb);
    }
}

static void test_find_folder_outside_the_volume_is_refused(void)
{
    static const uint32_t clusters[] = {0, 1, 1002, 0xffff};

    for (size_t i = 0; i < 4; i++) {
        struct fat_builder fb;
        make(&fb, 12);
        fb_entry(&fb, fb_root_entry(&fb, 0), "A          ", Q2_FAT_DIRECTORY, clusters[i], 0);
        fb_entry(&fb, fb_root_entry(&fb, 1), ".A         ", Q2_FAT_DIRECTORY, clusters[i], 0);
        expect(&fb, "/a/x", Q2_ERR_BAD_VOLUME, 0);
        expect(&fb, "/.a/x", Q2_ERR_BAD_VOLUME, 0);
        fb_free(&fb);
    }
}

static void test_find_second_fat_does_not_matter_in_a_folder(void)
{
    static const uint32_t chain[] = {10, 30};
    struct fat_builder fb;

    make_tree(&fb, 16);
    for (uint32_t e = 2; e < 16; e++)
        fb_entry(&fb, fb_cluster_offset(&fb, 10) + e * 32, "FILL       ", 0, 5, 0);
    fb_chain(&fb, chain, 2);
    fb_set_in(&fb, 1, 10, 0);
    fb_entry(&fb, fb_cluster_offset(&fb, 30), "THERE      ", 0, 5, 17);
    expect(&fb, "/a/there", Q2_OK, 17);
    fb_free(&fb);
}

static void check_alias(struct fat_builder *fb, const char *path, size_t room,
                        enum q2_status status, const char *want)
{
    struct q2_fault fault = {0};
    struct q2_fat_volume volume;
    char alias[64];

    t_row(path);
    T_CHECK_U64(q2_fat_volume_open(&fb->memory.source, &fault, &volume), Q2_OK);
    T_CHECK_U64(q2_fat_alias(&volume, path, buffer, sizeof(buffer), &fault, alias, room), status);
    if (status == Q2_OK)
        T_CHECK_STR(alias, want);
    else
        T_CHECK_U64(fault.status, status);
}

static void test_alias_has_the_short_name_of_every_component(void)
{
    struct fat_builder fb;
    uint64_t at;

    make_tree(&fb, 16);
    at = fb_long_ascii(&fb, fb_cluster_offset(&fb, 12) + 96, "a long name.qcow2", "ALONGN~1QCO");
    fb_entry(&fb, at, "ALONGN~1QCO", 0, 20, 5);
    fb_entry(&fb, fb_root_entry(&fb, 1),
             "\xdc"
             "BER       ",
             0, 5, 3);
    check_alias(&fb, "/a/b/c/a long name.qcow2", 64, Q2_OK, "/A/B/C/ALONGN~1.QCO");
    check_alias(&fb, "/a/b/c/a long name.qcow2", 20, Q2_OK, "/A/B/C/ALONGN~1.QCO");
    for (size_t room = 1; room < 20; room++)
        check_alias(&fb, "/a/b/c/a long name.qcow2", room, Q2_ERR_LIMIT, NULL);
    check_alias(&fb,
                "/\xc3\xbc"
                "ber",
                64, Q2_OK,
                "/\xc3\x9c"
                "BER");
    check_alias(&fb, "/a/b/c", 64, Q2_OK, "/A/B/C");
    check_alias(&fb, "/a/b/d", 64, Q2_ERR_NOT_FOUND, NULL);
    fb_free(&fb);
}

static void test_find_full_root_of_fat16_ends_with_its_region(void)
{
    struct fat_builder fb;

    make(&fb, 16);
    for (uint32_t i = 0; i < FB_ROOT_ENTRIES; i++)
        fb_entry(&fb, fb_root_entry(&fb, i), "FILL       ", 0, 5, i);
    fb_entry(&fb, fb.data_offset, "BEHIND     ", 0, 5, 1);
    expect(&fb, "/behind", Q2_ERR_NOT_FOUND, 0);
    fb_entry(&fb, fb_root_entry(&fb, FB_ROOT_ENTRIES - 1), "LAST       ", 0, 5, 8);
    expect(&fb, "/last", Q2_OK, 8);
    fb_free(&fb);
}

static void test_find_failing_volume_and_small_buffer_are_errors(void)
{
    struct fat_builder fb;
    struct q2_fat_volume volume;
    struct q2_fat_file file;
    struct q2_fault fault;

    make_tree(&fb, 16);
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    T_CHECK_U64(q2_fat_find(&volume, "/a/x", buffer, Q2_FAT_MIN_BUFFER - 1, &fault, &file),
                Q2_ERR_ARGUMENT);
    fb.memory.source.size = fb.root_offset; /* the memory source fails past its end */
    T_CHECK_U64(q2_fat_find(&volume, "/a/x", buffer, sizeof(buffer), &fault, &file), Q2_ERR_IO);
    T_CHECK_U64(fault.status, Q2_ERR_IO);
    T_CHECK_U64(fault.offset, fb.root_offset);
    fb_free(&fb);
}

/* 0x05 stands for 0xe5, which marks a free entry; which character that is, no volume says. */
static void test_find_short_name_of_unknown_first_character_is_not_found(void)
{
    struct fat_builder fb;

    make(&fb, 16);
    fb_entry(&fb, fb_root_entry(&fb, 0),
             "\x05"
             "BC     X  ",
             0, 5, 1);
    fb_entry(&fb, fb_root_entry(&fb, 1), "ABC     XY ", 0, 5, 2);
    expect(&fb,
           "/\xc3\xa5"
           "bc.x",
           Q2_ERR_NOT_FOUND, 0);
    expect(&fb, "/abc.xz", Q2_ERR_NOT_FOUND, 0);
    expect(&fb, "/abc.xy", Q2_OK, 2);
    expect(&fb, "/.xy", Q2_ERR_NOT_FOUND, 0);
    fb_free(&fb);
}

/* A cluster of 64 KiB is read in pieces of the buffer, which is smaller. */
static void test_find_in_clusters_larger_than_the_buffer(void)
{
    struct fat_builder fb;

    fb_make(&fb, 32, 512, 128, 65600, 2);
    fb_set(&fb, FB_ROOT_CLUSTER, FB_EOC(&fb));
    for (uint32_t i = 0; i < 2047; i++)
        fb_entry(&fb, fb_root_entry(&fb, i), "OTHER      ", 0, 5, 1);
    fb_entry(&fb, fb_root_entry(&fb, 2047), "LAST       ", 0, 5, 2);
    expect(&fb, "/last", Q2_OK, 2);
    expect(&fb, "/none", Q2_ERR_NOT_FOUND, 0);
    fb_free(&fb);
}

int main(void)
{
    T_RUN(test_find_short_names_match_without_case);
    T_RUN(test_find_gives_cluster_size_attributes_and_place);
    T_RUN(test_find_file_ids_of_empty_files_differ);
    T_RUN(test_find_long_names_match_in_full);
    T_RUN(test_find_long_name_ends_at_its_nul_whatever_parts_it_has);
    T_RUN(test_find_longest_name_is_found_and_a_longer_one_refused);
    T_RUN(test_find_letters_beyond_ascii_fold_where_the_table_has_them);
    T_RUN(test_find_names_are_trimmed_as_the_firmware_trims_them);
    T_RUN(test_find_upper_half_of_short_names_is_latin_1);
    T_RUN(test_find_bytes_that_are_no_utf8_are_refused);
    T_RUN(test_find_orphaned_long_entries_are_ignored);
    T_RUN(test_find_parts_of_a_long_name_out_of_order_are_no_name);
    T_RUN(test_find_long_name_in_front_of_a_label_or_deleted_entry_is_not_passed_on);
    T_RUN(test_find_walks_folders_both_ways);
    T_RUN(test_find_folder_goes_on_in_its_next_clusters);
    T_RUN(test_find_broken_folder_chains_are_refused);
    T_RUN(test_find_folder_outside_the_volume_is_refused);
    T_RUN(test_find_second_fat_does_not_matter_in_a_folder);
    T_RUN(test_alias_has_the_short_name_of_every_component);
    T_RUN(test_find_full_root_of_fat16_ends_with_its_region);
    T_RUN(test_find_failing_volume_and_small_buffer_are_errors);
    T_RUN(test_find_short_name_of_unknown_first_character_is_not_found);
    T_RUN(test_find_in_clusters_larger_than_the_buffer);
    return t_done();
}
