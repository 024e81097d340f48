/* core/write/write.c, table.c, alloc.c, order.c: what tests/fault/ does not reach. Clusters larger
 * than the bounce buffer, tables shared with a snapshot, limits, and what is refused. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/write/table.h"
#include "q2_amend.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"
#include "core/write/slice_write.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define COPIED   (1ull << 63)
#define CAPACITY (64 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory, *model;

/* Open a built image for writing; the model is what it reads as. */
static enum q2_status setup(void)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    model = calloc(1, image.spec.size + 1);
    if (image.model.bytes)
        memcpy(model, image.model.bytes, image.spec.size);
    return fixture_open(&f);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(model);
}

static enum q2_status write_at(uint64_t offset, size_t length, uint8_t value)
{
    return fixture_fill(&f, model, offset, length, value);
}

/* Flushed and opened again: content as the model, and nothing that the check finds. */
static void check_all(void)
{
    fixture_check_flushed(&f, model, image.spec.size);
}

/* One write over zero clusters that have their places: each entry becomes data. */
static void test_write_over_allocated_zero_clusters(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    for (uint64_t i = 0; i < 4; i++)
        (void)image_zero(&image, i * 4 * KIB, true);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(write_at(1 * KIB, 14 * KIB, 3), Q2_OK);
    check_all();
    cleanup();
}

/* One write over subclusters without data that two clusters have in a row. */
static void test_write_over_the_ends_of_two_clusters(void)
{
    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 14, .extended = true});
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(write_at(0, 4 * KIB, 1), Q2_OK);
    T_CHECK_U64(write_at(28 * KIB, 4 * KIB, 2), Q2_OK);
    T_CHECK_U64(write_at(5 * KIB, 22 * KIB, 3), Q2_OK);
    check_all();
    cleanup();
}

/* Reads in a row keep their extent, until clusters are allocated between them. */
static void test_write_is_seen_by_reads_that_go_on(void)
{
    uint8_t bytes[512];
    uint64_t nb_changes;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    for (uint64_t at = 0; at < 64 * KIB; at += 512) {
        T_CHECK_U64(q2_disk_read(f.disk, at, bytes, 512), Q2_OK);
        T_CHECK(memcmp(bytes, model + at, 512) == 0);
        nb_changes = q2_disk_nb_changes(f.disk);
        T_CHECK_U64(write_at(at, 512, (uint8_t)(at / 512 + 1)), Q2_OK);
        if (at >= 4096 && at % 4096 == 0)
            T_CHECK(q2_disk_nb_changes(f.disk) > nb_changes);
        if (at + 512 < 64 * KIB && at % 1024 == 0)
            T_CHECK_U64(write_at(at + 512, 512, 0xee), Q2_OK);
    }
    check_all();
    cleanup();
}

/* Pieces of clusters of 1 and 2 MiB, which no bounce buffer holds, new ones and old ones. */
static void test_write_clusters_larger_than_the_bounce_buffer(void)
{
    static const struct {
        uint64_t offset;
        size_t length;
    } pieces[] = {
        {100, 10},         {511, 2},         {1 * MIB + 512, 512},    {3 * MIB - 1, 2},
        {4 * MIB, 600000}, {7 * MIB + 3, 1}, {8 * MIB - 700, 700},    {9 * MIB + 17, 1048576},
        {0, 2097152},      {2 * MIB, 4096},  {10 * MIB + 1, 1048574}, {11 * MIB + 513, 999999},
    };

    for (uint32_t bits = 20; bits <= 21; bits++) {
        image_start(&image, &(struct image_spec){
                                .size = 13 * MIB + 100, .cluster_bits = bits, .max_clusters = 64});
        image_compressed(&image, 4 * MIB, 1);
        image_zero(&image, 6 * MIB, false);
        image_data(&image, 8 * MIB, 3);
        T_CHECK_U64(setup(), Q2_OK);
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
            T_CHECK_U64(write_at(pieces[i].offset, pieces[i].length, (uint8_t)(i + 1)), Q2_OK);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 5 * MIB + 7, 3 * MIB), Q2_OK);
        memset(model + 5 * MIB + 7, 0, 3 * MIB);
        check_all();
        cleanup();
    }
}

/* A piece of a new cluster and what is around it are one request, where the buffer holds both. */
static void test_write_into_a_new_cluster_is_one_request(void)
{
    for (uint32_t bits = 16; bits <= 18; bits += 2) {
        image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = bits});
        image_data(&image, 0, 1);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(write_at((1ull << bits) + 1000, 4096, 7), Q2_OK);
        T_CHECK_U64(f.image.nb_writes, 1);
        check_all();
        cleanup();
    }
}

/* What a new cluster has past the disk's end is zeros, whatever was in the buffer before. */
static void test_write_leaves_zeros_past_the_end_of_the_disk(void)
{
    struct q2_extent extent;

    image_start(&image, &(struct image_spec){.size = 100 * KIB});
    image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    memset(f.disk->writer.bounce, 0xee, Q2_BOUNCE_SIZE);
    T_CHECK_U64(write_at(99 * KIB, 100, 7), Q2_OK);
    T_CHECK_U64(q2_disk_map(f.disk, 64 * KIB, 1, &extent), Q2_OK);
    for (uint64_t i = 36 * KIB; i < 64 * KIB; i++)
        T_CHECK_U64(memory[extent.host_offset + i], 0);
    cleanup();
}

/* Each sector is written once and whole, even in clusters larger than the bounce buffer. */
static void test_write_failing_in_each_part_of_a_large_cluster(void)
{
    for (uint64_t call = 1; call < 40; call++) {
        enum q2_status status;

        image_start(&image,
                    &(struct image_spec){.size = 2 * MIB, .cluster_bits = 20, .max_clusters = 64});
        image_compressed(&image, 0, 1);
        T_CHECK_U64(setup(), Q2_OK);
        fake_source_reset(&f.image);
        f.image.fail_write = call;
        status = write_at(1000, 700000, 9);
        if (status == Q2_OK)
            call = 40;
        else
            T_CHECK_U64(status, Q2_ERR_IO);
        T_CHECK_U64(fixture_first_difference(&f, model, 2 * MIB), FIXTURE_SAME);
        cleanup();
    }
}

/* A snapshot that shares every table and cluster with the active state. */
static void share_with_snapshot(void)
{
    uint64_t cluster = image_cluster_size(&image), l1 = image_field(&image, "l1_table_offset");
    uint64_t copy = image_alloc(&image, 1);
    uint64_t nb_entries = image.spec.extended ? cluster / 16 : cluster / 8;

    for (uint64_t i = 0; i < image.spec.l1_size; i++) {
        uint64_t table = image_get64(&image, l1 + i * 8) & ~COPIED;

        image_put64(&image, l1 + i * 8, table);
        image_put64(&image, copy + i * 8, table);
        if (table == 0)
            continue;
        image_refcount_set(&image, table / cluster, 2);
        for (uint64_t n = 0; n < nb_entries; n++) {
            uint64_t at = table + n * (image.spec.extended ? 16 : 8);
            uint64_t entry = image_get64(&image, at);
            uint64_t host = entry & 0x00fffffffffffe00;

            if (entry >> 62 & 1)
                host = entry & 0xffffffff & ~(cluster - 1);
            image_put64(&image, at, entry & ~COPIED);
            if (host != 0)
                image_refcount_set(&image, host / cluster,
                                   image_refcount(&image, host / cluster) + 1);
        }
    }
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "shared"});
    /* The builder gave the old L1 table to the snapshot and made a new one: fill it. */
    for (uint64_t i = 0; i < image.spec.l1_size; i++)
        image_put64(&image, image_field(&image, "l1_table_offset") + i * 8,
                    image_get64(&image, copy + i * 8));
    image_refcount_set(&image, copy / cluster, 0);
    (void)image_snapshots_write(&image);
}

static void test_write_over_what_a_snapshot_shares(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
    } rows[] = {
        {"512 bytes", {.size = 200 * 512, .cluster_bits = 9}},
        {"64 KiB", {.size = MIB}},
        {"2 MiB, tables larger than the bounce buffer",
         {.size = 8 * MIB, .cluster_bits = 21, .max_clusters = 64}},
        {"extended", {.size = MIB, .cluster_bits = 14, .extended = true}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t size, cluster;

        t_row(rows[i].row);
        image_start(&image, &rows[i].spec);
        size = image.spec.size;
        cluster = image_cluster_size(&image);
        image_data(&image, 0, 1);
        image_data(&image, cluster, 2);
        image_compressed(&image, 2 * cluster, 3);
        share_with_snapshot();
        T_CHECK_U64(setup(), Q2_OK);
        if (!f.disk) {
            printf("# %s\n", fixture_text(&f));
            cleanup();
            continue;
        }
        memcpy(model, image.snapshot_models[0].bytes, size);
        T_CHECK_U64(write_at(10, 100, 7), Q2_OK);
        T_CHECK_U64(write_at(2 * cluster + 5, 9, 8), Q2_OK);
        T_CHECK_U64(write_at(size - 3, 3, 9), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        check_all();
        t_row("the snapshot is as it was");
        f.options.writable = false;
        f.options.snapshot = "shared";
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, image.snapshot_models[0].bytes, size),
                    FIXTURE_SAME);
        cleanup();
    }
}

/* The extents of the top image from offset on are these, in a row. */
static void check_extents(uint64_t offset, const enum q2_extent_kind *kinds,
                          const uint64_t *lengths, size_t nb)
{
    for (size_t i = 0; i < nb; i++) {
        struct q2_extent extent;

        T_CHECK_U64(q2_disk_map(f.disk, offset, image.spec.size, &extent), Q2_OK);
        T_CHECK_U64(extent.kind, kinds[i]);
        T_CHECK_U64(extent.length, lengths[i]);
        offset += extent.length;
    }
}

/* A new cluster gets the subclusters that are written, not all of them: the others stay what they
 * were, and what is below is not copied up. */
static void test_write_allocates_subclusters_only(void)
{
    const enum q2_extent_kind one[] = {Q2_EXTENT_UNALLOCATED, Q2_EXTENT_DATA,
                                       Q2_EXTENT_UNALLOCATED};
    const uint64_t one_lengths[] = {1024, 1024, 14 * KIB};
    const enum q2_extent_kind three[] = {Q2_EXTENT_DATA, Q2_EXTENT_UNALLOCATED};
    const uint64_t three_lengths[] = {33 * KIB, 11 * KIB};
    const enum q2_extent_kind zeros[] = {Q2_EXTENT_ZERO, Q2_EXTENT_DATA, Q2_EXTENT_ZERO,
                                         Q2_EXTENT_UNALLOCATED};
    const uint64_t zero_lengths[] = {512, 512, 3 * KIB, 12 * KIB};

    image_start(&image,
                &(struct image_spec){.size = 96 * KIB, .cluster_bits = 14, .extended = true});
    image_subclusters(&image, 80 * KIB, 0, 0xff, 0);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(write_at(1024 + 100, 600, 1), Q2_OK);
    check_extents(0, one, one_lengths, 3);
    T_CHECK_U64(write_at(20 * KIB + 1, 33 * KIB - 2, 2), Q2_OK); /* ends of three clusters */
    check_extents(20 * KIB, three, three_lengths, 2);
    T_CHECK_U64(write_at(80 * KIB + 700, 9, 3), Q2_OK);
    check_extents(80 * KIB, zeros, zero_lengths, 4);
    check_all();
    T_CHECK_U64(write_at(5 * KIB, 10, 4), Q2_OK); /* a subcluster more */
    T_CHECK_U64(write_at(81 * KIB, 2 * KIB, 5), Q2_OK);
    check_all();
    cleanup();
}

/* Zeros cost no bytes where they cover subclusters: the entry says so, and keeps its cluster. */
static void test_write_zeroes_of_subclusters(void)
{
    const enum q2_extent_kind kinds[] = {Q2_EXTENT_DATA, Q2_EXTENT_ZERO, Q2_EXTENT_DATA,
                                         Q2_EXTENT_ZERO, Q2_EXTENT_UNALLOCATED};
    const uint64_t lengths[] = {1536, 13824, 1024, 3072, 29 * KIB};
    uint64_t size;

    image_start(&image,
                &(struct image_spec){.size = 96 * KIB - 200, .cluster_bits = 14, .extended = true});
    image_data(&image, 0, 1);
    image_compressed(&image, 48 * KIB, 2);
    T_CHECK_U64(setup(), Q2_OK);
    size = f.image.source.size;
    t_row("from inside a subcluster to inside another, in two clusters");
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 1100, 15 * KIB - 900), Q2_OK);
    memset(model + 1100, 0, 15 * KIB - 900);
    t_row("where nothing was");
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 16 * KIB, 3 * KIB), Q2_OK);
    check_extents(0, kinds, lengths, 5);
    T_CHECK_U64(f.image.source.size, size);
    t_row("over a compressed cluster, over all of one and parts beside it");
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 49 * KIB, 1024), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 60 * KIB, 24 * KIB), Q2_OK);
    memset(model + 49 * KIB, 0, 1024);
    memset(model + 60 * KIB, 0, 24 * KIB);
    t_row("to the end of a disk that ends inside a subcluster");
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 90 * KIB, 6 * KIB - 200), Q2_OK);
    memset(model + 90 * KIB, 0, 6 * KIB - 200);
    check_all();
    T_CHECK_U64(write_at(1024, 20 * KIB, 9), Q2_OK);
    check_all();
    cleanup();
}

/* The last cluster reaches beyond the disk: zeros to the disk's end leave what is before them. */
static void test_write_zeroes_of_subclusters_to_the_end(void)
{
    for (uint64_t size = 80 * KIB + 100; size <= 96 * KIB; size += 3 * KIB + 37) {
        image_start(&image,
                    &(struct image_spec){.size = size, .cluster_bits = 14, .extended = true});
        image_data(&image, 64 * KIB, 1);
        image_data(&image, 80 * KIB, 2);
        T_CHECK_U64(setup(), Q2_OK);
        for (uint64_t at = size - 1; at > 70 * KIB; at -= 1500) {
            T_CHECK_U64(q2_disk_write_zeroes(f.disk, at, size - at), Q2_OK);
            memset(model + at, 0, size - at);
            T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
        }
        check_all();
        cleanup();
    }
}

/* A table that cannot be read may name any cluster, so none can be given to a write. */
static void test_write_is_refused_where_the_check_cannot_read(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    fixture_close(&f);
    f.image.bad_start = image_l2_entry(&image, 0);
    f.image.bad_end = f.image.bad_start + 8;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_IO);
    T_CHECK(strstr(fixture_text(&f),
                   "the check cannot read all of the image, so it can only be read") != NULL);
    t_row("it can");
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    cleanup();
}

static void test_write_is_refused_where_it_must_be(void)
{
    uint8_t byte = 0;

    image_start(&image, &(struct image_spec){.size = MIB});
    T_CHECK_U64(setup(), Q2_OK);
    t_row("bounds");
    T_CHECK_U64(q2_disk_write(f.disk, MIB, &byte, 1), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write(f.disk, UINT64_MAX, &byte, 2), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, MIB - 1, 2), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_discard(f.disk, MIB - 1, 2), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_write(f.disk, MIB, &byte, 0), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 0, 0), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 0), Q2_OK);
    T_CHECK_U64(f.image.nb_writes, 0);
    t_row("after a failed flush (O10)");
    T_CHECK_U64(write_at(0, 1, 1), Q2_OK);
    f.image.fail_flush = f.image.nb_flushes + 1;
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_ERR_IO);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: a flush failed; the disk is read-only until reopened");
    T_CHECK_U64(write_at(0, 1, 1), Q2_ERR_READ_ONLY);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the disk is read-only after a failed write");
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_ERR_READ_ONLY);
    t_row("opened for reading");
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 0, &byte, 1), Q2_ERR_READ_ONLY);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(f.image.nb_flushes, 0); /* a source that cannot be written has no such call */
    cleanup();
}

/* What the check at open cannot have seen: an entry that changed later. Never written through. */
static void test_write_onto_metadata_is_refused(void)
{
    uint64_t table, l1;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    l1 = image_field(&image, "l1_table_offset");
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
    T_CHECK_U64(q2_table_set(f.disk, table, 0, l1 | COPIED, 0), Q2_OK);
    T_CHECK_U64(write_at(0, 1, 9), Q2_ERR_BAD_L2);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: guest data overlaps metadata; run 'metalcow check' on the image");
    T_CHECK_U64(write_at(64 * KIB, 1, 9), Q2_ERR_READ_ONLY);
    cleanup();
}

static void test_write_meets_bad_entries(void)
{
    static const struct {
        const char *row;
        uint64_t entry;
        enum q2_status status;
    } rows[] = {
        {"reserved bit", 2, Q2_ERR_BAD_L2},
        {"unaligned", 512, Q2_ERR_BAD_L2},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t table;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_data(&image, 0, 1);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
        T_CHECK_U64(q2_table_set(f.disk, table, 64 * KIB, rows[i].entry, 0), Q2_OK);
        T_CHECK_U64(write_at(64 * KIB, 1, 9), rows[i].status);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 64 * KIB, 64 * KIB), rows[i].status);
        T_CHECK_U64(q2_disk_discard(f.disk, 64 * KIB, 64 * KIB), rows[i].status);
        cleanup();
    }
}

/* Version 2 has no zero clusters, so a discarded cluster would show the bytes of the backing
 * file. */
static void test_discard_of_version_2_above_a_backing_file_keeps_the_data(void)
{
    static uint8_t below[128 * 1024];
    static struct fake_source backing;

    memset(below, 'b', sizeof(below));
    image_start(&image, &(struct image_spec){.size = 128 * KIB, .version = 2});
    image_data(&image, 0, 1);
    image_data(&image, 64 * KIB, 2);
    image_backing(&image, "base.raw", "raw");
    fixture_start_writable(&f, &image, memory, CAPACITY);
    fake_source_init(&backing, "img/base.raw", below, sizeof(below));
    fake_opener_add(&f.opener, "img/base.raw", &backing);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 64 * KIB), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 128 * KIB), FIXTURE_SAME);
    fixture_end(&f);
    image_free(&image);
}

static void test_write_raw_image(void)
{
    static uint8_t bytes[100 * 1024 + 7];
    uint64_t size = sizeof(bytes);

    memset(bytes, 'r', sizeof(bytes));
    memcpy(memory, bytes, sizeof(bytes));
    fixture_start_bytes(&f, bytes, sizeof(bytes));
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, size, size);
    f.options.writable = true;
    f.options.format = Q2_FORMAT_RAW;
    model = bytes;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(write_at(1000, 3000, 9), Q2_OK);
    T_CHECK_U64(write_at(size - 1, 1, 8), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 70000, 600), Q2_OK);
    memset(bytes + 70000, 0, 600);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK(f.image.nb_flushes > 0);
    T_CHECK_U64(fixture_first_difference(&f, bytes, size), FIXTURE_SAME);
    T_CHECK(memcmp(memory, bytes, sizeof(bytes)) == 0);
    T_CHECK_U64(q2_disk_write(f.disk, size, bytes, 1), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, size), Q2_OK); /* a source without holes keeps it */
    T_CHECK(memcmp(memory, bytes, sizeof(bytes)) == 0);
    T_CHECK_U64(q2_disk_room(f.disk), 0);
    fixture_end(&f);
}

/* What the file has after the last cluster that counts is room; without writing there is none. */
static void test_room_is_what_the_file_has_behind_its_clusters(void)
{
    uint64_t used;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    T_CHECK_U64(setup(), Q2_OK);
    used = image.size;
    T_CHECK_U64(q2_disk_room(f.disk), 0);
    T_CHECK_U64(f.image.source.ops->grow(&f.image.source, used + 5 * 64 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 5 * 64 * KIB);
    T_CHECK_U64(write_at(64 * KIB, 1, 9), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 4 * 64 * KIB);
    check_all();
    f.options.repair = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 0);
    f.options.repair = f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 0);
    cleanup();
}

/* A table that cannot be read tells no entry, and a new run of entries that goes into it sets none.
 */
static void test_table_that_is_unreadable(void)
{
    uint64_t nb_set = 77, table, entry, bitmap;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    table = image_get64(&image, image_l1_entry(&image, 0)) & ~COPIED;
    T_CHECK_U64(setup(), Q2_OK);
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    f.image.bad_start = table;
    f.image.bad_end = table + 64 * KIB;
    T_CHECK_U64(q2_table_fill(f.disk, table, 64 * KIB, COPIED | MIB, 3, &nb_set), Q2_ERR_IO);
    T_CHECK_U64(nb_set, 0);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_IO);
    T_CHECK_U64(q2_table_get(f.disk, table, 0, &entry, &bitmap), Q2_ERR_IO);
    f.image.bad_end = 0;
    check_all();
    cleanup();
}

static void test_write_meets_a_bad_l1_entry(void)
{
    static const uint8_t entry[8] = {0, 0, 0, 0, 0, 0, 2, 1};

    image_start(&image, &(struct image_spec){.size = MIB});
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_slice_put(&f.disk->slices, &f.image.source, image_l1_entry(&image, 0), entry,
                             sizeof(entry), Q2_DIRTY_L1),
                Q2_OK);
    T_CHECK_U64(write_at(0, 1, 9), Q2_ERR_BAD_L1);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 0, 64 * KIB), Q2_ERR_BAD_L1);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: L1 entry has a reserved bit set, at offset "
                                  "0x30000; run 'metalcow check' on the image");
    T_CHECK_U64(q2_disk_make_empty(f.disk), Q2_ERR_BAD_L1); /* it is not overwritten */
    cleanup();
}

/* Reads that fail on the way of a write: an error, and the disk still as it was. */
static void test_write_meets_unreadable_tables(void)
{
    uint64_t nb;

    for (uint64_t call = 1; call < 30; call++) {
        enum q2_status status;

        image_start(&image, &(struct image_spec){.size = 200 * 512, .cluster_bits = 9});
        image_data(&image, 0, 1);
        image_compressed(&image, 100 * 512, 1);
        share_with_snapshot();
        T_CHECK_U64(setup(), Q2_OK);
        if (!f.disk)
            return;
        memcpy(model, image.snapshot_models[0].bytes, image.spec.size);
        /* Everything is cached: forget it, so that the write reads again. */
        q2_windows_clear(&f.disk->windows);
        q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
        fake_source_reset(&f.image);
        f.image.fail_call = call;
        status = write_at(100 * 512 + 7, 3, 9);
        nb = f.image.nb_reads;
        f.image.fail_call = 0;
        T_CHECK(status == Q2_OK || status == Q2_ERR_IO);
        T_CHECK_U64(fixture_first_difference(&f, model, image.spec.size), FIXTURE_SAME);
        cleanup();
        if (nb < call)
            break;
    }
    T_CHECK(nb >= 2);
}

/* A discard begins inside a stretch without an L2 table and reaches into the next table: it goes on
 * with that one's first cluster. */
static void test_discard_over_tables_that_are_missing(void)
{
    image_start(&image, &(struct image_spec){.size = 8 * MIB, .cluster_bits = 12});
    image_data(&image, 2 * MIB, 1);
    image_data(&image, 6 * MIB, 2);
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 4 * KIB, 2 * MIB), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 4 * MIB + 4 * KIB, 2 * MIB), Q2_OK);
    memset(model, 0, 8 * MIB);
    check_all();
    cleanup();
}

/* More ranges are given up, one a request, than may wait: some are given back on the way. */
static void test_many_discards_without_a_flush(void)
{
    enum {
        NB = 1500
    };

    image_start(&image,
                &(struct image_spec){.size = NB * 512, .cluster_bits = 9, .max_clusters = 4096});
    T_CHECK_U64(setup(), Q2_OK);
    T_CHECK_U64(write_at(0, NB * 512, 7), Q2_OK);
    for (uint64_t i = NB; i > 0; i--) /* backwards, so that no two are one range */
        T_CHECK_U64(q2_disk_discard(f.disk, (i - 1) * 512, 512), Q2_OK);
    memset(model, 0, NB * 512);
    check_all();
    cleanup();
}

/* Zeros over a part of a cluster whose rest reads as zeros take no bytes of the file. */
static void test_zeros_over_a_part_of_what_reads_as_zeros(void)
{
    for (int extended = 0; extended < 2; extended++) {
        struct q2_extent extent;
        uint64_t nb_writes;

        image_start(&image, &(struct image_spec){
                                .size = 100 * KIB, .cluster_bits = 14, .extended = extended != 0});
        image_data(&image, 0, 1);
        T_CHECK_U64(setup(), Q2_OK);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 32 * KIB, 512), Q2_OK); /* its table is made */
        nb_writes = f.image.nb_writes;
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 50 * KIB + 100, 1000), Q2_OK);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 99 * KIB + 7, 10), Q2_OK);
        T_CHECK_U64(f.image.nb_writes, nb_writes);
        T_CHECK_U64(q2_disk_map(f.disk, 50 * KIB, 1024, &extent), Q2_OK);
        T_CHECK_U64(extent.kind, Q2_EXTENT_ZERO);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 100, 10), Q2_OK); /* data beside it stays */
        memset(model + 100, 0, 10);
        check_all();
        cleanup();
    }
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_zeros_over_a_part_of_what_reads_as_zeros);
    T_RUN(test_discard_over_tables_that_are_missing);
    T_RUN(test_many_discards_without_a_flush);
    T_RUN(test_write_over_allocated_zero_clusters);
    T_RUN(test_write_over_the_ends_of_two_clusters);
    T_RUN(test_write_is_seen_by_reads_that_go_on);
    T_RUN(test_write_clusters_larger_than_the_bounce_buffer);
    T_RUN(test_write_into_a_new_cluster_is_one_request);
    T_RUN(test_write_leaves_zeros_past_the_end_of_the_disk);
    T_RUN(test_write_failing_in_each_part_of_a_large_cluster);
    T_RUN(test_write_over_what_a_snapshot_shares);
    T_RUN(test_write_allocates_subclusters_only);
    T_RUN(test_write_zeroes_of_subclusters);
    T_RUN(test_write_zeroes_of_subclusters_to_the_end);
    T_RUN(test_write_is_refused_where_the_check_cannot_read);
    T_RUN(test_write_is_refused_where_it_must_be);
    T_RUN(test_write_onto_metadata_is_refused);
    T_RUN(test_write_meets_bad_entries);
    T_RUN(test_discard_of_version_2_above_a_backing_file_keeps_the_data);
    T_RUN(test_write_raw_image);
    T_RUN(test_room_is_what_the_file_has_behind_its_clusters);
    T_RUN(test_table_that_is_unreadable);
    T_RUN(test_write_meets_a_bad_l1_entry);
    T_RUN(test_write_meets_unreadable_tables);
    free(memory);
    return t_done();
}
