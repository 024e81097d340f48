/* core/base/range.h, core/base/text.h and core/base/bytes.h. */
#include "core/base/bytes.h"
#include "core/base/range.h"
#include "core/base/text.h"
#include "tests/support/t.h"

static void test_range_fits_table(void)
{
    static const struct {
        const char *name;
        uint64_t offset, length, limit;
        bool fits;
    } rows[] = {
        {"empty at 0 of 0", 0, 0, 0, true},
        {"empty at the limit", 8, 0, 8, true},
        {"empty past the limit", 9, 0, 8, false},
        {"whole", 0, 8, 8, true},
        {"one too long", 0, 9, 8, false},
        {"tail", 7, 1, 8, true},
        {"tail too long", 7, 2, 8, false},
        {"sum wraps to 0", UINT64_MAX, 1, UINT64_MAX, false},
        {"sum wraps far", UINT64_MAX - 1, UINT64_MAX, 16, false},
        {"all of 2^64 - 1", 0, UINT64_MAX, UINT64_MAX, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        T_CHECK(q2_range_fits(rows[i].offset, rows[i].length, rows[i].limit) == rows[i].fits);
    }
}

static void test_ranges_overlap_table(void)
{
    static const struct {
        const char *name;
        uint64_t a, a_length, b, b_length;
        bool overlap;
    } rows[] = {
        {"same", 4, 4, 4, 4, true},
        {"a before b, touching", 0, 4, 4, 4, false},
        {"b before a, touching", 4, 4, 0, 4, false},
        {"a's last byte", 0, 5, 4, 4, true},
        {"b's last byte", 4, 4, 0, 5, true},
        {"a inside b", 5, 1, 4, 4, true},
        {"b inside a", 4, 4, 5, 1, true},
        {"empty a inside b", 5, 0, 4, 4, false},
        {"empty b inside a", 4, 4, 5, 0, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        T_CHECK(q2_ranges_overlap(rows[i].a, rows[i].a_length, rows[i].b, rows[i].b_length) ==
                rows[i].overlap);
    }
}

static void test_min_both_orders(void)
{
    T_CHECK_U64(q2_min_u64(1, 2), 1);
    T_CHECK_U64(q2_min_u64(2, 1), 1);
    T_CHECK_U64(q2_min_u64(UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

static void test_shift_up_rounds_and_never_wraps(void)
{
    T_CHECK_U64(q2_shift_up(0, 9), 0);
    T_CHECK_U64(q2_shift_up(1, 9), 1);
    T_CHECK_U64(q2_shift_up(512, 9), 1);
    T_CHECK_U64(q2_shift_up(513, 9), 2);
    T_CHECK_U64(q2_shift_up(UINT64_MAX, 9), 1ull << 55);
    T_CHECK_U64(q2_shift_up(UINT64_MAX, 63), 2);
    T_CHECK_U64(q2_shift_up(UINT64_MAX, 0), UINT64_MAX);
}

static void test_is_aligned_table(void)
{
    T_CHECK(q2_is_aligned(0, 21));
    T_CHECK(q2_is_aligned(1, 0));
    T_CHECK(q2_is_aligned(1ull << 63, 63));
    T_CHECK(!q2_is_aligned(1ull << 62, 63));
    T_CHECK(!q2_is_aligned(511, 9));
}

static void test_be_get_at_any_alignment(void)
{
    static const uint8_t bytes[] = {0, 0x81, 0x42, 0x23, 0x14, 0xf5, 0xe6, 0xd7, 0xc8};
    be16 v16;
    be32 v32;
    be64 v64;

    memcpy(&v16, bytes + 1, sizeof(v16));
    memcpy(&v32, bytes + 1, sizeof(v32));
    memcpy(&v64, bytes + 1, sizeof(v64));
    T_CHECK_U64(q2_be16_get(v16), 0x8142);
    T_CHECK_U64(q2_be32_get(v32), 0x81422314);
    T_CHECK_U64(q2_be64_get(v64), 0x81422314f5e6d7c8);
}

static void test_text_equal_table(void)
{
    T_CHECK(q2_text_equal("", ""));
    T_CHECK(q2_text_equal("raw", "raw"));
    T_CHECK(!q2_text_equal("raw", "ra"));
    T_CHECK(!q2_text_equal("ra", "raw"));
    T_CHECK(!q2_text_equal("raw", "rav"));
    T_CHECK(!q2_text_equal("raw", ""));
}

static void test_powers_of_two(void)
{
    for (uint32_t bits = 0; bits < 32; bits++) {
        T_CHECK(q2_is_power_of_two(1u << bits));
        T_CHECK_U64(q2_log2(1u << bits), bits);
        T_CHECK(bits == 0 || !q2_is_power_of_two((1u << bits) + 1));
    }
    T_CHECK(!q2_is_power_of_two(0));
    T_CHECK(!q2_is_power_of_two(UINT32_MAX));
}

int main(void)
{
    T_RUN(test_range_fits_table);
    T_RUN(test_ranges_overlap_table);
    T_RUN(test_min_both_orders);
    T_RUN(test_shift_up_rounds_and_never_wraps);
    T_RUN(test_is_aligned_table);
    T_RUN(test_be_get_at_any_alignment);
    T_RUN(test_text_equal_table);
    T_RUN(test_powers_of_two);
    return t_done();
}
