/* core/read/mapping.c: extents of one layer, where runs end, how much work a call may do. */
#include <stdlib.h>

#include "core/read/mapping.h"
#include "tests/support/fake_source.h"
#include "tests/support/image_builder.h"
#include "tests/support/t.h"
#include "core/write/slice_write.h"

#define KIB    1024ull
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define COPIED (1ull << 63)

static struct q2_slice_cache cache;
static struct q2_windows windows;
static struct fake_source fake;
static struct q2_image layer;
static struct q2_fault fault;
static struct image image;
static struct q2_extent e;
static uint64_t nb_first_reads; /* of map(), before it looks again */

static void reopen(void)
{
    q2_windows_clear(&windows);
    q2_slice_cache_init(&cache, &windows);
    fake_source_init(&fake, "img", image.bytes, image.size);
    memset(&fault, 0, sizeof(fault));
    T_CHECK_U64(q2_image_open(&cache, &fake.source, &fault, &layer), Q2_OK);
    fake_source_reset(&fake);
}

static bool same(const struct q2_extent *a, const struct q2_extent *b)
{
    return a->kind == b->kind && a->layer == b->layer && a->guest_offset == b->guest_offset &&
           a->length == b->length && a->host_offset == b->host_offset &&
           a->stream_length == b->stream_length && a->has_host_offset == b->has_host_offset &&
           a->copied == b->copied;
}

/* What is at hand the second time must say the same as what was looked up the first time. */
static enum q2_status map(uint64_t offset, uint64_t max_length)
{
    uint64_t left = layer.virtual_size - offset, length = max_length < left ? max_length : left;
    struct q2_extent again;
    enum q2_status status;

    memset(&e, 0xa7, sizeof(e));
    status = q2_mapping_find(&cache, &layer, offset, length, &fault, &e);
    nb_first_reads = fake.nb_reads;
    if (status == Q2_OK) {
        T_CHECK_U64(q2_mapping_find(&cache, &layer, offset, length, &fault, &again), Q2_OK);
        T_CHECK(same(&e, &again));
    }
    return status;
}

static bool is(enum q2_extent_kind kind, uint64_t guest, uint64_t length)
{
    return e.kind == kind && e.guest_offset == guest && e.length == length && e.layer == 0;
}

static void test_map_run_of_contiguous_clusters(void)
{
    uint64_t host;

    image_start(&image, &(struct image_spec){.size = 16 * 512, .cluster_bits = 9});
    (void)image_l2_entry(&image, 0);
    host = image_data(&image, 0, 1);
    for (uint64_t i = 1; i < 6; i++)
        (void)image_data(&image, i * 512, 1);
    (void)image_alloc(&image, 1); /* a gap on the host */
    (void)image_data(&image, 6 * 512, 1);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 6 * 512) && e.host_offset == host && e.copied);
    T_CHECK_U64(map(700, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 700, 6 * 512 - 700) && e.host_offset == host + 700);
    T_CHECK_U64(map(700, 1000), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 700, 1000));
    T_CHECK_U64(map(6 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 6 * 512, 512));
    T_CHECK_U64(fake.nb_reads, 0); /* all in the slice that the header is in */
    image_free(&image);
}

/* What costs nothing more may be said beyond the request: to the end of the slice, no further. */
static void test_map_ahead_ends_with_the_slice(void)
{
    image_start(&image, &(struct image_spec){.size = 2 * MIB, .cluster_bits = 12});
    for (uint64_t at = 0; at < 2 * MIB; at += 4096)
        (void)image_l2_entry(&image, at);
    for (uint64_t at = 0; at < 2 * MIB; at += 4096)
        (void)image_data(&image, at, 1);
    reopen();
    for (uint32_t i = 0; i < 2; i++) {
        t_row(i == 0 ? "looked up" : "at hand");
        T_CHECK_U64(q2_mapping_find_ahead(&cache, &layer, 512, 4096, MIB, &fault, &e), Q2_OK);
        T_CHECK(is(Q2_EXTENT_DATA, 512, MIB));
        T_CHECK_U64(q2_mapping_find_ahead(&cache, &layer, MIB + 512, 512, MIB - 512, &fault, &e),
                    Q2_OK);
        T_CHECK(is(Q2_EXTENT_DATA, MIB + 512, MIB - 512));
    }
    image_free(&image);
    image_start(&image, &(struct image_spec){.size = 128 * KIB, .cluster_bits = 9});
    (void)image_l2_entry(&image, 0);
    (void)image_l2_entry(&image, 32 * KIB);
    for (uint64_t at = 0; at < 64 * KIB; at += 512)
        (void)image_data(&image, at, 1);
    reopen();
    for (uint32_t i = 0; i < 2; i++) {
        t_row(i == 0 ? "the next table" : "the next table, at hand");
        T_CHECK_U64(q2_mapping_find_ahead(&cache, &layer, 512, 4096, 64 * KIB, &fault, &e), Q2_OK);
        T_CHECK(is(Q2_EXTENT_DATA, 512, 32 * KIB - 512));
    }
    T_CHECK_U64(q2_mapping_find_ahead(&cache, &layer, 31 * KIB, 2 * KIB, 32 * KIB, &fault, &e),
                Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 31 * KIB, 32 * KIB));
    image_free(&image);
}

/* What was found once is found anew after any change. */
static void test_map_sees_changed_entries(void)
{
    uint64_t first, second, l1, l2;
    uint8_t entry[8];

    image_start(&image, &(struct image_spec){.size = 128 * KIB, .cluster_bits = 12});
    first = image_data(&image, 0, 1);
    second = image_data(&image, 4096, 1);
    l1 = image_l1_entry(&image, 0);
    l2 = image_l2_entry(&image, 0);
    reopen();
    fake.source.writable = true;
    T_CHECK_U64(map(0, 4096), Q2_OK);
    T_CHECK_U64(e.host_offset, first);
    memcpy(entry, image.bytes + l2 + 8, 8);
    T_CHECK_U64(q2_slice_put(&cache, &fake.source, l2, entry, 8, Q2_DIRTY_L2), Q2_OK);
    T_CHECK_U64(map(0, 4096), Q2_OK);
    T_CHECK_U64(e.host_offset, second);
    t_row("no table any more");
    memset(entry, 0, 8);
    T_CHECK_U64(q2_slice_put(&cache, &fake.source, l1, entry, 8, Q2_DIRTY_L1), Q2_OK);
    T_CHECK_U64(map(0, 4096), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, 4096));
    t_row("beside the cache");
    memcpy(entry, image.bytes + l1, 8);
    q2_slice_cache_overwrite(&cache, &fake.source, l1, entry, 8);
    T_CHECK_U64(map(0, 4096), Q2_OK);
    T_CHECK_U64(e.host_offset, second);
    image_free(&image);
}

static void test_map_copied_is_of_the_whole_run(void)
{
    uint64_t entry;

    image_start(&image, &(struct image_spec){.size = 16 * 512, .cluster_bits = 9});
    (void)image_data(&image, 0, 1);
    (void)image_data(&image, 512, 1);
    entry = image_l2_entry(&image, 512);
    image_put64(&image, entry, image_get64(&image, entry) & ~COPIED);
    reopen();
    T_CHECK_U64(map(0, 512), Q2_OK);
    T_CHECK(e.copied);
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 1024) && !e.copied);
    image_free(&image);
}

static void test_map_zero_runs_plain_and_allocated(void)
{
    uint64_t host;

    image_start(&image, &(struct image_spec){.size = 16 * 512, .cluster_bits = 9});
    (void)image_zero(&image, 0, false);
    (void)image_zero(&image, 512, false);
    host = image_zero(&image, 1024, true);
    (void)image_zero(&image, 1536, true);
    (void)image_data(&image, 2048, 1);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 0, 1024) && !e.has_host_offset && e.host_offset == 0);
    T_CHECK_U64(map(1024 + 7, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 1031, 1017) && e.has_host_offset && e.host_offset == host + 7);
    image_free(&image);
}

static void test_map_compressed_clusters_stay_single(void)
{
    image_start(&image, &(struct image_spec){.size = 16 * 512, .cluster_bits = 9});
    (void)image_compressed(&image, 0, 1);
    (void)image_compressed(&image, 512, 1);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_COMPRESSED, 0, 512));
    T_CHECK_U64(map(512 + 3, 100), Q2_OK);
    T_CHECK(is(Q2_EXTENT_COMPRESSED, 515, 100) && e.has_host_offset);
    image_free(&image);
}

/* Runs go on from one L2 table to the next, and over L1 entries without a table. */
static void test_map_runs_cross_tables(void)
{
    uint64_t host;

    image_start(&image, &(struct image_spec){.size = 512 * 512, .cluster_bits = 9});
    (void)image_l2_entry(&image, 0);
    (void)image_l2_entry(&image, 64 * 512);
    host = image_data(&image, 60 * 512, 1);
    for (uint64_t i = 61; i < 70; i++)
        (void)image_data(&image, i * 512, 1);
    reopen();
    T_CHECK_U64(map(60 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 60 * 512, 10 * 512) && e.host_offset == host);
    T_CHECK_U64(map(70 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 70 * 512, 442 * 512));
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, 60 * 512));
    image_free(&image);
}

/* A hole without an L2 table that is entered in its middle ends where the next table begins. */
static void test_map_hole_ends_before_the_next_table(void)
{
    image_start(&image, &(struct image_spec){.size = 192 * 512, .cluster_bits = 9});
    (void)image_data(&image, 64 * 512, 1);
    reopen();
    T_CHECK_U64(map(40 * 512 + 3, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 40 * 512 + 3, 24 * 512 - 3));
    image_free(&image);
}

/* No table is at offset 0, where the header's fields would be taken for entries. */
static void test_map_hole_is_not_looked_up_in_the_header(void)
{
    image_start(&image, &(struct image_spec){.size = 64 * 512, .cluster_bits = 9});
    reopen();
    for (uint64_t at = 0; at < 64 * 512; at += 512) {
        T_CHECK_U64(map(at, 512), Q2_OK);
        T_CHECK(is(Q2_EXTENT_UNALLOCATED, at, 512));
    }
    image_free(&image);
}

/* In a data file, a cluster is where the guest has it: not elsewhere for its second half. */
static void test_map_misplaced_cluster_of_a_data_file_is_bad_everywhere(void)
{
    image_start(&image,
                &(struct image_spec){.size = 16 * 512, .cluster_bits = 9, .external = true});
    image_put64(&image, image_l2_entry(&image, 0), 512 | COPIED);
    reopen();
    for (uint64_t at = 0; at < 512; at += 256)
        T_CHECK_U64(map(at, 16), Q2_ERR_BAD_L2);
    image_free(&image);
}

static void test_map_subclusters(void)
{
    uint64_t host;

    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 14, .extended = true});
    host = image_subclusters(&image, 0, 0x000000f3, 0xffff0000, 1);
    (void)image_zero(&image, 16 * KIB, false);
    reopen();
    t_row("two of data");
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 1024) && e.host_offset == host && e.copied);
    t_row("from the middle of the second");
    T_CHECK_U64(map(700, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 700, 324) && e.host_offset == host + 700);
    t_row("two of nothing, in a cluster that has its place");
    T_CHECK_U64(map(1024, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 1024, 1024) && e.has_host_offset &&
            e.host_offset == host + 1024);
    t_row("four of data");
    T_CHECK_U64(map(2048, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 2048, 2048) && e.host_offset == host + 2048);
    t_row("allocated zeros end where plain ones begin");
    T_CHECK_U64(map(8192, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 8192, 8192) && e.has_host_offset && e.host_offset == host + 8192);
    T_CHECK_U64(map(16 * KIB, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 16 * KIB, 16 * KIB) && !e.has_host_offset);
    image_free(&image);
}

/* Two whole clusters of subclusters that are in a row are one run. */
static void test_map_subclusters_run_over_clusters(void)
{
    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 14, .extended = true});
    (void)image_l2_entry(&image, 0);
    image_data(&image, 0, 1);
    image_subclusters(&image, 16 * KIB, 0x0000ffff, 0, 1);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 24 * KIB));
    T_CHECK_U64(map(24 * KIB, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 24 * KIB, 8 * KIB) && e.has_host_offset);
    T_CHECK_U64(map(32 * KIB, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 32 * KIB, 32 * KIB) && !e.has_host_offset);
    image_free(&image);
}

static void test_map_run_ends_before_what_is_bad(void)
{
    image_start(&image, &(struct image_spec){.size = 512 * 512, .cluster_bits = 9});
    for (uint64_t i = 0; i < 64; i++)
        (void)image_zero(&image, i * 512, false);
    image_put64(&image, image_l2_entry(&image, 5 * 512), 2);
    t_row("a bad L2 entry");
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 0, 5 * 512) && fault.status == Q2_OK);
    T_CHECK_U64(map(5 * 512, UINT64_MAX), Q2_ERR_BAD_L2);
    T_CHECK_U64(map(6 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 6 * 512, 58 * 512));
    t_row("a bad L1 entry");
    image_put64(&image, image_l1_entry(&image, 64 * 512), 1);
    reopen();
    T_CHECK_U64(map(6 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 6 * 512, 58 * 512) && fault.status == Q2_OK);
    T_CHECK_U64(map(64 * 512, UINT64_MAX), Q2_ERR_BAD_L1);
    t_row("an L2 table past the end");
    image_put64(&image, image_l1_entry(&image, 64 * 512), 1 * GIB);
    reopen();
    T_CHECK_U64(map(6 * 512, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_ZERO, 6 * 512, 58 * 512));
    T_CHECK_U64(map(64 * 512, UINT64_MAX), Q2_ERR_TRUNCATED);
    image_free(&image);
}

static void test_map_unreadable_tables(void)
{
    uint64_t l2;

    image_start(&image, &(struct image_spec){.size = GIB});
    image_data(&image, 0, 1);
    image_data(&image, 512 * MIB, 1);
    l2 = image_l2_entry(&image, 512 * MIB);
    reopen();
    fake.bad_start = l2;
    fake.bad_end = l2 + 8;
    T_CHECK_U64(map(512 * MIB, 1), Q2_ERR_IO);
    T_CHECK_U64(fault.offset, l2);
    T_CHECK_STR(fault.what, "an L2 table cannot be read");
    t_row("a run ends before it");
    T_CHECK_U64(map(64 * KIB, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 64 * KIB, 512 * MIB - 64 * KIB));
    t_row("the L1 table");
    reopen();
    fake.bad_start = image_l1_entry(&image, 0);
    fake.bad_end = fake.bad_start + 1;
    T_CHECK_U64(map(0, 1), Q2_ERR_IO);
    T_CHECK_STR(fault.what, "the L1 table cannot be read");
    image_free(&image);
}

/* The file ends inside the L2 table: what is there maps, the rest is an error (HAZARDS.md, F3). */
static void test_map_l2_table_cut(void)
{
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = 64 * 64 * KIB});
    image_data(&image, 0, 1);
    table = image_l2_entry(&image, 0);
    for (uint64_t size = table; size < table + 24; size++) {
        uint64_t nb = (size - table) / 8; /* whole entries */

        image_put64(&image, table + 8, 1);
        image_put64(&image, table + 16, 1);
        reopen();
        fake.source.size = size;
        for (uint64_t i = 0; i < 3; i++)
            T_CHECK_U64(map(i * 64 * KIB, 64 * KIB), i < nb ? Q2_OK : Q2_ERR_TRUNCATED);
    }
    image_free(&image);
}

static void test_map_raw_is_one_extent(void)
{
    static const uint8_t bytes[1000];

    fake_source_init(&fake, "raw", bytes, sizeof(bytes));
    q2_image_open_raw(&fake.source, &layer);
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 1000) && e.host_offset == 0 && e.copied && e.has_host_offset);
    T_CHECK_U64(map(999, 1), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 999, 1) && e.host_offset == 999);
}

/* ---- runs against single clusters ---- */

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* Entries that follow from the one before more often than not, right ones and bad ones. */
static uint64_t random_entry(uint64_t before, uint64_t guest, bool external)
{
    uint64_t host = external ? guest : random_below(4) * 512ull * 512;

    switch (random_below(12)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return COPIED | 1;
    case 3:
        return COPIED | host;
    case 4:
        return host | 1;
    case 5:
        return before ^ COPIED;
    case 6:
        return 2 | host;
    case 7:
        return before;
    default:
        return before + 512;
    }
}

/* The longest run, cluster by cluster. */
static uint64_t run_by_single_clusters(uint64_t offset, struct q2_extent *ret_run)
{
    struct q2_extent run = {.length = 0};

    while (offset + run.length < layer.virtual_size) {
        uint64_t at = offset + run.length;
        if (map(at, 512 - at % 512) != Q2_OK)
            break;
        if (run.length == 0) {
            run = e;
            continue;
        }
        if (e.kind != run.kind || e.has_host_offset != run.has_host_offset ||
            (e.has_host_offset && e.host_offset != run.host_offset + run.length))
            break;
        run.length += e.length;
        run.copied = run.copied && e.copied;
    }
    *ret_run = run;
    return run.length;
}

/* However the run was found, it is what its clusters say one by one. */
static void test_map_run_is_its_single_clusters(void)
{
    for (random_state = 1; random_state <= 60; random_state++) {
        uint32_t seed = random_state;
        struct image_spec spec = {.size = 200 * 512 + 100,
                                  .cluster_bits = 9,
                                  .version = seed % 5 == 0 ? 2 : 3,
                                  .external = seed % 5 != 0 && seed % 2 == 0};
        uint64_t before = 0;
        char row[32];

        (void)snprintf(row, sizeof(row), "seed %u", seed);
        t_row(row);
        image_start(&image, &spec);
        for (uint64_t at = 0; at < spec.size; at += 512) {
            before = random_entry(before, at, spec.external);
            image_put64(&image, image_l2_entry(&image, at), before);
        }
        reopen();
        for (uint64_t at = 0; at < spec.size; at += 300) {
            struct q2_extent run;
            uint64_t length = run_by_single_clusters(at, &run);
            enum q2_status status = map(at, UINT64_MAX);

            T_CHECK((status == Q2_OK) == (length > 0));
            if (status != Q2_OK || length == 0)
                continue;
            T_CHECK_U64(e.length, length);
            T_CHECK(e.kind == run.kind && e.host_offset == run.host_offset);
            T_CHECK(e.has_host_offset == run.has_host_offset && e.copied == run.copied);
        }
        image_free(&image);
        random_state = seed;
    }
}

/* The highest host cluster there is: nothing can follow it, whatever the next entry says. */
static void test_map_run_ends_at_the_highest_offset(void)
{
    static const uint64_t highest = 0x00fffffffffffe00;

    image_start(&image, &(struct image_spec){.size = 8 * 512, .cluster_bits = 9});
    image_put64(&image, image_l2_entry(&image, 0), highest);
    image_put64(&image, image_l2_entry(&image, 512), highest + 512);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_DATA, 0, 512) && e.host_offset == highest);
    T_CHECK_U64(map(512, UINT64_MAX), Q2_ERR_BAD_L2);
    image_free(&image);
}

/* ---- bounds on the work: whatever the image holds, a call reads little ---- */

/* Largest disk of 512 byte clusters: 4 Mi L1 entries. All empty, all for one hole. */
static void test_map_work_is_bounded_by_empty_l1_tables(void)
{
    image_start(&image, &(struct image_spec){.size = (1ull << 22) * 32 * KIB,
                                             .cluster_bits = 9,
                                             .max_clusters = 70000,
                                             .refcount_bits = 1});
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, Q2_MAP_MAX_ENTRIES * 32 * KIB));
    T_CHECK(fake.nb_reads <= Q2_MAP_MAX_ENTRIES * 8 / Q2_SLICE_SIZE / 16 + 20);
    image_free(&image);
}

/* Every L1 entry names a table of its own that holds nothing: 64 entries a time. */
static void test_map_work_is_bounded_by_empty_l2_tables(void)
{
    uint32_t nb = 4096;

    image_start(&image, &(struct image_spec){.size = nb * 32ull * KIB,
                                             .cluster_bits = 9,
                                             .max_clusters = 8192,
                                             .refcount_bits = 16});
    for (uint64_t i = 0; i < nb; i++)
        (void)image_l2_entry(&image, i * 32 * KIB);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, Q2_MAP_MAX_ENTRIES * 512));
    T_CHECK(nb_first_reads < 200);
    image_free(&image);
}

/* Tables spread backwards over the file, so that nothing is read in a row. */
static void test_map_work_is_bounded_by_scattered_l2_tables(void)
{
    uint32_t nb = 1024;
    uint64_t first;

    image_start(&image, &(struct image_spec){
                            .size = nb * 32ull * KIB, .cluster_bits = 9, .max_clusters = 256});
    first = image.size;
    image.bytes = realloc(image.bytes, first + nb * 4096ull);
    memset(image.bytes + first, 0, nb * 4096ull);
    image.size = image.capacity = first + nb * 4096ull;
    for (uint32_t i = 0; i < nb; i++)
        image_put64(&image, image_l1_entry(&image, i * 32ull * KIB),
                    (first + (nb - 1 - i) * 4096ull) & ~511ull);
    reopen();
    T_CHECK_U64(map(0, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, nb * 32 * KIB));
    T_CHECK(nb_first_reads <= nb + 16);
    image_free(&image);
}

/* A run that begins inside a slice meets the bound inside one. */
static void test_map_work_bound_inside_a_slice(void)
{
    image_start(&image, &(struct image_spec){.size = 80000ull * 64 * KIB});
    for (uint64_t i = 0; i < 80000; i += 8192)
        (void)image_l2_entry(&image, i * 64 * KIB);
    reopen();
    T_CHECK_U64(map(3 * 64 * KIB, UINT64_MAX), Q2_OK);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 3 * 64 * KIB, Q2_MAP_MAX_ENTRIES * 64 * KIB));
    image_free(&image);
}

/* The bound is on entries, so subclusters in turns cannot stretch it either. */
static void test_map_work_ends_with_the_request(void)
{
    image_start(&image, &(struct image_spec){.size = GIB});
    (void)image_l2_entry(&image, 0);
    reopen();
    T_CHECK_U64(map(0, 512), Q2_OK);
    T_CHECK(fake.nb_reads <= 2);
    T_CHECK(is(Q2_EXTENT_UNALLOCATED, 0, 512));
    image_free(&image);
}

int main(void)
{
    T_RUN(test_map_run_of_contiguous_clusters);
    T_RUN(test_map_ahead_ends_with_the_slice);
    T_RUN(test_map_sees_changed_entries);
    T_RUN(test_map_copied_is_of_the_whole_run);
    T_RUN(test_map_zero_runs_plain_and_allocated);
    T_RUN(test_map_compressed_clusters_stay_single);
    T_RUN(test_map_runs_cross_tables);
    T_RUN(test_map_hole_ends_before_the_next_table);
    T_RUN(test_map_hole_is_not_looked_up_in_the_header);
    T_RUN(test_map_misplaced_cluster_of_a_data_file_is_bad_everywhere);
    T_RUN(test_map_subclusters);
    T_RUN(test_map_subclusters_run_over_clusters);
    T_RUN(test_map_run_ends_before_what_is_bad);
    T_RUN(test_map_unreadable_tables);
    T_RUN(test_map_l2_table_cut);
    T_RUN(test_map_raw_is_one_extent);
    T_RUN(test_map_run_is_its_single_clusters);
    T_RUN(test_map_run_ends_at_the_highest_offset);
    T_RUN(test_map_work_is_bounded_by_empty_l1_tables);
    T_RUN(test_map_work_is_bounded_by_empty_l2_tables);
    T_RUN(test_map_work_is_bounded_by_scattered_l2_tables);
    T_RUN(test_map_work_bound_inside_a_slice);
    T_RUN(test_map_work_ends_with_the_request);
    return t_done();
}
