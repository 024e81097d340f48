/* core/write/write.c, space.c: an external data file becomes as long as what is written to it, and
 * nothing after its end is given back. */
#include <stdlib.h>

#include "core/format/header.h"
#include "q2_amend.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory, *data;

/* A disk of size bytes; its data file has data_size bytes and can have data_capacity. */
static void setup(bool raw, uint64_t size, uint32_t cluster_bits, uint64_t data_size,
                  uint64_t data_capacity)
{
    image_start(&image,
                &(struct image_spec){.size = size, .cluster_bits = cluster_bits, .external = true});
    image_data_name(&image, "data.raw");
    if (raw)
        image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
    memory = calloc(1, image.size + CAPACITY);
    data = calloc(1, CAPACITY);
    fixture_start_writable(&f, &image, memory, image.size + CAPACITY);
    fake_opener_init(&f.opener);
    fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data, data_size, data_capacity);
    fake_opener_add(&f.opener, FIXTURE_DATA_PATH, &f.data);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
    free(data);
}

/* A raw data file ends with the disk, others with a whole cluster if there is room for it. */
static void test_data_file_grows_as_far_as_it_is_written(void)
{
    static const struct {
        const char *row;
        bool raw;
        uint64_t capacity, offset, size;
    } rows[] = {
        {"a cluster", false, CAPACITY, 64 * KIB, 128 * KIB},
        {"a cluster, raw", true, CAPACITY, 64 * KIB, 128 * KIB},
        {"the last cluster", false, CAPACITY, 199 * KIB, 256 * KIB},
        {"the last cluster, raw", true, CAPACITY, 199 * KIB, 200 * KIB},
        {"the last cluster, no room for all of it", false, 200 * KIB, 199 * KIB, 200 * KIB},
        {"the last cluster, no room for all of it, raw", true, 200 * KIB, 199 * KIB, 200 * KIB},
    };
    static const uint8_t byte = 'x';

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        setup(rows[i].raw, 200 * KIB, 16, 32 * KIB, rows[i].capacity);
        T_CHECK_U64(q2_disk_write(f.disk, rows[i].offset, &byte, 1), Q2_OK);
        T_CHECK_U64(f.data.source.size, rows[i].size);
        T_CHECK_U64(data[rows[i].offset], 'x');
        cleanup();
    }
}

/* A raw data file whose last sector has one byte, in a cluster that the buffer does not hold. */
static void test_last_byte_of_a_raw_data_file(void)
{
    static const uint8_t byte = 'x';

    setup(true, 600 * KIB + 1, 20, 600 * KIB + 1, 600 * KIB + 1);
    T_CHECK_U64(q2_disk_write(f.disk, 600 * KIB, &byte, 1), Q2_OK);
    T_CHECK_U64(data[600 * KIB], 'x');
    T_CHECK_U64(fixture_byte(&f, 600 * KIB), 'x');
    cleanup();
}

/* The data file is shorter than the disk: only what it has is given back. */
static void test_discard_over_the_end_of_a_data_file(void)
{
    setup(false, 256 * KIB, 16, 96 * KIB, CAPACITY);
    fake_source_gives_back(&f.data);
    memset(data, 'x', 256 * KIB);
    T_CHECK_U64(q2_disk_discard(f.disk, 64 * KIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(f.data.nb_punches, 1);
    T_CHECK_U64(data[64 * KIB - 1], 'x');
    T_CHECK_U64(data[64 * KIB], 0);
    T_CHECK_U64(data[96 * KIB - 1], 0);
    T_CHECK_U64(data[96 * KIB], 'x');
    T_CHECK_U64(q2_disk_discard(f.disk, 128 * KIB, 64 * KIB), Q2_OK);
    T_CHECK_U64(f.data.nb_punches, 1);
    T_CHECK_U64(f.data.nb_writes, 0);
    cleanup();
}

/* The range begins where there is no L2 table: there is none afterwards, and what is stored after
 * that is discarded. */
static void test_discard_over_a_hole_in_the_tables(void)
{
    static const uint8_t byte = 'x';
    uint64_t size;

    setup(false, 128 * KIB, 9, 128 * KIB, CAPACITY);
    T_CHECK_U64(q2_disk_write(f.disk, 40 * KIB, &byte, 1), Q2_OK);
    size = f.image.source.size;
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 128 * KIB), Q2_OK);
    T_CHECK_U64(f.image.source.size, size);
    T_CHECK_U64(fixture_byte(&f, 40 * KIB), 0);
    cleanup();
}

/* A table that is given up is read as any other: each entry names the data at its guest offset. */
static void test_shrink_over_a_table_of_external_data(void)
{
    static const uint8_t bytes[2 * KIB] = {1};

    setup(false, 64 * KIB, 9, 64 * KIB, CAPACITY); /* a table is for 32 KiB */
    T_CHECK_U64(q2_disk_write(f.disk, 33 * KIB, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_resize(f.disk, 16 * KIB, true), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_size(f.disk), 16 * KIB);
    cleanup();
}

int main(void)
{
    T_RUN(test_data_file_grows_as_far_as_it_is_written);
    T_RUN(test_last_byte_of_a_raw_data_file);
    T_RUN(test_discard_over_the_end_of_a_data_file);
    T_RUN(test_discard_over_a_hole_in_the_tables);
    T_RUN(test_shrink_over_a_table_of_external_data);
    return t_done();
}
