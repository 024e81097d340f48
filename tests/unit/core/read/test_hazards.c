/* Hazards that no single file of core/ answers for: files cut anywhere (F3, W9), and the bound on
 * what a hostile image can make the engine read. The others have their tests where the rule is:
 * F1, F2, F4 to F6, F8, F10, F11, F13 in tests/bad/, F7 in test_backing_chain.c, F9 in
 * test_name_gate.c, F12 in test_check.c, F14 in test_disk.c.
 */
#include <stdlib.h>

#include "core/read/mapping.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB    1024ull
#define MIB    (1024 * KIB)
#define OFFSET 0x00fffffffffffe00ull

static struct image image;
static struct fixture f;

/* ---- files cut anywhere (F3) ---- */

enum where {
    IMAGE,
    DATA_FILE
};

/* The file must be this long for a guest cluster to read; 0: it needs nothing of this file. */
static uint64_t needed(uint64_t guest, enum where where)
{
    uint64_t size = image_cluster_size(&image), host_end, entry_end, entry;
    uint32_t entry_size = image.spec.extended ? 16 : 8;

    if (image_get64(&image, image_l1_entry(&image, guest)) == 0)
        return 0;
    entry_end = image_l2_entry(&image, guest) + entry_size;
    entry = image_get64(&image, entry_end - entry_size);
    host_end = (entry & OFFSET) + size;
    if (guest + size > image.spec.size)
        host_end -= guest + size - image.spec.size;
    if (entry >> 62 & 1)
        host_end = image.stream_end; /* the tests have one compressed cluster */
    else if ((entry & OFFSET) == 0 && !(image.spec.external && entry >> 63))
        host_end = 0;
    else if (entry & 1 ||
             (image.spec.extended && image_get64(&image, entry_end - 8) == 0xffffffff00000000))
        host_end = 0; /* zeros */
    if (image.spec.external)
        return where == IMAGE ? entry_end : host_end;
    return entry_end > host_end ? entry_end : host_end;
}

/* One guest cluster of a cut image: its bytes, or an error that says so; never anything else. */
static void check_cluster(uint64_t guest, uint64_t cut, enum where where)
{
    static uint8_t buffer[64 * 1024];
    uint64_t length = image_cluster_size(&image), need = needed(guest, where);
    enum q2_status status;

    if (length > image.spec.size - guest)
        length = image.spec.size - guest;
    memset(buffer, 0, length); /* what QEMU would return */
    status = q2_disk_read(f.disk, guest, buffer, length);
    if (cut >= need) {
        T_CHECK_U64(status, Q2_OK);
        T_CHECK(status != Q2_OK || memcmp(buffer, image.model.bytes + guest, length) == 0);
    } else {
        T_CHECK(status == Q2_ERR_TRUNCATED || status == Q2_ERR_BAD_COMPRESSED);
    }
}

static void check_cut(uint64_t cut, enum where where)
{
    uint64_t l1_end = image_field(&image, "l1_table_offset") + image_field(&image, "l1_size") * 8;
    bool opens = where == DATA_FILE || cut >= l1_end;
    enum q2_status status;

    *(where == IMAGE ? &f.image.source.size : &f.data.source.size) = cut;
    status = fixture_open(&f);
    T_CHECK((status == Q2_OK) == opens);
    T_CHECK(opens || status == Q2_ERR_TRUNCATED || status == Q2_ERR_BAD_MAGIC ||
            status == Q2_ERR_BAD_HEADER);
    for (uint64_t at = 0; status == Q2_OK && at < image.spec.size; at += image_cluster_size(&image))
        check_cluster(at, cut, where);
}

/* step: between two cuts. Cluster borders and both their neighbours are always among them. */
static void cut_everywhere(const struct image_spec *spec, uint64_t step, enum where where)
{
    uint64_t size, end, i = 0;

    image_start(&image, spec);
    size = image_cluster_size(&image);
    image_data(&image, 0, 1);
    image_zero(&image, size, true);
    if (image.spec.version == 3)
        image_zero(&image, 2 * size, false);
    image_data(&image, 4 * size, 2);
    if (!spec->external)
        image_compressed(&image, 5 * size, 3);
    image_data(&image, image.spec.size - 1, 4);
    if (spec->external)
        image_data_name(&image, "data.raw");
    fixture_start(&f, &image);
    end = where == IMAGE ? image.size : image.data_size;
    for (uint64_t cut = 0; cut <= end; cut++) {
        uint64_t within = cut % size;
        if (i++ % step == 0 || within < 2 || within == size - 1)
            check_cut(cut, where);
    }
    fixture_end(&f);
    image_free(&image);
}

static void test_cut_every_byte_512(void)
{
    cut_everywhere(&(struct image_spec){.size = 8 * 512, .cluster_bits = 9}, 1, IMAGE);
}

static void test_cut_every_byte_512_odd_size(void)
{
    cut_everywhere(&(struct image_spec){.size = 70 * 512 + 100, .cluster_bits = 9}, 1, IMAGE);
}

static void test_cut_version_2(void)
{
    struct image_spec spec = {.size = 8 * 512, .cluster_bits = 9, .version = 2};

    image_start(&image, &spec);
    image_data(&image, 0, 1);
    image_data(&image, 3 * 512, 1);
    fixture_start(&f, &image);
    for (uint64_t cut = 0; cut <= image.size; cut++)
        check_cut(cut, IMAGE);
    fixture_end(&f);
    image_free(&image);
}

static void test_cut_64_kib(void)
{
    cut_everywhere(&(struct image_spec){.size = 7 * 64 * KIB}, 1021, IMAGE);
}

static void test_cut_extended(void)
{
    cut_everywhere(&(struct image_spec){.size = 8 * 16 * KIB, .cluster_bits = 14, .extended = true},
                   251, IMAGE);
}

static void test_cut_image_of_a_data_file(void)
{
    cut_everywhere(&(struct image_spec){.size = 8 * 512, .cluster_bits = 9, .external = true}, 1,
                   IMAGE);
}

static void test_cut_data_file(void)
{
    cut_everywhere(&(struct image_spec){.size = 8 * 512, .cluster_bits = 9, .external = true}, 1,
                   DATA_FILE);
    cut_everywhere(&(struct image_spec){.size = 7 * 512 + 9, .cluster_bits = 9, .external = true},
                   1, DATA_FILE);
}

/* A base that lost its end is an error above it as well (F8), a raw one is just smaller. */
static void test_cut_base_below_an_overlay(void)
{
    struct fake_source fake;
    struct image base;
    uint8_t buffer[512];

    image_start(&base, &(struct image_spec){.size = 4 * 512, .cluster_bits = 9});
    image_data(&base, 0, 1);
    image_data(&base, 1024, 1);
    image_start(&image, &(struct image_spec){.size = 4 * 512, .cluster_bits = 9});
    image_backing(&image, "base", "qcow2");
    fixture_start(&f, &image);
    fake_source_init(&fake, "img/base", base.bytes, base.size);
    fake_opener_add(&f.opener, "img/base", &fake);
    for (uint64_t cut = base.size; cut > base.size - 512; cut--) {
        fake.source.size = cut;
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 512), Q2_OK);
        T_CHECK(memcmp(buffer, base.model.bytes, 512) == 0);
        T_CHECK_U64(q2_disk_read(f.disk, 1024, buffer, 512),
                    cut == base.size ? Q2_OK : Q2_ERR_TRUNCATED);
    }
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

/* ---- work: what a request may cost, whatever the images hold ---- */

/* 4096 clusters of 512 bytes, each somewhere else on the host. */
static void test_work_of_reading_scattered_clusters(void)
{
    static uint8_t buffer[4096 * 512];
    uint64_t first;

    image_start(&image, &(struct image_spec){
                            .size = sizeof(buffer), .cluster_bits = 9, .max_clusters = 9000});
    for (uint64_t i = 0; i < 4096; i++)
        (void)image_l2_entry(&image, i * 512);
    first = image_alloc(&image, 4096);
    for (uint64_t i = 0; i < 4096; i++)
        image_put64(&image, image_l2_entry(&image, i * 512), first + i * 2047 % 4096 * 512);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, sizeof(buffer)), Q2_OK);
    /* A read each, and the tables. */
    T_CHECK(f.image.nb_reads <= 4096 + 4096 * 8 / Q2_SLICE_SIZE + 16);
    fixture_end(&f);
    image_free(&image);
}

/* The deepest chain, nothing in it: each layer is asked once for the whole request. */
static void test_work_of_reading_the_deepest_chain(void)
{
    static struct fake_source fakes[Q2_MAX_LAYERS];
    static uint8_t buffer[MIB];
    struct image base;
    uint64_t nb = 0;

    image_start(&image, &(struct image_spec){.size = MIB});
    (void)image_l2_entry(&image, 0);
    image_backing(&image, "next", "qcow2");
    image_start(&base, &(struct image_spec){.size = MIB});
    (void)image_l2_entry(&base, 0);
    fixture_start(&f, &image);
    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++) {
        const struct image *content = i + 1 < Q2_MAX_LAYERS ? &image : &base;
        fake_source_init(&fakes[i], "img/next", content->bytes, content->size);
        fake_opener_add(&f.opener, "img/next", &fakes[i]);
    }
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++)
        fake_source_reset(&fakes[i]);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, sizeof(buffer)), Q2_OK);
    for (uint32_t i = 1; i < Q2_MAX_LAYERS; i++)
        nb += fakes[i].nb_reads;
    T_CHECK(nb + f.image.nb_reads <= Q2_MAX_LAYERS * 3ull);
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

/* Subclusters in turns: a piece each, not more. */
static void test_work_of_reading_subclusters_in_turns(void)
{
    static uint8_t buffer[256 * 1024];

    image_start(&image,
                &(struct image_spec){.size = sizeof(buffer), .cluster_bits = 14, .extended = true});
    for (uint64_t at = 0; at < sizeof(buffer); at += 16 * KIB)
        image_subclusters(&image, at, 0x55555555, 0xaaaaaaaa, 1);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, sizeof(buffer)), Q2_OK);
    T_CHECK(memcmp(buffer, image.model.bytes, sizeof(buffer)) == 0);
    T_CHECK(f.image.nb_reads <= 16 * 16 + 4);
    fixture_end(&f);
    image_free(&image);
}

/* Opening reads a cluster of header at the most, whatever is in it. */
static void test_work_of_opening_a_header_full_of_names(void)
{
    uint8_t *rows = calloc(43000, 48);

    image_start(&image, &(struct image_spec){.size = 0, .cluster_bits = 21, .max_clusters = 8});
    (void)image_extension(&image, 0x6803f857, rows, 43000 * 48);
    image_field_set(&image, "incompatible_features", 1ull << 63);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_ERR_FEATURE);
    T_CHECK(f.image.nb_reads <= 2 * MIB / (64 * KIB) + 4);
    fixture_end(&f);
    image_free(&image);
    free(rows);
}

/* The last of 65536 snapshots: one walk through the table, in rounds of slices. */
static void test_work_of_reading_the_last_snapshot(void)
{
    struct q2_snapshot snapshot;
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = MIB});
    at = image_alloc(&image, 40);
    image_field_set(&image, "nb_snapshots", 65536);
    image_field_set(&image, "snapshots_offset", at);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 65535, &snapshot), Q2_OK);
    T_CHECK(f.image.nb_reads <= 65536 * 40 / (64 * KIB) + 4);
    fixture_close(&f);
    t_row("a name that is not there: two walks");
    f.options.snapshot = "none";
    fake_source_reset(&f.image);
    T_CHECK_U64(fixture_open(&f), Q2_ERR_NO_SNAPSHOT);
    T_CHECK(f.image.nb_reads <= 2 * (65536 * 40 / (64 * KIB) + 4) + 4);
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    T_RUN(test_cut_every_byte_512);
    T_RUN(test_cut_every_byte_512_odd_size);
    T_RUN(test_cut_version_2);
    T_RUN(test_cut_64_kib);
    T_RUN(test_cut_extended);
    T_RUN(test_cut_image_of_a_data_file);
    T_RUN(test_cut_data_file);
    T_RUN(test_cut_base_below_an_overlay);
    T_RUN(test_work_of_reading_scattered_clusters);
    T_RUN(test_work_of_reading_the_deepest_chain);
    T_RUN(test_work_of_reading_subclusters_in_turns);
    T_RUN(test_work_of_opening_a_header_full_of_names);
    T_RUN(test_work_of_reading_the_last_snapshot);
    return t_done();
}
