/* core/slice_cache.c: hits, misses, replacement, runs, failures. */
#include <stdlib.h>

#include "../../core/slice_cache.h"
#include "fake_source.h"
#include "t.h"

#define SLICE    Q2_SLICE_SIZE
#define ROUND    Q2_SLICE_SETS
#define NB_BYTES (40u * ROUND * SLICE)

/* The cache is large: one for all cases, made anew by setup(). */
static struct q2_slice_cache cache;
static struct q2_windows windows;
static uint8_t *bytes;
static struct fake_source fake;

static void setup(uint64_t size)
{
    q2_windows_clear(&windows);
    memset(&cache, 0xa7, sizeof(cache));
    q2_slice_cache_init(&cache, &windows);
    fake_source_init(&fake, "a", bytes, size);
}

static uint8_t byte_of(uint64_t offset)
{
    return (uint8_t)(offset ^ offset >> 8 ^ offset >> 16);
}

/* Get one byte; true if it is the right one. */
static bool good(struct fake_source *source, uint64_t offset)
{
    const uint8_t *at;
    size_t length;

    if (q2_slice_get(&cache, &source->source, offset, &at, &length) != Q2_OK)
        return false;
    return *at == byte_of(offset) && length >= 1;
}

static void test_slice_get_gives_the_rest_of_the_slice(void)
{
    const uint8_t *at;
    size_t length;

    setup(3 * SLICE + 100);
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, SLICE + 5, &at, &length), Q2_OK);
    T_CHECK_U64(length, SLICE - 5);
    T_CHECK(*at == byte_of(SLICE + 5) && at[length - 1] == byte_of(2 * SLICE - 1));
    T_CHECK_U64(fake.nb_reads, 1);
    T_CHECK(fake.log[0].offset == SLICE && fake.log[0].length == SLICE);
    t_row("the file's end");
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, 3 * SLICE + 99, &at, &length), Q2_OK);
    T_CHECK_U64(length, 1);
    t_row("past it");
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, 3 * SLICE + 100, &at, &length),
                Q2_ERR_TRUNCATED);
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, UINT64_MAX, &at, &length), Q2_ERR_TRUNCATED);
}

static void test_slice_get_second_time_reads_nothing(void)
{
    setup(NB_BYTES);
    T_CHECK(good(&fake, 0) && good(&fake, SLICE - 1) && good(&fake, 77));
    T_CHECK_U64(fake.nb_reads, 1);
}

static void test_slice_get_two_sources_are_kept_apart(void)
{
    static const uint8_t others[SLICE] = {99};
    struct fake_source other;
    const uint8_t *at;
    size_t length;

    setup(NB_BYTES);
    fake_source_init(&other, "b", others, sizeof(others));
    T_CHECK(good(&fake, 0));
    T_CHECK_U64(q2_slice_get(&cache, &other.source, 0, &at, &length), Q2_OK);
    T_CHECK_U64(*at, 99);
    T_CHECK(good(&fake, 0));
    T_CHECK_U64(fake.nb_reads, 1);
}

static void test_slice_get_replaces_the_least_recently_used(void)
{
    setup(NB_BYTES);
    /* Fill set 0, then use its first slice again. */
    for (uint64_t i = 0; i < Q2_SLICE_WAYS; i++)
        T_CHECK(good(&fake, i * ROUND * SLICE));
    T_CHECK(good(&fake, 0));
    T_CHECK(good(&fake, Q2_SLICE_WAYS * ROUND * SLICE));
    fake_source_reset(&fake);
    t_row("used again: stays");
    T_CHECK(good(&fake, 0));
    T_CHECK_U64(fake.nb_reads, 0);
    t_row("oldest: gone");
    T_CHECK(good(&fake, 1ull * ROUND * SLICE));
    T_CHECK_U64(fake.nb_reads, 1);
}

static void test_slice_get_sequence_is_fetched_in_rounds(void)
{
    setup(NB_BYTES);
    for (uint64_t i = 0; i < 3 * ROUND; i++)
        T_CHECK(good(&fake, i * SLICE));
    /* The first alone, the rest of its round, then two rounds. */
    T_CHECK_U64(fake.nb_reads, 4);
    T_CHECK_U64(fake.log[0].length, SLICE);
    T_CHECK_U64(fake.log[1].length, (ROUND - 1) * SLICE);
    T_CHECK_U64(fake.log[2].length, ROUND * SLICE);
    T_CHECK_U64(fake.log[3].length, ROUND * SLICE);
}

static void test_slice_get_sequence_stops_at_what_is_cached(void)
{
    setup(NB_BYTES);
    T_CHECK(good(&fake, 5 * SLICE));
    T_CHECK(good(&fake, 0) && good(&fake, SLICE));
    T_CHECK_U64(fake.log[2].offset, SLICE);
    T_CHECK_U64(fake.log[2].length, 4 * SLICE);
}

static void test_slice_get_sequence_ends_with_the_file(void)
{
    setup(3 * SLICE + 7);
    T_CHECK(good(&fake, 0) && good(&fake, SLICE) && good(&fake, 3 * SLICE + 6));
    T_CHECK_U64(fake.nb_reads, 2);
    T_CHECK_U64(fake.log[1].length, 2 * SLICE + 7);
    T_CHECK(!good(&fake, 3 * SLICE + 7));
}

static void test_slice_get_failed_read_leaves_nothing(void)
{
    const uint8_t *at;
    size_t length;

    setup(NB_BYTES);
    fake.fail_call = 1;
    fake.fail_status = Q2_ERR_NO_MEDIA;
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, 0, &at, &length), Q2_ERR_NO_MEDIA);
    T_CHECK(good(&fake, 0));
    T_CHECK_U64(fake.nb_reads, 2);
}

/* A bad sector behind the slice must not take the slice along (hazard F3: the rest reads). */
static void test_slice_get_bad_sector_in_the_run_spares_the_slice(void)
{
    const uint8_t *at;
    size_t length;

    setup(NB_BYTES);
    fake.bad_start = 3 * SLICE + 512;
    fake.bad_end = 3 * SLICE + 1024;
    T_CHECK(good(&fake, 0) && good(&fake, SLICE) && good(&fake, 2 * SLICE));
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, 3 * SLICE, &at, &length), Q2_ERR_IO);
    T_CHECK(good(&fake, 4 * SLICE) && good(&fake, 5 * SLICE));
}

static void test_slice_get_window_is_used(void)
{
    const uint8_t *at;

    setup(NB_BYTES);
    q2_windows_view(&windows, &fake.source, 0, 512, &at);
    q2_windows_view(&windows, &fake.source, 512, 512, &at);
    T_CHECK(at != NULL);
    fake_source_reset(&fake);
    T_CHECK(good(&fake, SLICE) && good(&fake, 2 * SLICE));
    T_CHECK_U64(fake.nb_reads, 0);
}

static void test_slice_get_grown_file_is_read_again(void)
{
    setup(SLICE + 10);
    T_CHECK(good(&fake, SLICE + 9) && !good(&fake, SLICE + 10));
    fake.source.size = SLICE + 20;
    fake.nb_held = SLICE + 20;
    T_CHECK(good(&fake, SLICE + 19) && good(&fake, SLICE + 9));
}

static void test_slice_read_across_slices(void)
{
    static uint8_t buffer[3 * SLICE];

    setup(NB_BYTES);
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, SLICE - 3, buffer, 2 * SLICE + 6), Q2_OK);
    for (uint64_t i = 0; i < 2 * SLICE + 6; i++)
        T_CHECK(buffer[i] == byte_of(SLICE - 3 + i));
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, 5, buffer, 0), Q2_OK);
}

static void test_slice_read_outside_the_file_reads_nothing(void)
{
    uint8_t buffer[16];

    setup(SLICE);
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, SLICE - 8, buffer, 9), Q2_ERR_TRUNCATED);
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, UINT64_MAX, buffer, 2), Q2_ERR_TRUNCATED);
    T_CHECK_U64(fake.nb_reads, 0);
}

static void test_slice_read_failure_in_the_second_slice(void)
{
    uint8_t buffer[16];

    setup(NB_BYTES);
    fake.bad_start = SLICE;
    fake.bad_end = SLICE + 1;
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, SLICE - 8, buffer, 16), Q2_ERR_IO);
    T_CHECK_U64(q2_slice_read(&cache, &fake.source, SLICE - 8, buffer, 8), Q2_OK);
}

int main(void)
{
    bytes = malloc(NB_BYTES);
    for (uint64_t i = 0; bytes && i < NB_BYTES; i++)
        bytes[i] = byte_of(i);
    T_RUN(test_slice_get_gives_the_rest_of_the_slice);
    T_RUN(test_slice_get_second_time_reads_nothing);
    T_RUN(test_slice_get_two_sources_are_kept_apart);
    T_RUN(test_slice_get_replaces_the_least_recently_used);
    T_RUN(test_slice_get_sequence_is_fetched_in_rounds);
    T_RUN(test_slice_get_sequence_stops_at_what_is_cached);
    T_RUN(test_slice_get_sequence_ends_with_the_file);
    T_RUN(test_slice_get_failed_read_leaves_nothing);
    T_RUN(test_slice_get_bad_sector_in_the_run_spares_the_slice);
    T_RUN(test_slice_get_window_is_used);
    T_RUN(test_slice_get_grown_file_is_read_again);
    T_RUN(test_slice_read_across_slices);
    T_RUN(test_slice_read_outside_the_file_reads_nothing);
    T_RUN(test_slice_read_failure_in_the_second_slice);
    free(bytes);
    return t_done();
}
