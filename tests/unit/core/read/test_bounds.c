/* What a hostile image may cost: the worst images that could be thought of, and a counting source
 * below each layer. The bounds are those of DESIGN.md, section 10. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/read/mapping.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct image image, base;
static struct fixture f;
static struct fake_source layers[Q2_MAX_LAYERS];

static void open_chain(void)
{
    fixture_start(&f, &image);
    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++) {
        const struct image *content = i + 1 < Q2_MAX_LAYERS ? &image : &base;

        fake_source_init(&layers[i], "img/next", content->bytes, content->size);
        fake_opener_add(&f.opener, "img/next", &layers[i]);
    }
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++)
        fake_source_reset(&layers[i]);
    fake_source_reset(&f.image);
}

static uint64_t nb_requests(void)
{
    uint64_t nb = f.image.nb_reads;

    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++)
        nb += layers[i].nb_reads;
    return nb;
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

/* Where a request of 4 KiB crosses two L2 tables, whose L1 entries are in two slices: the L1 table
 * begins somewhere in a slice, and an entry of it maps 32 KiB. */
#define SIZE (17 * MIB)

static uint64_t find_crossing(const struct image *of)
{
    uint64_t at = 32 * KIB;

    while (image_l1_entry(of, at) % Q2_SLICE_SIZE != 0)
        at += 32 * KIB;
    return at;
}

/* Put something between two tables, so that they share no slice and no round of slices. */
static void make_tables(struct image *of, uint64_t crossing)
{
    (void)image_alloc(of, 130);
    (void)image_l2_entry(of, crossing - 1);
    (void)image_alloc(of, 130);
    (void)image_l2_entry(of, crossing);
}

/* Clusters of 512 bytes, none beside its neighbour. */
static void make_data(struct image *of, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += 512) {
        (void)image_data(of, at, 1);
        (void)image_alloc(of, 3);
    }
}

/* The deepest chain of the smallest clusters: every layer's tables say "ask below". */
static void test_bounds_4_kib_through_the_deepest_chain(void)
{
    static const struct image_spec spec = {.size = SIZE, .cluster_bits = 9, .max_clusters = 4096};
    static uint8_t buffer[4 * KIB];
    uint64_t crossing, nb;

    image_start(&image, &spec);
    image_backing(&image, "next", "qcow2");
    image_start(&base, &spec);
    crossing = find_crossing(&image);
    T_CHECK_U64(find_crossing(&base), crossing);
    make_tables(&image, crossing);
    make_tables(&base, crossing);
    make_data(&base, crossing - 2 * KIB, crossing + 2 * KIB);
    open_chain();
    T_CHECK_U64(q2_disk_read(f.disk, crossing - 2 * KIB, buffer, sizeof(buffer)), Q2_OK);
    nb = nb_requests();
    printf("# %llu requests\n", (unsigned long long)nb);
    /* Each layer: two slices of L1, two of L2. The base: eight clusters. */
    T_CHECK(nb <= Q2_MAX_LAYERS * 4 + 8);
    T_CHECK(nb >= Q2_MAX_LAYERS * 3);
    cleanup();
}

/* Each 512 bytes in another layer: the pieces are small, and each is looked for from the top. */
static void test_bounds_4_kib_that_lies_in_eight_layers(void)
{
    static struct image parts[8];
    static uint8_t buffer[4 * KIB];
    uint64_t nb;

    for (uint32_t i = 0; i < 8; i++) {
        image_start(&parts[i], &(struct image_spec){.size = MIB, .cluster_bits = 9});
        (void)image_data(&parts[i], (7 - i) * 512, i);
        if (i < 7)
            image_backing(&parts[i], "next", "qcow2");
    }
    fixture_start(&f, &parts[0]);
    for (uint32_t i = 1; i < 8; i++) {
        fake_source_init(&layers[i], "img/next", parts[i].bytes, parts[i].size);
        fake_opener_add(&f.opener, "img/next", &layers[i]);
    }
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (uint32_t i = 1; i < 8; i++)
        fake_source_reset(&layers[i]);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, sizeof(buffer)), Q2_OK);
    nb = f.image.nb_reads;
    for (uint32_t i = 1; i < 8; i++)
        nb += layers[i].nb_reads;
    /* Two tables a layer, a cluster each. */
    T_CHECK(nb <= 8 * 3);
    for (uint32_t i = 0; i < 8; i++)
        T_CHECK(buffer[(7 - i) * 512] == image_byte(i, (7 - i) * 512));
    fixture_end(&f);
    for (uint32_t i = 0; i < 8; i++)
        image_free(&parts[i]);
}

/* A descriptor that claims as many sectors as it can: what is read is bounded by the buffer. */
static void test_bounds_compressed_cluster_of_many_sectors(void)
{
    static uint8_t buffer[4 * KIB], stream[16];
    uint64_t entry;

    image_start(&image, &(struct image_spec){.size = 8 * MIB, .cluster_bits = 21});
    (void)image_stream(&image, 0, stream, sizeof(stream));
    entry = image_l2_entry(&image, 0);
    /* (qcow2: "Compressed Clusters Descriptor") x = 62 - (21 - 8): all sector bits set. */
    image_put64(&image, entry, image_get64(&image, entry) | 0x1fffull << 49);
    (void)image_alloc(&image, 6);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fake_source_reset(&f.image);
    T_CHECK(q2_disk_read(f.disk, 0, buffer, sizeof(buffer)) != Q2_OK);
    T_CHECK(f.image.nb_reads <= 4);
    T_CHECK(f.image.nb_bytes <=
            Q2_COMPRESSED_BUFFER_SIZE + Q2_WINDOW_SIZE + 2ull * Q2_SLICE_SETS * Q2_SLICE_SIZE);
    fixture_end(&f);
    image_free(&image);
}

/* A header cluster full of extensions, each in a slice of its own. */
static void test_bounds_open_with_many_extensions(void)
{
    static const uint8_t bytes[5000];

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 20});
    for (uint32_t i = 0; i < 64; i++)
        (void)image_extension(&image, 0x12340000 + i, bytes, sizeof(bytes));
    fixture_start(&f, &image);
    (void)fixture_open(&f);
    T_CHECK(f.image.nb_reads <= 2 * 64 + 8);
    fixture_end(&f);
    image_free(&image);
}

/* One call looks at so many entries, however long the run is. */
static void test_bounds_map_of_a_disk_without_anything(void)
{
    struct q2_extent extent;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "size", 1ull << 46);
    image_field_set(&image, "l1_size", 1u << 17);
    fixture_start(&f, &image);
    f.image.source.size = 1ull << 30;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_map(f.disk, 0, UINT64_MAX, &extent), Q2_OK);
    T_CHECK(extent.length <= (uint64_t)Q2_MAP_MAX_ENTRIES << 29);
    T_CHECK(f.image.nb_reads <= Q2_MAP_MAX_ENTRIES * 8ull / Q2_SLICE_SIZE + 4);
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    T_RUN(test_bounds_4_kib_through_the_deepest_chain);
    T_RUN(test_bounds_4_kib_that_lies_in_eight_layers);
    T_RUN(test_bounds_compressed_cluster_of_many_sectors);
    T_RUN(test_bounds_open_with_many_extensions);
    T_RUN(test_bounds_map_of_a_disk_without_anything);
    return t_done();
}
