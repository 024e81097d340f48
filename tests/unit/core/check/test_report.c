/* core/check/report.c: lines about maps and checks; numbers as printf() has them. */
#include <inttypes.h>

#include "tests/support/fixture.h"
#include "q2_report.h"
#include "tests/support/t.h"

static struct image image;
static struct fixture f;

static void check_entry(const struct q2_map_entry *entry, const char *want)
{
    char text[512];

    T_CHECK_U64(q2_map_entry_format(entry, text, sizeof(text)), strlen(want));
    T_CHECK_STR(text, want);
}

static void test_map_entry_format_has_columns(void)
{
    struct q2_map_entry entry = {
        .length = 0x10000, .offset = 0x50000, .file = "a\nb", .data = true, .has_offset = true};

    check_entry(&entry, "0               0x10000         0x50000         a\\x0ab");
    entry.start = UINT64_MAX;
    check_entry(&entry, "0xffffffffffffffff0x10000         0x50000         a\\x0ab");
    entry.zero = true;
    check_entry(&entry, "");
    entry = (struct q2_map_entry){.length = 1, .zero = true};
    check_entry(&entry, "");
}

static void test_map_entry_format_small_buffer_is_cut(void)
{
    struct q2_map_entry entry = {.start = 1, .length = 2, .file = "abc", .data = true};
    char text[8] = "-------";

    T_CHECK_U64(q2_map_entry_format(&entry, text, 4), 51);
    T_CHECK_STR(text, "0x1");
    T_CHECK(text[4] == '-');
    T_CHECK_U64(q2_map_entry_format(&entry, text, 1), 51);
    T_CHECK_STR(text, "");
}

static void test_map_entry_has_place_only_plain_data(void)
{
    T_CHECK(q2_map_entry_has_place(&(struct q2_map_entry){.zero = true}));
    T_CHECK(q2_map_entry_has_place(&(struct q2_map_entry){.data = true, .has_offset = true}));
    T_CHECK(!q2_map_entry_has_place(&(struct q2_map_entry){.data = true}));
}

static void test_map_entry_join_same_state_and_place_only(void)
{
    static const struct q2_map_entry base = {.start = 0,
                                             .length = 512,
                                             .offset = 4096,
                                             .file = "a",
                                             .present = true,
                                             .data = true,
                                             .has_offset = true};
    static const struct {
        const char *name;
        struct q2_map_entry next;
        bool joined;
    } rows[] = {
        {"follows", {512, 512, 4608, "a", 0, true, false, true, true}, true},
        {"elsewhere", {512, 512, 4609, "a", 0, true, false, true, true}, false},
        {"other file", {512, 512, 4608, "b", 0, true, false, true, true}, false},
        {"other layer", {512, 512, 4608, "a", 1, true, false, true, true}, false},
        {"not present", {512, 512, 4608, "a", 0, false, false, true, true}, false},
        {"zero", {512, 512, 4608, "a", 0, true, true, true, true}, false},
        {"no data", {512, 512, 4608, "a", 0, true, false, false, true}, false},
        {"no place", {512, 512, 4608, NULL, 0, true, false, true, false}, false},
    };
    struct q2_map_entry run = {.length = 0};

    T_CHECK(!q2_map_entry_join(&run, &run));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        run = base;
        T_CHECK(q2_map_entry_join(&run, &rows[i].next) == rows[i].joined);
        T_CHECK_U64(run.length, rows[i].joined ? 1024 : 512);
    }
    run = (struct q2_map_entry){.length = 512, .zero = true};
    T_CHECK(q2_map_entry_join(&run, &(struct q2_map_entry){.length = 7, .zero = true}));
    T_CHECK_U64(run.length, 519);
}

/* One cluster of each kind, as q2_disk_map() finds them. */
static void test_map_entry_get_each_kind(void)
{
    static const struct {
        const char *name;
        bool present, zero, data, has_offset;
    } rows[] = {
        {"data", true, false, true, true},
        {"zero", true, true, false, false},
        {"zero with a place", true, true, false, true},
        {"compressed", true, false, true, false},
        {"unallocated", false, true, false, false},
    };
    struct q2_extent extent;
    struct q2_map_entry entry;

    image_start(&image, &(struct image_spec){.size = 5 * 65536});
    (void)image_data(&image, 0, 1);
    (void)image_zero(&image, 65536, false);
    (void)image_zero(&image, 2 * 65536, true);
    (void)image_compressed(&image, 3 * 65536, 2);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        T_CHECK_U64(q2_disk_map(f.disk, i * 65536, 65536, &extent), Q2_OK);
        q2_map_entry_get(f.disk, &extent, &entry);
        T_CHECK_U64(entry.start, i * 65536);
        T_CHECK_U64(entry.length, 65536);
        T_CHECK(entry.present == rows[i].present && entry.zero == rows[i].zero);
        T_CHECK(entry.data == rows[i].data && entry.has_offset == rows[i].has_offset);
        T_CHECK_STR(entry.file ? entry.file : "none",
                    entry.has_offset ? FIXTURE_IMAGE_PATH : "none");
    }
    fixture_end(&f);
    image_free(&image);
}

static void check_finding(enum q2_check_kind kind, bool fixed, const char *want)
{
    const struct q2_check_finding finding = {.kind = kind,
                                             .what = "an entry",
                                             .offset = 0x30000,
                                             .refcount = 2,
                                             .references = 1,
                                             .fixed = fixed};
    char text[256];

    T_CHECK_U64(q2_check_finding_format(&finding, 16, text, sizeof(text)), strlen(want));
    T_CHECK_STR(text, want);
}

static void test_check_finding_format_each_kind(void)
{
    check_finding(Q2_CHECK_LEAK, true, "Repairing cluster 3 refcount=2 reference=1");
    check_finding(Q2_CHECK_ENTRY, true, "Repairing an entry at offset 0x30000");
    check_finding(Q2_CHECK_LEAK, false, "Leaked cluster 3 refcount=2 reference=1");
    check_finding(Q2_CHECK_REFCOUNT, false, "ERROR cluster 3 refcount=2 reference=1");
    check_finding(Q2_CHECK_COPIED, false,
                  "ERROR OFLAG_COPIED: an entry at offset 0x30000 refcount=2");
    check_finding(Q2_CHECK_ENTRY, false, "ERROR an entry at offset 0x30000");
    check_finding(Q2_CHECK_UNREADABLE, false, "ERROR an entry at offset 0x30000");
}

static void check_result(const struct q2_check_result *result, const char *want)
{
    char text[Q2_CHECK_TEXT_SIZE];

    T_CHECK_U64(q2_check_result_format(result, text, sizeof(text)), strlen(want));
    T_CHECK_STR(text, want);
}

static void test_check_result_format_parts(void)
{
    struct q2_check_result result = {.total_clusters = 0};

    check_result(&result, "No errors were found on the image.\n");
    result.total_clusters = 5;
    result.image_end_offset = 4096;
    check_result(&result, "No errors were found on the image.\nImage end offset: 4096\n");
    result = (struct q2_check_result){.corruptions = 1, .leaks = 2, .check_errors = 3};
    check_result(&result, "\n1 errors were found on the image.\n"
                          "Data may be corrupted, or further writes to the image may corrupt it.\n"
                          "\n2 leaked clusters were found on the image.\n"
                          "This means waste of disk space, but no harm to data.\n"
                          "\n3 internal errors have occurred during the check.\n");
    result = (struct q2_check_result){.leaks = 1,
                                      .total_clusters = 16,
                                      .allocated_clusters = 3,
                                      .fragmented_clusters = 2,
                                      .compressed_clusters = 1};
    check_result(&result,
                 "\n1 leaked clusters were found on the image.\n"
                 "This means waste of disk space, but no harm to data.\n"
                 "3/16 = 18.75% allocated, 66.67% fragmented, 33.33% compressed clusters\n");
}

static void test_check_result_format_largest_fits(void)
{
    const struct q2_check_result result = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                           UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                           UINT64_MAX, UINT64_MAX};
    char text[Q2_CHECK_TEXT_SIZE];

    T_CHECK(q2_check_result_format(&result, text, sizeof(text)) < sizeof(text));
    T_CHECK(strstr(text, "= 100.00% allocated, 100.00% fragmented, 100.00% compressed") != NULL);
}

/* allocated of total in percent, as printf() has it. */
static void check_percent(uint64_t part, uint64_t whole)
{
    const struct q2_check_result result = {.total_clusters = whole, .allocated_clusters = part};
    char text[Q2_CHECK_TEXT_SIZE], want[160];

    (void)snprintf(want, sizeof(want),
                   "No errors were found on the image.\n%" PRIu64 "/%" PRIu64
                   " = %0.2f%% allocated, 0.00%% fragmented, 0.00%% compressed clusters\n",
                   part, whole, (double)part * 100.0 / (double)whole);
    (void)q2_check_result_format(&result, text, sizeof(text));
    T_CHECK_STR(text, want);
}

static void test_check_result_percent_is_printfs(void)
{
    static const uint64_t wholes[] = {
        1,    2,     3,     7,     8,        16,         200,
        1600, 20000, 40000, 80000, 33554432, 1ull << 40, (1ull << 53) / 100};
    uint64_t seed = 1;

    for (size_t i = 0; i < sizeof(wholes) / sizeof(wholes[0]); i++) {
        /* Whatever is between two hundredths is among 20000ths, and more. */
        uint64_t step = wholes[i] / 20000 + 1;
        for (uint64_t part = 1; part <= wholes[i] && part / step <= 40000; part += step)
            check_percent(part, wholes[i]);
    }
    for (unsigned i = 0; i < 100000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        check_percent((seed >> 40) + 1, (seed >> 33) % 100000 + 1);
    }
}

int main(void)
{
    T_RUN(test_map_entry_format_has_columns);
    T_RUN(test_map_entry_format_small_buffer_is_cut);
    T_RUN(test_map_entry_has_place_only_plain_data);
    T_RUN(test_map_entry_join_same_state_and_place_only);
    T_RUN(test_map_entry_get_each_kind);
    T_RUN(test_check_finding_format_each_kind);
    T_RUN(test_check_result_format_parts);
    T_RUN(test_check_result_format_largest_fits);
    T_RUN(test_check_result_percent_is_printfs);
    return t_done();
}
