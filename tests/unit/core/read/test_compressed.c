/* core/read/compressed.c: what is decoded, how often, from which bytes (HAZARDS.md, F5). */
#include <stdlib.h>

#include "core/read/compressed.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *buffer;

/* nb compressed clusters in a row. */
static void setup(const struct image_spec *spec, uint32_t nb)
{
    image_start(&image, spec);
    for (uint32_t i = 0; i < nb; i++)
        image_compressed(&image, i * image_cluster_size(&image), i);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    buffer = malloc(4 * MIB);
}

static void cleanup(void)
{
    free(buffer);
    fixture_end(&f);
    image_free(&image);
}

static bool reads(uint64_t offset, size_t length)
{
    return q2_disk_read(f.disk, offset, buffer, length) == Q2_OK &&
           memcmp(buffer, image.model.bytes + offset, length) == 0;
}

static void test_compressed_read_pieces_decode_once(void)
{
    setup(&(struct image_spec){.size = MIB}, 3);
    for (uint64_t at = 0; at < 64 * KIB; at += 4 * KIB)
        T_CHECK(reads(at, 4 * KIB));
    T_CHECK_U64(f.zlib.nb_calls, 1);
    t_row("whole, out of the cache");
    T_CHECK(reads(0, 64 * KIB));
    T_CHECK_U64(f.zlib.nb_calls, 1);
    t_row("across two clusters");
    T_CHECK(reads(64 * KIB - 1, 2));
    T_CHECK_U64(f.zlib.nb_calls, 2);
    cleanup();
}

static void test_compressed_read_whole_cluster_is_not_kept(void)
{
    setup(&(struct image_spec){.size = MIB}, 3);
    T_CHECK(reads(0, 64 * KIB) && reads(0, 64 * KIB));
    T_CHECK_U64(f.zlib.nb_calls, 2);
    cleanup();
}

static void test_compressed_read_cache_holds_the_most_recent(void)
{
    uint32_t nb = Q2_DECODED_CACHE_SIZE / (64 * 1024);

    T_CHECK_U64(nb, Q2_DECODED_SLOTS);
    setup(&(struct image_spec){.size = 8 * MIB}, nb + 1);
    for (uint64_t i = 0; i < nb; i++)
        T_CHECK(reads(i * 64 * KIB + 5, 10));
    T_CHECK(reads(5, 10)); /* the first is now the most recent */
    T_CHECK_U64(f.zlib.nb_calls, nb);
    T_CHECK(reads(nb * 64 * KIB + 5, 10));
    T_CHECK(reads(5, 10));
    T_CHECK_U64(f.zlib.nb_calls, nb + 1);
    t_row("the second was the oldest");
    T_CHECK(reads(64 * KIB + 5, 10));
    T_CHECK_U64(f.zlib.nb_calls, nb + 2);
    cleanup();
}

static void test_compressed_read_largest_clusters_have_two_slots(void)
{
    setup(&(struct image_spec){.size = 8 * MIB, .cluster_bits = 21, .max_clusters = 64}, 3);
    T_CHECK(reads(1, 10) && reads(2 * MIB + 1, 10) && reads(1, 10) && reads(2 * MIB + 1, 10));
    T_CHECK_U64(f.zlib.nb_calls, 2);
    T_CHECK(reads(4 * MIB + 1, 10) && reads(2 * MIB + 1, 10));
    T_CHECK_U64(f.zlib.nb_calls, 3);
    cleanup();
}

static void test_compressed_read_codec_by_compression_type(void)
{
    setup(&(struct image_spec){.size = MIB, .compression_type = 1}, 1);
    T_CHECK(reads(0, 100));
    T_CHECK(f.zlib.nb_calls == 0 && f.zstd.nb_calls == 1);
    cleanup();
}

/* The input ends with the descriptor's last sector, or with the file. */
static void test_compressed_read_input_is_bounded(void)
{
    uint64_t host;

    setup(&(struct image_spec){.size = MIB}, 1);
    host = image_get64(&image, image_l2_entry(&image, 0)) & 0xffffffffff;
    T_CHECK(reads(0, 10));
    T_CHECK_U64((host + f.zlib.last_input_length) % 512, 0);
    fixture_close(&f);
    t_row("the file ends with the stream");
    f.image.source.size = image.stream_end;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(reads(0, 10));
    T_CHECK_U64(f.zlib.last_input_length, image.stream_end - host);
    fixture_close(&f);
    t_row("the file ends before the stream does");
    f.image.source.size = image.stream_end - 1;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 10), Q2_ERR_BAD_COMPRESSED);
    fixture_close(&f);
    t_row("where the stream begins");
    f.image.source.size = host;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 10), Q2_ERR_TRUNCATED);
    cleanup();
}

/* A stream inside a sector is read from the sector's start. */
static void test_compressed_read_begins_with_a_sector(void)
{
    uint64_t host;

    setup(&(struct image_spec){.size = MIB}, 3);
    host = image_get64(&image, image_l2_entry(&image, 64 * KIB)) & 0xffffffffff;
    T_CHECK(host % 512 != 0 && host > 512);
    fake_source_reset(&f.image);
    T_CHECK(reads(64 * KIB, 10));
    T_CHECK_U64(f.image.log[f.image.nb_reads - 1].offset, host & ~511ull);
    cleanup();
}

/* A failure keeps nothing: neither the bad cluster nor what its slot held before. */
static void test_compressed_read_failure_is_not_cached(void)
{
    uint64_t entry;

    setup(&(struct image_spec){.size = MIB}, 2);
    f.image.fail_call = f.image.nb_reads + 2; /* the L2 table, then the stream */
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 10), Q2_ERR_IO);
    T_CHECK(reads(0, 10));
    cleanup();

    setup(&(struct image_spec){.size = MIB}, 2);
    entry = image_get64(&image, image_l2_entry(&image, 0));
    image.bytes[entry & 0xffffff] ^= 0xff;
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 10), Q2_ERR_BAD_COMPRESSED);
    T_CHECK(reads(64 * KIB, 10));
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 10), Q2_ERR_BAD_COMPRESSED);
    T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 64 * KIB), Q2_ERR_BAD_COMPRESSED);
    cleanup();
}

/* A slot that a broken stream was decoded into no longer holds what it held. */
static void test_compressed_read_failure_empties_its_slot(void)
{
    uint64_t entry;

    setup(&(struct image_spec){.size = 8 * MIB, .cluster_bits = 21, .max_clusters = 64}, 3);
    entry = image_get64(&image, image_l2_entry(&image, 4 * MIB));
    image.bytes[(entry & 0xffffff) + 2] ^= 0xff;
    T_CHECK(reads(1, 10) && reads(2 * MIB + 1, 10));
    T_CHECK_U64(q2_disk_read(f.disk, 4 * MIB + 1, buffer, 10), Q2_ERR_BAD_COMPRESSED);
    T_CHECK(reads(1, 10) && reads(2 * MIB + 1, 10));
    cleanup();
}

/* Two descriptors of one stream that differ in length are two clusters to the cache. */
static void test_compressed_read_same_stream_other_length(void)
{
    uint64_t entry;

    setup(&(struct image_spec){.size = MIB}, 1);
    entry = image_get64(&image, image_l2_entry(&image, 0));
    image_put64(&image, image_l2_entry(&image, 64 * KIB), entry & ~(0xffull << 54));
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(reads(5, 10));
    t_row("cut short: no longer a whole cluster");
    T_CHECK_U64(q2_disk_read(f.disk, 64 * KIB, buffer, 10), Q2_ERR_BAD_COMPRESSED);
    T_CHECK(reads(5, 10));
    T_CHECK_U64(f.zlib.nb_calls, 2);
    cleanup();
}

/* Equal offsets in two files of a chain are two clusters. */
static void test_compressed_read_two_layers_are_kept_apart(void)
{
    struct image base;
    struct fake_source fake;

    image_start(&base, &(struct image_spec){.size = MIB});
    image_compressed(&base, 0, 7);
    image_compressed(&base, 64 * KIB, 8);
    image_start(&image, &(struct image_spec){.size = MIB});
    image_compressed(&image, 0, 9);
    image_backing(&image, "base", "qcow2");
    image_model_over(&image, base.model.bytes, MIB);
    fixture_start(&f, &image);
    fake_source_init(&fake, "img/base", base.bytes, base.size);
    fake_opener_add(&f.opener, "img/base", &fake);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    fixture_end(&f);
    image_free(&image);
    image_free(&base);
}

int main(void)
{
    T_RUN(test_compressed_read_pieces_decode_once);
    T_RUN(test_compressed_read_whole_cluster_is_not_kept);
    T_RUN(test_compressed_read_cache_holds_the_most_recent);
    T_RUN(test_compressed_read_largest_clusters_have_two_slots);
    T_RUN(test_compressed_read_codec_by_compression_type);
    T_RUN(test_compressed_read_input_is_bounded);
    T_RUN(test_compressed_read_begins_with_a_sector);
    T_RUN(test_compressed_read_failure_is_not_cached);
    T_RUN(test_compressed_read_failure_empties_its_slot);
    T_RUN(test_compressed_read_same_stream_other_length);
    T_RUN(test_compressed_read_two_layers_are_kept_apart);
    return t_done();
}
