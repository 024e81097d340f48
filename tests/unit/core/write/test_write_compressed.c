/* core/write/write_compressed.c: where streams go, what counts them, what is refused. Power cuts
 * and failing files: tests/fault/. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/write/table.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (4096 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory, *model;

static void setup(const struct image_spec *spec)
{
    image_start(&image, spec);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    model = calloc(1, image.spec.size);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(model);
}

/* Store guest cluster number index as nb runs, nb even lengths: a stream of 2 * nb + 2 bytes. */
static enum q2_status store(uint64_t index, size_t nb_runs)
{
    size_t size = (size_t)image_cluster_size(&image);
    uint64_t offset = index * size;
    uint8_t *cluster = malloc(size), *stream = malloc(2 * size + 2);
    enum q2_status status;

    for (size_t i = 0; i < size; i++)
        cluster[i] = (uint8_t)(1 + (index + (i < nb_runs ? i : nb_runs - 1)) % 250);
    status =
        q2_disk_write_compressed(f.disk, offset, stream, fake_codec_encode(cluster, size, stream));
    if (status == Q2_OK)
        memcpy(model + offset, cluster,
               size < image.spec.size - offset ? size : image.spec.size - offset);
    free(cluster);
    free(stream);
    return status;
}

/* Content as the model, before and after a flush and a new open; the check finds nothing. */
static void check_all(void)
{
    fixture_check_flushed(&f, model, image.spec.size);
}

static uint64_t host_offset(uint64_t index)
{
    struct q2_extent extent;
    uint64_t size = image_cluster_size(&image);

    if (q2_disk_map(f.disk, index * size, size, &extent) != Q2_OK ||
        extent.kind != Q2_EXTENT_COMPRESSED)
        return UINT64_MAX;
    return extent.host_offset;
}

/* How many host clusters hold guest clusters 0 to nb - 1, if one begins where the other ends. */
static void test_write_compressed_packs_streams_as_far_as_refcounts_count(void)
{
    static const struct {
        const char *row;
        uint32_t refcount_bits;
        uint64_t nb_clusters; /* that 12 streams in one row touch */
    } rows[] = {
        {"16 bits: all in one", 16, 1},
        {"1 bit: one each", 1, 12},
        {"2 bits: three each", 2, 4},
        {"64 bits", 64, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t used, before;

        t_row(rows[i].row);
        setup(&(struct image_spec){
            .size = 1024 * KIB, .refcount_bits = rows[i].refcount_bits, .max_clusters = 64});
        T_CHECK_U64(store(0, 3), Q2_OK);
        used = host_offset(0);
        before = f.image.source.size;
        for (uint64_t n = 1; n < 12; n++)
            T_CHECK_U64(store(n, 3 + (size_t)n), Q2_OK);
        T_CHECK_U64((f.image.source.size - before) / (64 * KIB) + 1, rows[i].nb_clusters);
        T_CHECK(host_offset(11) != UINT64_MAX && host_offset(11) > used);
        check_all();
        cleanup();
    }
}

/* Streams of whole sectors, side by side in two host clusters, are replaced by one write: each of
 * them is a reference less. */
static void test_write_compressed_gives_back_neighbours_one_by_one(void)
{
    enum {
        NB = 16,
        SIZE = 4096
    };

    uint8_t stream[512] = {0};

    setup(&(struct image_spec){.size = 64 * SIZE, .cluster_bits = 12});
    memset(model, 9, NB * SIZE);
    (void)fake_codec_encode(model, SIZE, stream);
    for (uint64_t n = 0; n < NB; n++) {
        T_CHECK_U64(q2_disk_write_compressed(f.disk, n * SIZE, stream, sizeof(stream)), Q2_OK);
        T_CHECK_U64(host_offset(n), host_offset(0) + n * sizeof(stream));
    }
    T_CHECK_U64(q2_disk_write(f.disk, 0, model, NB * SIZE), Q2_OK);
    check_all();
    cleanup();
}

/* A stream that goes on in the next cluster, where that one is free; else it starts there anew. */
static void test_write_compressed_crosses_into_a_free_neighbour_only(void)
{
    uint8_t byte = 9;

    setup(&(struct image_spec){.size = 64 * 4096, .cluster_bits = 12});
    T_CHECK_U64(store(0, 1500), Q2_OK);
    T_CHECK_U64(store(1, 1500), Q2_OK);
    T_CHECK_U64(host_offset(0) / 4096, host_offset(1) / 4096 - 1 + (host_offset(1) % 4096 != 0));
    T_CHECK(host_offset(1) % 4096 != 0);
    T_CHECK_U64(q2_disk_write(f.disk, 40 * 4096, &byte, 1), Q2_OK); /* takes the neighbour */
    model[40 * 4096] = 9;
    T_CHECK_U64(store(2, 1900), Q2_OK);
    T_CHECK_U64(host_offset(2) % 4096, 0);
    check_all();
    cleanup();
}

/* A cluster that lost all its streams is anybody's: nothing more is packed after them. */
static void test_write_compressed_leaves_a_freed_cluster_alone(void)
{
    uint8_t bytes[4096];
    uint64_t first;

    setup(&(struct image_spec){.size = 64 * 4096, .cluster_bits = 12});
    T_CHECK_U64(store(0, 10), Q2_OK);
    first = host_offset(0);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 4096), Q2_OK);
    memset(model, 0, 4096);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    memset(bytes, 7, sizeof(bytes));
    memset(model + 5 * 4096, 7, 4096);
    T_CHECK_U64(q2_disk_write(f.disk, 5 * 4096, bytes, 4096), Q2_OK);
    T_CHECK_U64(store(1, 10), Q2_OK);
    T_CHECK(host_offset(1) / 4096 != first / 4096);
    check_all();
    cleanup();
}

static void test_write_compressed_replaces_and_is_replaced(void)
{
    uint8_t bytes[1000];

    setup(&(struct image_spec){.size = 20 * 16384 + 700, .cluster_bits = 14, .extended = true});
    memset(bytes, 5, sizeof(bytes));
    memset(model + 3, 5, sizeof(bytes));
    T_CHECK_U64(q2_disk_write(f.disk, 3, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(store(0, 100), Q2_OK);
    T_CHECK_U64(store(0, 200), Q2_OK);
    T_CHECK_U64(store(20, 300), Q2_OK); /* the disk ends inside it */
    T_CHECK_U64(store(1, 8000), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 16384 + 100, bytes, sizeof(bytes)), Q2_OK);
    memset(model + 16384 + 100, 5, sizeof(bytes));
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 0, 8192), Q2_OK);
    memset(model, 0, 8192);
    check_all();
    cleanup();
}

/* Two streams that fill a cluster to its last byte: the next one has nothing to go on after. */
static void test_write_compressed_fills_a_cluster(void)
{
    static const uint8_t stream[2048] = {1}; /* of no codec: nobody reads it */
    struct q2_check_result result;
    uint64_t first;

    setup(&(struct image_spec){.size = 64 * 4096, .cluster_bits = 12});
    for (uint64_t i = 0; i < 3; i++)
        T_CHECK_U64(q2_disk_write_compressed(f.disk, i * 4096, stream, sizeof(stream)), Q2_OK);
    first = host_offset(0);
    T_CHECK_U64(first % 4096, 0);
    T_CHECK_U64(host_offset(1), first + 2048);
    T_CHECK_U64(host_offset(2), first + 4096);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
    cleanup();
}

/* Whether the last stream's cluster can count one more is not known: nothing is stored. */
static void test_write_compressed_after_a_refcount_that_fails(void)
{
    uint64_t table, entry, bitmap;

    setup(&(struct image_spec){.size = 64 * 4096, .cluster_bits = 12});
    T_CHECK_U64(store(0, 10), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_table_for_write(f.disk, 4096, &table), Q2_OK);
    T_CHECK_U64(q2_table_get(f.disk, table, 4096, &entry, &bitmap), Q2_OK);
    fake_source_fail_nth(&f.image, FAKE_READ, 1);
    T_CHECK_U64(store(1, 10), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a refcount cannot be read");
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK_U64(store(1, 10), Q2_OK);
    check_all();
    cleanup();
}

/* The entry is damaged, which is seen after the stream has its place: each cluster that the place
 * touches loses one reference, and no other cluster does. */
static void test_write_compressed_gives_back_its_place(void)
{
    static const uint8_t stream[4096] = {1}; /* of no codec: nobody reads it */
    struct q2_check_result result;

    for (size_t first = 100; first < 4096; first += 1111) {
        for (size_t end = 4095; end <= 4097; end++) {
            uint64_t table;

            setup(&(struct image_spec){.size = 64 * 4096, .cluster_bits = 12});
            T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, first), Q2_OK);
            T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
            T_CHECK_U64(q2_table_set(f.disk, table, 4096, 2, 0), Q2_OK);
            T_CHECK_U64(q2_disk_write_compressed(f.disk, 4096, stream, end - first), Q2_ERR_BAD_L2);
            T_CHECK_U64(q2_table_set(f.disk, table, 4096, 0, 0), Q2_OK);
            T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
            T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
            T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
            cleanup();
        }
    }
}

static void test_write_compressed_refuses(void)
{
    static const struct {
        const char *row;
        uint64_t offset;
        size_t length;
        enum q2_status status;
    } rows[] = {
        {"empty stream", 0, 0, Q2_ERR_ARGUMENT},
        {"stream as long as the cluster", 0, 4096, Q2_ERR_ARGUMENT},
        {"inside a cluster", 512, 100, Q2_ERR_ARGUMENT},
        {"at the disk's end", 16 * 4096, 100, Q2_ERR_RANGE},
        {"far after the disk's end", UINT64_MAX & ~4095ull, 100, Q2_ERR_RANGE},
    };
    static const uint8_t stream[4096];

    setup(&(struct image_spec){.size = 16 * 4096, .cluster_bits = 12});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK_U64(q2_disk_write_compressed(f.disk, rows[i].offset, stream, rows[i].length),
                    rows[i].status);
    }
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, 4096), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f), "a stream must be shorter than its cluster (stream length is "
                                  "4096, limit 4095)");
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 512, stream, 100), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f),
                "a compressed cluster does not start at a cluster (guest offset is 512)");
    t_row("the longest stream");
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, 4095), Q2_OK);
    t_row("opened for reading");
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, 100), Q2_ERR_READ_ONLY);
    t_row("metadata only");
    f.options.writable = true;
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, 100), Q2_ERR_NOT_OPEN);
    T_CHECK_U64(q2_disk_write(f.disk, 0, stream, 100), Q2_ERR_NOT_OPEN);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 4096), Q2_ERR_NOT_OPEN);
    cleanup();
}

/* Nothing is written, neither image nor data file. */
static void test_write_compressed_refuses_an_external_data_file(void)
{
    static uint8_t data[65536];
    static const uint8_t stream[100];
    uint64_t nb_writes;

    image_start(&image, &(struct image_spec){.size = 65536, .external = true});
    image_data_name(&image, "data.raw");
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_opener_init(&f.opener);
    fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data, sizeof(data), sizeof(data));
    fake_opener_add(&f.opener, FIXTURE_DATA_PATH, &f.data);
    model = NULL;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    if (f.disk) {
        nb_writes = f.image.nb_writes;
        T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, stream, 100), Q2_ERR_UNSUPPORTED);
        T_CHECK_U64(f.image.nb_writes, nb_writes);
        T_CHECK_U64(f.data.nb_writes, 0);
    }
    cleanup();
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_write_compressed_packs_streams_as_far_as_refcounts_count);
    T_RUN(test_write_compressed_gives_back_neighbours_one_by_one);
    T_RUN(test_write_compressed_crosses_into_a_free_neighbour_only);
    T_RUN(test_write_compressed_leaves_a_freed_cluster_alone);
    T_RUN(test_write_compressed_replaces_and_is_replaced);
    T_RUN(test_write_compressed_fills_a_cluster);
    T_RUN(test_write_compressed_after_a_refcount_that_fails);
    T_RUN(test_write_compressed_gives_back_its_place);
    T_RUN(test_write_compressed_refuses);
    T_RUN(test_write_compressed_refuses_an_external_data_file);
    free(memory);
    return t_done();
}
