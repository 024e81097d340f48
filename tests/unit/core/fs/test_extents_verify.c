/* The check of an extent map: what it looks at, in which order, and what it finds. */
#include "drivers/extents/source.h"
#include "drivers/memory/source.h"
#include "tests/support/t.h"

#define MAX_EXTENTS 1000u
#define STEP        1024u /* bytes of an extent */

static uint8_t volume_bytes[MAX_EXTENTS * STEP], file_bytes[MAX_EXTENTS * STEP];
static struct q2_file_extent extents[MAX_EXTENTS];
static struct q2_source_memory volume, by_file;
static struct q2_source_extents by_map;
static uint8_t buffer[2 * Q2_VERIFY_SAMPLE_SIZE];

/* What was read of the file, in order. */
static uint64_t offsets[MAX_EXTENTS];
static size_t lengths[MAX_EXTENTS], nb_reads;
static const struct q2_source_ops *memory_ops;

static enum q2_status recording_read(struct q2_source *source, uint64_t offset, void *to,
                                     size_t length)
{
    offsets[nb_reads] = offset;
    lengths[nb_reads++] = length;
    return memory_ops->read_at(source, offset, to, length);
}

/* A file whose extents are in reverse order on the volume; the last one has tail bytes. */
static void make(size_t nb_extents, uint64_t tail)
{
    static struct q2_source_ops recording_ops;
    uint64_t size = nb_extents == 0 ? 0 : (nb_extents - 1) * STEP + tail;

    for (size_t i = 0; i < nb_extents; i++) {
        extents[i] = (struct q2_file_extent){i * STEP, (nb_extents - 1 - i) * STEP,
                                             i + 1 < nb_extents ? STEP : tail};
        for (uint64_t k = 0; k < extents[i].length; k++)
            file_bytes[i * STEP + k] = (uint8_t)(i * 37 + k / 3 + i / 256);
        memcpy(volume_bytes + extents[i].volume_offset, file_bytes + i * STEP,
               (size_t)extents[i].length);
    }
    q2_source_memory_init(&volume, volume_bytes, sizeof(volume_bytes), sizeof(volume_bytes), true,
                          "vol");
    q2_source_memory_init(&by_file, file_bytes, size, sizeof(file_bytes), false, "file");
    memory_ops = by_file.source.ops;
    recording_ops = (struct q2_source_ops){.read_at = recording_read};
    by_file.source.ops = &recording_ops;
    nb_reads = 0;
    T_CHECK_U64(q2_source_extents_init(&by_map,
                                       &(struct q2_extents_file){
                                           .volume = &volume.source,
                                           .extents = extents,
                                           .nb_extents = nb_extents,
                                           .size = size,
                                       }),
                Q2_OK);
}

static enum q2_status verify(size_t nb_extents, struct q2_fault *fault)
{
    memset(fault, 0, sizeof(*fault));
    return q2_extents_verify(&by_map.source, &by_file.source, extents, nb_extents, UINT64_MAX,
                             buffer, fault);
}

static void test_verify_good_maps_pass_and_are_read_forward(void)
{
    static const struct {
        size_t nb_extents;
        uint64_t tail;
        size_t nb_reads;
    } rows[] = {
        {0, 0, 0},        {1, 1, 1},         {1, 512, 1},      {1, 513, 2},     {1, 1024, 2},
        {2, 100, 2},      {64, 1024, 65},    {65, 1, 65},      {128, 600, 129}, {129, 600, 129},
        {200, 1024, 129}, {1000, 1024, 129}, {1000, 512, 128},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_fault fault;
        char row[32];
        (void)snprintf(row, sizeof(row), "%zu extents", rows[i].nb_extents);
        t_row(row);
        make(rows[i].nb_extents, rows[i].tail);
        T_CHECK_U64(verify(rows[i].nb_extents, &fault), Q2_OK);
        T_CHECK_U64(nb_reads, rows[i].nb_reads);
        for (size_t k = 1; k < nb_reads; k++)
            T_CHECK(offsets[k] > offsets[k - 1]);
        if (nb_reads > 0) {
            T_CHECK_U64(offsets[0], 0);
            T_CHECK_U64(offsets[nb_reads - 1] + lengths[nb_reads - 1], by_file.source.size);
        }
        for (size_t k = 0; k < nb_reads && k < 64 && k < rows[i].nb_extents; k++)
            T_CHECK_U64(offsets[k], k * STEP);
    }
}

static void test_verify_samples_are_spread_over_a_long_map(void)
{
    struct q2_fault fault;

    make(1000, 1024);
    T_CHECK_U64(verify(1000, &fault), Q2_OK);
    for (size_t k = 64; k < 128; k++) /* 936 extents left for 64 samples */
        T_CHECK(offsets[k] - offsets[k - 1] >= 14 * STEP &&
                offsets[k] - offsets[k - 1] <= 15 * STEP);
    T_CHECK_U64(offsets[127], 999 * STEP);
}

static void test_verify_different_bytes_are_found_where_they_are(void)
{
    static const struct {
        const char *row;
        uint64_t offset;
        enum q2_status status;
        uint64_t at; /* the sample that shows it */
    } rows[] = {
        {"first byte", 0, Q2_ERR_BAD_VOLUME, 0},
        {"last byte", 100 * STEP - 1, Q2_ERR_BAD_VOLUME, 100 * STEP - 512},
        {"head of an extent", 63 * STEP, Q2_ERR_BAD_VOLUME, 63 * STEP},
        {"end of a sample", 5 * STEP + 511, Q2_ERR_BAD_VOLUME, 5 * STEP},
        {"between samples", 5 * STEP + 512, Q2_OK, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_fault fault;
        t_row(rows[i].row);
        make(100, 1024);
        file_bytes[rows[i].offset] ^= 1;
        T_CHECK_U64(verify(100, &fault), rows[i].status);
        if (rows[i].status != Q2_OK) {
            T_CHECK_U64(fault.status, rows[i].status);
            T_CHECK_U64(fault.offset, rows[i].at);
            T_CHECK_STR(fault.file, "file");
            T_CHECK_STR(fault.what, "the file's bytes are not where its cluster chain says");
        }
    }
}

static void test_verify_swapped_extents_are_found(void)
{
    struct q2_fault fault;
    uint64_t swapped;

    make(100, 1024);
    swapped = extents[40].volume_offset;
    extents[40].volume_offset = extents[41].volume_offset;
    extents[41].volume_offset = swapped;
    T_CHECK_U64(verify(100, &fault), Q2_ERR_BAD_VOLUME);
    T_CHECK_U64(fault.offset, 40 * STEP);
}

static void test_verify_sizes_and_failing_sources_are_errors(void)
{
    struct q2_fault fault;

    make(10, 1024);
    by_file.source.size--;
    T_CHECK_U64(verify(10, &fault), Q2_ERR_BAD_VOLUME);
    T_CHECK_STR(fault.what, "the file's size is not the one in its directory entry");
    make(10, 1024);
    volume.source.size = 100; /* the memory source fails past its end */
    T_CHECK_U64(verify(10, &fault), Q2_ERR_IO);
    T_CHECK_U64(fault.status, Q2_ERR_IO);
}

static enum q2_status failing_read(struct q2_source *source, uint64_t offset, void *to,
                                   size_t length)
{
    return offset == 5 * STEP ? Q2_ERR_MEDIA_CHANGED
                              : memory_ops->read_at(source, offset, to, length);
}

static void test_verify_gives_the_error_of_the_file(void)
{
    static const struct q2_source_ops failing_ops = {.read_at = failing_read};
    struct q2_fault fault;

    make(10, 1024);
    by_file.source.ops = &failing_ops;
    T_CHECK_U64(verify(10, &fault), Q2_ERR_MEDIA_CHANGED);
    T_CHECK_U64(fault.status, Q2_ERR_MEDIA_CHANGED);
    T_CHECK_STR(fault.file, "file");
    T_CHECK_U64(fault.offset, 5 * STEP);
}

static void test_verify_looks_at_nothing_that_begins_behind_the_limit(void)
{
    static const struct {
        uint64_t limit;
        size_t nb_reads;
    } rows[] = {{0, 0},
                {1, 1},
                {STEP, 1},
                {STEP + 1, 2},
                {9 * STEP, 9},
                {9 * STEP + 1, 10},
                {9 * STEP + 513, 11},
                {UINT64_MAX, 11}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_fault fault;
        make(10, STEP);
        T_CHECK_U64(q2_extents_verify(&by_map.source, &by_file.source, extents, 10, rows[i].limit,
                                      buffer, &fault),
                    Q2_OK);
        T_CHECK_U64(nb_reads, rows[i].nb_reads);
    }
}

int main(void)
{
    T_RUN(test_verify_good_maps_pass_and_are_read_forward);
    T_RUN(test_verify_samples_are_spread_over_a_long_map);
    T_RUN(test_verify_different_bytes_are_found_where_they_are);
    T_RUN(test_verify_swapped_extents_are_found);
    T_RUN(test_verify_sizes_and_failing_sources_are_errors);
    T_RUN(test_verify_gives_the_error_of_the_file);
    T_RUN(test_verify_looks_at_nothing_that_begins_behind_the_limit);
    return t_done();
}
