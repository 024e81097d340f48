/* The contract of include/q2_source.h as tests, run against every source.
 *
 * A fixture makes sources whose content is a pattern of a seed; the suite reads, writes and grows
 * them and compares with a model in memory. Sizes are odd on purpose: no block size divides them
 * unless the fixture has to round (then it says so in size_multiple).
 */
#ifndef METALCOW_TESTS_SOURCE_SUITE_H
#define METALCOW_TESTS_SOURCE_SUITE_H

#include <stdlib.h>

#include "q2_source.h"
#include "tests/support/t.h"

#define SUITE_SIZE     (3u * 65536 + 1234)
#define SUITE_MAX_SIZE (SUITE_SIZE + 100000)

struct source_fixture {
    const char *name;
    /* Make a source that holds suite_pattern(seed, 0 .. SUITE_SIZE); slot is 0 or 1, two may be
     * open at once. */
    struct q2_source *(*open)(unsigned slot, uint32_t seed, bool writable);
    void (*close)(unsigned slot);
    uint64_t size_multiple; /* the source's size is SUITE_SIZE rounded up to it */
    bool grows;
};

static const struct source_fixture *suite_fixture;
static uint8_t *suite_model;  /* what the source must hold */
static uint8_t *suite_buffer; /* what was read; guards at both ends */

#define SUITE_GUARD 64u

static inline uint8_t suite_pattern(uint32_t seed, uint64_t offset)
{
    uint64_t x = (offset / 7 + 1) * 0x9e3779b97f4a7c15u ^ seed * 0x85ebca6bu;
    return (uint8_t)(x >> 29 ^ offset);
}

static inline uint64_t suite_size(void)
{
    uint64_t multiple = suite_fixture->size_multiple;
    return (SUITE_SIZE + multiple - 1) / multiple * multiple;
}

static inline struct q2_source *suite_open(unsigned slot, uint32_t seed, bool writable)
{
    struct q2_source *source = suite_fixture->open(slot, seed, writable);

    if (!source) {
        printf("not ok - %s: the fixture could not be made\n", suite_fixture->name);
        exit(1);
    }
    T_CHECK_U64(source->size, suite_size());
    T_CHECK(source->writable == writable);
    T_CHECK(source->path != NULL);
    T_CHECK(source->io_align != 0 && (source->io_align & (source->io_align - 1)) == 0);
    for (uint64_t i = 0; i < SUITE_MAX_SIZE; i++)
        suite_model[i] = i < suite_size() ? suite_pattern(seed, i) : 0;
    return source;
}

/* Read a range into a buffer at some alignment and compare, guards included. */
static inline void suite_read(struct q2_source *source, uint64_t offset, size_t length,
                              size_t misalign, const uint8_t *want)
{
    uint8_t *to = suite_buffer + SUITE_GUARD + misalign;
    bool guards = true;

    memset(suite_buffer, 0xa5, SUITE_MAX_SIZE + 4 * SUITE_GUARD);
    if (!T_CHECK_U64(source->ops->read_at(source, offset, to, length), Q2_OK))
        return;
    T_CHECK(memcmp(to, want, length) == 0);
    for (size_t i = 0; i < SUITE_GUARD; i++)
        guards = guards && to[-1 - (ptrdiff_t)i] == 0xa5 && to[length + i] == 0xa5;
    T_CHECK(guards);
}

static const struct {
    int64_t offset; /* < 0: from the end */
    size_t length;  /* 0: to the end */
} suite_ranges[] = {
    {0, 1},         {0, 511},     {0, 512},        {0, 513},       {0, 0},        {1, 1},
    {1, 0},         {511, 2},     {512, 512},      {512, 511},     {4095, 4098},  {4096, 8192},
    {65535, 2},     {65536, 512}, {65536, 65536},  {65000, 66000}, {131071, 300}, {-1, 1},
    {-2, 2},        {-512, 512},  {-513, 512},     {-1234, 0},     {-66000, 0},   {777, 131072},
    {131072, 4096}, {8192, 3},    {100000, 70000},
};
#define SUITE_NB_RANGES (sizeof(suite_ranges) / sizeof(suite_ranges[0]))

static inline void suite_range(const struct q2_source *source, size_t i, uint64_t *ret_offset,
                               size_t *ret_length)
{
    int64_t offset = suite_ranges[i].offset;

    *ret_offset = offset >= 0 ? (uint64_t)offset : source->size - (uint64_t)-offset;
    *ret_length =
        suite_ranges[i].length != 0 ? suite_ranges[i].length : (size_t)(source->size - *ret_offset);
}

static inline void suite_reads_are_exact(void)
{
    struct q2_source *source = suite_open(0, 1, false);

    for (size_t i = 0; i < SUITE_NB_RANGES; i++) {
        uint64_t offset;
        size_t length;
        suite_range(source, i, &offset, &length);
        for (size_t misalign = 0; misalign < 3; misalign++)
            suite_read(source, offset, length, misalign, suite_model + offset);
    }
    suite_fixture->close(0);
}

static inline void suite_every_byte_of_an_edge_reads_alone(void)
{
    struct q2_source *source = suite_open(0, 2, false);

    for (uint64_t offset = 500; offset < 530; offset++)
        suite_read(source, offset, 1, 0, suite_model + offset);
    for (uint64_t offset = source->size - 30; offset < source->size; offset++)
        suite_read(source, offset, (size_t)(source->size - offset), 1, suite_model + offset);
    suite_fixture->close(0);
}

static inline void suite_written_bytes_read_back_and_others_stay(void)
{
    struct q2_source *source = suite_open(0, 3, true);
    uint8_t *from = malloc(SUITE_MAX_SIZE);

    for (size_t i = 0; from && i < SUITE_NB_RANGES; i++) {
        uint64_t offset;
        size_t length;
        suite_range(source, i, &offset, &length);
        for (size_t k = 0; k < length; k++)
            from[k] = suite_pattern(100 + (uint32_t)i, k);
        T_CHECK_U64(source->ops->write_at(source, offset, from, length), Q2_OK);
        memcpy(suite_model + offset, from, length);
        if (i % 5 == 0)
            T_CHECK_U64(source->ops->flush(source), Q2_OK);
        suite_read(source, 0, (size_t)source->size, i % 2, suite_model);
    }
    T_CHECK_U64(source->ops->flush(source), Q2_OK);
    T_CHECK_U64(source->size, suite_size());
    free(from);
    suite_fixture->close(0);
}

static inline void suite_read_only_source_refuses_writes(void)
{
    struct q2_source *source = suite_open(0, 4, false);
    uint8_t bytes[512] = {0};

    if (source->ops->write_at) {
        T_CHECK_U64(source->ops->write_at(source, 0, bytes, 512), Q2_ERR_READ_ONLY);
        T_CHECK_U64(source->ops->write_at(source, 3, bytes, 5), Q2_ERR_READ_ONLY);
    }
    if (source->ops->grow)
        T_CHECK_U64(source->ops->grow(source, source->size + 512), Q2_ERR_READ_ONLY);
    T_CHECK_U64(source->size, suite_size());
    suite_read(source, 0, (size_t)source->size, 0, suite_model);
    suite_fixture->close(0);
}

static inline void suite_grown_bytes_are_zeros_and_can_be_written(void)
{
    struct q2_source *source = suite_open(0, 5, true);

    T_CHECK((source->ops->grow != NULL) == suite_fixture->grows);
    if (suite_fixture->grows) {
        uint64_t size = source->size;
        for (uint64_t step = 1; step <= 50001; step += 25000) {
            size += step;
            T_CHECK_U64(source->ops->grow(source, size), Q2_OK);
            T_CHECK_U64(source->size, size);
            suite_read(source, 0, (size_t)size, 0, suite_model);
            suite_model[size - 1] = 0x77;
            T_CHECK_U64(source->ops->write_at(source, size - 1, suite_model + size - 1, 1), Q2_OK);
        }
        T_CHECK_U64(source->ops->flush(source), Q2_OK);
        suite_read(source, 0, (size_t)size, 1, suite_model);
    }
    suite_fixture->close(0);
}

static inline void suite_two_sources_do_not_disturb_each_other(void)
{
    struct q2_source *a = suite_open(0, 6, true);
    struct q2_source *b = suite_open(1, 7, false);
    uint8_t *other = malloc(SUITE_MAX_SIZE);

    T_CHECK(a->identity[0] != b->identity[0] || a->identity[1] != b->identity[1]);
    for (uint64_t i = 0; other && i < suite_size(); i++)
        other[i] = suite_pattern(6, i);
    for (size_t i = 0; other && i < SUITE_NB_RANGES; i++) {
        uint64_t offset;
        size_t length;
        suite_range(a, i, &offset, &length);
        suite_read(a, offset, length, 0, other + offset);
        suite_read(b, offset, length, 1, suite_model + offset);
        other[offset] ^= 0xff;
        T_CHECK_U64(a->ops->write_at(a, offset, other + offset, 1), Q2_OK);
    }
    suite_read(b, 0, (size_t)b->size, 0, suite_model);
    if (other)
        suite_read(a, 0, (size_t)a->size, 0, other);
    free(other);
    suite_fixture->close(0);
    suite_fixture->close(1);
}

static const struct {
    const char *name;
    void (*run)(void);
} suite_cases[] = {
    {"reads_are_exact", suite_reads_are_exact},
    {"every_byte_of_an_edge_reads_alone", suite_every_byte_of_an_edge_reads_alone},
    {"written_bytes_read_back_and_others_stay", suite_written_bytes_read_back_and_others_stay},
    {"read_only_source_refuses_writes", suite_read_only_source_refuses_writes},
    {"grown_bytes_are_zeros_and_can_be_written", suite_grown_bytes_are_zeros_and_can_be_written},
    {"two_sources_do_not_disturb_each_other", suite_two_sources_do_not_disturb_each_other},
};

static inline void source_suite_run(const struct source_fixture *fixture)
{
    suite_fixture = fixture;
    suite_model = calloc(1, SUITE_MAX_SIZE);
    suite_buffer = aligned_alloc(4096, (SUITE_MAX_SIZE + 4 * SUITE_GUARD + 4095) / 4096 * 4096);
    for (size_t i = 0;
         suite_model && suite_buffer && i < sizeof(suite_cases) / sizeof(suite_cases[0]); i++) {
        char name[128];
        (void)snprintf(name, sizeof(name), "source_suite_%s_%s", fixture->name,
                       suite_cases[i].name);
        t_row(fixture->name);
        suite_cases[i].run();
        t_case_end(name);
    }
    free(suite_model);
    free(suite_buffer);
}

#endif
