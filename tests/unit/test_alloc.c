/* core/alloc.c, from inside: places that a real image reaches after gigabytes only. The search is
 * told to begin far out, and slices are made to wait, by the disk's own memory. */
#include <stdlib.h>

#include "../../core/alloc.h"
#include "../../core/disk.h"
#include "fixture.h"
#include "q2_check.h"
#include "t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (72 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;

static void setup(void)
{
    memory = calloc(1, CAPACITY);
    memcpy(memory, image.bytes, image.size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
}

static enum q2_status write_4k(uint64_t offset)
{
    static uint8_t bytes[4 * KIB];

    memset(bytes, 0x5a, sizeof(bytes));
    return q2_disk_write(f.disk, offset, bytes, sizeof(bytes));
}

/* Flushed and opened again: what was written is there, and the check finds nothing. */
static void check_written(uint64_t offset)
{
    static uint8_t bytes[4 * KIB];
    struct q2_check_result result;

    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, offset, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK(bytes[0] == 0x5a && memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
}

/* Give the image a refcount table of nb clusters in place of its own of one. */
static void make_table(uint32_t nb)
{
    uint64_t old = image_field(&image, "refcount_table_offset");
    uint64_t table = image_alloc(&image, nb);

    for (uint64_t i = 0; i < image_cluster_size(&image); i += 8)
        image_put64(&image, table + i, image_get64(&image, old + i));
    image_field_set(&image, "refcount_table_offset", table);
    image_field_set(&image, "refcount_table_clusters", nb);
    image_refcount_set(&image, old >> image.spec.cluster_bits, 0);
}

/* 64 refcounts a block, and a table of 64 clusters: it and its blocks need two blocks. */
static void test_alloc_new_table_needs_two_blocks(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .refcount_bits = 64});
    make_table(32);
    setup();
    f.disk->writer.first_free = 32 * 64 * 64; /* what it covers */
    T_CHECK_U64(write_4k(0), Q2_OK);
    T_CHECK_U64(f.disk->layers[0].header.refcount_table_clusters, 64);
    check_written(0);
    cleanup();
}

/* 6 MiB of table cannot be doubled. */
static void test_alloc_table_at_its_limit(void)
{
    image_start(&image, &(struct image_spec){.size = 8 * MIB, .cluster_bits = 21});
    make_table(3);
    setup();
    f.disk->writer.first_free = 3ull << (21 - 3) << 20;
    T_CHECK_U64(write_4k(0), Q2_ERR_LIMIT);
    T_CHECK_STR(fixture_text(&f), FIXTURE_IMAGE_PATH ": the refcount table is full "
                                                     "(refcount_table_clusters is 6, limit 4)");
    T_CHECK_U64(f.image.nb_grows, 0);
    cleanup();
}

/* Make all slices of one set wait to be written, with the bytes that they have. */
static void make_set_wait(uint32_t set, enum q2_dirty kind)
{
    struct q2_source *source = &f.image.source;

    for (uint64_t i = 1; i <= Q2_SLICE_WAYS; i++) {
        uint64_t offset = (i * Q2_SLICE_SETS + set) * Q2_SLICE_SIZE;
        T_CHECK_U64(q2_slice_put(&f.disk->slices, source, offset, memory + offset, 8, kind), Q2_OK);
    }
}

/* A new refcount block whose set of slices is taken by refcounts that wait: they go first. */
static void test_alloc_new_block_writes_what_waits(void)
{
    struct q2_check_result result;
    uint64_t offset, nb;

    image_start(&image,
                &(struct image_spec){.size = MIB, .cluster_bits = 12, .max_clusters = 2048});
    (void)image_alloc(&image, 400);
    setup();
    f.disk->writer.first_free = 2048 + 7; /* becomes the block; slice and cluster are one size */
    make_set_wait((2048 + 7) % Q2_SLICE_SETS, Q2_DIRTY_REFCOUNT);
    T_CHECK_U64(q2_alloc(f.disk, 1, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, (2048 + 8) * 4 * KIB);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.check_errors, 0);
    T_CHECK_U64(result.leaks, 1 + 400); /* what nothing names */
    cleanup();
}

/* The run goes on in refcounts that cannot be read: the second slice of a block. */
static void test_alloc_run_into_refcounts_that_fail(void)
{
    static uint8_t bytes[64 * KIB];
    uint64_t block;

    image_start(&image,
                &(struct image_spec){
                    .size = MIB, .cluster_bits = 13, .refcount_bits = 64, .max_clusters = 1024});
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    setup();
    f.disk->writer.first_free = Q2_SLICE_SIZE / 8 - 2;
    f.image.bad_start = block + Q2_SLICE_SIZE;
    f.image.bad_end = block + 2 * Q2_SLICE_SIZE;
    f.image.fail_status = Q2_ERR_IO;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_disk_write(f.disk, 0, bytes, sizeof(bytes)), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), FIXTURE_IMAGE_PATH ": a refcount cannot be read");
    cleanup();
}

int main(void)
{
    T_RUN(test_alloc_new_table_needs_two_blocks);
    T_RUN(test_alloc_table_at_its_limit);
    T_RUN(test_alloc_new_block_writes_what_waits);
    T_RUN(test_alloc_run_into_refcounts_that_fail);
    return t_done();
}
