/* core/check/check.c: the consistency check. Images that are right have no finding, and each kind
 * of damage has its own. */
#include <stdlib.h>

#include "core/check/count.h"
#include "core/check/references.h"
#include "core/read/disk.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define KIB          1024ull
#define MIB          (1024 * KIB)
#define COPIED       (1ull << 63)
#define COMPRESSED   (1ull << 62)
#define MAX_FINDINGS 64

struct collector {
    struct q2_check_reporter reporter;
    struct q2_check_finding findings[MAX_FINDINGS];
    uint32_t nb;
};

/* Progress as it was told. */
static struct {
    uint64_t done, total;
    unsigned int nb, nb_wrong;
    unsigned int nb_counting; /* in the first half: while references are counted */
} told;

static void hear(struct q2_check_reporter *reporter, uint64_t done, uint64_t total)
{
    (void)reporter;
    if (done > total || (told.nb > 0 && (done <= told.done || total != told.total)))
        told.nb_wrong++;
    told.nb_counting += done <= total / 2;
    told.done = done;
    told.total = total;
    told.nb++;
}

static void collect(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct collector *c = (struct collector *)reporter;

    if (c->nb < MAX_FINDINGS)
        c->findings[c->nb] = *finding;
    c->nb++;
}

static struct image image;
static struct fixture f;
static struct collector found;
static struct q2_check_result result;

/* Check a file of `size` bytes, of which those after the image are zeros. */
static enum q2_status check_file(uint64_t size)
{
    enum q2_status status;

    found = (struct collector){.reporter = {.report = collect, .progress = hear}};
    memset(&told, 0, sizeof(told));
    memset(&result, 0, sizeof(result));
    fixture_start(&f, &image);
    f.image.source.size = size;
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    status = q2_disk_check(f.disk, &found.reporter, &result);
    T_CHECK_U64(told.nb_wrong, 0);
    T_CHECK(told.nb <= 300);
    T_CHECK((told.nb > 0 && told.done == told.total) == (status == Q2_OK));
    return status;
}

static enum q2_status check(void)
{
    return check_file(image.size);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

/* Exactly one finding, and the counts that go with it. */
static void check_one(enum q2_check_kind kind, const char *what, uint64_t offset)
{
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 1);
    T_CHECK_U64(found.findings[0].kind, kind);
    T_CHECK_STR(found.nb ? found.findings[0].what : "", what);
    T_CHECK_U64(found.findings[0].offset, offset);
    T_CHECK_U64(result.leaks, kind == Q2_CHECK_LEAK);
    T_CHECK_U64(result.check_errors, kind == Q2_CHECK_UNREADABLE);
    T_CHECK_U64(result.corruptions, kind != Q2_CHECK_LEAK && kind != Q2_CHECK_UNREADABLE);
    cleanup();
}

static const struct image_snapshot_spec snapshot = {.id = "1", .name = "one"};

/* A bit of everything, with a bitmap whose table names a cluster. */
static void build(const struct image_spec *spec)
{
    uint64_t size, at, table;

    image_start(&image, spec);
    size = image_cluster_size(&image);
    image_data(&image, 0, 1);
    image_zero(&image, size, true);
    image_zero(&image, 2 * size, false);
    if (!spec->external) {
        image_snapshot(&image, &snapshot);
        image_data(&image, 0, 2);
        image_data(&image, 3 * size, 2);
        image_compressed(&image, 4 * size, 2);
        image_compressed(&image, 5 * size, 2);
        (void)image_snapshots_write(&image);
    }
    if (image.spec.version == 2)
        return;
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    image_put32(&image, at + 8, 1);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, 32);
    image_put64(&image, at + 24, image_alloc(&image, 1));
    table = image_alloc(&image, 2);
    image_put64(&image, table, table + size);
    at = image_get64(&image, at + 24);
    image_put64(&image, at, table);
    image_put32(&image, at + 8, 2);
    image_put32(&image, at + 16, 1u << 24 | 16u << 16 | 4);
    image_put(&image, at + 24, "name", 4);
    image_field_set(&image, "autoclear_features", 1);
}

static void test_check_right_images_have_no_finding(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
    } rows[] = {
        {"64 KiB", {.size = MIB}},
        {"512 bytes", {.size = 64 * KIB, .cluster_bits = 9}},
        {"2 MiB", {.size = 16 * MIB, .cluster_bits = 21, .max_clusters = 64}},
        {"8 bit refcounts", {.size = MIB, .refcount_bits = 8}},
        {"64 bit refcounts", {.size = MIB, .refcount_bits = 64}},
        {"2 bit refcounts", {.size = MIB, .cluster_bits = 12, .refcount_bits = 2}},
        {"extended", {.size = MIB, .cluster_bits = 14, .extended = true}},
        {"external", {.size = MIB, .external = true}},
        {"external, extended",
         {.size = MIB, .cluster_bits = 14, .extended = true, .external = true}},
        {"smallest that holds it", {.size = 6 * 64 * KIB}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        build(&rows[i].spec);
        T_CHECK_U64(check(), Q2_OK);
        T_CHECK_U64(found.nb, 0);
        if (found.nb > 0)
            printf("# %s at 0x%" PRIx64 "\n", found.findings[0].what, found.findings[0].offset);
        T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
        T_CHECK_U64(result.image_end_offset, image.size);
        cleanup();
    }
}

static void test_check_version_2_and_empty(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .version = 2});
    image_data(&image, 0, 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
    image_start(&image, &(struct image_spec){.size = 0});
    image_refcount_set(&image, 3, 0); /* the L1 table that a disk of size 0 does not need */
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    T_CHECK_U64(result.total_clusters, 0);
    cleanup();
}

static void test_check_statistics(void)
{
    image_start(&image, &(struct image_spec){.size = MIB + 1});
    (void)image_l2_entry(&image, 0);
    image_data(&image, 0, 1);
    image_data(&image, 64 * KIB, 1);
    (void)image_alloc(&image, 1); /* leaks */
    image_data(&image, 192 * KIB, 1);
    image_zero(&image, 256 * KIB, false);
    image_compressed(&image, 320 * KIB, 1);
    image_data(&image, 448 * KIB, 1);
    image_data(&image, 384 * KIB, 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(result.total_clusters, 17);
    T_CHECK_U64(result.allocated_clusters, 6);
    T_CHECK_U64(result.compressed_clusters, 1);
    T_CHECK_U64(result.fragmented_clusters, 4);
    T_CHECK_U64(result.leaks, 1);
    T_CHECK_U64(result.image_end_offset, image.size);
    cleanup();
}

/* A user sees that a long check goes on, inside a window of host clusters and between two. */
static void test_check_tells_progress_while_it_counts(void)
{
    t_row("one window");
    image_start(&image, &(struct image_spec){.size = 50 * KIB, .cluster_bits = 9});
    for (uint64_t at = 0; at < 50 * KIB; at += 512)
        (void)image_data(&image, at, 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK(told.nb_counting >= 30 && told.nb >= told.nb_counting + 30);
    cleanup();
    t_row("each cluster of a small image, twice");
    image_start(&image, &(struct image_spec){.size = 4 * KIB, .cluster_bits = 9, .external = true});
    for (uint64_t at = 0; at < 4 * KIB; at += 512)
        (void)image_data(&image, at, 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(told.nb, 16);
    cleanup();
    t_row("a data file with more clusters than the image");
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .external = true});
    for (uint64_t at = 0; at < MIB; at += 512)
        (void)image_data(&image, at, 1);
    T_CHECK_U64(check(), Q2_OK);
    cleanup();
    t_row("three windows without data");
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    T_CHECK_U64(check_file(3 * 512ull * Q2_REFERENCES_WINDOW), Q2_OK);
    T_CHECK_U64(told.nb_counting, 3);
    T_CHECK_U64(told.nb, 4);
    cleanup();
}

/* The disk is as usable after a check as before. */
static void test_check_leaves_the_disk_usable(void)
{
    build(&(struct image_spec){.size = MIB});
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks, 0);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    cleanup();
}

/* ---- damage ---- */

static void start(void)
{
    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_data(&image, 64 * KIB, 1);
}

static void test_check_leak(void)
{
    uint64_t at;

    start();
    at = image_alloc(&image, 1);
    check_one(Q2_CHECK_LEAK, "leaked cluster", at);
    T_CHECK_U64(found.findings[0].refcount, 1);
    T_CHECK_U64(found.findings[0].references, 0);
}

/* HAZARDS.md, F12: refcount 0 of a cluster in use reads, and is found. */
static void test_check_refcount_too_low(void)
{
    uint64_t entry, host;

    start();
    entry = image_l2_entry(&image, 64 * KIB);
    host = image_get64(&image, entry) & ~COPIED;
    image_refcount_set(&image, host >> 16, 0);
    image_put64(&image, entry, host); /* or COPIED would be wrong as well */
    check_one(Q2_CHECK_REFCOUNT, "refcount is too low", host);
    T_CHECK_U64(found.findings[0].refcount, 0);
    T_CHECK_U64(found.findings[0].references, 1);
    T_CHECK_U64(result.image_end_offset, host + 64 * KIB);
}

/* HAZARDS.md, F12: two guest clusters on one host cluster. */
static void test_check_shared_cluster(void)
{
    uint64_t host, lost;

    start();
    host = image_get64(&image, image_l2_entry(&image, 0));
    lost = image_get64(&image, image_l2_entry(&image, 64 * KIB)) & ~COPIED;
    image_put64(&image, image_l2_entry(&image, 64 * KIB), host);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 2);
    T_CHECK_U64(found.findings[0].kind, Q2_CHECK_REFCOUNT);
    T_CHECK_U64(found.findings[0].offset, host & ~COPIED);
    T_CHECK_U64(found.findings[0].references, 2);
    T_CHECK_U64(found.findings[1].kind, Q2_CHECK_LEAK);
    T_CHECK_U64(found.findings[1].offset, lost);
    cleanup();
}

/* A guest cluster that is an L2 table, with the refcount and the flags of a cluster that is used
 * twice: the guest would write the table, and a change of the table the guest's data. */
static void test_check_l2_table_that_is_guest_data(void)
{
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_data(&image, 0, 1);
    image_data(&image, 32 * KIB, 1);
    table = image_l2_entry(&image, 32 * KIB) & ~511ull;
    image_put64(&image, image_l2_entry(&image, 512), table);
    image_put64(&image, image_l1_entry(&image, 32 * KIB), table);
    image_refcount_set(&image, table >> 9, 2);
    check_one(Q2_CHECK_ENTRY, "an L2 table is also something else", table);
}

/* The structures that are written in place, or that a write would change without meaning to: none
 * of them may be anything else, whatever the refcount says. */
static void test_check_structures_that_are_guest_data(void)
{
    static const char *const rows[] = {"header", "active L1", "snapshot L1", "snapshot table"};

    for (uint32_t i = 0; i < 4; i++) {
        uint64_t table, at, free_entry;

        t_row(rows[i]);
        image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
        image_data(&image, 0, 1);
        image_snapshot(&image, &snapshot);
        table = image_snapshots_write(&image);
        at = i == 0   ? 0
             : i == 1 ? image_field(&image, "l1_table_offset")
             : i == 2 ? image_get64(&image, table)
                      : table;
        free_entry = image_l2_entry(&image, 512);
        image_put64(&image, free_entry, i == 0 ? COMPRESSED | 100 : at);
        image_refcount_set(&image, at >> 9, 2);
        check_one(Q2_CHECK_ENTRY,
                  i == 0   ? "the header is also something else"
                  : i == 1 ? "the L1 table is also something else"
                           : "a table of snapshots or keys is also something else",
                  at);
    }
}

/* A snapshot's L1 table that fills its cluster counts for that cluster alone. */
static void test_check_snapshot_l1_that_fills_its_cluster(void)
{
    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .l1_size = 512 / 8});
    image_data(&image, 0, 1);
    image_snapshot(&image, &snapshot);
    (void)image_snapshots_write(&image);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

/* Extra data that is too short for version 3, too long, and a table past its limit. */
static void test_check_snapshot_table(void)
{
    static const uint32_t extra[] = {0, 15, 16, 24, 1024, 1025};
    static uint8_t zeros[1025];

    for (uint32_t i = 0; i < 6; i++) {
        struct image_snapshot_spec spec = {.extra = zeros, .extra_size = extra[i]};

        spec.id = spec.name = "s";
        image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
        image_snapshot(&image, &spec);
        if (extra[i] >= 16 && extra[i] <= 1024) {
            (void)image_snapshots_write(&image);
            T_CHECK_U64(check(), Q2_OK);
            T_CHECK_U64(found.nb, 0);
            cleanup();
        } else {
            check_one(Q2_CHECK_SNAPSHOT,
                      extra[i] < 16 ? "a snapshot's extra data is incomplete"
                                    : "a snapshot's extra data is too long",
                      image_snapshots_write(&image));
        }
    }
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    image_snapshot(&image, &snapshot);
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "2", .name = "t", .extra = zeros, .extra_size = 15});
    check_one(Q2_CHECK_SNAPSHOT, "a snapshot's extra data is incomplete",
              image_snapshots_write(&image) + 64);
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    image_snapshot(&image, &snapshot);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "t"});
    {
        uint64_t table = image_snapshots_write(&image), second = table + 64;

        /* The second one's id and name end past 64 MiB, which they would have to be read for. */
        image_put32(&image, second + 36, Q2_MAX_SNAPSHOT_TABLE_SIZE);
        image_put32(&image, second + 12, 0);
        T_CHECK_U64(check(), Q2_OK);
        T_CHECK_STR(found.findings[0].what, "snapshots past the limit of the table");
        T_CHECK_U64(found.findings[0].kind, Q2_CHECK_SNAPSHOT);
        T_CHECK_U64(found.findings[0].offset, second);
    }
    cleanup();
}

/* And the same of two structures. */
static void test_check_l1_table_that_is_a_refcount_block(void)
{
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_data(&image, 0, 1);
    at = image_field(&image, "l1_table_offset");
    image_put64(&image, image_field(&image, "refcount_table_offset") + 8, at);
    image_refcount_set(&image, at >> 9, 2);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 2);
    T_CHECK_STR(found.findings[0].what, "a refcount block overlaps something else");
    T_CHECK_STR(found.findings[1].what, "the L1 table is also something else");
    T_CHECK_U64(found.findings[1].offset, at);
    cleanup();
}

/* A refcount table of two clusters: each of them may be nothing else, and what is stored after them
 * may. */
static void test_check_refcount_table_that_is_guest_data(void)
{
    uint64_t old, table, after;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    old = image_field(&image, "refcount_table_offset");
    table = image_alloc(&image, 2);
    after = image_alloc(&image, 1);
    image_put64(&image, table, image_get64(&image, old));
    image_field_set(&image, "refcount_table_clusters", 2);
    image_field_set(&image, "refcount_table_offset", table);
    image_refcount_set(&image, old >> 9, 0);
    for (uint64_t i = 0; i < 2; i++)
        image_put64(&image, image_l2_entry(&image, i * 512), after);
    image_refcount_set(&image, after >> 9, 2);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    fixture_end(&f);
    image_put64(&image, image_l2_entry(&image, 1024), table + 512);
    image_refcount_set(&image, (table >> 9) + 1, 2);
    check_one(Q2_CHECK_STRUCTURE, "the refcount table overlaps something else", table + 512);
}

static void test_check_copied_flags(void)
{
    uint64_t entry, host;

    t_row("missing in an L2 entry");
    start();
    entry = image_l2_entry(&image, 0);
    image_put64(&image, entry, image_get64(&image, entry) & ~COPIED);
    check_one(Q2_CHECK_COPIED, "COPIED flag and refcount disagree", entry);
    t_row("missing in the L1 entry");
    start();
    entry = image_l1_entry(&image, 0);
    image_put64(&image, entry, image_get64(&image, entry) & ~COPIED);
    check_one(Q2_CHECK_COPIED, "COPIED flag and refcount disagree", entry);
    t_row("set where the refcount is 2");
    start();
    entry = image_l2_entry(&image, 0);
    host = image_get64(&image, entry) & ~COPIED;
    image_refcount_set(&image, host >> 16, 2);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 2); /* the leak, then the flag */
    T_CHECK_U64(found.findings[1].kind, Q2_CHECK_COPIED);
    T_CHECK_U64(found.findings[1].refcount, 2);
    cleanup();
    t_row("missing with a data file");
    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data(&image, 64 * KIB, 1);
    entry = image_l2_entry(&image, 64 * KIB);
    image_put64(&image, entry, 64 * KIB);
    check_one(Q2_CHECK_COPIED, "COPIED flag and refcount disagree", entry);
    t_row("set on a compressed cluster");
    image_start(&image, &(struct image_spec){.size = MIB});
    image_compressed(&image, 0, 1);
    entry = image_l2_entry(&image, 0);
    image_put64(&image, entry, image_get64(&image, entry) | COPIED);
    check_one(Q2_CHECK_ENTRY, "COPIED flag on a compressed cluster", entry);
}

/* What is stored after the L1 table's last entry is no entry. */
static void test_check_copied_flags_end_with_the_l1_table(void)
{
    uint64_t entry;

    start();
    entry = image_l1_entry(&image, 0);
    image_put64(&image, entry + 8, image_get64(&image, entry) & ~COPIED);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

static void test_check_bad_entries(void)
{
    uint64_t entry;

    t_row("L2 entry");
    start();
    entry = image_l2_entry(&image, 320 * KIB);
    image_put64(&image, entry, 2);
    check_one(Q2_CHECK_ENTRY, "L2 entry has a reserved bit set", entry);
    t_row("L2 entry of an image with a data file");
    image_start(&image, &(struct image_spec){.size = MIB, .external = true});
    image_data(&image, 64 * KIB, 1);
    entry = image_l2_entry(&image, 320 * KIB);
    image_put64(&image, entry, 2);
    check_one(Q2_CHECK_ENTRY, "L2 entry has a reserved bit set", entry);
    T_CHECK_U64(result.allocated_clusters, 1);
    t_row("L2 entry with a bad bitmap");
    image_start(&image, &(struct image_spec){.size = MIB, .extended = true});
    entry = image_l2_entry(&image, 320 * KIB);
    image_put64(&image, entry + 8, 1ull << 32 | 1);
    check_one(Q2_CHECK_ENTRY, "subcluster is both allocated and zero", entry);
    t_row("L2 entry past the file");
    start();
    entry = image_l2_entry(&image, 320 * KIB);
    image_put64(&image, entry, 64 * MIB);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.findings[0].kind, Q2_CHECK_ENTRY);
    T_CHECK_STR(found.findings[0].what, "reference past the end of the file");
    T_CHECK_U64(found.findings[0].offset, entry);
    cleanup();
    t_row("L1 entry");
    image_start(&image, &(struct image_spec){.size = MIB, .l1_size = 2});
    entry = image_field(&image, "l1_table_offset") + 8;
    image_put64(&image, entry, 1);
    check_one(Q2_CHECK_ENTRY, "L1 entry has a reserved bit set", entry);
    t_row("L1 entry past the file");
    image_start(&image, &(struct image_spec){.size = MIB, .l1_size = 2});
    entry = image_field(&image, "l1_table_offset") + 8;
    image_put64(&image, entry, 64 * MIB);
    check_one(Q2_CHECK_ENTRY, "L1 entry points past the end of the file", entry);
    t_row("refcount table entry, reserved bits");
    start();
    entry = image_field(&image, "refcount_table_offset") + 16;
    image_put64(&image, entry, 1);
    check_one(Q2_CHECK_STRUCTURE, "refcount table entry breaks the specification", entry);
    t_row("refcount table entry, unaligned");
    start();
    entry = image_field(&image, "refcount_table_offset") + 16;
    image_put64(&image, entry, 512);
    check_one(Q2_CHECK_STRUCTURE, "refcount table entry breaks the specification", entry);
    t_row("refcount block past the file");
    start();
    entry = image_field(&image, "refcount_table_offset") + 16;
    image_put64(&image, entry, 64 * MIB);
    check_one(Q2_CHECK_STRUCTURE, "refcount block past the end of the file", entry);
}

/* Without the whole refcount table there is nothing to compare with. */
static void test_check_refcount_table_past_the_file(void)
{
    t_row("ends with the file");
    start();
    image_field_set(&image, "refcount_table_offset", image.size - 64 * KIB);
    T_CHECK_U64(check(), Q2_OK);
    cleanup();
    t_row("ends past it");
    start();
    image_field_set(&image, "refcount_table_offset", image.size - 64 * KIB);
    image_field_set(&image, "refcount_table_clusters", 2);
    T_CHECK_U64(check(), Q2_ERR_TRUNCATED);
    T_CHECK_STR(fixture_field(&f), "refcount_table_offset");
    cleanup();
}

/* The file ends inside an L2 table, between the halves of an extended entry. */
static void test_check_l2_table_cut(void)
{
    uint64_t table;

    for (uint64_t cut = 0; cut <= 24; cut += 8) {
        image_start(&image, &(struct image_spec){.size = MIB, .extended = true});
        table = image_l2_entry(&image, 0);
        image.size = table + cut;
        T_CHECK_U64(check(), Q2_OK);
        T_CHECK(cut == 0 ? result.corruptions > 0 : result.check_errors > 0);
        if (cut > 0)
            T_CHECK_STR(found.findings[0].what, "table entry cannot be read");
        cleanup();
    }
}

/* The clusters of a refcount block that cannot be read: a check error each. */
static void test_check_refcount_block_unreadable(void)
{
    uint64_t block;

    start();
    block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    fixture_start(&f, &image);
    f.options.metadata_only = true;
    f.image.bad_start = block;
    f.image.bad_end = block + 1;
    found = (struct collector){.reporter = {.report = collect, .progress = hear}};
    memset(&told, 0, sizeof(told));
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, &found.reporter, &result), Q2_OK);
    T_CHECK_U64(result.check_errors, image.size >> 16);
    T_CHECK_STR(found.findings[0].what, "refcount cannot be read");
    cleanup();
}

/* The file ends in its last cluster, a refcount block: the refcounts that are there count. */
static void test_check_refcount_block_that_the_file_ends_in(void)
{
    uint64_t old, block;

    start();
    old = image_get64(&image, image_field(&image, "refcount_table_offset"));
    block = image_alloc(&image, 1);
    image_refcount_set(&image, old >> 16, 0);
    image_put(&image, block, image.bytes + old, 64 * KIB);
    image_put64(&image, image_field(&image, "refcount_table_offset"), block);
    image.size = block + 2 * ((block >> 16) + 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

static void test_check_snapshots(void)
{
    uint64_t table;

    t_row("L1 table unaligned");
    start();
    image_snapshot(&image, &snapshot);
    table = image_snapshots_write(&image);
    image_put64(&image, table, 512);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.findings[0].kind, Q2_CHECK_ENTRY);
    T_CHECK_STR(found.findings[0].what, "a snapshot's L1 table breaks the specification");
    T_CHECK_U64(result.leaks, 4); /* its L1 and L2 tables and two clusters of data */
    cleanup();
    t_row("L1 table too large");
    start();
    image_snapshot(&image, &snapshot);
    table = image_snapshots_write(&image);
    image_put32(&image, table + 8, 0xffffffff);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_STR(found.findings[0].what, "a snapshot's L1 table breaks the specification");
    cleanup();
    t_row("L1 table past the file");
    start();
    image_snapshot(&image, &snapshot);
    table = image_snapshots_write(&image);
    image_put64(&image, table, 64 * MIB);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_STR(found.findings[0].what, "reference past the end of the file");
    T_CHECK_U64(result.corruptions, 1);
    cleanup();
    t_row("table unreadable");
    start();
    image_snapshot(&image, &snapshot);
    (void)image_snapshots_write(&image);
    image_field_set(&image, "nb_snapshots", 2000);
    T_CHECK_U64(check(), Q2_ERR_TRUNCATED);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_TRUNCATED);
    cleanup();
}

/* The table of a bitmap has two clusters: what its second one names counts as well. */
static void test_check_bitmap_table_over_one_cluster(void)
{
    uint64_t size = 512, directory, first, table;

    build(&(struct image_spec){.size = MIB, .cluster_bits = 9});
    directory = image_get64(&image, 112 + 24);
    first = image_get64(&image, directory);
    table = image_alloc(&image, 2);
    image_put64(&image, table, first + size);
    image_put64(&image, table + size, first); /* entry 64 */
    image_put64(&image, directory, table);
    image_put32(&image, directory + 8, 65);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

static void test_check_bitmaps(void)
{
    uint64_t extension = 112, directory, table;

    t_row("reserved bit in the table");
    build(&(struct image_spec){.size = MIB});
    directory = image_get64(&image, extension + 24);
    table = image_get64(&image, directory);
    image_put64(&image, table + 8, 2);
    check_one(Q2_CHECK_ENTRY, "bitmap table entry has a reserved bit set", table + 8);
    t_row("all-ones entries refer to nothing");
    build(&(struct image_spec){.size = MIB});
    image_put64(&image, table + 8, 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
    t_row("table past the file");
    build(&(struct image_spec){.size = MIB});
    image_put64(&image, directory, 64 * MIB);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(result.leaks, 2);
    T_CHECK_U64(result.check_errors, 1);
    cleanup();
    t_row("bitmaps that are not kept do not count");
    build(&(struct image_spec){.size = MIB});
    image_field_set(&image, "autoclear_features", 0);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(result.leaks, 3);
    T_CHECK_U64(result.corruptions, 0);
    cleanup();
    t_row("directory broken");
    build(&(struct image_spec){.size = MIB});
    image_put64(&image, extension + 24, 7);
    T_CHECK_U64(check(), Q2_ERR_BAD_BITMAP);
    cleanup();
    t_row("entry broken");
    build(&(struct image_spec){.size = MIB});
    image_put32(&image, directory + 20, 0xffffffff);
    T_CHECK_U64(check(), Q2_ERR_BAD_BITMAP);
    cleanup();
    t_row("declared, but none");
    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "autoclear_features", 1);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

static void test_check_encryption_header_is_counted(void)
{
    uint64_t at;

    image_start(&image, &(struct image_spec){.size = MIB});
    at = image_extension(&image, 0x0537be77, "0123456789abcdef", 16);
    image_put64(&image, at + 8, image_alloc(&image, 3));
    image_put64(&image, at + 16, 2 * 64 * KIB + 1);
    image_field_set(&image, "crypt_method", 2);
    T_CHECK_U64(check(), Q2_OK);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

/* Each table unreadable in turn: an error of the check, never a clean result. */
static void test_check_bad_sector_in_each_cluster(void)
{
    uint64_t nb;

    build(&(struct image_spec){.size = MIB});
    nb = image.size >> 16;
    image_free(&image);
    for (uint64_t i = 1; i < nb; i++) {
        enum q2_status status;

        build(&(struct image_spec){.size = MIB});
        fixture_start(&f, &image);
        f.options.metadata_only = true;
        found = (struct collector){.reporter = {.report = collect, .progress = hear}};
        memset(&told, 0, sizeof(told));
        memset(&result, 0, sizeof(result));
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        f.image.bad_start = i << 16;
        f.image.bad_end = (i + 1) << 16;
        fake_source_reset(&f.image);
        status = q2_disk_check(f.disk, &found.reporter, &result);
        T_CHECK(status == Q2_OK || status == Q2_ERR_IO);
        if (status == Q2_OK && result.check_errors == 0) {
            T_CHECK_U64(found.nb, 0); /* a cluster of data: nobody reads it */
        }
        cleanup();
    }
}

/* 512 byte clusters, and references in each of two windows of host clusters. */
static void test_check_image_of_several_windows(void)
{
    static const uint64_t far = (1ull << 20) * 512; /* the first cluster of the second window */
    uint64_t table, entry, block, stride = 256 * 512;
    struct q2_check_result second;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    /* Blocks for the first 8192 * 256 clusters need a refcount table of 8192 entries. */
    table = image_alloc(&image, 128);
    image_put64(&image, table, image_get64(&image, image_field(&image, "refcount_table_offset")));
    image_field_set(&image, "refcount_table_clusters", 128);
    image_refcount_set(&image, image_field(&image, "refcount_table_offset") >> 9, 0);
    image_field_set(&image, "refcount_table_offset", table);
    /* The block that covers `far` has refcounts of its own. */
    block = image_alloc(&image, 1);
    image_put64(&image, table + far / stride * 8, block);
    image.bytes[block + 1] = 1; /* cluster `far` has refcount 1 */
    image.bytes[block + 5] = 1; /* cluster far + 2 leaks */
    image_data(&image, 512, 1);
    entry = image_l2_entry(&image, 0);
    image_put64(&image, entry, far | COPIED);
    fixture_start(&f, &image);
    f.image.source.size = far + 3 * 512; /* zeros in between */
    f.options.metadata_only = true;
    found = (struct collector){.reporter = {.report = collect, .progress = hear}};
    memset(&told, 0, sizeof(told));
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, &found.reporter, &result), Q2_OK);
    T_CHECK_U64(found.nb, 1);
    T_CHECK_U64(found.findings[0].kind, Q2_CHECK_LEAK);
    T_CHECK_U64(found.findings[0].offset, far + 2 * 512);
    T_CHECK_U64(result.image_end_offset, far + 3 * 512);
    T_CHECK_U64(result.allocated_clusters, 2);
    t_row("an entry that is wrong is reported in the first window only");
    image_put64(&image, image_l2_entry(&image, 1024), 4);
    fixture_close(&f);
    f.image.bytes = image.bytes;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &second), Q2_OK);
    T_CHECK_U64(second.corruptions, 1);
    cleanup();
}

/* The first cluster of the second window of tables, and its first entry. */
#define FAR_TABLE (512ull * Q2_TABLES_WINDOW)
static enum q2_status (*read_near)(struct q2_source *, uint64_t, void *, size_t);
static be64 far_entry;

static enum q2_status read_far(struct q2_source *source, uint64_t offset, void *to, size_t n)
{
    enum q2_status status = read_near(source, offset, to, n);

    if (offset <= FAR_TABLE && offset + n >= FAR_TABLE + sizeof(far_entry))
        memcpy((uint8_t *)to + (FAR_TABLE - offset), &far_entry, sizeof(far_entry));
    return status;
}

/* What an L2 table in the second window of tables names is counted. */
static void test_check_counts_tables_of_the_second_window(void)
{
    struct q2_source_ops ops;

    image_start(&image, &(struct image_spec){.size = 32 * KIB, .cluster_bits = 9});
    far_entry = q2_be64_make(image_alloc(&image, 1) | COPIED);
    image_put64(&image, image_field(&image, "l1_table_offset"), FAR_TABLE);
    fixture_start(&f, &image);
    ops = *f.image.source.ops;
    read_near = ops.read_at;
    ops.read_at = read_far;
    f.image.source.ops = &ops;
    f.image.source.size = FAR_TABLE + 512;
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions, 1); /* the table's own refcount is 0 */
    T_CHECK_U64(result.leaks, 0);
    cleanup();
}

/* The last cluster of a window is counted in it, and the one after that is not. */
static void test_check_counts_up_to_the_end_of_the_window(void)
{
    struct q2_references r = {.found = NULL};
    uint64_t end = 512ull * Q2_REFERENCES_WINDOW;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_put64(&image, image_l2_entry(&image, 0), (end - 512) | COPIED);
    image_put64(&image, image_l2_entry(&image, 512), end | COPIED);
    fixture_start(&f, &image);
    f.image.source.size = end + 512;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_references_start(&r, f.disk);
    q2_references_window(&r, 0);
    q2_references_tables_window(&r, 0);
    q2_references_l1(&r, image_field(&image, "l1_table_offset"), 1, true);
    q2_references_l2s(&r);
    T_CHECK_U64(q2_references_of(&r, Q2_REFERENCES_WINDOW - 1), 1);
    q2_references_range(&r, end - 512, 1024, 0);
    T_CHECK_U64(q2_references_of(&r, Q2_REFERENCES_WINDOW - 1), 2);
    T_CHECK_U64(f.disk->counts.tables[0], 0); /* stored after the counts */
    T_CHECK(!q2_references_only_table(&r, end));
    q2_disk_reset_decoded(f.disk);
    cleanup();
}

static unsigned int nb_overlaps;

static void count_overlap(struct q2_references *r, enum q2_check_kind kind, const char *what,
                          uint64_t offset)
{
    (void)r, (void)kind, (void)offset;
    nb_overlaps += strcmp(what, "a refcount block overlaps something else") == 0;
}

/* The first cluster of the second window: a range reaches it from the first one, and it is known as
 * an L2 table, and as a refcount block that is something else too. */
static void test_check_knows_the_first_cluster_of_the_second_window(void)
{
    static const uint64_t start_of_second = 512ull * Q2_REFERENCES_WINDOW;
    struct q2_references r = {.found = count_overlap};

    nb_overlaps = 0;
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
    image_put64(&image, image_field(&image, "l1_table_offset"), start_of_second);
    image_put64(&image, image_field(&image, "refcount_table_offset") + 8, start_of_second);
    fixture_start(&f, &image);
    f.image.source.size = start_of_second + 1024;
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_references_start(&r, f.disk);
    q2_references_window(&r, Q2_REFERENCES_WINDOW);
    q2_references_tables_window(&r, 0);
    q2_references_l1(&r, image_field(&image, "l1_table_offset"), 1, true);
    T_CHECK(q2_references_only_table(&r, start_of_second));
    T_CHECK(!q2_references_only_table(&r, start_of_second + 512));
    q2_count_overlaps(&r);
    T_CHECK_U64(nb_overlaps, 0);
    q2_references_range(&r, start_of_second - 512, 1024, 0);
    T_CHECK_U64(q2_references_of(&r, Q2_REFERENCES_WINDOW), 2);
    T_CHECK_U64(q2_references_of(&r, Q2_REFERENCES_WINDOW + 1), 0);
    q2_count_overlaps(&r);
    T_CHECK_U64(nb_overlaps, 1);
    q2_disk_reset_decoded(f.disk);
    cleanup();
}

/* Looks into the slice cache that a check made: its work. */
static uint64_t work(void)
{
    uint64_t clock;

    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    clock = f.disk->slices.clock;
    found = (struct collector){.reporter = {.report = collect, .progress = hear}};
    memset(&told, 0, sizeof(told));
    T_CHECK_U64(q2_disk_check(f.disk, &found.reporter, &result), Q2_OK);
    return f.disk->slices.clock - clock;
}

/* Refcounts are read in rows, and a row is kept while its clusters are compared. */
static void test_check_reads_refcounts_in_rows(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 9, .max_clusters = 4096});
    for (uint64_t at = 0; at < MIB; at += 512)
        (void)image_data(&image, at, 1);
    T_CHECK(work() < MIB / 512);
    T_CHECK_U64(found.nb, 0);
    cleanup();
}

/* One L2 table that every L1 entry names is read twice (references, COPIED flags), not 8192 times.
 */
static void test_check_of_one_table_named_often_is_bounded(void)
{
    uint64_t entry;

    image_start(&image, &(struct image_spec){.size = 1024 * 512 * MIB, .max_clusters = 1024});
    image_data(&image, 0, 1);
    entry = image_get64(&image, image_l1_entry(&image, 0));
    for (uint64_t i = 1; i < 1024; i++)
        image_put64(&image, image_l1_entry(&image, i * 512 * MIB), entry);
    T_CHECK(work() < 12 * 8192 + 4 * 65536);
    T_CHECK(result.corruptions > 0); /* of the table and of what it names */
    cleanup();
}

/* More references than a count has room for: it stays at its largest. */
static void test_check_counts_no_further_than_it_can(void)
{
    const uint64_t nb_l1 = 65537, nb_l2 = 8192, most = 0x1fffffff; /* nb_l1 * nb_l2 is more */
    uint64_t l1_entry, l2_entry, nb_found = 0;

    image_start(&image, &(struct image_spec){.size = nb_l1 * 512 * MIB, .max_clusters = 1024});
    image_data(&image, 0, 1);
    l1_entry = image_get64(&image, image_l1_entry(&image, 0));
    for (uint64_t i = 1; i < nb_l1; i++)
        image_put64(&image, image_l1_entry(&image, i * 512 * MIB), l1_entry);
    l2_entry = image_get64(&image, image_l2_entry(&image, 0));
    for (uint64_t i = 1; i < nb_l2; i++)
        image_put64(&image, image_l2_entry(&image, i * 64 * KIB), l2_entry);
    T_CHECK_U64(check(), Q2_OK);
    for (uint32_t i = 0; i < found.nb && i < MAX_FINDINGS; i++) {
        if (found.findings[i].kind != Q2_CHECK_REFCOUNT ||
            found.findings[i].offset != (l2_entry & 0x00fffffffffffe00ull))
            continue;
        nb_found++;
        T_CHECK_U64(found.findings[i].references, most);
    }
    T_CHECK_U64(nb_found, 1);
    cleanup();
}

/* Snapshots that all have one L1 table: its entries are walked as often as the file has room for
 * L1 entries. */
static void test_check_of_one_l1_table_named_often_is_bounded(void)
{
    enum {
        NB = 4000
    };
    uint64_t table, l1;
    bool overlap = false;

    image_start(&image, &(struct image_spec){.size = MIB});
    table = image_alloc(&image, 4);
    l1 = image_alloc(&image, 4);
    for (uint64_t i = 0; i < NB; i++) {
        image_put64(&image, table + 40 * i, l1);
        image_put32(&image, table + 40 * i + 8, 4 * 8192);
    }
    image_field_set(&image, "nb_snapshots", NB);
    image_field_set(&image, "snapshots_offset", table);
    T_CHECK(work() < image.size / 8 + 3 * 4 * NB + 4 * 65536);
    for (uint32_t i = 0; i < found.nb && i < MAX_FINDINGS; i++)
        overlap = overlap || strcmp(found.findings[i].what, "L1 tables overlap") == 0;
    T_CHECK(overlap);
    cleanup();
}

/* The same for bitmap tables. */
static void test_check_of_one_bitmap_table_named_often_is_bounded(void)
{
    enum {
        NB = 2000
    };
    uint64_t at, directory, table;
    bool overlap = false;

    image_start(&image, &(struct image_spec){.size = MIB});
    at = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    directory = image_alloc(&image, 1);
    table = image_alloc(&image, 4);
    image_put32(&image, at + 8, NB);
    image_put32(&image, at + 12, 0);
    image_put64(&image, at + 16, 32ull * NB);
    image_put64(&image, at + 24, directory);
    for (uint64_t i = 0; i < NB; i++) {
        image_put64(&image, directory + 32 * i, table);
        image_put32(&image, directory + 32 * i + 8, 4 * 8192);
        image_put32(&image, directory + 32 * i + 16, 1u << 24 | 16u << 16 | 1);
        image_put(&image, directory + 32 * i + 24, "n", 1);
    }
    image_field_set(&image, "autoclear_features", 1);
    T_CHECK(work() < image.size / 8 + 3 * 4 * NB + 4 * 65536);
    for (uint32_t i = 0; i < found.nb && i < MAX_FINDINGS; i++)
        overlap = overlap || strcmp(found.findings[i].what, "bitmap tables overlap") == 0;
    T_CHECK(overlap);
    cleanup();
}

int main(void)
{
    T_RUN(test_check_right_images_have_no_finding);
    T_RUN(test_check_version_2_and_empty);
    T_RUN(test_check_statistics);
    T_RUN(test_check_tells_progress_while_it_counts);
    T_RUN(test_check_leaves_the_disk_usable);
    T_RUN(test_check_leak);
    T_RUN(test_check_refcount_too_low);
    T_RUN(test_check_shared_cluster);
    T_RUN(test_check_l2_table_that_is_guest_data);
    T_RUN(test_check_structures_that_are_guest_data);
    T_RUN(test_check_snapshot_l1_that_fills_its_cluster);
    T_RUN(test_check_snapshot_table);
    T_RUN(test_check_l1_table_that_is_a_refcount_block);
    T_RUN(test_check_refcount_table_that_is_guest_data);
    T_RUN(test_check_copied_flags);
    T_RUN(test_check_copied_flags_end_with_the_l1_table);
    T_RUN(test_check_bad_entries);
    T_RUN(test_check_refcount_table_past_the_file);
    T_RUN(test_check_l2_table_cut);
    T_RUN(test_check_refcount_block_unreadable);
    T_RUN(test_check_refcount_block_that_the_file_ends_in);
    T_RUN(test_check_snapshots);
    T_RUN(test_check_bitmap_table_over_one_cluster);
    T_RUN(test_check_bitmaps);
    T_RUN(test_check_encryption_header_is_counted);
    T_RUN(test_check_bad_sector_in_each_cluster);
    T_RUN(test_check_image_of_several_windows);
    T_RUN(test_check_counts_up_to_the_end_of_the_window);
    T_RUN(test_check_counts_tables_of_the_second_window);
    T_RUN(test_check_knows_the_first_cluster_of_the_second_window);
    T_RUN(test_check_reads_refcounts_in_rows);
    T_RUN(test_check_of_one_table_named_often_is_bounded);
    T_RUN(test_check_counts_no_further_than_it_can);
    T_RUN(test_check_of_one_l1_table_named_often_is_bounded);
    T_RUN(test_check_of_one_bitmap_table_named_often_is_bounded);
    return t_done();
}
