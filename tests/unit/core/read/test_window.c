/* core/read/window.c: read-ahead windows. */
#include <stdlib.h>

#include "core/read/window.h"
#include "tests/support/fake_source.h"
#include "tests/support/t.h"

#define KIB   1024u
#define FIRST (256u * KIB)
#define SIZE  (8u * 1024 * KIB)

static struct q2_windows windows;
static struct fake_source fake;
static uint8_t *bytes;

static void setup(uint64_t size)
{
    memset(&windows, 0xa7, sizeof(windows));
    q2_windows_clear(&windows);
    fake_source_init(&fake, "a", bytes, size);
}

/* Look, and say whether a window gave the right bytes. */
static bool seen(uint64_t offset, size_t length)
{
    const uint8_t *at = bytes;

    q2_windows_view(&windows, &fake.source, offset, length, &at);
    return at && memcmp(at, bytes + offset, length) == 0;
}

static bool joined(struct q2_source *source, uint64_t offset, size_t length)
{
    const uint8_t *at = bytes;

    q2_windows_view_table(&windows, source, offset, length, &at);
    return at && memcmp(at, bytes + offset, length) == 0;
}

static void test_windows_view_first_look_gives_nothing(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 4 * KIB));
    T_CHECK_U64(fake.nb_reads, 0);
}

static void test_windows_view_sequence_is_fetched_ahead(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 4 * KIB));
    for (uint32_t i = 1; i <= 64; i++)
        T_CHECK(seen(i * 4 * KIB, 4 * KIB));
    T_CHECK_U64(fake.nb_reads, 1);
    T_CHECK(fake.log[0].offset == 4 * KIB && fake.log[0].length == FIRST);
}

static void test_windows_view_windows_grow_to_the_limit(void)
{
    static const uint64_t lengths[] = {FIRST, 2 * FIRST, 4 * FIRST, 4 * FIRST};

    setup(SIZE);
    for (uint32_t i = 0; i < 512; i++)
        T_CHECK(seen(i * 8 * KIB, 8 * KIB) == (i != 0));
    for (size_t i = 0; i < 4; i++)
        T_CHECK_U64(fake.log[i].length, lengths[i]);
}

static void test_windows_view_large_requests_stand_alone(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 128 * KIB + 1) && !seen(128 * KIB + 1, 128 * KIB + 1));
    T_CHECK_U64(fake.nb_reads, 0);
    t_row("just small enough");
    T_CHECK(!seen(0, 128 * KIB) && seen(128 * KIB, 128 * KIB));
    t_row("large, but held");
    T_CHECK(seen(128 * KIB, 200 * KIB));
    t_row("large, but held by the second window");
    setup(SIZE);
    T_CHECK(!seen(4096 * KIB, 512) && !seen(0, 512) && seen(512, 512));
    T_CHECK(seen(512, 200 * KIB));
    T_CHECK_U64(fake.nb_reads, 1);
}

static void test_windows_view_gap(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 512) && seen(512 + 64 * KIB, 512));
    setup(SIZE);
    t_row("one too far");
    T_CHECK(!seen(0, 512) && !seen(512 + 64 * KIB + 1, 512));
    t_row("backwards");
    T_CHECK(!seen(0, 512));
    T_CHECK_U64(fake.nb_reads, 0);
}

static void test_windows_view_ends_with_the_file(void)
{
    setup(100 * KIB);
    T_CHECK(!seen(0, 512) && seen(512, 512) && seen(100 * KIB - 1, 1));
    T_CHECK_U64(fake.nb_reads, 1);
    T_CHECK_U64(fake.log[0].length, 100 * KIB - 512);
}

static void test_windows_view_failed_fetch_gives_nothing(void)
{
    setup(SIZE);
    fake.fail_call = 1;
    T_CHECK(!seen(0, 512) && !seen(512, 512));
    t_row("the next one may work");
    T_CHECK(seen(1024, 512));
}

/* Four streams at once; a fifth takes the place of the one not used for longest. */
static void test_windows_view_streams_are_followed_apart(void)
{
    setup(SIZE);
    for (uint64_t i = 0; i < Q2_NB_WINDOWS; i++)
        T_CHECK(!seen(i * 1024 * KIB, 512));
    for (uint64_t i = 0; i < Q2_NB_WINDOWS; i++)
        T_CHECK(seen(i * 1024 * KIB + 512, 512));
    T_CHECK(seen(1024, 512));
    T_CHECK(!seen(6 * 1024 * KIB, 512));
    t_row("the one used last stays");
    T_CHECK(seen(1536, 512));
    t_row("the oldest is gone");
    T_CHECK(!seen(1024 * KIB + 1024, 512));
}

static void test_windows_view_other_source_sees_nothing(void)
{
    struct fake_source other;

    setup(SIZE);
    fake_source_init(&other, "b", bytes, SIZE);
    T_CHECK(!seen(0, 512) && seen(512, 512));
    T_CHECK(!joined(&other.source, 1024, 512));
}

static void test_windows_join_begins_no_stream(void)
{
    setup(SIZE);
    T_CHECK(!joined(&fake.source, 0, 512) && !joined(&fake.source, 512, 512));
    T_CHECK_U64(fake.nb_reads, 0);
    T_CHECK(!seen(512, 512));
    t_row("but goes on with one");
    T_CHECK(joined(&fake.source, 4096, 4096));
    T_CHECK(fake.nb_reads == 1 && fake.log[0].offset == 1024);
    t_row("and the data after");
    T_CHECK(seen(8192, 512));
    T_CHECK_U64(fake.nb_reads, 1);
}

/* Where a table is the first thing after a window, that window stays: the data before the table is
 * read after it was looked up. */
static void test_windows_join_keeps_the_window_before(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 512) && seen(512, 512) && seen(FIRST - 4096, 4096));
    T_CHECK(joined(&fake.source, 512 + FIRST, 512));
    T_CHECK_U64(fake.nb_reads, 2);
    T_CHECK(fake.log[1].length == 2 * FIRST);
    T_CHECK(seen(512 + FIRST - 4096, 4096) && seen(1024 + FIRST, 4096));
    T_CHECK_U64(fake.nb_reads, 2);
    t_row("one stream, not two");
    T_CHECK(seen(512 + 3 * FIRST - 4096, 4096) && seen(512 + 3 * FIRST, 4096));
    T_CHECK_U64(fake.nb_reads, 3);
    t_row("a fetch that fails");
    setup(SIZE);
    fake.fail_call = 2;
    T_CHECK(!seen(0, 512) && seen(512, 512) && seen(FIRST - 4096, 4096));
    T_CHECK(!joined(&fake.source, 512 + FIRST, 512));
    T_CHECK(seen(1024, 512));
}

/* What begins in one window and ends after it is wanted in one piece: from a new one. */
static void test_windows_view_over_the_end_of_a_window(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 512) && seen(512, 512) && seen(FIRST - 8192, 8192));
    T_CHECK(seen(FIRST - 100, 4096));
    T_CHECK(fake.nb_reads == 2 && fake.log[1].offset == FIRST - 512);
}

static bool reads(uint64_t offset, size_t length)
{
    static uint8_t buffer[256 * KIB];

    return q2_windows_read(&windows, &fake.source, offset, buffer, length) == Q2_OK &&
           memcmp(buffer, bytes + offset, length) == 0;
}

/* A request over the end of a window takes its beginning from there. */
static void test_windows_read_over_the_end_of_a_window(void)
{
    setup(SIZE);
    T_CHECK(reads(0, 512) && reads(512, 512) && reads(FIRST - 8192, 4096));
    T_CHECK_U64(fake.nb_reads, 2);
    T_CHECK(reads(FIRST - 2048, 4096));
    T_CHECK_U64(fake.nb_reads, 3);
    T_CHECK_U64(fake.log[2].offset, 512 + FIRST);
    T_CHECK(reads(FIRST + 2048, 4096));
    T_CHECK_U64(fake.nb_reads, 3);
    t_row("a large one stands alone");
    T_CHECK(reads(512 + 3 * FIRST - 4096, 200 * KIB));
    T_CHECK(fake.nb_reads == 4 && fake.log[3].length == 200 * KIB);
    t_row("its rest in the next window");
    setup(SIZE);
    T_CHECK(reads(0, 512) && reads(512, 512) && reads(FIRST - 4096, 4096));
    T_CHECK(joined(&fake.source, 512 + FIRST, 512));
    T_CHECK_U64(fake.nb_reads, 3);
    T_CHECK(reads(512 + FIRST - 1024, 4096));
    T_CHECK_U64(fake.nb_reads, 3);
}

/* A table a little after the end of a window: what is between them is fetched with it, since the
 * data of the stream is read next. */
static void test_windows_join_fetches_what_is_before_it(void)
{
    setup(SIZE);
    T_CHECK(reads(0, 512) && reads(512, 512) && reads(FIRST - 4096, 4096));
    T_CHECK(joined(&fake.source, 512 + FIRST + 4096, 512));
    T_CHECK_U64(fake.log[2].offset, 512 + FIRST);
    T_CHECK(reads(FIRST, 4096));
    T_CHECK_U64(fake.nb_reads, 3);
}

/* A compressed stream is asked for to the end of the sector in which the next one begins. */
static void test_windows_view_streams_share_a_sector(void)
{
    setup(SIZE);
    T_CHECK(!seen(0, 4096) && seen(4096 - 511, 4096));
    T_CHECK(fake.nb_reads == 1 && fake.log[0].offset == 4096 - 512);
    setup(SIZE);
    t_row("a whole sector back");
    T_CHECK(!seen(0, 4096) && !seen(4096 - 512, 4096));
    T_CHECK_U64(fake.nb_reads, 0);
}

static void test_windows_forget_table(void)
{
    static const struct {
        const char *row;
        uint64_t offset, length;
        bool stays;
    } rows[] = {
        {"before", 0, 512, true},          {"first byte", 0, 513, false},
        {"inside", 4096, 1, false},        {"last byte", 512 + FIRST - 1, 100, false},
        {"after", 512 + FIRST, 100, true}, {"nothing", 4096, 0, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setup(SIZE);
        t_row(rows[i].row);
        T_CHECK(!seen(0, 512) && seen(512, 512));
        q2_windows_forget(&windows, &fake.source, rows[i].offset, rows[i].length);
        fake.nb_reads = 0;
        T_CHECK(seen(4096, 1) && fake.nb_reads == (rows[i].stays ? 0 : 1));
    }
}

static void test_windows_forget_other_source_keeps_ours(void)
{
    struct fake_source other;

    setup(SIZE);
    fake_source_init(&other, "b", bytes, SIZE);
    T_CHECK(!seen(0, 512) && seen(512, 512));
    q2_windows_forget(&windows, &other.source, 0, SIZE);
    fake.nb_reads = 0;
    T_CHECK(seen(4096, 1) && fake.nb_reads == 0);
}

int main(void)
{
    bytes = malloc(SIZE);
    for (uint64_t i = 0; bytes && i < SIZE; i++)
        bytes[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
    T_RUN(test_windows_view_first_look_gives_nothing);
    T_RUN(test_windows_view_sequence_is_fetched_ahead);
    T_RUN(test_windows_view_windows_grow_to_the_limit);
    T_RUN(test_windows_view_large_requests_stand_alone);
    T_RUN(test_windows_view_gap);
    T_RUN(test_windows_view_ends_with_the_file);
    T_RUN(test_windows_view_failed_fetch_gives_nothing);
    T_RUN(test_windows_view_streams_are_followed_apart);
    T_RUN(test_windows_view_other_source_sees_nothing);
    T_RUN(test_windows_join_begins_no_stream);
    T_RUN(test_windows_join_keeps_the_window_before);
    T_RUN(test_windows_view_over_the_end_of_a_window);
    T_RUN(test_windows_read_over_the_end_of_a_window);
    T_RUN(test_windows_join_fetches_what_is_before_it);
    T_RUN(test_windows_view_streams_share_a_sector);
    T_RUN(test_windows_forget_table);
    T_RUN(test_windows_forget_other_source_keeps_ours);
    free(bytes);
    return t_done();
}
