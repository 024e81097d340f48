/* tools/metalcow/picture/strip.c: bytes into cells. */
#include "tools/metalcow/picture/strip.h"

#include <stdlib.h>

#include "tests/support/t.h"

static struct strip strip;

static void reset(uint64_t begin, uint64_t length)
{
    memset(&strip, 0, sizeof(strip));
    strip.begin = begin;
    strip.length = length;
}

/* Sum of a kind over all cells. */
static uint64_t sum(enum paint paint)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < STRIP_CELLS; i++)
        bytes += strip.cells[i][paint];
    return bytes;
}

static void test_strip_cell_begin_covers_the_range_without_wrapping(void)
{
    static const uint64_t lengths[] = {1, 479, 480, 481, 65536, 64ull << 40, UINT64_MAX};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        reset(0, lengths[i]);
        T_CHECK_U64(strip_cell_begin(&strip, 0), 0);
        T_CHECK_U64(strip_cell_begin(&strip, STRIP_CELLS), lengths[i]);
        for (uint32_t cell = 0; cell < STRIP_CELLS; cell++)
            T_CHECK(strip_cell_begin(&strip, cell) <= strip_cell_begin(&strip, cell + 1));
    }
}

static void test_strip_add_splits_at_cells(void)
{
    reset(0, 480 * 100);
    strip_add(&strip, 150, 100, PAINT_DATA);
    T_CHECK_U64(strip.cells[0][PAINT_DATA], 0);
    T_CHECK_U64(strip.cells[1][PAINT_DATA], 50);
    T_CHECK_U64(strip.cells[2][PAINT_DATA], 50);
    T_CHECK_U64(strip.cells[3][PAINT_DATA], 0);
    T_CHECK_U64(strip.totals[PAINT_DATA], 100);
    T_CHECK_U64(strip.totals[PAINT_ZERO], 0);
}

static void test_strip_add_cuts_at_both_ends(void)
{
    static const struct {
        const char *name;
        uint64_t offset, length, want;
    } rows[] = {
        {"before", 0, 1000, 0},       {"over the begin", 900, 200, 100},
        {"inside", 1000, 7, 7},       {"all and more", 0, UINT64_MAX, 480},
        {"over the end", 1479, 9, 1}, {"after", 1480, 9, 0},
        {"far", UINT64_MAX, 1, 0},    {"nothing", 1100, 0, 0},
        {"last byte", 1479, 1, 1},    {"up to the begin", 999, 1, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        reset(1000, 480);
        strip_add(&strip, rows[i].offset, rows[i].length, PAINT_ZERO);
        T_CHECK_U64(strip.totals[PAINT_ZERO], rows[i].want);
        T_CHECK_U64(sum(PAINT_ZERO), rows[i].want);
    }
}

static void test_strip_add_a_range_shorter_than_the_cells_loses_nothing(void)
{
    reset(0, 7);
    for (uint64_t at = 0; at < 7; at++)
        strip_add(&strip, at, 1, PAINT_COMPRESSED);
    T_CHECK_U64(sum(PAINT_COMPRESSED), 7);
    for (uint32_t cell = 0; cell < STRIP_CELLS; cell++)
        T_CHECK_U64(strip.cells[cell][PAINT_COMPRESSED],
                    strip_cell_begin(&strip, cell + 1) - strip_cell_begin(&strip, cell));
}

static void test_strip_add_random_pieces_fill_no_cell_over_its_size(void)
{
    uint64_t at = 0, length = (64ull << 40) + 12345;

    srand(7);
    reset(0, length);
    while (at < length) {
        uint64_t n = 1 + ((uint64_t)rand() << 8);

        n = n < length - at ? n : length - at;
        strip_add(&strip, at, n, (enum paint)(rand() % NB_PAINTS));
        at += n;
    }
    for (uint32_t cell = 0; cell < STRIP_CELLS; cell++) {
        uint64_t all = 0;

        for (unsigned paint = 0; paint < NB_PAINTS; paint++)
            all += strip.cells[cell][paint];
        T_CHECK_U64(all, strip_cell_begin(&strip, cell + 1) - strip_cell_begin(&strip, cell));
    }
}

int main(void)
{
    T_RUN(test_strip_cell_begin_covers_the_range_without_wrapping);
    T_RUN(test_strip_add_splits_at_cells);
    T_RUN(test_strip_add_cuts_at_both_ends);
    T_RUN(test_strip_add_a_range_shorter_than_the_cells_loses_nothing);
    T_RUN(test_strip_add_random_pieces_fill_no_cell_over_its_size);
    return t_done();
}
