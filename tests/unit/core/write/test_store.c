/* core/write/store.c: writes, growth and flushes keep every cache honest, and failures are said. */
#include <stdlib.h>

#include "core/write/store.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (4 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;
static uint64_t stream; /* host offset of a compressed cluster */

static void setup(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_compressed(&image, 64 * KIB, 1);
    stream = image_get64(&image, image_l2_entry(&image, 64 * KIB)) & 0xffffff;
    memory = calloc(1, CAPACITY);
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
}

static void test_store_write_reaches_file_and_caches(void)
{
    uint8_t before[512], after[512];

    setup();
    T_CHECK_U64(q2_disk_read(f.disk, 64 * KIB, before, 512), Q2_OK); /* decoded and kept */
    t_row("a decoded cluster is forgotten");
    T_CHECK_U64(q2_store_write(f.disk, &f.image.source, stream, "\377zzz", 4), Q2_OK);
    T_CHECK(memcmp(memory + stream, "\377zzz", 4) == 0);
    T_CHECK_U64(q2_disk_read(f.disk, 64 * KIB, after, 512), Q2_ERR_BAD_COMPRESSED);
    t_row("a window is forgotten");
    T_CHECK_U64(q2_disk_read(f.disk, 0, before, 512), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 512, before, 512), Q2_OK);
    T_CHECK_U64(q2_store_write(f.disk, &f.image.source, 5 * 64 * KIB + 1024, "new", 3), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 1024, after, 512), Q2_OK);
    T_CHECK(memcmp(after, "new", 3) == 0);
    cleanup();
}

static void test_store_write_outside_the_file(void)
{
    setup();
    T_CHECK_U64(q2_store_write(f.disk, &f.image.source, image.size - 2, "abc", 3),
                Q2_ERR_TRUNCATED);
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a write would leave the file (host offset is "
                                  "0x6fffe, limit 0x70000); copy the file again if its original "
                                  "is longer, else restore it");
    cleanup();
}

static void test_store_write_fails(void)
{
    setup();
    f.image.fail_write = 1;
    T_CHECK_U64(q2_store_write(f.disk, &f.image.source, 1024, "abc", 3), Q2_ERR_IO);
    T_CHECK_U64(fixture_status(&f), Q2_ERR_IO);
    cleanup();
}

/* Longer than the bounce buffer: in pieces. */
static void test_store_zero_in_pieces(void)
{
    setup();
    T_CHECK_U64(f.image.source.ops->grow(&f.image.source, 2 * MIB), Q2_OK);
    memset(memory + MIB, 0xff, MIB);
    T_CHECK_U64(q2_store_zero(f.disk, &f.image.source, MIB + 1, 600 * KIB), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, 3);
    T_CHECK(memory[MIB] == 0xff && memory[MIB + 1 + 600 * KIB] == 0xff);
    for (uint64_t i = 0; i < 600 * KIB; i++)
        T_CHECK(memory[MIB + 1 + i] == 0);
    f.image.fail_write = f.image.nb_writes + 2;
    T_CHECK_U64(q2_store_zero(f.disk, &f.image.source, MIB + 1, 600 * KIB), Q2_ERR_IO);
    cleanup();
}

static void test_store_grow_table(void)
{
    struct fake_source fixed;

    setup();
    t_row("not smaller");
    T_CHECK_U64(q2_store_grow(f.disk, &f.image.source, 1), Q2_OK);
    T_CHECK_U64(q2_store_grow(f.disk, &f.image.source, image.size), Q2_OK);
    T_CHECK_U64(f.image.nb_grows, 0);
    t_row("larger");
    T_CHECK_U64(q2_store_grow(f.disk, &f.image.source, 2 * MIB), Q2_OK);
    T_CHECK_U64(f.image.source.size, 2 * MIB);
    t_row("full");
    T_CHECK_U64(q2_store_grow(f.disk, &f.image.source, CAPACITY + 1), Q2_ERR_NO_SPACE);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the file cannot grow (size is 0x400001, limit "
                                  "0x200000); free some space");
    t_row("cannot grow at all");
    fake_source_init(&fixed, "fixed", memory, 512);
    T_CHECK_U64(q2_store_grow(f.disk, &fixed.source, 513), Q2_ERR_NO_SPACE);
    T_CHECK_STR(fixture_text(&f),
                "fixed: the file cannot grow now (size is 513, limit 512); free some space");
    cleanup();
}

/* O10: a failed flush makes the disk read-only until it is reopened. */
static void test_store_flush_failure_latches(void)
{
    setup();
    T_CHECK_U64(q2_store_flush(f.disk, &f.image.source), Q2_OK);
    T_CHECK(!f.disk->writer.latched);
    f.image.fail_flush = 2;
    f.image.fail_status = Q2_ERR_NO_MEDIA;
    T_CHECK_U64(q2_store_flush(f.disk, &f.image.source), Q2_ERR_NO_MEDIA);
    T_CHECK(f.disk->writer.latched);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: a flush failed; the disk is read-only until reopened");
    cleanup();
}

static void test_store_latch_says_what_failed(void)
{
    setup();
    T_CHECK_U64(q2_store_latch(f.disk, Q2_ERR_IO, "what failed"), Q2_ERR_IO);
    T_CHECK(f.disk->writer.latched);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: what failed");
    cleanup();
}

int main(void)
{
    T_RUN(test_store_write_reaches_file_and_caches);
    T_RUN(test_store_write_outside_the_file);
    T_RUN(test_store_write_fails);
    T_RUN(test_store_zero_in_pieces);
    T_RUN(test_store_grow_table);
    T_RUN(test_store_flush_failure_latches);
    T_RUN(test_store_latch_says_what_failed);
    return t_done();
}
