/* core/write/preallocate.c: exactly what was asked for gets a place, above a backing file and in
 * raw data files too. */
#include <stdlib.h>

#include "core/format/header.h"
#include "q2_amend.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CLUSTER  (16 * KIB)
#define CAPACITY (1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory, *data;

/* Open what was built; its data file, if it has one, has data_size bytes. */
static void setup(uint64_t data_size)
{
    memory = calloc(1, CAPACITY);
    data = malloc(CAPACITY);
    memset(data, 'o', CAPACITY); /* of no guest cluster */
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_opener_init(&f.opener);
    fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data, data_size, CAPACITY);
    fake_opener_add(&f.opener, FIXTURE_DATA_PATH, &f.data);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
    free(data);
}

static bool has_place(uint64_t at)
{
    struct q2_extent extent;

    return T_CHECK_U64(q2_disk_map(f.disk, at, 1, &extent), Q2_OK) && extent.has_host_offset;
}

static void test_preallocate_ends_where_it_shall(void)
{
    image_start(&image, &(struct image_spec){.size = 8 * CLUSTER, .cluster_bits = 14});
    setup(0);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 2 * CLUSTER, 2 * CLUSTER, false), Q2_OK);
    for (uint64_t i = 0; i < 8; i++)
        T_CHECK_U64(has_place(i * CLUSTER), i == 2 || i == 3);
    cleanup();
}

/* A backing file that ends inside guest cluster 2 and shows up to there. */
static void test_preallocate_beside_what_a_backing_file_shows(void)
{
    static const struct {
        const char *row;
        uint64_t offset, length;
        enum q2_status status;
    } rows[] = {
        {"the cluster that it ends in", 2 * CLUSTER, CLUSTER, Q2_ERR_UNSUPPORTED},
        {"one cluster behind it", 3 * CLUSTER, CLUSTER, Q2_OK},
        {"two clusters behind it", 4 * CLUSTER, 2 * CLUSTER, Q2_OK},
        {"the last cluster, in which the disk ends", 7 * CLUSTER, 512, Q2_OK},
    };
    static uint8_t below[2 * 16 * 1024 + 512];
    struct fake_source backing;

    memset(below, 'b', sizeof(below));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = 7 * CLUSTER + 512, .cluster_bits = 14});
        image_backing(&image, "base.raw", "raw");
        setup(0);
        fake_source_init(&backing, "img/base.raw", below, sizeof(below));
        fake_opener_add(&f.opener, "img/base.raw", &backing);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_preallocate(f.disk, rows[i].offset, rows[i].length, false),
                    rows[i].status);
        T_CHECK(rows[i].status != Q2_OK || has_place(rows[i].offset));
        T_CHECK_U64(fixture_byte(&f, 2 * CLUSTER + 511), 'b');
        cleanup();
    }
}

/* Zeros for the rest of a cluster whose first subcluster holds data: the raw data file keeps what
 * it has in the next cluster, which has its place. */
static void test_preallocate_of_zeros_ends_with_the_cluster(void)
{
    static const uint8_t bytes[512] = {1};

    image_start(&image,
                &(struct image_spec){
                    .size = 8 * CLUSTER, .cluster_bits = 14, .extended = true, .external = true});
    image_data_name(&image, "data.raw");
    image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
    setup(8 * CLUSTER);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 0, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 2 * CLUSTER - 512, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_preallocate(f.disk, 0, CLUSTER, true), Q2_OK);
    T_CHECK_U64(data[0], 1);
    T_CHECK_U64(data[512], 0);
    T_CHECK_U64(data[CLUSTER - 1], 0);
    T_CHECK_U64(data[CLUSTER], 'o');
    cleanup();
}

static enum q2_status (*fake_write_at)(struct q2_source *source, uint64_t offset,
                                       const void *buffer, size_t length);
static uint64_t write_end;

static enum q2_status note_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                 size_t length)
{
    write_end = offset + length > write_end ? offset + length : write_end;
    return fake_write_at(source, offset, buffer, length);
}

/* The file ends with a free cluster, which may hold anything; what it grows by are zeros already,
 * and stay a hole. */
static void test_preallocate_writes_no_zeros_behind_the_old_end(void)
{
    static const uint8_t zeros[3 * CLUSTER];
    struct q2_source_ops ops;
    uint64_t old, last;

    image_start(&image, &(struct image_spec){.size = 8 * CLUSTER, .cluster_bits = 14});
    image_data(&image, 0, 1);
    last = image_alloc(&image, 1);
    memset(image.bytes + last, 'o', CLUSTER);
    image_refcount_set(&image, last / CLUSTER, 0);
    setup(0);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    ops = *f.image.source.ops;
    fake_write_at = ops.write_at;
    ops.write_at = note_write;
    f.image.source.ops = &ops;
    write_end = 0;
    old = f.image.source.size;
    T_CHECK_U64(q2_disk_preallocate(f.disk, 2 * CLUSTER, 3 * CLUSTER, false), Q2_OK);
    T_CHECK_U64(write_end, old);
    T_CHECK_U64(f.image.source.size, old + 2 * CLUSTER);
    T_CHECK(memcmp(memory + last, zeros, sizeof(zeros)) == 0);
    cleanup();
}

int main(void)
{
    T_RUN(test_preallocate_ends_where_it_shall);
    T_RUN(test_preallocate_beside_what_a_backing_file_shows);
    T_RUN(test_preallocate_of_zeros_ends_with_the_cluster);
    T_RUN(test_preallocate_writes_no_zeros_behind_the_old_end);
    return t_done();
}
