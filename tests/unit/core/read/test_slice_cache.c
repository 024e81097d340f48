/* core/read/slice_cache.c: hits, misses, replacement, runs, failures. */
#include <stdlib.h>

#include "core/read/slice_cache.h"
#include "tests/support/fake_source.h"
#include "tests/support/t.h"
#include "core/write/slice_write.h"

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

/* What was in the memory before is no way to look at. */
static void test_slice_cache_init_has_ways_only(void)
{
    setup(NB_BYTES);
    for (uint32_t i = 0; i < Q2_SLICE_HINTS; i++)
        T_CHECK(cache.recent[i] < Q2_SLICE_WAYS);
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
    t_row("what is after the end is not cached");
    fake.source.size = fake.nb_held = 8 * SLICE;
    T_CHECK(good(&fake, 5 * SLICE) && good(&fake, 3 * SLICE + 7));
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

/* A bad sector after the slice must not take the slice along (HAZARDS.md, F3: the rest reads). */
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
    t_row("a run of two");
    setup(NB_BYTES);
    fake.bad_start = (ROUND - 1) * SLICE;
    fake.bad_end = fake.bad_start + 1;
    T_CHECK(good(&fake, (ROUND - 3) * SLICE) && good(&fake, (ROUND - 2) * SLICE));
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
    size_t length;

    setup(SLICE + 10);
    T_CHECK(good(&fake, SLICE + 9) && !good(&fake, SLICE + 10));
    fake.source.size = SLICE + 20;
    fake.nb_held = SLICE + 20;
    T_CHECK(!q2_slice_at_hand(&cache, &fake.source, SLICE + 10, &length));
    T_CHECK(good(&fake, SLICE + 19) && good(&fake, SLICE + 9));
}

/* ---- changed slices ---- */

static void setup_writable(uint64_t size)
{
    setup(size);
    fake_source_init_writable(&fake, "a", bytes, size, NB_BYTES);
}

static enum q2_status put(uint64_t offset, const char *text, enum q2_dirty kind)
{
    return q2_slice_put(&cache, &fake.source, offset, text, strlen(text), kind);
}

static bool holds(uint64_t offset, const char *text)
{
    char got[16] = "";

    return q2_slice_read(&cache, &fake.source, offset, got, strlen(text)) == Q2_OK &&
           strcmp(got, text) == 0;
}

static void restore(void)
{
    for (uint64_t i = 0; i < NB_BYTES; i++)
        bytes[i] = byte_of(i);
}

static void test_slice_put_waits_until_it_is_written(void)
{
    setup_writable(NB_BYTES);
    T_CHECK_U64(put(700, "refcount", Q2_DIRTY_REFCOUNT), Q2_OK);
    T_CHECK_U64(put(1500, "l2", Q2_DIRTY_L2), Q2_OK);
    T_CHECK(holds(700, "refcount") && bytes[700] == byte_of(700));
    T_CHECK(q2_slice_is_dirty(&cache, Q2_DIRTY_REFCOUNT) && q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
    T_CHECK(!q2_slice_is_dirty(&cache, Q2_DIRTY_L1));
    t_row("each kind by itself, whole sectors");
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_REFCOUNT), Q2_OK);
    T_CHECK_U64(fake.nb_writes, 1);
    T_CHECK(memcmp(bytes + 700, "refcount", 8) == 0 && bytes[1500] == byte_of(1500));
    T_CHECK(!q2_slice_is_dirty(&cache, Q2_DIRTY_REFCOUNT) &&
            q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L2), Q2_OK);
    T_CHECK(memcmp(bytes + 1500, "l2", 2) == 0);
    t_row("nothing left");
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(fake.nb_writes, 2);
    restore();
}

static void test_slice_write_neighbouring_sectors_in_one_request(void)
{
    setup_writable(SLICE + 700);
    T_CHECK_U64(put(0, "a", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(put(512, "b", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(put(2048, "c", Q2_DIRTY_L2), Q2_OK);
    t_row("the last one ends with the file");
    T_CHECK_U64(put(SLICE + 600, "d", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(fake.nb_writes, 3);
    T_CHECK(bytes[0] == 'a' && bytes[512] == 'b' && bytes[2048] == 'c' &&
            bytes[SLICE + 600] == 'd');
    restore();
}

static void test_slice_write_failure_keeps_it_waiting(void)
{
    setup_writable(NB_BYTES);
    T_CHECK_U64(put(0, "a", Q2_DIRTY_L1), Q2_OK);
    T_CHECK_U64(put(1024, "b", Q2_DIRTY_L1), Q2_OK);
    fake.fail_write = 2;
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L1), Q2_ERR_IO);
    T_CHECK(q2_slice_is_dirty(&cache, Q2_DIRTY_L1) && holds(1024, "b"));
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L1), Q2_OK);
    T_CHECK(bytes[1024] == 'b');
    restore();
}

static void test_slice_put_outside_the_file(void)
{
    setup_writable(SLICE + 4);
    T_CHECK_U64(put(SLICE + 4, "x", Q2_DIRTY_L2), Q2_ERR_TRUNCATED);
    T_CHECK_U64(put(SLICE + 2, "xyz", Q2_DIRTY_L2), Q2_ERR_TRUNCATED);
    T_CHECK(!q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
    fake.fail_call = fake.nb_reads + 1;
    T_CHECK_U64(put(0, "x", Q2_DIRTY_L2), Q2_ERR_IO);
    T_CHECK(!q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
}

/* What waits is never replaced: a set that is full of it takes nothing more. */
static void test_slice_put_full_set_is_crowded_and_then_refuses(void)
{
    setup_writable(NB_BYTES);
    for (uint64_t i = 0; i < Q2_SLICE_WAYS; i++) {
        T_CHECK(q2_slice_is_crowded(&cache) == (i >= Q2_SLICE_WAYS / 2));
        T_CHECK_U64(put(i * ROUND * SLICE, "x", Q2_DIRTY_L2), Q2_OK);
    }
    T_CHECK_U64(put(Q2_SLICE_WAYS * ROUND * SLICE, "x", Q2_DIRTY_L2), Q2_ERR_LIMIT);
    T_CHECK(!good(&fake, Q2_SLICE_WAYS * ROUND * SLICE));
    t_row("another set has room");
    T_CHECK_U64(put(SLICE, "x", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(q2_slice_write(&cache, &fake.source, Q2_DIRTY_L2), Q2_OK);
    T_CHECK(!q2_slice_is_crowded(&cache));
    T_CHECK(good(&fake, Q2_SLICE_WAYS * ROUND * SLICE));
    restore();
}

/* A run of misses goes around what waits. */
static void test_slice_get_sequence_spares_what_waits(void)
{
    setup_writable(NB_BYTES);
    /* Way 0 of set 5 waits, for a slice far away. */
    T_CHECK_U64(put((5 + 3 * ROUND) * (uint64_t)SLICE, "x", Q2_DIRTY_L2), Q2_OK);
    for (uint64_t i = 0; i < 2 * ROUND; i++)
        T_CHECK(good(&fake, i * SLICE));
    T_CHECK(holds((5 + 3 * ROUND) * (uint64_t)SLICE, "x"));
    T_CHECK(q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
}

static void test_slice_overwritten_is_seen_in_what_is_cached(void)
{
    static const uint8_t text[] = "over the border";

    setup_writable(NB_BYTES);
    T_CHECK(good(&fake, 0));
    q2_slice_cache_overwrite(&cache, &fake.source, SLICE - 4, text, 15);
    T_CHECK(holds(SLICE - 4, "over"));
    T_CHECK_U64(fake.nb_reads, 1);
    t_row("what is not cached is read from the file");
    T_CHECK(good(&fake, SLICE));
}

/* More than a round of slices, of which some are cached; each gets its part. */
static void test_slice_overwritten_by_a_large_range(void)
{
    static uint8_t text[40 * SLICE];

    memset(text, 't', sizeof(text));
    setup_writable(NB_BYTES);
    T_CHECK(good(&fake, 3 * SLICE) && good(&fake, 20 * SLICE) && good(&fake, 43 * SLICE));
    T_CHECK(good(&fake, 60 * SLICE));
    q2_slice_cache_overwrite(&cache, &fake.source, 4 * SLICE - 2, text, sizeof(text));
    T_CHECK(holds(4 * SLICE - 2, "tt") && holds(20 * SLICE, "t") && holds(43 * SLICE + 9, "t"));
    T_CHECK(good(&fake, 4 * SLICE - 3) && good(&fake, 44 * SLICE - 2) && good(&fake, 60 * SLICE));
    T_CHECK_U64(fake.nb_reads, 4);
    q2_slice_cache_overwrite(&cache, &fake.source, 3 * SLICE, text, 0);
    T_CHECK(good(&fake, 3 * SLICE));
}

/* A range over more regions than are counted: the few slices in it are asked. */
static void test_slice_overwritten_by_a_range_over_all_regions(void)
{
    uint64_t length = (Q2_SLICE_REGIONS + 1ull) << 20;
    uint8_t *text = calloc(1, length);

    if (!T_CHECK(text != NULL))
        return;
    memset(text + 3 * SLICE, 't', SLICE);
    setup_writable(NB_BYTES);
    T_CHECK(good(&fake, 3 * SLICE) && good(&fake, 20 * SLICE));
    fake.source.size = length;
    q2_slice_cache_overwrite(&cache, &fake.source, 0, text, length);
    T_CHECK(holds(3 * SLICE, "t") && holds(4 * SLICE - 2, "tt"));
    T_CHECK_U64(fake.nb_reads, 2);
    free(text);
}

/* Writes of data look at regions first: every slice is counted in the one where it is stored, also
 * when slices go and when they could not be read. */
static void test_slice_regions_count_what_is_cached(void)
{
    uint64_t random = 1;

    setup(NB_BYTES);
    fake.source.size = 3000ull << 20; /* what is after the bytes fails to be read */
    for (uint32_t i = 0; i < 4000; i++) {
        uint16_t counted[Q2_SLICE_REGIONS] = {0};
        const uint8_t *held;
        size_t length;

        random = random * 6364136223846793005u + 1442695040888963407u;
        (void)q2_slice_get(&cache, &fake.source, (random >> 33) % (3 * NB_BYTES), &held, &length);
        for (uint32_t n = 0; n < Q2_SLICE_SETS * Q2_SLICE_WAYS; n++) {
            const struct q2_slice *slice = &cache.slices[n / Q2_SLICE_WAYS][n % Q2_SLICE_WAYS];
            if (slice->source)
                counted[(slice->index >> Q2_SLICE_REGION_BITS) % Q2_SLICE_REGIONS]++;
        }
        if (memcmp(counted, cache.nb_in_region, sizeof(counted)) != 0)
            T_CHECK_U64(i, UINT32_MAX);
    }
}

static void test_slice_at_hand_reads_nothing(void)
{
    const uint8_t *at;
    size_t length;

    setup_writable(SLICE + 10);
    T_CHECK(!q2_slice_at_hand(&cache, &fake.source, 5, &length));
    T_CHECK_U64(fake.nb_reads, 0);
    T_CHECK(good(&fake, 5) && good(&fake, SLICE + 5));
    at = q2_slice_at_hand(&cache, &fake.source, 7, &length);
    T_CHECK(at && *at == byte_of(7) && length == SLICE - 7);
    at = q2_slice_at_hand(&cache, &fake.source, SLICE + 9, &length);
    T_CHECK(at && length == 1);
    T_CHECK(!q2_slice_at_hand(&cache, &fake.source, SLICE + 10, &length));
    t_row("not the one that was there last");
    T_CHECK(!q2_slice_at_hand(&cache, &fake.source, (uint64_t)Q2_SLICE_HINTS * SLICE, &length));
    t_row("where a shorter file ends");
    fake.source.size = SLICE + 5;
    T_CHECK(q2_slice_at_hand(&cache, &fake.source, SLICE + 4, &length));
    T_CHECK(!q2_slice_at_hand(&cache, &fake.source, SLICE + 5, &length));
}

static void test_slice_grown_slice_has_zeros(void)
{
    setup_writable(SLICE + 10);
    T_CHECK(good(&fake, SLICE + 9));
    T_CHECK_U64(fake.source.ops->grow(&fake.source, 2 * SLICE + 5), Q2_OK);
    q2_slice_cache_grow(&cache, &fake.source, SLICE + 10);
    fake_source_reset(&fake);
    T_CHECK(good(&fake, SLICE + 9) && holds(SLICE + 10, ""));
    T_CHECK_U64(put(SLICE + 12, "new", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(fake.nb_reads, 0);
    t_row("not cached");
    q2_slice_cache_grow(&cache, &fake.source, 20 * SLICE);
    restore();
}

/* A file that was cut inside a slice: what is cached ends where the file does. */
static void test_slice_cut_slice_ends_with_the_file(void)
{
    struct fake_source other;
    const uint8_t *at = bytes;
    size_t length = 0;

    setup(NB_BYTES);
    fake_source_init(&other, "b", bytes, NB_BYTES);
    T_CHECK(good(&fake, 0) && good(&fake, SLICE) && good(&fake, 2 * SLICE));
    T_CHECK(good(&other, SLICE));
    fake.source.size = fake.nb_held = SLICE + 10;
    q2_slice_cache_cut(&cache, &fake.source);
    fake_source_reset(&fake);
    fake_source_reset(&other);
    T_CHECK_U64(q2_slice_get(&cache, &fake.source, SLICE + 9, &at, &length), Q2_OK);
    T_CHECK(*at == byte_of(SLICE + 9) && length == 1);
    T_CHECK(!good(&fake, SLICE + 10) && !good(&fake, 2 * SLICE));
    T_CHECK(good(&fake, SLICE - 1) && good(&fake, SLICE + 9) && good(&other, 2 * SLICE - 1));
    T_CHECK_U64(fake.nb_reads + other.nb_reads, 0);
    t_row("it grows again");
    fake.source.size = fake.nb_held = 3 * SLICE;
    T_CHECK(good(&fake, SLICE + 10) && good(&fake, 2 * SLICE));
    T_CHECK_U64(fake.nb_bytes, 2 * SLICE - 10); /* what was cut off */
}

/* Whoever grew the file: what waits in its last slice is not lost. */
static void test_slice_get_grown_file_keeps_what_waits(void)
{
    setup_writable(SLICE + 10);
    T_CHECK_U64(put(SLICE, "x", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(fake.source.ops->grow(&fake.source, 2 * SLICE), Q2_OK);
    bytes[SLICE + 20] = 'n';
    T_CHECK(holds(SLICE + 20, "n") && holds(SLICE, "x"));
    T_CHECK(q2_slice_is_dirty(&cache, Q2_DIRTY_L2));
    t_row("a tail that cannot be read");
    setup_writable(SLICE + 10);
    T_CHECK_U64(put(SLICE, "x", Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(fake.source.ops->grow(&fake.source, 2 * SLICE), Q2_OK);
    fake.bad_start = SLICE + 10;
    fake.bad_end = SLICE + 11;
    T_CHECK(!holds(SLICE + 20, "n") && holds(SLICE, "x"));
    restore();
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
    T_RUN(test_slice_cache_init_has_ways_only);
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
    T_RUN(test_slice_put_waits_until_it_is_written);
    T_RUN(test_slice_write_neighbouring_sectors_in_one_request);
    T_RUN(test_slice_write_failure_keeps_it_waiting);
    T_RUN(test_slice_put_outside_the_file);
    T_RUN(test_slice_put_full_set_is_crowded_and_then_refuses);
    T_RUN(test_slice_get_sequence_spares_what_waits);
    T_RUN(test_slice_overwritten_is_seen_in_what_is_cached);
    T_RUN(test_slice_overwritten_by_a_large_range);
    T_RUN(test_slice_overwritten_by_a_range_over_all_regions);
    T_RUN(test_slice_regions_count_what_is_cached);
    T_RUN(test_slice_at_hand_reads_nothing);
    T_RUN(test_slice_grown_slice_has_zeros);
    T_RUN(test_slice_cut_slice_ends_with_the_file);
    T_RUN(test_slice_get_grown_file_keeps_what_waits);
    T_RUN(test_slice_read_across_slices);
    T_RUN(test_slice_read_outside_the_file_reads_nothing);
    T_RUN(test_slice_read_failure_in_the_second_slice);
    free(bytes);
    return t_done();
}
