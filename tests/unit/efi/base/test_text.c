/* Text of the firmware programs: sizes, UTF-8 and UCS-2, paths, numbers. */
#include "efi/base/text.h"

#include "tests/support/t.h"

static void test_text_put_size_rounds_down_to_a_tenth(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {92274688, "88 MiB"},
        {(1ull << 30) - 1, "1023.9 MiB"},
        {3ull << 40, "3 TiB"},
        {UINT64_MAX, "15.9 EiB"},
    };
    char buffer[40];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_line text = q2_line_start(buffer, sizeof(buffer));

        mc_put_size(&text, rows[i].bytes);
        T_CHECK_STR(buffer, rows[i].text);
    }
}

static void test_text_put_bar(void)
{
    static const struct {
        uint64_t done, total;
        const char *text;
    } rows[] = {
        {0, 1, "[....................]   0 %"},
        {1, 1, "[####################] 100 %"},
        {1, 2, "[##########..........]  50 %"},
        {999, 1000, "[###################.]  99 %"},
        {UINT64_MAX - 1, UINT64_MAX, "[###################.]  99 %"},
        {UINT64_MAX, UINT64_MAX, "[####################] 100 %"},
        {UINT64_MAX / 4 + 1, UINT64_MAX, "[#####...............]  25 %"},
        {3ull << 30, 100ull << 30, "[....................]   3 %"},
    };
    char buffer[40];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_line text = q2_line_start(buffer, sizeof(buffer));

        t_row(rows[i].text);
        mc_put_bar(&text, rows[i].done, rows[i].total);
        T_CHECK_STR(buffer, rows[i].text);
    }
}

static void test_utf8_to_ucs2_and_back(void)
{
    static const struct {
        const char *name, *utf8;
        bool fits; /* in UCS-2 */
    } rows[] = {
        {"empty", "", true},
        {"ASCII", "/img/debian.qcow2", true},
        {"two bytes",
         "/B\xc3\xbc"
         "cher",
         true},
        {"three bytes", "\xe2\x82\xac", true},
        {"highest", "\xef\xbf\xbf", true},
        {"beyond the basic plane", "\xf0\x9f\x90\x84", false},
        {"surrogate", "\xed\xa0\x80", false},
        {"cut", "a\xc3", false},
        {"overlong", "\xc0\xaf", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t ucs2[32];
        char back[64] = "?";
        t_row(rows[i].name);
        T_CHECK(mc_utf8_to_ucs2(rows[i].utf8, ucs2, 32) == rows[i].fits);
        if (!rows[i].fits)
            continue;
        T_CHECK(mc_ucs2_to_utf8(ucs2, back, sizeof(back)));
        T_CHECK_STR(back, rows[i].utf8);
    }
}

static void test_utf8_to_ucs2_capacity_at_its_border(void)
{
    uint16_t ucs2[4] = {1, 1, 1, 7};

    T_CHECK(!mc_utf8_to_ucs2("abc", ucs2, 3));
    T_CHECK_U64(ucs2[3], 7);
    T_CHECK(mc_utf8_to_ucs2("abc", ucs2, 4));
    T_CHECK(!mc_utf8_to_ucs2("", ucs2, 0));
}

static void test_ucs2_to_utf8_surrogate_and_no_room_are_refused(void)
{
    static const uint16_t surrogate[] = {'a', 0xd83d, 0xdc04, 0}, euro[] = {0x20ac, 0};
    char utf8[8];

    T_CHECK(!mc_ucs2_to_utf8(surrogate, utf8, sizeof(utf8)));
    T_CHECK(!mc_ucs2_to_utf8(euro, utf8, 3));
    T_CHECK(mc_ucs2_to_utf8(euro, utf8, 4));
}

static void test_path_clean_table(void)
{
    static const struct {
        const char *path, *clean; /* NULL: refused */
    } rows[] = {
        {"", "/"},
        {"/", "/"},
        {"\\", "/"},
        {"a", "/a"},
        {"\\img\\a.qcow2", "/img/a.qcow2"},
        {"//img///a", "/img/a"},
        {"/img/./a/.", "/img/a"},
        {"/img/../a", "/a"},
        {"/img/b/../../a/", "/a"},
        {"..", NULL},
        {"/a/../../b", NULL},
        {"/...", "/..."},
        {"/.a/..b", "/.a/..b"},
    };
    char clean[40];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].path);
        T_CHECK(mc_path_clean(rows[i].path, clean, sizeof(clean)) == (rows[i].clean != NULL));
        if (rows[i].clean)
            T_CHECK_STR(clean, rows[i].clean);
    }
}

static void test_path_clean_room_at_its_border(void)
{
    char clean[8];

    for (size_t size = 2; size <= sizeof(clean); size++) {
        memset(clean, '#', sizeof(clean));
        T_CHECK(mc_path_clean("ab/cd", clean, size) == (size >= 7));
        T_CHECK(size == sizeof(clean) || clean[size] == '#');
    }
}

static void test_number_parse_table(void)
{
    static const struct {
        const char *word;
        bool ok;
        uint32_t number;
    } rows[] = {
        {"0", true, 0},           {"17", true, 17}, {"4294967295", true, UINT32_MAX},
        {"4294967296", false, 0}, {"", false, 0},   {"-1", false, 0},
        {"1x", false, 0},         {" 1", false, 0}, {"99999999999999999999", false, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t number = 0;
        t_row(rows[i].word);
        T_CHECK(mc_number_parse(rows[i].word, &number) == rows[i].ok);
        T_CHECK_U64(number, rows[i].number);
    }
}

int main(void)
{
    T_RUN(test_text_put_size_rounds_down_to_a_tenth);
    T_RUN(test_text_put_bar);
    T_RUN(test_utf8_to_ucs2_and_back);
    T_RUN(test_utf8_to_ucs2_capacity_at_its_border);
    T_RUN(test_ucs2_to_utf8_surrogate_and_no_room_are_refused);
    T_RUN(test_path_clean_table);
    T_RUN(test_path_clean_room_at_its_border);
    T_RUN(test_number_parse_table);
    return t_done();
}
