/* core/write/alloc.c, from inside: places that a real image reaches after gigabytes only. The
 * search is told to begin far out, and slices are made to wait, by the disk's own memory. */
#include <sys/mman.h>

#include "core/write/alloc.h"
#include "core/write/order.h"
#include "core/read/disk.h"
#include "tests/support/fixture.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/t.h"
#include "core/write/refcount_write.h"
#include "core/write/slice_write.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (1100 * MIB) /* of addresses: memory is taken where something is stored */

static struct image image;
static struct fixture f;
static uint8_t *memory;

static void setup(void)
{
    memory = mmap(NULL, CAPACITY, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    (void)munmap(memory, CAPACITY);
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

/* A refcount table becomes twice as long, with as many blocks as it and they need themselves. */
static void test_alloc_new_table_and_its_blocks(void)
{
    static const struct {
        const char *row;
        uint32_t refcount_bits, nb_old, nb_blocks;
    } rows[] = {
        {"64 refcounts a block, 64 clusters", 64, 32, 2},
        {"256 refcounts a block, 4 clusters", 16, 2, 1},
        {"a table longer than what is composed at once", 64, 515, 17},
        {"new blocks at the end of what is composed at once", 64, 511, 17},
    };

    static const uint8_t no_entry[8];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t nb_entries = rows[i].nb_old * 64, table;
        const struct q2_header *header;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB,
                                                 .cluster_bits = 9,
                                                 .refcount_bits = rows[i].refcount_bits,
                                                 .max_clusters = 1024});
        make_table(rows[i].nb_old);
        setup();
        f.disk->writer.first_free = nb_entries * (512 * 8 / rows[i].refcount_bits);
        f.image.source.size = f.image.nb_held = f.disk->writer.first_free * 512; /* a hole */
        if (i > 0) { /* others have left bytes there, and after the old table */
            memset(memory + image.size, 0xff, MIB);
            memset(memory + f.image.source.size, 0xff, MIB);
            f.image.source.size = f.image.nb_held = f.image.source.size + MIB;
        }
        T_CHECK_U64(write_4k(0), Q2_OK);
        header = &f.disk->layers[0].header;
        T_CHECK_U64(header->refcount_table_clusters, 2 * rows[i].nb_old);
        table = header->refcount_table_offset;
        check_written(0);
        for (uint64_t n = 0; n < nb_entries; n++)
            T_CHECK((memcmp(memory + table + (nb_entries + n) * 8, no_entry, 8) != 0) ==
                    (n < rows[i].nb_blocks));
        cleanup();
    }
}

/* Whichever write fails on the way to a longer refcount table, the request or the flush after it
 * says so. */
static void test_alloc_new_table_tells_each_write_that_fails(void)
{
    for (uint64_t n = 1;; n++) {
        enum q2_status status;
        uint64_t nb_writes;

        image_start(&image,
                    &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .refcount_bits = 64});
        setup();
        f.disk->writer.first_free = 64 * 64; /* after what a table of one cluster can count */
        f.image.fail_write = n;
        status = write_4k(0);
        if (status == Q2_OK)
            status = q2_disk_flush(f.disk);
        nb_writes = f.image.nb_writes;
        T_CHECK_U64(status, nb_writes < n ? Q2_OK : Q2_ERR_IO);
        cleanup();
        if (nb_writes < n)
            break;
    }
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

/* Make nb slices of one set wait to be written, with the bytes that they have. */
static void make_set_wait(uint32_t set, uint64_t nb, enum q2_dirty kind)
{
    struct q2_source *source = &f.image.source;

    for (uint64_t i = 1; i <= nb; i++) {
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
    make_set_wait((2048 + 7) % Q2_SLICE_SETS, Q2_SLICE_WAYS, Q2_DIRTY_REFCOUNT);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 1, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, (2048 + 8) * 4 * KIB);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.check_errors, 0);
    T_CHECK_U64(result.leaks, 1 + 400); /* what nothing names */
    cleanup();
}

/* Refcounts in a block of two slices, of which the second one cannot be read; the search begins at
 * this cluster. */
static void start_with_bad_refcounts(uint64_t first_free)
{
    uint64_t block;

    image_start(&image,
                &(struct image_spec){
                    .size = MIB, .cluster_bits = 13, .refcount_bits = 64, .max_clusters = 1024});
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    setup();
    f.disk->writer.first_free = first_free;
    f.image.bad_start = block + Q2_SLICE_SIZE;
    f.image.bad_end = block + 2 * Q2_SLICE_SIZE;
    f.image.fail_status = Q2_ERR_IO;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
}

/* The run goes on in refcounts that cannot be read: nothing of it is handed out. */
static void test_alloc_run_into_refcounts_that_fail(void)
{
    static uint8_t bytes[64 * KIB];
    uint64_t offset = 77, nb = 0;

    start_with_bad_refcounts(Q2_SLICE_SIZE / 8 - 2);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 3, &offset, &nb), Q2_ERR_IO);
    T_CHECK_U64(offset, 77);
    T_CHECK_U64(q2_disk_write(f.disk, 0, bytes, sizeof(bytes)), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), FIXTURE_IMAGE_PATH ": a refcount cannot be read");
    cleanup();
}

/* Whether a cluster is free cannot be read: none is handed out, and no later one either. */
static void test_alloc_where_refcounts_fail(void)
{
    uint64_t offset = 77, nb = 0;

    start_with_bad_refcounts(Q2_SLICE_SIZE / 8);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 1, &offset, &nb), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f), FIXTURE_IMAGE_PATH ": a refcount cannot be read");
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 1, &offset), Q2_ERR_IO);
    T_CHECK_U64(offset, 77);
    T_CHECK(q2_disk_is_writable(f.disk));
    cleanup();
}

/* A file with room for some of the clusters that are wanted: half as many are taken, and half of
 * those, until they fit. */
static void test_alloc_takes_what_the_file_has_room_for(void)
{
    uint64_t offset, nb, size;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    setup();
    size = f.image.source.size;
    f.disk->writer.first_free = size / (4 * KIB);
    f.image.capacity = size + 3 * 4 * KIB;
    T_CHECK_U64(q2_clusters_alloc(f.disk, 8, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, size);
    T_CHECK_U64(nb, 2);
    T_CHECK_U64(f.image.source.size, size + 2 * 4 * KIB);
    cleanup();
}

/* A full file, and clusters that were given up since the last flush: these are handed out. */
static void test_alloc_in_a_full_file_hands_out_what_was_given_up(void)
{
    uint64_t given_up, offset = 0, nb = 0;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    given_up = image_alloc(&image, 2);
    (void)image_alloc(&image, 1);
    setup();
    f.image.capacity = f.image.source.size;
    q2_clusters_free_later(f.disk, given_up, 2 * 4 * KIB);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 8, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, given_up);
    T_CHECK_U64(nb, 2);
    cleanup();
}

/* A row where no block is: the cluster for the block brings a block of its own along. */
static void test_alloc_row_where_the_block_comes_by_itself(void)
{
    struct q2_check_result result;
    uint64_t offset;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .refcount_bits = 64});
    setup();
    f.disk->writer.first_free = 256; /* what the image's blocks cover */
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 3, &offset), Q2_OK);
    T_CHECK_U64(offset, (256 + 2) * 512); /* after the block and the cluster that is given back */
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.check_errors, 0);
    T_CHECK_U64(result.leaks, 3);
    cleanup();
}

/* A row past the last block, and no room for one more block. */
static void test_alloc_row_without_room_for_a_block(void)
{
    uint64_t offset;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .refcount_bits = 64});
    setup();
    f.image.fail_grow = 1;
    f.image.fail_status = Q2_ERR_NO_SPACE;
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 500, &offset), Q2_ERR_NO_SPACE);
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 500, &offset), Q2_OK);
    cleanup();
}

static void start_row(void)
{
    image_start(&image,
                &(struct image_spec){.size = MIB, .cluster_bits = 12, .max_clusters = 2048});
    (void)image_alloc(&image, 400);
    setup();
}

/* Refcounts that wait have taken most of a set: they go before the row's. */
static void test_alloc_row_writes_what_waits(void)
{
    uint64_t offset;

    start_row();
    make_set_wait(10, Q2_SLICE_WAYS, Q2_DIRTY_REFCOUNT);
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 3, &offset), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, Q2_SLICE_WAYS);
    cleanup();
}

/* They cannot go: what the row has taken by then is given back, and nothing is written any more. */
static void test_alloc_row_gives_back_what_it_took(void)
{
    uint64_t offset, block;

    start_row();
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    make_set_wait(block / Q2_SLICE_SIZE % Q2_SLICE_SETS, Q2_SLICE_WAYS / 2 - 1, Q2_DIRTY_REFCOUNT);
    f.image.fail_write = 1;
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 3, &offset), Q2_ERR_IO);
    T_CHECK_U64(f.disk->writer.nb_frees, 1);
    T_CHECK_U64(f.disk->writer.frees[0].length, 4 * KIB);
    T_CHECK_U64(write_4k(0), Q2_ERR_READ_ONLY);
    cleanup();
}

/* A source that has room to reserve, or has none at one offset. */
static uint64_t full_offset;
static uint32_t nb_reserved;

static enum q2_status reserve(struct q2_source *source, uint64_t offset, uint64_t length)
{
    (void)source;
    if (full_offset >= offset && full_offset < offset + length)
        return Q2_ERR_NO_SPACE;
    nb_reserved++;
    return Q2_OK;
}

static void reserve_all_but(uint64_t offset)
{
    static struct q2_source_ops ops;

    ops = *f.image.source.ops;
    ops.reserve = reserve;
    f.image.source.ops = &ops;
    full_offset = offset;
    nb_reserved = 0;
}

/* The device is full under the second slice of a block: the request fails, the refcounts that were
 * taken in the first one are given back, and when there is room it can be done again. */
static void test_alloc_run_into_refcounts_without_room(void)
{
    static uint8_t bytes[64 * KIB];
    struct q2_check_result result;
    uint64_t block;

    image_start(&image,
                &(struct image_spec){
                    .size = MIB, .cluster_bits = 13, .refcount_bits = 64, .max_clusters = 1024});
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    setup();
    T_CHECK_U64(write_4k(512 * KIB), Q2_OK); /* the L2 table */
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    f.disk->writer.first_free = Q2_SLICE_SIZE / 8 - 2;
    reserve_all_but(block + Q2_SLICE_SIZE);
    T_CHECK_U64(q2_disk_write(f.disk, 0, bytes, sizeof(bytes)), Q2_ERR_NO_SPACE);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a refcount cannot be changed");
    T_CHECK_U64(f.disk->writer.nb_frees, 1);
    T_CHECK_U64(f.disk->writer.frees[0].length, 2 * 8 * KIB);
    reserve_all_but(UINT64_MAX);
    T_CHECK_U64(q2_disk_write(f.disk, 0, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK(nb_reserved > 0);
    check_written(512 * KIB);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks, 0);
    cleanup();
}

/* Room for a new block's entry in the refcount table is reserved; without it only the request
 * fails. */
static void test_alloc_block_without_room_for_its_entry(void)
{
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .refcount_bits = 64});
    table = image_field(&image, "refcount_table_offset");
    setup();
    f.disk->writer.first_free = 256; /* what the image's blocks cover */
    reserve_all_but(table + 256 / 64 * 8);
    T_CHECK_U64(write_4k(0), Q2_ERR_NO_SPACE);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "no room for a new refcount block");
    T_CHECK_U64(f.image.source.size, (256 + 1) * 512);
    T_CHECK(q2_disk_is_writable(f.disk));
    reserve_all_but(UINT64_MAX);
    T_CHECK_U64(write_4k(0), Q2_OK);
    check_written(0);
    cleanup();
}

/* The file cannot grow for a new block: only the request fails, and with room it is done. */
static void test_alloc_block_without_room_in_the_file(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .refcount_bits = 64});
    setup();
    f.disk->writer.first_free = 256; /* what the image's blocks cover */
    f.image.fail_grow = 1;
    f.image.fail_status = Q2_ERR_NO_SPACE;
    T_CHECK_U64(write_4k(0), Q2_ERR_NO_SPACE);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "the file cannot grow");
    T_CHECK_U64(f.image.nb_writes, 0);
    T_CHECK(q2_disk_is_writable(f.disk));
    T_CHECK_U64(write_4k(0), Q2_OK);
    check_written(0);
    cleanup();
}

/* The block for a row cannot be filled with zeros: its cluster is given back. */
static void test_alloc_row_block_that_cannot_be_written(void)
{
    struct q2_check_result result;
    uint64_t offset = 77;

    image_start(&image,
                &(struct image_spec){
                    .size = MIB, .cluster_bits = 12, .refcount_bits = 64, .max_clusters = 512});
    setup();
    reserve_all_but(image_field(&image, "refcount_table_offset") + 8);
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 600, &offset), Q2_ERR_NO_SPACE);
    T_CHECK_U64(offset, 77);
    T_CHECK_U64(f.disk->writer.nb_frees, 1);
    T_CHECK_U64(f.disk->writer.frees[0].length, 4 * KIB);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks, 0);
    reserve_all_but(UINT64_MAX);
    T_CHECK_U64(q2_clusters_alloc_row(f.disk, 600, &offset), Q2_OK);
    cleanup();
}

/* The device is full under a table that is there, a hole perhaps: the write fails, what was there
 * stays, and with room it is done. */
static void test_write_without_room_under_its_table(void)
{
    uint64_t l2;
    uint8_t byte = 0;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    l2 = image_get64(&image, image_l1_entry(&image, 0)) & 0x00fffffffffffe00ull;
    setup();
    reserve_all_but(l2 + 8);
    T_CHECK_U64(write_4k(64 * KIB), Q2_ERR_NO_SPACE);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_NO_SPACE);
    T_CHECK(q2_disk_is_writable(f.disk));
    T_CHECK_U64(q2_disk_read(f.disk, 64 * KIB, &byte, 1), Q2_OK);
    T_CHECK_U64(byte, 0);
    reserve_all_but(UINT64_MAX);
    T_CHECK_U64(write_4k(64 * KIB), Q2_OK);
    check_written(64 * KIB);
    cleanup();
}

/* Refcounts of 0 for the L1 table, which is in the middle of free clusters: a run ends before it.
 */
static void test_alloc_run_stops_before_a_table(void)
{
    uint64_t old, table, offset = 0, nb = 0;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 16});
    old = image_field(&image, "l1_table_offset");
    (void)image_alloc(&image, 1);
    table = image_alloc(&image, 1);
    (void)image_alloc(&image, 2);
    image_put(&image, table, image.bytes + old, 64 * KIB);
    image_field_set(&image, "l1_table_offset", table);
    for (uint64_t at = old; at < image.size; at += 64 * KIB)
        image_refcount_set(&image, at >> 16, at == table);
    setup();
    T_CHECK_U64(q2_refcount_put(&f.disk->slices, &f.disk->layers[0], table >> 16, 0), Q2_OK);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 5, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, old);
    T_CHECK(nb >= 1 && offset + nb * 64 * KIB <= table);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 5, &offset, &nb), Q2_OK);
    T_CHECK(offset + nb * 64 * KIB <= table || offset > table);
    T_CHECK_U64(q2_clusters_alloc(f.disk, 5, &offset, &nb), Q2_OK);
    T_CHECK(offset > table);
    t_row("the cluster before it is one like others");
    T_CHECK_U64(q2_refcount_put(&f.disk->slices, &f.disk->layers[0], (table >> 16) - 1, 0), Q2_OK);
    f.disk->writer.first_free = (table >> 16) - 1;
    T_CHECK_U64(q2_clusters_alloc(f.disk, 1, &offset, &nb), Q2_OK);
    T_CHECK_U64(offset, table - 64 * KIB);
    cleanup();
}

/* New clusters are named from the end of one slice of the L2 table on, and the device has no room
 * under the next: those that were named stay, and all others are given back. */
static void test_entries_without_room_give_back_their_clusters(void)
{
    static const struct {
        const char *row;
        uint32_t cluster_bits;
        bool extended, preallocate;
    } rows[] = {
        {"write", 13, false, false},
        {"write, extended", 14, true, false},
        {"preallocate", 13, false, true},
    };
    static uint8_t bytes[64 * KIB];

    memset(bytes, 0x5a, sizeof(bytes));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t bits = rows[i].cluster_bits;
        uint64_t offset = (Q2_SLICE_SIZE / (rows[i].extended ? 16 : 8) - 2ull) << bits, table;
        size_t length = (size_t)4 << bits;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = 8 * MIB,
                                                 .cluster_bits = bits,
                                                 .extended = rows[i].extended});
        (void)image_data(&image, 0, 1);
        table = image_get64(&image, image_l1_entry(&image, 0)) & 0x00fffffffffffe00ull;
        setup();
        reserve_all_but(table + Q2_SLICE_SIZE);
        T_CHECK_U64(rows[i].preallocate ? q2_disk_preallocate(f.disk, offset, length, false)
                                        : q2_disk_write(f.disk, offset, bytes, length),
                    Q2_ERR_NO_SPACE);
        T_CHECK_U64(f.disk->writer.nb_frees, 1);
        T_CHECK_U64(f.disk->writer.frees[0].length, 2ull << bits);
        reserve_all_but(UINT64_MAX);
        T_CHECK_U64(q2_disk_write(f.disk, offset, bytes, length), Q2_OK);
        check_written(offset);
        cleanup();
    }
}

/* The data cannot be written to its new clusters: all of them are given back. */
static void test_data_that_cannot_be_written_gives_back_its_clusters(void)
{
    static const uint8_t bytes[8 * KIB] = {1};

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    (void)image_data(&image, 0, 1);
    setup();
    f.image.fail_write = 1;
    T_CHECK_U64(q2_disk_write(f.disk, 64 * KIB, bytes, sizeof(bytes)), Q2_ERR_IO);
    T_CHECK_U64(f.disk->writer.nb_frees, 1);
    T_CHECK_U64(f.disk->writer.frees[0].length, sizeof(bytes));
    T_CHECK_U64(write_4k(128 * KIB), Q2_OK);
    check_written(128 * KIB);
    cleanup();
}

/* The device is full under the refcounts of what a snapshot would share: there is no snapshot, and
 * with room there is. */
static void test_snapshot_without_room_under_the_refcounts(void)
{
    struct q2_check_result result;
    uint64_t block;

    image_start(&image,
                &(struct image_spec){
                    .size = MIB, .cluster_bits = 13, .refcount_bits = 64, .max_clusters = 1024});
    (void)image_data(&image, 0, 1);
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    setup();
    f.disk->writer.first_free = Q2_SLICE_SIZE / 8; /* its tables are counted in the second slice */
    reserve_all_but(block);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_ERR_NO_SPACE);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a refcount cannot be changed");
    T_CHECK_U64(f.disk->layers[0].header.nb_snapshots, 0);
    reserve_all_but(UINT64_MAX);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "one", 1, 2), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks, 0);
    cleanup();
}

/* A compressed cluster's offset has 49 bits where clusters have 21. */
static void test_alloc_too_far_for_a_stream(void)
{
    static const uint8_t stream[100] = {1};
    const uint64_t far = 1ull << (49 - 21);

    image_start(&image, &(struct image_spec){.size = 8 * MIB, .cluster_bits = 21});
    image_put64(&image, image_field(&image, "refcount_table_offset") + (far >> 20) * 8,
                image_alloc(&image, 1));
    setup();
    f.image.source.size = (far + 4) << 21; /* it has grown in the meantime */
    T_CHECK_U64(q2_disk_write(f.disk, 0, stream, 1), Q2_OK);
    f.disk->writer.first_free = far;
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 2 * MIB, stream, sizeof(stream)), Q2_ERR_LIMIT);
    T_CHECK_STR(fixture_text(&f),
                FIXTURE_IMAGE_PATH ": the file is too long for another compressed cluster "
                                   "(host offset is 0x2000000000000, limit 0x1ffffffffffff)");
    T_CHECK_U64(f.disk->writer.nb_frees, 1);
    cleanup();
}

/* Two refcounts are in one byte, which cannot be read: neither of them changes. */
static void test_refcount_whose_neighbour_cannot_be_read(void)
{
    uint64_t block, refcount;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12, .refcount_bits = 4});
    (void)image_data(&image, 0, 1);
    setup();
    T_CHECK_U64(q2_refcount_block(&f.disk->slices, &f.disk->layers[0], 1, &block), Q2_OK);
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    fake_source_fail_nth(&f.image, FAKE_READ, 1);
    T_CHECK_U64(q2_refcount_put_in(&f.disk->slices, &f.disk->layers[0], block, 1, 3), Q2_ERR_IO);
    for (uint64_t i = 0; i < 2; i++) {
        T_CHECK_U64(q2_refcount_get(&f.disk->slices, &f.disk->layers[0], i, &refcount), Q2_OK);
        T_CHECK_U64(refcount, 1);
    }
    cleanup();
}

int main(void)
{
    T_RUN(test_alloc_new_table_and_its_blocks);
    T_RUN(test_alloc_new_table_tells_each_write_that_fails);
    T_RUN(test_alloc_table_at_its_limit);
    T_RUN(test_alloc_new_block_writes_what_waits);
    T_RUN(test_alloc_run_into_refcounts_that_fail);
    T_RUN(test_alloc_where_refcounts_fail);
    T_RUN(test_alloc_takes_what_the_file_has_room_for);
    T_RUN(test_alloc_in_a_full_file_hands_out_what_was_given_up);
    T_RUN(test_alloc_row_where_the_block_comes_by_itself);
    T_RUN(test_alloc_row_without_room_for_a_block);
    T_RUN(test_alloc_row_writes_what_waits);
    T_RUN(test_alloc_row_gives_back_what_it_took);
    T_RUN(test_alloc_run_into_refcounts_without_room);
    T_RUN(test_alloc_block_without_room_for_its_entry);
    T_RUN(test_alloc_block_without_room_in_the_file);
    T_RUN(test_alloc_row_block_that_cannot_be_written);
    T_RUN(test_write_without_room_under_its_table);
    T_RUN(test_alloc_run_stops_before_a_table);
    T_RUN(test_entries_without_room_give_back_their_clusters);
    T_RUN(test_data_that_cannot_be_written_gives_back_its_clusters);
    T_RUN(test_snapshot_without_room_under_the_refcounts);
    T_RUN(test_alloc_too_far_for_a_stream);
    T_RUN(test_refcount_whose_neighbour_cannot_be_read);
    return t_done();
}
