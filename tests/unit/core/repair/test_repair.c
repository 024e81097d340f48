/* core/repair/repair.c, rebuild.c: each kind of damage, mended or left alone. Power cuts and
 * failing calls are tests/fault/test_repair.c's. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/read/writer.h"
#include "core/repair/rebuild.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define COPIED   (1ull << 63)
#define CAPACITY (64 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;
static struct q2_repair_result result;

/* What a check found, before anything was mended. */
#define MAX_FOUND 256
static struct q2_check_finding found[MAX_FOUND];
static uint32_t nb_found;

static void keep_found(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    (void)reporter;
    if (nb_found < MAX_FOUND)
        found[nb_found++] = *finding;
}

static bool was_found(const struct q2_check_finding *fixed)
{
    for (uint32_t i = 0; i < nb_found; i++) {
        if (found[i].kind == fixed->kind && strcmp(found[i].what, fixed->what) == 0 &&
            found[i].offset == fixed->offset && found[i].refcount == fixed->refcount &&
            found[i].references == fixed->references)
            return true;
    }
    return false;
}

struct counter {
    struct q2_check_reporter reporter;
    uint64_t nb_fixed, nb_left;
    uint64_t nb_unknown; /* fixed, and the check before had not found it so */
};

static void count(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct counter *c = (struct counter *)reporter;

    if (finding->fixed)
        c->nb_fixed++;
    else
        c->nb_left++;
    c->nb_unknown += finding->fixed && !was_found(finding);
}

static struct counter counter;

static const char *said; /* of the first wrong entry */

static void keep_said(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    (void)reporter;
    if (!said && finding->kind == Q2_CHECK_ENTRY)
        said = finding->what;
}

static void place(void)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
}

static enum q2_status repair(enum q2_repair what)
{
    enum q2_status status;

    counter = (struct counter){.reporter = {.report = count}};
    memset(&result, 0, sizeof(result));
    f.options.repair = true;
    status = fixture_open(&f);
    f.options.repair = false;
    return status == Q2_OK ? q2_disk_repair(f.disk, what, &counter.reporter, &result) : status;
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

/* Data, allocated zeros, a snapshot, streams that share a cluster, room for a leak. */
static void build(const struct image_spec *spec)
{
    static const struct image_snapshot_spec snapshot = {.id = "1", .name = "one"};
    uint64_t size;

    image_start(&image, spec);
    size = image_cluster_size(&image);
    image_data(&image, 0, 1);
    image_data(&image, size, 1);
    if (!spec->external) {
        image_snapshot(&image, &snapshot);
        image_data(&image, 0, 2);
        image_data(&image, 3 * size, 2);
        (void)image_compressed(&image, 4 * size, 2);
        (void)image_compressed(&image, 5 * size, 2);
        (void)image_snapshots_write(&image);
    }
    if (image.spec.version == 3)
        (void)image_zero(&image, 2 * size, true);
}

/* --- damage ----------------------------------------------------------------------------------- */

static uint64_t data_cluster(uint64_t guest_offset)
{
    return (image_get64(&image, image_l2_entry(&image, guest_offset)) & 0x00fffffffffffe00ull) /
           image_cluster_size(&image);
}

static void leak(void)
{
    (void)image_alloc(&image, 2);
}

static void too_high(void)
{
    image_refcount_set(&image, data_cluster(0), 2);
}

static void too_low(void)
{
    image_refcount_set(&image, data_cluster(0), 0);
    image_refcount_set(&image, data_cluster(3 * image_cluster_size(&image)), 0);
}

static void flag_missing(void)
{
    uint64_t at = image_l2_entry(&image, 0);

    image_put64(&image, at, image_get64(&image, at) & ~COPIED);
}

static void flag_missing_in_l1(void)
{
    uint64_t at = image_l1_entry(&image, 3 * image_cluster_size(&image));

    image_put64(&image, at, image_get64(&image, at) & ~COPIED);
}

/* Two entries name one cluster, and both say that it is theirs alone. */
static void cross_link(void)
{
    uint64_t at = image_l2_entry(&image, 0);

    image_put64(&image, image_l2_entry(&image, 3 * image_cluster_size(&image)),
                image_get64(&image, at));
}

static void flag_on_stream(void)
{
    uint64_t at = image_l2_entry(&image, 4 * image_cluster_size(&image));

    image_put64(&image, at, image_get64(&image, at) | COPIED);
}

static void unaligned_zero(void)
{
    uint64_t at = image_l2_entry(&image, 2 * image_cluster_size(&image));

    image_put64(&image, at, image_get64(&image, at) + 512);
}

static void unaligned_data(void)
{
    uint64_t at = image_l2_entry(&image, 3 * image_cluster_size(&image));

    image_put64(&image, at, image_get64(&image, at) + 512);
}

static uint64_t table(void)
{
    return image_field(&image, "refcount_table_offset");
}

static void table_reserved(void)
{
    image_put64(&image, table(), image_get64(&image, table()) | 2);
}

static void table_unaligned(void)
{
    image_put64(&image, table(), image_get64(&image, table()) + 512);
}

static void block_outside(void)
{
    image_put64(&image, table(), 1ull << 40);
}

static void block_missing(void)
{
    image_put64(&image, table(), 0);
}

static void block_on_data(void)
{
    image_put64(&image, table(), data_cluster(0) * image_cluster_size(&image));
}

static void block_and_entry(void)
{
    block_missing();
    unaligned_data();
}

static void leak_and_entry(void)
{
    leak();
    unaligned_data();
}

static void too_low_and_entry(void)
{
    image_refcount_set(&image, data_cluster(0), 0);
    unaligned_data();
}

static void nothing(void)
{
}

/* Guest data on the refcount table: the next write would be into it. */
static void data_on_table(void)
{
    image_put64(&image, image_l2_entry(&image, 3 * image_cluster_size(&image)), table());
}

#define LEFT UINT64_MAX /* corruptions are left */

static const struct {
    const char *row;
    void (*damage)(void);
    /* After `leaks`: leaks and corruptions left; after `all`: the same. LEFT: some. */
    uint64_t leaks[2], all[2];
    bool shows_more; /* what is mended first lets the repair find more than the check had */
} rows[] = {
    {"nothing", nothing, {0, 0}, {0, 0}, false},
    {"leaked clusters", leak, {0, 0}, {0, 0}, false},
    {"refcount too high", too_high, {0, 0}, {0, 0}, false},
    {"refcounts too low", too_low, {0, LEFT}, {0, 0}, false},
    {"flag missing", flag_missing, {0, 0}, {0, 0}, false},
    {"flag missing in the L1 table", flag_missing_in_l1, {0, 0}, {0, 0}, false},
    {"two owners", cross_link, {0, LEFT}, {0, 0}, true},
    {"flag on a stream", flag_on_stream, {0, LEFT}, {0, 0}, false},
    {"zeros at a wrong place", unaligned_zero, {LEFT, LEFT}, {0, 0}, false},
    {"data at a wrong place", unaligned_data, {LEFT, LEFT}, {LEFT, LEFT}, false},
    {"a leak, and data at a wrong place", leak_and_entry, {LEFT, LEFT}, {LEFT, LEFT}, false},
    {"refcount too low, and data at a wrong place",
     too_low_and_entry,
     {LEFT, LEFT},
     {LEFT, LEFT},
     false},
    {"reserved bit in the refcount table", table_reserved, {LEFT, LEFT}, {0, 0}, true},
    {"unaligned refcount block", table_unaligned, {LEFT, LEFT}, {0, 0}, true},
    {"refcount block outside", block_outside, {0, LEFT}, {0, 0}, true},
    {"no refcount block", block_missing, {0, LEFT}, {0, 0}, false},
    {"refcount block on data", block_on_data, {LEFT, LEFT}, {0, 0}, true},
    {"data on the refcount table", data_on_table, {LEFT, LEFT}, {0, 0}, true},
};

static void check_left(const uint64_t left[2])
{
    T_CHECK(left[0] == LEFT || result.left.leaks == left[0]);
    T_CHECK(left[1] == LEFT ? result.left.corruptions > 0 : result.left.corruptions == left[1]);
    T_CHECK_U64(counter.nb_left,
                result.left.leaks + result.left.corruptions + result.left.check_errors);
}

/* Content as before, and writable exactly if nothing is left. */
static void check_open(bool clean, bool same)
{
    enum q2_status status = fixture_open(&f);

    T_CHECK_U64(status, clean ? Q2_OK : Q2_ERR_CORRUPT);
    if (status == Q2_OK && same)
        T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, image.spec.size), FIXTURE_SAME);
}

static void test_repair_each_damage(void)
{
    static const struct image_spec specs[] = {
        {.size = MIB, .cluster_bits = 14},
        {.size = MIB, .cluster_bits = 14, .extended = true},
        {.size = 64 * KIB, .cluster_bits = 10, .refcount_bits = 64, .max_clusters = 128},
        {.size = MIB, .cluster_bits = 12, .refcount_bits = 2},
    };

    for (size_t n = 0; n < sizeof(specs) / sizeof(specs[0]); n++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct q2_check_reporter keeper = {.report = keep_found};
            struct q2_check_result before;

            t_row(rows[i].row);
            build(&specs[n]);
            rows[i].damage();
            place();
            T_CHECK_U64(repair(Q2_REPAIR_LEAKS), Q2_OK);
            check_left(rows[i].leaks);
            memcpy(memory, image.bytes, image.size);
            f.image.source.size = image.size;
            T_CHECK_U64(fixture_open(&f) == Q2_OK || fixture_status(&f) == Q2_ERR_CORRUPT, 1);
            f.options.writable = false;
            T_CHECK_U64(fixture_open(&f), Q2_OK);
            nb_found = 0;
            T_CHECK_U64(q2_disk_check(f.disk, &keeper, &before), Q2_OK);
            f.options.writable = true;
            T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
            check_left(rows[i].all);
            T_CHECK((counter.nb_unknown > 0) == rows[i].shows_more);
            T_CHECK(
                (result.leaks_fixed + result.corruptions_fixed > 0) ==
                (before.leaks + before.corruptions > result.left.leaks + result.left.corruptions));
            if (rows[i].all[1] == 0)
                check_open(true, rows[i].damage != cross_link && rows[i].damage != data_on_table);
            cleanup();
        }
    }
}

static const char *structure;

static void keep_structure(struct q2_check_reporter *reporter,
                           const struct q2_check_finding *finding)
{
    (void)reporter;
    if (finding->kind == Q2_CHECK_STRUCTURE)
        structure = finding->what;
}

static void test_check_of_a_broken_structure(void)
{
    static const struct {
        void (*damage)(void);
        const char *what;
    } findings[] = {
        {table_reserved, "refcount table entry breaks the specification"},
        {table_unaligned, "refcount table entry breaks the specification"},
        {block_outside, "refcount block past the end of the file"},
        {block_on_data, "a refcount block overlaps something else"},
        {data_on_table, "the refcount table overlaps something else"},
        {block_missing, ""},
        {leak, ""},
    };

    for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++) {
        struct q2_check_reporter reporter = {.report = keep_structure};
        struct q2_check_result checked;

        t_row(findings[i].what);
        build(&(struct image_spec){.size = MIB});
        findings[i].damage();
        place();
        f.options.writable = false;
        structure = "";
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_check(f.disk, &reporter, &checked), Q2_OK);
        T_CHECK_STR(structure, findings[i].what);
        cleanup();
    }
}

/* What is right is not written to. */
static void test_repair_of_a_right_image_writes_nothing(void)
{
    build(&(struct image_spec){.size = MIB});
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(f.image.nb_writes + f.image.nb_grows, 0);
    T_CHECK_U64(result.leaks_fixed + result.corruptions_fixed + counter.nb_fixed, 0);
    cleanup();
}

/* Dirty and corrupt bits go when nothing is left, and stay else. Unknown autoclear bits go before
 * the first change, bitmaps stay. */
static void test_repair_clears_the_feature_bits(void)
{
    static const struct {
        const char *row;
        void (*damage)(void);
        enum q2_repair what;
        uint64_t left;
    } bits[] = {
        {"clean", nothing, Q2_REPAIR_LEAKS, 0},
        {"leaks", leak, Q2_REPAIR_LEAKS, 0},
        {"corruption, leaks mended", too_low, Q2_REPAIR_LEAKS, 3},
        {"corruption, all mended", too_low, Q2_REPAIR_ALL, 0},
        {"beyond repair", unaligned_data, Q2_REPAIR_ALL, 3},
    };

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        struct q2_layer_info info;

        t_row(bits[i].row);
        build(&(struct image_spec){.size = MIB});
        bits[i].damage();
        image_field_set(&image, "incompatible_features", 3);
        image_field_set(&image, "autoclear_features", 1ull << 50 | 1);
        place();
        T_CHECK_U64(fixture_open(&f), Q2_ERR_CORRUPT);
        T_CHECK_U64(repair(bits[i].what), Q2_OK);
        q2_disk_layer_info(f.disk, 0, &info);
        T_CHECK_U64(info.header->incompatible_features, bits[i].left);
        T_CHECK_U64(memory[79], bits[i].left);
        T_CHECK_U64(memory[95], 1);
        cleanup();
    }
}

/* Opened for a repair, nothing else may write. */
static void test_repair_open_is_for_nothing_else(void)
{
    uint8_t byte = 0;

    build(&(struct image_spec){.size = MIB});
    too_low();
    place();
    T_CHECK_U64(repair(Q2_REPAIR_LEAKS), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 0, &byte, 1), Q2_ERR_READ_ONLY);
    T_CHECK(!q2_disk_is_writable(f.disk));
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_repair(f.disk, Q2_REPAIR_ALL, NULL, &result), Q2_ERR_READ_ONLY);
    f.options.writable = true;
    f.options.repair = true;
    f.image.source.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_READ_ONLY);
    cleanup();
}

/* A dirty image, as lazy refcounts leave it, is repaired on the way to writing if asked. */
static void test_repair_if_dirty(void)
{
    uint8_t byte = 7;

    build(&(struct image_spec){.size = MIB});
    too_low();
    image_field_set(&image, "incompatible_features", 1);
    place();
    T_CHECK_U64(fixture_open(&f), Q2_ERR_UNSUPPORTED);
    T_CHECK(q2_file_is_dirty(&f.image.source));
    f.options.repair_if_dirty = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(memory[79], 0);
    T_CHECK(q2_disk_was_repaired(f.disk));
    T_CHECK(!q2_file_is_dirty(&f.image.source));
    T_CHECK_U64(q2_disk_write(f.disk, 0, &byte, 1), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(!q2_disk_was_repaired(f.disk));
    cleanup();

    t_row("corrupt without being dirty");
    build(&(struct image_spec){.size = MIB});
    too_low();
    place();
    f.options.repair_if_dirty = true;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_CORRUPT);
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* What is no whole header of version 3 with the dirty bit is not dirty. */
static void test_file_is_dirty_table(void)
{
    static const struct {
        const char *row, *field;
        uint64_t value, size;
        bool fails, is_dirty;
    } files[] = {
        {"dirty", NULL, 0, 0, false, true},
        {"a header and no more", NULL, 0, 104, false, true},
        {"short", NULL, 0, 103, false, false},
        {"clean", "incompatible_features", 0, 0, false, false},
        {"other bits", "incompatible_features", 0xfe, 0, false, false},
        {"no qcow2", "magic", 0, 0, false, false},
        {"version 2", "version", 2, 0, false, false},
        {"unreadable", NULL, 0, 0, true, false},
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct fake_source source;

        t_row(files[i].row);
        image_start(&image, &(struct image_spec){.size = MIB});
        image_field_set(&image, "incompatible_features", 1);
        if (files[i].field)
            image_field_set(&image, files[i].field, files[i].value);
        fake_source_init(&source, "file", image.bytes, files[i].size ? files[i].size : image.size);
        source.fail_call = files[i].fails;
        T_CHECK(q2_file_is_dirty(&source.source) == files[i].is_dirty);
        image_free(&image);
    }
    t_row("");
}

/* No new structure where entries may be on it. */
static void test_repair_refuses_to_rebuild_over_broken_entries(void)
{
    build(&(struct image_spec){.size = MIB});
    block_and_entry();
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_ERR_CORRUPT);
    T_CHECK_STR(q2_disk_fault(f.disk)->what,
                "the refcounts cannot be built anew while entries are broken");
    T_CHECK_STR(fixture_field(&f), "broken entries");
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* What cannot be read may refer to anything: nothing is changed. */
static void test_repair_of_an_unreadable_image_changes_nothing(void)
{
    uint64_t l2;

    build(&(struct image_spec){.size = MIB});
    leak();
    place();
    l2 = image_l2_entry(&image, 0);
    f.image.bad_start = l2;
    f.image.bad_end = l2 + 512;
    f.image.fail_status = Q2_ERR_IO;
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK(result.left.check_errors > 0 && result.left.leaks > 0);
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* Set when the repair tells of the first thing that it has mended. */
static uint64_t bad_later;

static void break_table(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    (void)reporter;
    if (!finding->fixed || bad_later == 0)
        return;
    f.image.bad_start = bad_later;
    f.image.bad_end = bad_later + 512;
}

/* An L2 table that the check could read cannot be read any more when the leaks are mended: what it
 * refers to is not taken for leaked. */
static void test_repair_stops_at_a_table_that_fails_in_the_middle(void)
{
    struct q2_check_reporter reporter = {.report = break_table};
    uint64_t data;

    image_start_crowded(&image, 20);
    data = image_data(&image, 10 * IMAGE_CROWDED_REACH, 1);
    bad_later = image_l2_entry(&image, 10 * IMAGE_CROWDED_REACH);
    image_refcount_set(&image, data_cluster(0), 0);
    leak();
    place();
    f.options.repair = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_repair(f.disk, Q2_REPAIR_ALL, &reporter, &result), Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "the image cannot be repaired");
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, bad_later);
    memcpy(image.bytes, memory, image.size);
    T_CHECK_U64(image_refcount(&image, data / image_cluster_size(&image)), 1);
    cleanup();
}

/* The first of two refcounts has been raised when the block of the second one cannot be read any
 * more. The cache does not have it. */
static void forget_and_break_block(struct q2_check_reporter *reporter,
                                   const struct q2_check_finding *finding)
{
    struct q2_slice_cache *cache = &f.disk->slices;

    break_table(reporter, finding);
    for (size_t i = 0; i < Q2_SLICE_HINTS; i++) {
        struct q2_slice *slice = &cache->slices[i / Q2_SLICE_WAYS][i % Q2_SLICE_WAYS];
        if (slice->index == bad_later / Q2_SLICE_SIZE && !q2_slice_is_waiting(slice))
            slice->source = NULL;
    }
}

static void test_repair_stops_at_a_refcount_block_that_fails_in_the_middle(void)
{
    struct q2_check_reporter reporter = {.report = forget_and_break_block};
    const struct image_spec spec = {
        .size = 3 * MIB, .cluster_bits = 12, .refcount_bits = 64, .max_clusters = 1024};

    image_start(&image, &spec);
    for (uint64_t at = 0; at < spec.size; at += 4096)
        (void)image_data(&image, at, 1);
    bad_later = image_get64(&image, image_field(&image, "refcount_table_offset") + 8);
    image_refcount_set(&image, data_cluster(0), 0);
    image_refcount_set(&image, data_cluster(5 * MIB / 2), 0);
    T_CHECK(data_cluster(0) < 512 && data_cluster(5 * MIB / 2) >= 512);
    place();
    f.options.repair = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_repair(f.disk, Q2_REPAIR_ALL, &reporter, &result), Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a refcount cannot be changed");
    cleanup();
}

/* An entry that leads nowhere may mean any cluster that seems to leak, and so may a refcount table
 * whose own entries are wrong. */
static void test_repair_of_leaks_leaves_them_beside_two_kinds_of_damage(void)
{
    build(&(struct image_spec){.size = MIB});
    table_reserved();
    leak_and_entry();
    place();
    T_CHECK_U64(repair(Q2_REPAIR_LEAKS), Q2_OK);
    T_CHECK(result.left.leaks > 2);
    T_CHECK_U64(result.leaks_fixed, 0);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

/* One corruption and one table that cannot be read: the image stays marked as corrupt. */
static void test_repair_that_leaves_as_many_corruptions_as_errors(void)
{
    uint64_t l2;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_refcount_set(&image, image_field(&image, "l1_table_offset") / image_cluster_size(&image),
                       0);
    image_field_set(&image, "incompatible_features", 3);
    l2 = image_l2_entry(&image, 0);
    place();
    f.image.bad_start = l2;
    f.image.bad_end = l2 + 512;
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(result.left.corruptions, 1);
    T_CHECK_U64(result.left.check_errors, 1);
    T_CHECK_U64(memory[79], 3);
    cleanup();
}

/* More references than the width holds are left. */
static void test_repair_leaves_what_a_refcount_cannot_hold(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .refcount_bits = 1});
    image_data(&image, 0, 1);
    image_put64(&image, image_l2_entry(&image, 64 * KIB),
                image_get64(&image, image_l2_entry(&image, 0)));
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK(result.left.corruptions > 0);
    cleanup();
}

/* The L1 table as an L2 table of its own: nothing that is read as an L2 entry there is mended, and
 * the check goes on to report it, because reading refuses it too. */
static void test_repair_leaves_an_l1_table_that_names_itself(void)
{
    uint64_t l1;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_data(&image, 32 * KIB, 1);
    l1 = image_field(&image, "l1_table_offset");
    image_put64(&image, l1, l1 | COPIED);
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(result.left.corruptions, 1);
    T_CHECK(memory[l1] == 0x80 && memory[l1 + 8] == 0x80);
    cleanup();
}

/* An L2 table begins where the L1 table ends, and is guest data too: its first entry is none of the
 * L1 table. */
static void test_repair_leaves_a_table_behind_the_l1_table_that_is_guest_data(void)
{
    static const uint64_t word = COPIED | 1ull << 62 | 0x400;
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .l1_size = 64});
    at = image_l2_entry(&image, 0);
    T_CHECK_U64(at, image_field(&image, "l1_table_offset") + 512);
    image_put64(&image, at, word);
    image_put64(&image, image_l2_entry(&image, 512), at);
    place();
    (void)repair(Q2_REPAIR_ALL); /* entries without sense may be refused */
    memcpy(image.bytes, memory, image.size);
    T_CHECK_U64(image_get64(&image, at), word);
    cleanup();
}

/* The last entry of a table that is stored at the file's end. */
static void test_repair_drops_the_place_in_the_last_entry_of_the_file(void)
{
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = 128 * KIB, .cluster_bits = 10});
    at = image_l2_entry(&image, 127 * KIB);
    T_CHECK_U64(at + 8, image.size);
    image_put64(&image, at, 512 | 1);
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(result.left.corruptions, 0);
    memcpy(image.bytes, memory, image.size);
    T_CHECK_U64(image_get64(&image, at), 1);
    cleanup();
}

/* A cluster that is guest data and an L2 table: what would be mended in the table is guest data, so
 * nothing of it changes. The data looks like compressed clusters whose COPIED flag is set, or like
 * standard ones with a wrong flag. */
static void test_repair_leaves_an_l2_table_that_is_guest_data(void)
{
    static const uint64_t words[] = {COPIED | 1ull << 62 | 0x400, COPIED | 0x600, 0x600, 1};
    uint64_t data;
    uint8_t before[512];

    for (uint32_t row = 0; row < 4; row++) {
        image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
        data = image_data(&image, 0, 1);
        for (uint32_t i = 0; i < 64; i++)
            image_put64(&image, data + i * 8, words[row]);
        memcpy(before, image.bytes + data, 512);
        image_put64(&image, image_l1_entry(&image, 32 * KIB), data | COPIED);
        place();
        (void)repair(Q2_REPAIR_ALL); /* entries without sense may be refused */
        T_CHECK(memcmp(memory + data, before, 512) == 0);
        cleanup();
    }
}

/* --- tables that the check cannot follow --- */

#define REACH (128 * KIB) /* of an L2 table, with clusters of 1 KiB */

static void hide(uint64_t changed_bits)
{
    uint64_t at = image_l1_entry(&image, REACH);

    image_put64(&image, at, image_get64(&image, at) ^ changed_bits);
}

static void hide_by_low_bit(void)
{
    hide(1);
}

static void hide_by_high_bit(void)
{
    hide(1ull << 56);
}

static void hide_by_alignment(void)
{
    hide(512);
}

static void hide_by_overlap(void)
{
    uint64_t table = image_l2_entry(&image, REACH) & ~1023ull;

    hide(table ^ image_field(&image, "l1_table_offset"));
}

/* The L2 table of the disk's start is guest data of the other L2 table, too. In it are a flag that
 * is wrong and an entry without a place, and a cluster has leaked. */
static void build_hidden(void)
{
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = 2 * REACH, .cluster_bits = 10});
    image_data(&image, 0, 1);
    image_data(&image, REACH, 1);
    table = image_l2_entry(&image, 0);
    image_put64(&image, image_l2_entry(&image, REACH + KIB), table);
    image_put64(&image, table, image_get64(&image, table) & ~COPIED);
    image_put64(&image, table + 8, COPIED | 1);
    leak();
}

/* What an L1 entry that breaks a rule leads to is not seen: it may be anything. Nothing changes, so
 * everything is there when the entry is right again. */
static void test_repair_leaves_an_image_whose_tables_cannot_be_followed(void)
{
    static const struct {
        const char *name;
        void (*hide)(void);
    } hidings[] = {
        {"a reserved bit at the end", hide_by_low_bit},
        {"a reserved bit at the start", hide_by_high_bit},
        {"does not start at a cluster", hide_by_alignment},
        {"overlaps the L1 table", hide_by_overlap},
    };

    for (size_t i = 0; i < sizeof(hidings) / sizeof(hidings[0]); i++) {
        t_row(hidings[i].name);
        build_hidden();
        hidings[i].hide();
        place();
        T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
        T_CHECK(result.left.corruptions > 0);
        T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
        cleanup();
    }
    t_row("");
}

/* While references are counted, in the memory of the cache of decoded clusters, new refcounts are
 * written: nothing may take a count for the state of that cache. The new refcounts fill a part of
 * one block, several blocks, or many. */
static void test_repair_rebuilds_the_refcounts_of_many_clusters(void)
{
    static const struct {
        uint32_t refcount_bits;
        uint64_t nb_fixed; /* of the clusters that the damaged entry covers; none of the others */
    } tables[] = {{1, 918}, {16, 252}, {64, 48}};

    for (size_t n = 0; n < sizeof(tables) / sizeof(tables[0]); n++) {
        image_start(&image, &(struct image_spec){.size = 512 * KIB,
                                                 .cluster_bits = 9,
                                                 .refcount_bits = tables[n].refcount_bits,
                                                 .max_clusters = 1024});
        for (uint64_t i = 0; i < 900; i++)
            (void)image_data(&image, i * 512, 1);
        image_put64(&image, image_field(&image, "refcount_table_offset"), 1);
        place();
        T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
        T_CHECK_U64(result.left.corruptions + result.left.leaks + result.left.check_errors, 0);
        T_CHECK_U64(result.corruptions_fixed, tables[n].nb_fixed);
        T_CHECK_U64(result.leaks_fixed, 0);
        T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 512 * KIB), FIXTURE_SAME);
        cleanup();
    }
}

/* A new refcount table that is longer than the buffer that it is written from. */
static void test_repair_rebuilds_a_table_in_several_writes(void)
{
    uint64_t table, size;

    image_start(&image, &(struct image_spec){.size = 2 * MIB, .cluster_bits = 20});
    size = image_cluster_size(&image);
    T_CHECK(size > 3ull * Q2_BOUNCE_SIZE);
    (void)image_data(&image, MIB, 1);
    image_put64(&image, image_field(&image, "refcount_table_offset"), 1);
    place();
    memset(memory + image.size, 0x5a, CAPACITY - image.size);
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(result.left.corruptions + result.left.leaks + result.left.check_errors, 0);
    memcpy(image.bytes, memory, image.size);
    table = image_field(&image, "refcount_table_offset");
    T_CHECK(table + size <= f.image.source.size);
    for (uint64_t i = 8; i < size; i++) {
        if (!T_CHECK_U64(memory[table + i], 0))
            break;
    }
    T_CHECK_U64(f.image.source.size % size, 0);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 2 * MIB), FIXTURE_SAME);
    cleanup();
}

/* --- the snapshot table ----------------------------------------------------------------------- */

static uint64_t stored(uint64_t at, uint32_t length)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < length; i++)
        value = value << 8 | memory[at + i];
    return value;
}

/* Put the image in place, in `capacity` bytes; both repairs that leave the table alone do so. */
static void place_snapshots(uint64_t capacity, uint64_t nb_broken, bool writable)
{
    enum q2_status status;

    place();
    f.image.capacity = capacity;
    T_CHECK_U64(repair(Q2_REPAIR_LEAKS), Q2_OK);
    T_CHECK_U64(result.left.corruptions, nb_broken);
    T_CHECK_U64(repair(Q2_REPAIR_FOR_WRITING), Q2_OK);
    T_CHECK_U64(result.left.corruptions, nb_broken);
    T_CHECK_U64(f.image.nb_writes + f.image.nb_grows, 0);
    status = fixture_open(&f);
    T_CHECK_U64(status == Q2_OK, writable);
}

/* Version 3 demands 16 bytes; more than 1024 are refused. */
static void test_repair_extra_data_of_snapshots(void)
{
    static uint8_t extra[3000], part[8] = {[7] = 77};
    const struct image_snapshot_spec specs[] = {
        {.id = "1", .name = "bare", .extra = "", .vm_state_size = 5},
        {.id = "2", .name = "long", .extra = extra, .extra_size = sizeof(extra)},
        {.id = "3", .name = "in part", .extra = part, .extra_size = sizeof(part)},
        {.id = "4", .name = "most", .extra = extra, .extra_size = Q2_MAX_SNAPSHOT_EXTRA_SIZE},
    };
    struct q2_snapshot snapshot;
    uint64_t table;

    for (size_t i = 0; i < sizeof(extra); i++)
        extra[i] = (uint8_t)(i < 8 ? 0 : i < 16 ? MIB >> (8 * (15 - i)) : i % 251);
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    for (uint32_t i = 0; i < 4; i++)
        image_snapshot(&image, &specs[i]);
    (void)image_snapshots_write(&image);
    place_snapshots(CAPACITY, 3, false);
    T_CHECK_U64(result.left.snapshots_incomplete, 2);
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    check_left((const uint64_t[2]){0, 0});
    T_CHECK_U64(result.corruptions_fixed, 3);
    T_CHECK_U64(counter.nb_fixed, result.corruptions_fixed + result.leaks_fixed);
    check_open(true, false);
    for (uint32_t i = 0; i < 4; i++) {
        T_CHECK_U64(q2_disk_snapshot(f.disk, i, &snapshot), Q2_OK);
        T_CHECK_STR(snapshot.id, specs[i].id);
        T_CHECK_STR(snapshot.name, specs[i].name);
        T_CHECK_U64(snapshot.virtual_size, MIB);
        T_CHECK(!snapshot.has_icount || i == 1 || i == 3);
        T_CHECK_U64(snapshot.vm_state_size, i == 0 ? 5 : i == 2 ? 77 : 0);
    }
    table = stored(64, 8);
    T_CHECK_U64(stored(table + 36, 4), 24);
    table += 40 + 24 + 5 + 3; /* "1", "bare", padding */
    T_CHECK_U64(stored(table + 36, 4), Q2_MAX_SNAPSHOT_EXTRA_SIZE);
    T_CHECK(memcmp(memory + table + 40, extra, Q2_MAX_SNAPSHOT_EXTRA_SIZE) == 0);
    cleanup();
}

/* The extra data of the last entry reaches past the end of the file: its id and name are lost. The
 * bytes of it that are kept leave the file as well if clusters are small. Those that are not there
 * are zeros, wherever the new table is. */
static void test_repair_extra_data_past_the_file(void)
{
    static const struct {
        const char *name;
        uint32_t cluster_bits, nb_free, nb_stored; /* bytes of the extra data */
        uint64_t room;
    } files[] = {
        {"the new table at the end of the file", 12, 0, Q2_MAX_SNAPSHOT_EXTRA_SIZE, CAPACITY},
        {"bytes that are kept are not there", 9, 0, 408, CAPACITY},
        {"the new table in a hole", 9, 4, 408, 0},
    };
    static uint8_t extra[2000];
    const struct image_snapshot_spec specs[] = {
        {.id = "1", .name = "whole"}, {.id = "2", .name = "cut", .extra = extra, .extra_size = 24}};
    struct q2_snapshot snapshot;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        uint64_t table, hole, length = files[i].nb_stored;

        t_row(files[i].name);
        image_start(&image,
                    &(struct image_spec){.size = 64 * KIB, .cluster_bits = files[i].cluster_bits});
        for (uint32_t j = 0; j < 2; j++)
            image_snapshot(&image, &specs[j]);
        hole = image_alloc(&image, files[i].nb_free) >> files[i].cluster_bits;
        for (uint32_t j = 0; j < files[i].nb_free; j++)
            image_refcount_set(&image, hole + j, 0);
        table = image_snapshots_write(&image);
        for (size_t j = 0; j < length; j++)
            extra[j] = (uint8_t)(j < 8 ? 0 : j < 16 ? 64 * KIB >> (8 * (15 - j)) : j % 251 + 1);
        image_put32(&image, table + 64 + 36, 5000);
        image_put(&image, table + 64 + 40, extra, length);
        place_snapshots(files[i].room ? files[i].room : image.size, 1, false);
        T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
        check_left((const uint64_t[2]){0, 0});
        check_open(true, true);
        T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &snapshot), Q2_OK);
        T_CHECK_STR(snapshot.name, "whole");
        T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &snapshot), Q2_OK);
        T_CHECK_STR(snapshot.id, "");
        T_CHECK_STR(snapshot.name, "");
        T_CHECK_U64(snapshot.virtual_size, 64 * KIB);
        table = stored(64, 8);
        T_CHECK_U64(stored(table + 64 + 36, 4), Q2_MAX_SNAPSHOT_EXTRA_SIZE);
        memset(extra + length, 0, sizeof(extra) - length);
        T_CHECK(memcmp(memory + table + 104, extra, Q2_MAX_SNAPSHOT_EXTRA_SIZE) == 0);
        cleanup();
    }
}

/* Incomplete entries alone: such an image is written all the same. */
static void test_image_with_incomplete_snapshots_is_written(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s", .extra = ""});
    (void)image_snapshots_write(&image);
    place_snapshots(CAPACITY, 1, true);
    cleanup();
    image_start(&image, &(struct image_spec){.size = MIB, .version = 2});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s"});
    (void)image_snapshots_write(&image);
    place_snapshots(CAPACITY, 0, true);
    cleanup();
}

/* A table of nb entries of `length` bytes; the last one has an L1 table of its own. */
static void build_many_snapshots(uint32_t nb, uint32_t length)
{
    uint64_t size, at, l1;

    image_start(&image, &(struct image_spec){.size = MIB, .max_clusters = 2048});
    size = image_cluster_size(&image);
    l1 = image_alloc(&image, 1);
    at = image_alloc(&image, (uint32_t)((nb * (uint64_t)length + size - 1) / size));
    image_field_set(&image, "nb_snapshots", nb);
    image_field_set(&image, "snapshots_offset", at);
    for (uint32_t i = 0; i < nb; i++, at += length) {
        uint32_t strings = length - 40 - 16, id = strings < 65535 ? strings : 65535;

        image_put32(&image, at + 12, id << 16 | (strings - id));
        image_put32(&image, at + 36, 16);
        image_put64(&image, at + 48, MIB);
        image_put64(&image, at, i == nb - 1 ? l1 : 0);
        image_put32(&image, at + 8, i == nb - 1 ? 1 : 0);
    }
}

/* Snapshots past the limits are removed, and what they alone refer to is free. */
static void test_repair_removes_snapshots_past_the_limits(void)
{
    static const struct {
        uint32_t nb, length, nb_kept;
    } tables[] = {{Q2_MAX_SNAPSHOTS + 3, 56, Q2_MAX_SNAPSHOTS}, {1026, 65536, 1024}};

    for (uint32_t i = 0; i < 2; i++) {
        uint64_t end;

        build_many_snapshots(tables[i].nb, tables[i].length);
        end = image.size;
        memory = realloc(memory, end + CAPACITY + CAPACITY);
        if (tables[i].nb <= Q2_MAX_SNAPSHOTS) {
            place_snapshots(end + 2 * CAPACITY, 1, false);
        } else {
            place();
            T_CHECK_U64(fixture_open(&f), Q2_ERR_LIMIT);
            f.image.capacity = end + CAPACITY;
        }
        T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
        check_left((const uint64_t[2]){0, 0});
        T_CHECK_U64(result.corruptions_fixed, 1);
        T_CHECK(result.leaks_fixed > 0);
        T_CHECK_U64(stored(60, 4), tables[i].nb_kept);
        check_open(true, true);
        cleanup();
    }
}

/* The only snapshot is past the limit: no table is left. */
static void test_repair_removes_the_only_snapshot(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "", .name = ""});
    image_data(&image, 0, 2);
    image_put32(&image, image_snapshots_write(&image) + 36, UINT32_MAX);
    place_snapshots(CAPACITY, 1, false);
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    check_left((const uint64_t[2]){0, 0});
    T_CHECK_U64(stored(60, 4), 0);
    T_CHECK_U64(stored(64, 8), 0);
    check_open(true, true);
    cleanup();
}

/* No refcount may be too low when the new table takes its clusters. */
static void test_repair_of_snapshots_and_refcounts(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s", .extra = ""});
    image_data(&image, 0, 1);
    (void)image_snapshots_write(&image);
    too_low();
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    check_left((const uint64_t[2]){0, 0});
    check_open(true, true);
    cleanup();

    t_row("an entry that stays broken may name the clusters");
    build(&(struct image_spec){.size = MIB});
    image_put32(&image, image_field(&image, "snapshots_offset") + 36, 0);
    unaligned_data();
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK_U64(result.left.snapshots_incomplete, 1);
    cleanup();
}

static void test_repair_of_snapshots_without_room(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s", .extra = ""});
    (void)image_snapshots_write(&image);
    place();
    f.image.capacity = image.size;
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_ERR_NO_SPACE);
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* The header names a snapshot's L1 table as the active one: the image cannot be written. */
static void test_repair_leaves_an_l1_table_that_is_a_snapshots(void)
{
    struct q2_check_reporter reporter = {.report = keep_said};
    struct q2_check_result checked;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    (void)image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s"});
    image_field_set(&image, "l1_table_offset", image_get64(&image, image_snapshots_write(&image)));
    place();
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_OK);
    T_CHECK(result.left.corruptions > result.left.copied_missing);
    T_CHECK_U64(q2_disk_check(f.disk, &reporter, &checked), Q2_OK);
    T_CHECK_STR(said, "the L1 table is also something else");
    T_CHECK_U64(fixture_open(&f), Q2_ERR_CORRUPT);
    cleanup();
}

/* A raw image, a snapshot, a full disk. */
static void test_repair_is_refused(void)
{
    static uint8_t raw[4096];
    struct q2_references references = {.found = NULL};

    fixture_start_bytes(&f, raw, sizeof(raw));
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, 4096, 4096);
    f.options.writable = true;
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_ERR_UNSUPPORTED);
    fixture_end(&f);

    build(&(struct image_spec){.size = MIB});
    block_missing();
    place();
    f.image.capacity = image.size + 65536;
    T_CHECK_U64(repair(Q2_REPAIR_ALL), Q2_ERR_NO_SPACE);
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();

    t_row("a file that no refcount table covers");
    build(&(struct image_spec){
        .size = 64 * KIB, .cluster_bits = 9, .refcount_bits = 64, .max_clusters = 128});
    place();
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    f.image.source.size = 1ull << 36; /* to count its clusters would take half a minute */
    q2_references_start(&references, f.disk);
    T_CHECK_U64(q2_refcounts_rebuild(&references), Q2_ERR_LIMIT);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "the file is too large for a new refcount table");
    cleanup();
}

int main(void)
{
    memory = malloc(CAPACITY);
    T_RUN(test_repair_each_damage);
    T_RUN(test_check_of_a_broken_structure);
    T_RUN(test_repair_of_a_right_image_writes_nothing);
    T_RUN(test_repair_clears_the_feature_bits);
    T_RUN(test_repair_open_is_for_nothing_else);
    T_RUN(test_repair_if_dirty);
    T_RUN(test_file_is_dirty_table);
    T_RUN(test_repair_refuses_to_rebuild_over_broken_entries);
    T_RUN(test_repair_of_an_unreadable_image_changes_nothing);
    T_RUN(test_repair_stops_at_a_table_that_fails_in_the_middle);
    T_RUN(test_repair_stops_at_a_refcount_block_that_fails_in_the_middle);
    T_RUN(test_repair_of_leaks_leaves_them_beside_two_kinds_of_damage);
    T_RUN(test_repair_that_leaves_as_many_corruptions_as_errors);
    T_RUN(test_repair_leaves_what_a_refcount_cannot_hold);
    T_RUN(test_repair_leaves_an_l1_table_that_names_itself);
    T_RUN(test_repair_leaves_a_table_behind_the_l1_table_that_is_guest_data);
    T_RUN(test_repair_drops_the_place_in_the_last_entry_of_the_file);
    T_RUN(test_repair_leaves_an_l2_table_that_is_guest_data);
    T_RUN(test_repair_leaves_an_image_whose_tables_cannot_be_followed);
    T_RUN(test_repair_rebuilds_the_refcounts_of_many_clusters);
    T_RUN(test_repair_rebuilds_a_table_in_several_writes);
    T_RUN(test_repair_leaves_an_l1_table_that_is_a_snapshots);
    T_RUN(test_repair_extra_data_of_snapshots);
    T_RUN(test_repair_extra_data_past_the_file);
    T_RUN(test_image_with_incomplete_snapshots_is_written);
    T_RUN(test_repair_removes_snapshots_past_the_limits);
    T_RUN(test_repair_removes_the_only_snapshot);
    T_RUN(test_repair_of_snapshots_and_refcounts);
    T_RUN(test_repair_of_snapshots_without_room);
    T_RUN(test_repair_is_refused);
    free(memory);
    return t_done();
}
