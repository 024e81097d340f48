/* Rules of the write side that no random run would show: what must not be written, and what a
 * failure at open is called. */
#include <stdlib.h>

#include "judge.h"
#include "tests/support/t.h"

static const char *folder;

static const struct geometry *geometry_named(const char *name)
{
    for (uint32_t i = 0; i < nb_geometries; i++) {
        if (strcmp(geometries[i].name, name) == 0)
            return &geometries[i];
    }
    abort();
}

static void start(struct subject *subject, struct bench *bench, const char *name)
{
    t_row(name);
    subject_load(subject, geometry_named(name), folder);
    bench_start(bench, subject);
}

static void end(struct subject *subject, struct bench *bench)
{
    bench_free(bench);
    subject_free(subject);
}

/* A hole needs no L2 table to stay one. */
static void test_discard_where_nothing_is_allocated_changes_nothing(void)
{
    static const char *const names[] = {"512", "4k", "16k-extended", "4k-v2"};

    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct subject s;
        struct bench b;

        start(&s, &b, names[i]);
        T_CHECK_U64(bench_open(&b, true, NULL), Q2_OK);
        T_CHECK_U64(q2_disk_discard(b.disk, s.border, s.disk_size - s.border), Q2_OK);
        T_CHECK_U64(q2_disk_discard(b.disk, 16 * s.cluster_size, 8 * s.cluster_size), Q2_OK);
        T_CHECK_U64(q2_disk_flush(b.disk), Q2_OK);
        T_CHECK_U64(b.sources[0].source.size, s.sizes[0]);
        T_CHECK(memcmp(b.sources[0].bytes, s.files[0], s.sizes[0]) == 0);
        end(&s, &b);
    }
}

/* A discard goes on after a hole. */
static void test_discard_over_a_hole_reaches_what_lies_behind(void)
{
    struct subject s;
    struct bench b;
    uint8_t *zeros;

    start(&s, &b, "4k");
    zeros = calloc(1, s.model_size);
    T_CHECK_U64(bench_open(&b, true, NULL), Q2_OK);
    T_CHECK_U64(q2_disk_discard(b.disk, 0, s.disk_size), Q2_OK);
    T_CHECK_U64(q2_disk_flush(b.disk), Q2_OK);
    T_CHECK_U64(model_read(&s, b.disk, b.content), Q2_OK);
    T_CHECK(zeros && memcmp(b.content, zeros, s.model_size) == 0);
    T_CHECK(bench_check(&b));
    T_CHECK_U64(b.leaks, 0);
    free(zeros);
    end(&s, &b);
}

/* HAZARDS.md, W9: a raw data file may be longer than the disk; the rest is not ours. */
static void test_raw_data_file_behind_the_disk_is_left_alone(void)
{
    struct subject s;
    struct bench b;
    struct crash_source *data = &b.sources[1];
    uint64_t length = 4096, last;

    start(&s, &b, "4k-data-file-raw");
    last = s.disk_size / s.cluster_size * s.cluster_size;
    data->source.size = s.disk_size + length;
    memset(data->bytes + s.disk_size, 0xee, length);
    T_CHECK_U64(bench_open(&b, true, NULL), Q2_OK);
    T_CHECK_U64(q2_disk_write(b.disk, last + 512, b.buffer, 512), Q2_OK);
    T_CHECK_U64(q2_disk_discard(b.disk, last, s.disk_size - last), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(b.disk, last, s.disk_size - last), Q2_OK);
    T_CHECK_U64(q2_disk_write(b.disk, last, b.buffer, s.disk_size - last), Q2_OK);
    T_CHECK_U64(q2_disk_flush(b.disk), Q2_OK);
    T_CHECK_U64(data->source.size, s.disk_size + length);
    for (uint64_t i = 0; i < length; i++) {
        if (!T_CHECK_U64(data->bytes[s.disk_size + i], 0xee))
            break;
    }
    end(&s, &b);
}

/* A read that fails while the image is opened for writing is a failed read, not corruption. */
static void test_open_for_writing_read_fails_is_reported_as_such(void)
{
    static const char *const names[] = {"512", "4k-snapshot-compressed", "4k-data-file-backing",
                                        "16k-extended-backing"};

    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct subject s;
        struct bench b;
        bool called = true;

        start(&s, &b, names[i]);
        for (uint64_t n = 2; called; n++) {
            enum q2_status status;

            bench_reset(&b);
            b.log.fail_calls = CRASH_READ;
            b.log.fail_at = n / 2;
            b.log.fail_on = n % 2 != 0; /* a read ahead that fails once may be tried again */
            b.log.fail_status = Q2_ERR_IO;
            status = bench_open(&b, true, NULL);
            called = b.log.nb_calls >= n / 2;
            if (!called || (status == Q2_OK && n % 2 == 0))
                T_CHECK(status == Q2_OK && bench_check(&b) && b.leaks == 0);
            else if (!T_CHECK_U64(status, Q2_ERR_IO))
                break;
        }
        T_CHECK(memcmp(b.sources[0].bytes, s.files[0], s.sizes[0]) == 0);
        end(&s, &b);
    }
}

/* Nothing is written before the first write, and a refused one changes nothing. */
static void test_write_out_of_range_is_refused_and_changes_nothing(void)
{
    struct subject s;
    struct bench b;

    start(&s, &b, "4k-bitmap");
    T_CHECK_U64(bench_open(&b, true, NULL), Q2_OK);
    T_CHECK_U64(q2_disk_write(b.disk, s.disk_size - 511, b.buffer, 512), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write(b.disk, UINT64_MAX, b.buffer, 512), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write_zeroes(b.disk, 512, UINT64_MAX), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_discard(b.disk, s.disk_size, 1), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write(b.disk, s.disk_size, b.buffer, 0), Q2_OK);
    T_CHECK_U64(q2_disk_flush(b.disk), Q2_OK);
    T_CHECK(memcmp(b.sources[0].bytes, s.files[0], s.sizes[0]) == 0);
    end(&s, &b);
}

int main(int argc, char **argv)
{
    (void)argc;
    folder = subject_folder(argv[0]);
    T_RUN(test_discard_where_nothing_is_allocated_changes_nothing);
    T_RUN(test_discard_over_a_hole_reaches_what_lies_behind);
    T_RUN(test_raw_data_file_behind_the_disk_is_left_alone);
    T_RUN(test_open_for_writing_read_fails_is_reported_as_such);
    T_RUN(test_write_out_of_range_is_refused_and_changes_nothing);
    return t_done();
}
