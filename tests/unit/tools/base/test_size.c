/* Unit tests of tools/metalcow/base/size.c. */
#include "tools/metalcow/base/size.h"

#include "tests/support/t.h"

static const struct {
    const char *text;
    uint64_t size;
} good[] = {
    {"0", 0},
    {"512", 512},
    {"7b", 7},
    {"512B", 512},
    {"4k", 4096},
    {"4K", 4096},
    {"1M", 1 << 20},
    {"1m", 1 << 20},
    {"3G", UINT64_C(3) << 30},
    {"10g", UINT64_C(10) << 30},
    {"2t", UINT64_C(2) << 40},
    {"2p", UINT64_C(2) << 50},
    {"2e", UINT64_C(2) << 60},
    {"2T", UINT64_C(2) << 40},
    {"1P", UINT64_C(1) << 50},
    {"15E", UINT64_C(15) << 60},
    {"1.5k", 1536},
    {"0.5M", 512 << 10},
    {"1.25G", UINT64_C(5) << 28},
    {"1.5m", 3 << 19},
    {"2.0", 2},
    {"+1M", 1 << 20},
    {" \t1M", 1 << 20},
    {" +0x10", 16},
    {"0x1000", 4096},
    {"0XfF", 255},
    {"0x1e", 30},
    {"0x1B", 27},
    {"18446744073709551615", UINT64_MAX},
    {"0xffffffffffffffff", UINT64_MAX},
};

static const char *const bad[] = {
    "",
    "k",
    "-1",
    "+",
    "++1",
    "+ 1",
    "+-1",
    " ",
    "1 ",
    "1kk",
    "1kB",
    "1mm",
    "1Q",
    "1.k",
    ".5k",
    "1.5",
    "1.5b",
    "1.5B",
    "0x",
    "0x1k",
    "0xg",
    "1e3",
    "1,5",
    "1.2.3k",
    "18446744073709551616Q",
    "0x10000000000000000g",
};

static const char *const too_large[] = {
    "18446744073709551616", "16E", "16e", "99999999999999999999999k", "0x10000000000000000",
    "0xffffffffffffffffff",
};

static void test_size_parse_good_texts_give_their_bytes(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t size = 1;

        t_row(good[i].text);
        T_CHECK(size_parse(good[i].text, &size));
        T_CHECK_U64(size, good[i].size);
    }
}

static void test_size_parse_bad_texts_are_refused_and_store_nothing(void)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t size = 4711;

        t_row(bad[i]);
        T_CHECK(!size_parse(bad[i], &size));
        T_CHECK_U64(size, 4711);
    }
}

static void test_size_judge_tells_what_is_wrong(void)
{
    uint64_t size = 4711;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        t_row(bad[i]);
        T_CHECK(size_judge(bad[i], &size) == SIZE_BAD);
    }
    for (size_t i = 0; i < sizeof(too_large) / sizeof(too_large[0]); i++) {
        t_row(too_large[i]);
        T_CHECK(size_judge(too_large[i], &size) == SIZE_TOO_LARGE);
        T_CHECK(!size_parse(too_large[i], &size));
    }
    T_CHECK_U64(size, 4711);
}

int main(void)
{
    T_RUN(test_size_parse_good_texts_give_their_bytes);
    T_RUN(test_size_parse_bad_texts_are_refused_and_store_nothing);
    T_RUN(test_size_judge_tells_what_is_wrong);
    return t_done();
}
