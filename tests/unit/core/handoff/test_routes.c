/* core/handoff/routes.c: which runs are chosen, and that every table covers its disk, whatever was
 * added. */
#include "q2_handoff_routes.h"

#include <stdlib.h>

#include "core/base/range.h"
#include "tests/support/t.h"

#define KIB        1024ull
#define MIB        (1024 * KIB)
#define MAX_ROWS   6
#define MAX_RUNS   64
#define GRAIN      (4 * KIB)
#define NB_HOSTILE 3000

struct run {
    uint64_t guest_offset, volume_offset, length;
};

/* Memory of exactly the size that is asked for, so that the sanitizer sees a byte more. */
static struct q2_route *get(size_t nb)
{
    struct q2_route *memory = malloc(nb * sizeof(*memory));

    if (!memory)
        abort();
    return memory;
}

/* What every table must be: ascending, without gaps, of the disk's size, within its memory; what
 * goes straight begins and ends at grains, and at sectors of the partition. */
static void check_table(const struct q2_route *table, size_t nb, size_t max, uint64_t size,
                        uint64_t grain, uint64_t straight)
{
    uint64_t at = 0, sum = 0;

    T_CHECK(nb <= max);
    for (size_t i = 0; i < nb; i++) {
        T_CHECK_U64(table[i].guest_offset, at);
        T_CHECK(table[i].length > 0 && table[i].length <= size - at);
        at += table[i].length;
        if (!table[i].straight) {
            T_CHECK(i == 0 || table[i - 1].straight);
            continue;
        }
        sum += table[i].length;
        T_CHECK_U64(table[i].guest_offset % grain, 0);
        T_CHECK(at % grain == 0 || at == size);
        T_CHECK_U64(table[i].volume_offset % Q2_ROUTE_SECTOR_SIZE, 0);
    }
    T_CHECK_U64(at, size);
    T_CHECK_U64(sum, straight);
}

/* Add the runs of a row, up to one that is empty. */
static void add_runs(struct q2_routes *routes, const struct run *runs)
{
    for (size_t i = 0; i < MAX_ROWS && runs[i].length > 0; i++)
        T_CHECK_U64(
            q2_routes_add(routes, runs[i].guest_offset, runs[i].volume_offset, runs[i].length),
            Q2_OK);
}

static void test_routes_choose_tables(void)
{
    static const struct {
        const char *name;
        uint64_t size;
        size_t max_runs, max;
        struct run runs[MAX_ROWS];
        struct q2_route want[MAX_ROWS];
    } rows[] = {
        {"no disk", 0, 4, 4, {{0}}, {{0}}},
        {"nothing straight", MIB, 4, 4, {{0}}, {{0, MIB, 0, false}}},
        {"everything", MIB, 4, 1, {{0, 5 * MIB, MIB}}, {{0, MIB, 5 * MIB, true}}},
        {"one in the middle",
         MIB,
         4,
         4,
         {{64 * KIB, 0, 64 * KIB}},
         {{0, 64 * KIB, 0, false},
          {64 * KIB, 64 * KIB, 0, true},
          {128 * KIB, 896 * KIB, 0, false}}},
        {"neighbours on both sides become one",
         MIB,
         1,
         1,
         {{0, 2 * MIB, 512 * KIB}, {512 * KIB, 2 * MIB + 512 * KIB, 512 * KIB}},
         {{0, MIB, 2 * MIB, true}}},
        {"a single byte has neighbours too",
         MIB,
         1,
         1,
         {{0, 2 * MIB, 1}, {1, 2 * MIB + 1, MIB - 1}},
         {{0, MIB, 2 * MIB, true}}},
        {"neighbours in the disk only stay two",
         MIB,
         2,
         2,
         {{0, 2 * MIB, 512 * KIB}, {512 * KIB, MIB, 512 * KIB}},
         {{0, 512 * KIB, 2 * MIB, true}, {512 * KIB, 512 * KIB, MIB, true}}},
        {"neighbours on the partition only stay two",
         MIB,
         2,
         3,
         {{0, 0, 256 * KIB}, {512 * KIB, 256 * KIB, 512 * KIB}},
         {{0, 256 * KIB, 0, true},
          {256 * KIB, 256 * KIB, 0, false},
          {512 * KIB, 512 * KIB, 256 * KIB, true}}},
        {"the shortest goes when there is no memory for runs",
         MIB,
         2,
         6,
         {{0, 0, 8 * KIB}, {16 * KIB, MIB, 4 * KIB}, {512 * KIB, 0, 512 * KIB}},
         {{0, 8 * KIB, 0, true}, {8 * KIB, 504 * KIB, 0, false}, {512 * KIB, 512 * KIB, 0, true}}},
        {"a short one does not replace longer ones",
         MIB,
         2,
         6,
         {{0, 0, 8 * KIB}, {16 * KIB, MIB, 8 * KIB}, {512 * KIB, 0, 4 * KIB}},
         {{0, 8 * KIB, 0, true},
          {8 * KIB, 8 * KIB, 0, false},
          {16 * KIB, 8 * KIB, MIB, true},
          {24 * KIB, MIB - 24 * KIB, 0, false}}},
        {"the shortest goes when the table is too small",
         MIB,
         6,
         3,
         {{0, 0, 8 * KIB}, {16 * KIB, MIB, 4 * KIB}, {512 * KIB, 0, 512 * KIB}},
         {{0, 8 * KIB, 0, true}, {8 * KIB, 504 * KIB, 0, false}, {512 * KIB, 512 * KIB, 0, true}}},
        {"a table of one route",
         MIB,
         6,
         1,
         {{0, 0, 512 * KIB}, {768 * KIB, MIB, 256 * KIB}},
         {{0, MIB, 0, false}}},
        {"cut to grains",
         MIB,
         4,
         4,
         {{1 * KIB, 7 * KIB, 12 * KIB}},
         {{0, 4 * KIB, 0, false},
          {4 * KIB, 8 * KIB, 10 * KIB, true},
          {12 * KIB, MIB - 12 * KIB, 0, false}}},
        {"too short for a grain", MIB, 4, 4, {{1 * KIB, 1 * KIB, 6 * KIB}}, {{0, MIB, 0, false}}},
        {"ends with the disk",
         MIB - 512,
         4,
         4,
         {{512 * KIB, 0, 512 * KIB - 512}},
         {{0, 512 * KIB, 0, false}, {512 * KIB, 512 * KIB - 512, 0, true}}},
        {"a disk that ends inside a sector",
         MIB - 100,
         4,
         4,
         {{512 * KIB, 0, 512 * KIB - 100}},
         {{0, MIB - 100, 0, false}}},
        {"inside a sector of the partition", MIB, 4, 4, {{0, 100, MIB}}, {{0, MIB, 0, false}}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_route *runs = get(rows[i].max_runs), *table = get(rows[i].max);
        struct q2_routes routes;
        uint64_t straight = 99;
        size_t nb = 99, nb_want = 0;

        t_row(rows[i].name);
        q2_routes_init(&routes, runs, rows[i].max_runs, rows[i].size);
        add_runs(&routes, rows[i].runs);
        q2_routes_choose(&routes, GRAIN, 0, table, rows[i].max, &nb, &straight);
        while (nb_want < MAX_ROWS && rows[i].want[nb_want].length > 0)
            nb_want++;
        T_CHECK_U64(nb, nb_want);
        for (size_t n = 0; n < nb && n < nb_want; n++) {
            T_CHECK_U64(table[n].guest_offset, rows[i].want[n].guest_offset);
            T_CHECK_U64(table[n].length, rows[i].want[n].length);
            T_CHECK_U64(table[n].volume_offset, rows[i].want[n].volume_offset);
            T_CHECK_U64(table[n].straight, rows[i].want[n].straight);
        }
        check_table(table, nb, rows[i].max, rows[i].size, GRAIN, straight);
        free(runs);
        free(table);
    }
    t_row("");
}

static void test_routes_add_refuses_what_is_no_run(void)
{
    static const struct {
        const char *name;
        struct run run;
    } rows[] = {
        {"empty", {512 * KIB, 0, 0}},
        {"before the last one", {0, 0, 4 * KIB}},
        {"overlaps the last one", {64 * KIB, 0, 128 * KIB}},
        {"ends after the disk", {512 * KIB, 0, 512 * KIB + 1}},
        {"begins after the disk", {MIB + 1, 0, 1}},
        {"wraps in the disk", {512 * KIB, 0, UINT64_MAX}},
        {"begins at the end of numbers", {UINT64_MAX, 0, UINT64_MAX}},
        {"wraps on the partition", {512 * KIB, UINT64_MAX - 4 * KIB, 8 * KIB}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_route runs[2], table[3];
        struct q2_routes routes;
        uint64_t straight;
        size_t nb;

        t_row(rows[i].name);
        q2_routes_init(&routes, runs, 2, MIB);
        T_CHECK_U64(q2_routes_add(&routes, 64 * KIB, MIB, 64 * KIB), Q2_OK);
        T_CHECK_U64(q2_routes_add(&routes, rows[i].run.guest_offset, rows[i].run.volume_offset,
                                  rows[i].run.length),
                    Q2_ERR_ARGUMENT);
        q2_routes_choose(&routes, GRAIN, 0, table, 3, &nb, &straight);
        T_CHECK_U64(nb, 3);
        T_CHECK_U64(straight, 64 * KIB);
        T_CHECK_U64(q2_routes_add(&routes, 512 * KIB, 0, 4 * KIB), Q2_ERR_ARGUMENT);
    }
    t_row("");
}

/* Memory is full, and an older table goes straight up to the disk's end: another choice has the
 * same runs. */
static void test_routes_choose_again_forgets_nothing(void)
{
    const struct q2_route keep[] = {
        {.guest_offset = 0, .length = 512 * KIB},
        {.guest_offset = 512 * KIB, .length = 512 * KIB, .straight = true},
    };
    struct q2_route runs[2], table[5];
    struct q2_routes routes;

    q2_routes_init(&routes, runs, 2, MIB);
    q2_routes_keep(&routes, keep, 2);
    T_CHECK_U64(q2_routes_add(&routes, 64 * KIB, 0, 64 * KIB), Q2_OK);
    T_CHECK_U64(q2_routes_add(&routes, 512 * KIB, 0, 256 * KIB), Q2_OK);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t straight;
        size_t nb;

        q2_routes_choose(&routes, GRAIN, 0, table, 5, &nb, &straight);
        T_CHECK_U64(nb, 5);
        T_CHECK_U64(straight, 320 * KIB);
    }
}

static void test_routes_choose_again_is_coarser(void)
{
    struct q2_route runs[4], table[5];
    struct q2_routes routes;
    uint64_t straight;
    size_t nb;

    q2_routes_init(&routes, runs, 4, MIB);
    T_CHECK_U64(q2_routes_add(&routes, 512, 512, 64 * KIB), Q2_OK);
    T_CHECK_U64(q2_routes_add(&routes, 512 * KIB, 0, 512 * KIB), Q2_OK);
    q2_routes_choose(&routes, 512, 0, table, 5, &nb, &straight);
    T_CHECK_U64(straight, 576 * KIB);
    q2_routes_choose(&routes, GRAIN, 0, table, 5, &nb, &straight);
    T_CHECK_U64(straight, 572 * KIB);
    q2_routes_choose(&routes, GRAIN, 0, table, 2, &nb, &straight);
    T_CHECK_U64(straight, 512 * KIB);
    check_table(table, nb, 2, MIB, GRAIN, straight);
}

/* A table of runs; its memory is the caller's. */
static size_t make_table(const struct run *runs, struct q2_route *table)
{
    struct q2_route memory[MAX_ROWS];
    struct q2_routes routes;
    uint64_t straight;
    size_t nb;

    q2_routes_init(&routes, memory, MAX_ROWS, MIB);
    add_runs(&routes, runs);
    q2_routes_choose(&routes, GRAIN, 0, table, 2 * MAX_ROWS, &nb, &straight);
    return nb;
}

static void test_routes_include_all_of_another_table(void)
{
    static const struct {
        const char *name;
        struct run runs[MAX_ROWS], other[MAX_ROWS];
        bool want;
    } rows[] = {
        {"nothing", {{0}}, {{0}}, true},
        {"something and nothing", {{0, 0, MIB}}, {{0}}, true},
        {"nothing and something", {{0}}, {{0, 0, MIB}}, false},
        {"the same",
         {{64 * KIB, 0, 64 * KIB}, {256 * KIB, MIB, 64 * KIB}},
         {{64 * KIB, 0, 64 * KIB}, {256 * KIB, MIB, 64 * KIB}},
         true},
        {"longer on both sides",
         {{32 * KIB, 0, 128 * KIB}},
         {{64 * KIB, 32 * KIB, 64 * KIB}},
         true},
        {"elsewhere on the partition",
         {{32 * KIB, 0, 128 * KIB}},
         {{64 * KIB, 36 * KIB, 64 * KIB}},
         false},
        {"its beginning is missing",
         {{68 * KIB, 4 * KIB, 60 * KIB}},
         {{64 * KIB, 0, 64 * KIB}},
         false},
        {"its end is missing", {{64 * KIB, 0, 60 * KIB}}, {{64 * KIB, 0, 64 * KIB}}, false},
        {"the last one is missing",
         {{64 * KIB, 0, 64 * KIB}, {256 * KIB, MIB, 64 * KIB}},
         {{64 * KIB, 0, 64 * KIB}, {512 * KIB, 2 * MIB, 64 * KIB}},
         false},
        {"more, between and behind",
         {{0, 0, 4 * KIB}, {64 * KIB, 0, 64 * KIB}, {256 * KIB, MIB, 768 * KIB}},
         {{64 * KIB, 0, 64 * KIB}, {512 * KIB, MIB + 256 * KIB, 64 * KIB}},
         true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_route table[2 * MAX_ROWS], other[2 * MAX_ROWS];
        size_t nb = make_table(rows[i].runs, table), nb_other = make_table(rows[i].other, other);

        t_row(rows[i].name);
        T_CHECK(q2_routes_include(table, nb, other, nb_other) == rows[i].want);
    }
    t_row("no disk");
    T_CHECK(q2_routes_include(NULL, 0, NULL, 0));
    t_row("");
}

static void test_routes_shorter_than_the_least_are_served(void)
{
    struct q2_route runs[4], table[7];
    struct q2_routes routes;
    uint64_t straight;
    size_t nb;

    q2_routes_init(&routes, runs, 4, MIB);
    T_CHECK_U64(q2_routes_add(&routes, 0, MIB, 64 * KIB - 4 * KIB), Q2_OK);
    T_CHECK_U64(q2_routes_add(&routes, 128 * KIB, MIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(q2_routes_add(&routes, 256 * KIB + 512, MIB, 64 * KIB), Q2_OK); /* less when cut */
    q2_routes_choose(&routes, GRAIN, 64 * KIB, table, 7, &nb, &straight);
    T_CHECK_U64(straight, 64 * KIB);
    T_CHECK_U64(nb, 3);
    T_CHECK_U64(table[1].guest_offset, 128 * KIB);
}

/* Which runs are left when there is memory for two, and when the table has room for two. */
static void test_routes_kept_ones_are_forgotten_last(void)
{
    static const struct {
        const char *name;
        struct run keep[MAX_ROWS], runs[MAX_ROWS], want[2];
    } rows[] = {
        {"nothing is kept",
         {{0}},
         {{0, 0, 8 * KIB}, {64 * KIB, 0, 16 * KIB}, {256 * KIB, 0, 32 * KIB}},
         {{64 * KIB, 0, 16 * KIB}, {256 * KIB, 0, 32 * KIB}}},
        {"the first",
         {{0, 0, 8 * KIB}},
         {{0, 0, 8 * KIB}, {64 * KIB, 0, 16 * KIB}, {256 * KIB, 0, 32 * KIB}},
         {{0, 0, 8 * KIB}, {256 * KIB, 0, 32 * KIB}}},
        {"the last",
         {{256 * KIB, 0, 4 * KIB}},
         {{0, 0, 16 * KIB}, {64 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 4 * KIB}},
         {{64 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 4 * KIB}}},
        {"it is a part of a run",
         {{64 * KIB, 4 * KIB, 4 * KIB}},
         {{60 * KIB, 0, 12 * KIB}, {128 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 16 * KIB}},
         {{60 * KIB, 0, 12 * KIB}, {128 * KIB, 0, 32 * KIB}}},
        {"a run is a part of it",
         {{60 * KIB, 0, 8 * KIB}},
         {{64 * KIB, 4 * KIB, 8 * KIB}, {128 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 16 * KIB}},
         {{64 * KIB, 4 * KIB, 8 * KIB}, {128 * KIB, 0, 32 * KIB}}},
        {"it ends where the run begins, or begins where it ends",
         {{0, 0, 64 * KIB}, {72 * KIB, 0, 4 * KIB}},
         {{64 * KIB, 0, 8 * KIB}, {128 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 16 * KIB}},
         {{128 * KIB, 0, 32 * KIB}, {256 * KIB, 0, 16 * KIB}}},
        {"more than there is room for: the shortest of them",
         {{0, 0, 16 * KIB}, {64 * KIB, 0, 4 * KIB}, {256 * KIB, 0, 8 * KIB}},
         {{0, 0, 16 * KIB}, {64 * KIB, 0, 4 * KIB}, {256 * KIB, 0, 8 * KIB}},
         {{0, 0, 16 * KIB}, {256 * KIB, 0, 8 * KIB}}},
    };

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        const struct run *want = rows[i / 2].want, *runs = rows[i / 2].runs;
        bool little_memory = i % 2 == 0;
        struct q2_route keep[2 * MAX_ROWS], memory[MAX_ROWS], table[2 * MAX_ROWS];
        size_t nb_keep = make_table(rows[i / 2].keep, keep), nb, n = 0;
        size_t max = little_memory ? 2 * MAX_ROWS : 4 + (want[0].guest_offset > 0);
        struct q2_routes routes;
        uint64_t straight;

        t_row(rows[i / 2].name);
        q2_routes_init(&routes, memory, little_memory ? 2 : MAX_ROWS, MIB);
        q2_routes_keep(&routes, keep, nb_keep);
        add_runs(&routes, runs);
        q2_routes_choose(&routes, GRAIN, 0, table, max, &nb, &straight);
        T_CHECK_U64(straight, want[0].length + want[1].length);
        for (size_t at = 0; at < nb; at++) {
            if (!table[at].straight || n == 2)
                continue;
            T_CHECK_U64(table[at].guest_offset, want[n].guest_offset);
            T_CHECK_U64(table[at].length, want[n++].length);
        }
    }
    t_row("");
}

/* ---- Anything ---- */

static uint64_t dice_state;

static uint64_t dice(uint64_t limit)
{
    dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
    return (dice_state >> 24) % limit;
}

/* Numbers of every size, and often near a limit. */
static uint64_t hostile_number(uint64_t near)
{
    switch (dice(5)) {
    case 0:
        return near + dice(3) - 1;
    case 1:
        return UINT64_MAX - dice(3);
    case 2:
        return dice(UINT64_MAX) >> dice(64);
    default:
        return dice(near / 512 + 1) * 512;
    }
}

/* What was added, as it was. */
struct added {
    struct run runs[MAX_RUNS];
    size_t nb;
};

/* Is each straight route inside what was added, at the same distance from its place? */
static void check_origin(const struct added *added, const struct q2_route *table, size_t nb)
{
    for (size_t i = 0; i < nb; i++) {
        uint64_t at = table[i].guest_offset, left = table[i].straight ? table[i].length : 0;

        for (size_t n = 0; n < added->nb && left > 0; n++) {
            const struct run *run = &added->runs[n];
            uint64_t skip = at - run->guest_offset, here;

            if (at < run->guest_offset || skip >= run->length)
                continue;
            T_CHECK_U64(table[i].volume_offset + (at - table[i].guest_offset),
                        run->volume_offset + skip);
            here = q2_min_u64(left, run->length - skip);
            at += here;
            left -= here;
        }
        T_CHECK_U64(left, 0);
    }
}

/* The answer for a range, by looking at every route. */
static bool is_served(const struct q2_route *table, size_t nb, uint64_t size, uint64_t offset,
                      uint64_t length)
{
    if (length == 0 || !q2_range_fits(offset, length, size))
        return false;
    for (size_t i = 0; i < nb; i++) {
        if (table[i].straight &&
            q2_ranges_overlap(offset, length, table[i].guest_offset, table[i].length))
            return false;
    }
    return true;
}

/* q2_routes_reach() by looking at every route. */
static void check_reach(const struct q2_route *table, size_t nb, uint64_t offset, uint64_t length)
{
    uint64_t want = 0;
    bool straight = false, want_straight = false;

    for (size_t i = 0; i < nb; i++) {
        uint64_t skip = offset - table[i].guest_offset;

        if (offset < table[i].guest_offset || skip >= table[i].length)
            continue;
        want = length < table[i].length - skip ? length : table[i].length - skip;
        want_straight = table[i].straight;
    }
    T_CHECK_U64(q2_routes_reach(table, nb, offset, length, &straight), want);
    T_CHECK(straight == want_straight);
}

static void check_served(const struct q2_route *table, size_t nb, uint64_t size)
{
    for (int i = 0; i < 50; i++) {
        uint64_t offset = hostile_number(size), length = hostile_number(size);

        if (nb > 0 && dice(2) == 0) { /* near a border */
            const struct q2_route *route = &table[dice(nb)];

            offset = route->guest_offset + dice(3) - 1;
            length = route->length + dice(3) - 1;
        }
        T_CHECK(q2_routes_served(table, nb, offset, length) ==
                is_served(table, nb, size, offset, length));
        check_reach(table, nb, offset, length | 1);
    }
}

static void add_anything(struct q2_routes *routes, struct added *added, uint64_t size)
{
    uint64_t at = 0;
    size_t nb = (size_t)dice(MAX_RUNS);

    added->nb = 0;
    for (size_t i = 0; i < nb; i++) {
        struct run run = {hostile_number(size), hostile_number(size), hostile_number(size)};

        if (dice(4) != 0) { /* likely to be one */
            run.guest_offset = at + dice(4) * 512;
            run.length = (dice(64) + 1) * 512;
            run.volume_offset = dice(2) ? dice(size) : run.guest_offset;
        }
        if (q2_routes_add(routes, run.guest_offset, run.volume_offset, run.length) != Q2_OK)
            continue;
        at = run.guest_offset + run.length;
        added->runs[added->nb++] = run;
    }
}

static void test_routes_survive_anything(void)
{
    static struct added added;

    for (uint64_t seed = 0; seed < NB_HOSTILE; seed++) {
        uint64_t size, straight, grain = 512ull << dice(6);
        size_t max_runs, max, nb;
        struct q2_route *runs, *table;
        struct q2_routes routes;

        dice_state = seed;
        size = dice(4) == 0 ? hostile_number(MIB) : dice(4000) * 512;
        max_runs = (size_t)dice(MAX_RUNS) + 1;
        max = (size_t)dice(2 * MAX_RUNS) + 1;
        runs = get(max_runs);
        table = get(max);
        q2_routes_init(&routes, runs, max_runs, size);
        add_anything(&routes, &added, size / 2 + 1);
        q2_routes_choose(&routes, grain, 0, table, max, &nb, &straight);
        check_table(table, nb, max, size, grain, straight);
        check_origin(&added, table, nb);
        check_served(table, nb, size);
        free(runs);
        free(table);
    }
}

int main(void)
{
    T_RUN(test_routes_choose_tables);
    T_RUN(test_routes_add_refuses_what_is_no_run);
    T_RUN(test_routes_choose_again_forgets_nothing);
    T_RUN(test_routes_choose_again_is_coarser);
    T_RUN(test_routes_include_all_of_another_table);
    T_RUN(test_routes_shorter_than_the_least_are_served);
    T_RUN(test_routes_kept_ones_are_forgotten_last);
    T_RUN(test_routes_survive_anything);
    return t_done();
}
