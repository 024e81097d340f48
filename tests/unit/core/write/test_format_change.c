/* core/write/format_change.c, zero_expand.c, snapshot_extra.c, refcount_width.c: what an image of
 * another version, or with refcounts of another width, looks like, and what is refused by which
 * words. Power cuts and failing files: tests/fault/test_amend_cuts.c, test_fail_ops.c. */
#include <stdlib.h>

#include "core/format/header.h"
#include "core/format/header_write.h"
#include "core/format/l2_entry.h"
#include "core/read/disk.h"
#include "core/read/refcount.h"
#include "core/write/header_change.h"
#include "core/write/refcount_layout.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CLUSTER  (4 * KIB)
#define SIZE     (64 * KIB)
#define CAPACITY (72 * 1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;

/* Open what was built, its image file alone. */
static void setup(void)
{
    memset(memory + image.size, 0, CAPACITY - image.size);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static void start(uint32_t version)
{
    image_start(&image, &(struct image_spec){.size = SIZE, .cluster_bits = 12, .version = version});
    (void)image_data(&image, 0, 1);
}

static uint64_t get(uint64_t offset)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < 8; i++)
        value = value << 8 | memory[offset + i];
    return value;
}

/* The image is opened again: of this version, and the check finds nothing. */
static void check_image(uint32_t version, uint32_t refcount_order)
{
    struct q2_check_result result;
    struct q2_layer_info info;

    f.options.metadata_only = true;
    fixture_reopen(&f);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_U64(info.header->version, version);
    T_CHECK_U64(info.header->refcount_order, refcount_order);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.check_errors + result.leaks, 0);
}

static void change(const struct q2_format_change *wish)
{
    T_CHECK_U64(q2_disk_can_change_format(f.disk, wish), Q2_OK);
    T_CHECK_U64(q2_disk_change_format(f.disk, wish), Q2_OK);
}

static const struct q2_format_change to_2 = {.version = 2}, to_3 = {.version = 3};

/* --- zero clusters ---------------------------------------------------------------------------- */

/* Nothing is below, so unallocated reads the same; what an entry kept allocated is given back. */
static void test_downgrade_makes_zero_clusters_unallocated(void)
{
    uint64_t plain, allocated, host;

    start(3);
    (void)image_zero(&image, CLUSTER, false);
    (void)image_zero(&image, 2 * CLUSTER, true);
    plain = image_l2_entry(&image, CLUSTER);
    allocated = image_l2_entry(&image, 2 * CLUSTER);
    host = image_get64(&image, allocated) & Q2_ENTRY_OFFSET;
    setup();
    change(&to_2);
    T_CHECK_U64(get(plain), 0);
    T_CHECK_U64(get(allocated), 0);
    T_CHECK(host != 0);
    check_image(2, 4);
    T_CHECK_U64(f.image.source.size, image.size);
    cleanup();
}

/* Each L2 table has its zero clusters. */
static void test_downgrade_replaces_zero_clusters_of_every_table(void)
{
    const uint64_t reach = CLUSTER / 8 * CLUSTER;
    uint64_t entries[3];

    image_start(&image, &(struct image_spec){.size = 3 * reach, .cluster_bits = 12});
    for (uint64_t i = 0; i < 3; i++) {
        (void)image_zero(&image, i * reach, false);
        entries[i] = image_l2_entry(&image, i * reach);
    }
    setup();
    change(&to_2);
    for (uint64_t i = 0; i < 3; i++)
        T_CHECK_U64(get(entries[i]), 0);
    check_image(2, 4);
    cleanup();
}

/* A hole would show the backing file: a new cluster of zeros, though the file is full of others. */
static void test_downgrade_above_a_backing_file_writes_zeros(void)
{
    uint64_t at, host, size;

    start(3);
    image_backing(&image, "base.img", "raw");
    (void)image_zero(&image, CLUSTER, false);
    at = image_l2_entry(&image, CLUSTER);
    setup();
    size = image.size;
    memset(memory + size, 0x55, 4 * CLUSTER);
    change(&to_2);
    host = get(at) & ~Q2_ENTRY_COPIED;
    T_CHECK_U64(get(at) >> 63, 1);
    T_CHECK_U64(host, size);
    for (uint64_t i = 0; i < CLUSTER; i++)
        T_CHECK_U64(memory[host + i], 0);
    check_image(2, 4);
    cleanup();
}

/* An L2 table of two states: one cluster with two references, and no flag that says otherwise. */
static void test_downgrade_changes_a_shared_table_once(void)
{
    uint64_t at, entry;
    uint8_t bytes[512];

    start(3);
    image_backing(&image, "base.img", "raw");
    (void)image_zero(&image, CLUSTER, true);
    at = image_l2_entry(&image, CLUSTER);
    setup();
    f.options.metadata_only = false;
    fake_opener_add(&f.opener, "img/base.img", &f.data);
    memset(bytes, 0, sizeof(bytes));
    fake_source_init(&f.data, "img/base.img", bytes, sizeof(bytes));
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "first", 1, 2), Q2_OK);
    change(&to_2);
    entry = get(at);
    T_CHECK(entry != 0 && (entry & (Q2_ENTRY_COPIED | Q2_ENTRY_ZERO)) == 0);
    check_image(2, 4);
    cleanup();
}

/* A table that more states have than ranges may wait: each of them gives up the cluster. */
static void test_downgrade_of_a_table_with_many_references(void)
{
    uint64_t at, host, refcount = 77;

    start(3);
    host = image_zero(&image, CLUSTER, true);
    at = image_l2_entry(&image, CLUSTER);
    image_refcount_set(&image, host / CLUSTER, Q2_MAX_FREES + 100);
    image_refcount_set(&image, at / CLUSTER, Q2_MAX_FREES + 100);
    image_put64(&image, at, host | Q2_ENTRY_ZERO); /* they are shared */
    image_put64(&image, image_l1_entry(&image, 0), at / CLUSTER * CLUSTER);
    setup();
    change(&to_2);
    T_CHECK_U64(get(at), 0);
    T_CHECK_U64(q2_refcount_get(&f.disk->slices, &f.disk->layers[0], host / CLUSTER, &refcount),
                Q2_OK);
    T_CHECK_U64(refcount, 0);
    cleanup();
}

static uint64_t full_offset; /* where a file has no room */

static enum q2_status reserve(struct q2_source *source, uint64_t offset, uint64_t length)
{
    (void)source;
    return full_offset >= offset && full_offset < offset + length ? Q2_ERR_NO_SPACE : Q2_OK;
}

/* The L2 table is a hole of a sparse file, and the device is full: the entry stays what it was, and
 * the cluster of zeros that is needed above a backing file is given back. */
static void test_downgrade_without_room_for_the_entry(void)
{
    static struct q2_source_ops ops;

    for (int has_backing = 0; has_backing < 2; has_backing++) {
        uint64_t at;

        start(3);
        if (has_backing)
            image_backing(&image, "base.img", "raw");
        (void)image_zero(&image, CLUSTER, true);
        at = image_l2_entry(&image, CLUSTER);
        setup();
        ops = *f.image.source.ops;
        ops.reserve = reserve;
        f.image.source.ops = &ops;
        full_offset = at;
        T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_NO_SPACE);
        T_CHECK_STR(fixture_text(&f), "img/top.qcow2: an L1 or L2 table cannot be changed, at "
                                      "offset 0x4008; free some space");
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        T_CHECK_U64(get(at), image_get64(&image, at));
        check_image(3, 4);
        cleanup();
    }
}

/* --- versions --------------------------------------------------------------------------------- */

static void test_upgrade_and_downgrade_keep_names_and_extensions(void)
{
    static const uint8_t unknown[21] = "nobody knows this one";
    struct q2_layer_info info;
    uint64_t at = 0;

    start(2);
    image_backing(&image, "base.img", "raw");
    setup();
    T_CHECK_U64(q2_disk_set_backing(f.disk, "another.img", "qcow2"), Q2_OK);
    change(&to_3);
    check_image(3, 4);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_STR(info.backing_file, "another.img");
    T_CHECK_STR(info.backing_format, "qcow2");
    T_CHECK_U64(info.header->header_length, 112);
    T_CHECK_U64(info.header->incompatible_features | info.header->compatible_features |
                    info.header->autoclear_features,
                0);
    change(&to_2);
    check_image(2, 4);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_STR(info.backing_file, "another.img");
    T_CHECK_STR(info.backing_format, "qcow2");
    cleanup();

    start(3);
    (void)image_extension(&image, 0x12345678, unknown, sizeof(unknown));
    (void)image_extension(&image, 0x12345679, "another", 7);
    image_field_set(&image, "compatible_features", 1ull << 42 | Q2_COMPAT_LAZY_REFCOUNTS);
    image_field_set(&image, "autoclear_features", 1ull << 42);
    setup();
    change(&to_2);
    check_image(2, 4);
    T_CHECK_U64(get(72), 0x1234567800000015);
    for (at = 0; at < sizeof(unknown); at++)
        T_CHECK_U64(memory[80 + at], unknown[at]);
    T_CHECK_U64(get(104), 0x1234567900000007);
    T_CHECK(memcmp(memory + 112, "another", 8) == 0);
    cleanup();
}

/* What was written before is durable with the new version. */
static void test_upgrade_keeps_what_waits(void)
{
    start(2);
    setup();
    f.options.metadata_only = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 2 * CLUSTER, "w", 1), Q2_OK);
    change(&to_3);
    T_CHECK_U64(fixture_open(&f), Q2_OK); /* not flushed */
    T_CHECK_U64(fixture_byte(&f, 2 * CLUSTER), 'w');
    cleanup();
}

/* Version 2 has no bit that says whether a list of bitmaps is right: version 3 begins without. */
static void test_upgrade_leaves_out_a_list_of_bitmaps(void)
{
    start(2);
    (void)image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    setup();
    change(&to_3);
    T_CHECK_U64(get(112), 0x6803f85700000180); /* the names of feature bits */
    T_CHECK_U64(get(112 + 8 + 384), 0);        /* and no more */
    cleanup();
}

/* The names of feature bits are written for version 3, where they fit. */
static void test_upgrade_writes_the_names_of_feature_bits(void)
{
    start(2);
    setup();
    change(&to_3);
    T_CHECK_U64(get(112), 0x6803f85700000180);
    change(&to_2);
    T_CHECK_U64(get(72), 0);
    cleanup();
}

static void test_wishes_that_change_nothing_write_nothing(void)
{
    start(3);
    setup();
    change(&(struct q2_format_change){.version = 3, .refcount_bits = 16});
    change(&(struct q2_format_change){0});
    T_CHECK_U64(f.image.nb_writes, 0);
    change(&(struct q2_format_change){.set_lazy = true, .lazy_refcounts = true});
    T_CHECK_U64(memory[87], Q2_COMPAT_LAZY_REFCOUNTS);
    cleanup();
    start(2);
    setup();
    change(&(struct q2_format_change){.set_lazy = true}); /* they are off */
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* --- snapshots -------------------------------------------------------------------------------- */

/* One entry without extra data, one with more than version 3 demands, one with a part of it. */
static void test_upgrade_completes_the_snapshot_table(void)
{
    static const uint8_t icount[24] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                       0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    static const uint8_t part[8] = {0, 0, 0, 0, 0, 0, 0, 77};
    const struct image_snapshot_spec specs[] = {
        {.id = "1", .name = "bare", .vm_state_size = 5, .date_sec = 11},
        {.id = "2", .name = "full", .extra = icount, .extra_size = sizeof(icount)},
        {.id = "3", .name = "in part", .extra = part, .extra_size = sizeof(part)},
    };
    struct q2_snapshot snapshot;
    uint64_t table;

    start(2);
    for (uint32_t i = 0; i < 3; i++)
        image_snapshot(&image, &specs[i]);
    (void)image_snapshots_write(&image);
    setup();
    change(&to_3);
    check_image(3, 4);
    table = get(64);
    T_CHECK_U64(get(table + 32), (5ull << 32) | 24);
    T_CHECK_U64(get(table + 40), 5);
    T_CHECK_U64(get(table + 48), SIZE);
    T_CHECK_U64(get(table + 56), UINT64_MAX);
    for (uint32_t i = 0; i < 3; i++) {
        T_CHECK_U64(q2_disk_snapshot(f.disk, i, &snapshot), Q2_OK);
        T_CHECK_STR(snapshot.id, specs[i].id);
        T_CHECK_STR(snapshot.name, specs[i].name);
        T_CHECK_U64(snapshot.virtual_size, SIZE);
        T_CHECK_U64(snapshot.vm_state_size, i == 0 ? 5 : i == 1 ? 0 : 77);
    }
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &snapshot), Q2_OK);
    T_CHECK_U64(snapshot.icount, 9);
    change(&to_2); /* which may keep the data */
    check_image(2, 4);
    cleanup();
}

/* Entries of 64 KiB that make a table of 64 MiB, the most there may be. */
static void test_upgrade_of_a_full_snapshot_table_is_refused(void)
{
    const uint32_t nb = 1024, entry = 64 * 1024;
    uint64_t table, writes;

    image_start(&image, &(struct image_spec){
                            .size = SIZE, .version = 2, .cluster_bits = 16, .max_clusters = 2048});
    table = image_alloc(&image, nb);
    for (uint32_t i = 0; i < nb; i++) {
        image_put32(&image, table + i * (uint64_t)entry + 12, 1u << 16 | (entry - 41));
        image_put(&image, table + i * (uint64_t)entry + 40, "1", 1);
    }
    image_field_set(&image, "nb_snapshots", nb);
    image_field_set(&image, "snapshots_offset", table);
    setup();
    writes = f.image.nb_writes;
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_3), Q2_ERR_LIMIT);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: the snapshot table would be too long (snapshot "
                                  "table length is 0x4006000, limit 0x4000000)");
    T_CHECK_U64(f.image.nb_writes, writes);
    cleanup();
}

static void test_downgrade_with_snapshots_that_version_2_cannot_say(void)
{
    static const uint8_t size[16] = {[13] = 2}, state[16] = {[3] = 1, [13] = 1};
    static const struct {
        const uint8_t *extra;
        const char *text;
    } rows[] = {
        {size, "img/top.qcow2: in version 2 a snapshot has the disk's size, but one has another "
               "size; delete it first (size is 0x20000, limit 0x10000)"},
        {state, "img/top.qcow2: a snapshot's VM state is too large for version 2; delete the "
                "snapshot first (vm_state_size is 0x100000000, limit 0xffffffff)"},
    };

    for (uint32_t i = 0; i < 2; i++) {
        const struct image_snapshot_spec spec = {
            .id = "1", .name = "s", .extra = rows[i].extra, .extra_size = 16};

        start(3);
        image_snapshot(&image, &spec);
        (void)image_snapshots_write(&image);
        setup();
        T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_UNSUPPORTED);
        T_CHECK_STR(fixture_text(&f), rows[i].text);
        T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
        cleanup();
    }
}

/* The largest VM state that version 2 can say. */
static void test_downgrade_with_a_vm_state_of_4_gib(void)
{
    static const uint8_t state[16] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, [13] = 1};

    start(3);
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = "s", .extra = state, .extra_size = 16});
    (void)image_snapshots_write(&image);
    setup();
    change(&to_2);
    cleanup();
}

/* --- refusals of a version -------------------------------------------------------------------- */

static void check_no_downgrade(const char *text)
{
    setup();
    T_CHECK_U64(q2_disk_can_change_format(f.disk, &to_2), Q2_ERR_UNSUPPORTED);
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), text);
    T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
    cleanup();
}

static void test_downgrade_of_what_version_2_does_not_have(void)
{
    image_start(&image, &(struct image_spec){.size = SIZE, .external = true});
    check_no_downgrade("img/top.qcow2: version 2 has no external data file; convert the image "
                       "instead (incompatible_features is 4)");
    image_start(&image, &(struct image_spec){.size = SIZE, .extended = true});
    check_no_downgrade("img/top.qcow2: version 2 has no extended L2 entries; convert the image "
                       "instead (incompatible_features is 16)");
    image_start(&image,
                &(struct image_spec){.size = SIZE, .compression_type = Q2_COMPRESSION_ZSTD});
    check_no_downgrade("img/top.qcow2: version 2 compresses with zlib only; convert the image "
                       "instead (incompatible_features is 8)");
    start(3);
    image_backing(&image, "base.img", "raw");
    (void)image_zero(&image, CLUSTER, false);
    image_field_set(&image, "crypt_method", 1);
    check_no_downgrade("img/top.qcow2: version 2 has no zero clusters, and this image is encrypted "
                       "and has a backing file; convert it instead");
}

static void test_downgrade_with_bitmaps(void)
{
    start(3);
    setup();
    f.options.metadata_only = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(fixture_settle(&f, q2_disk_bitmap_add(f.disk, "b", 0, true)));
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: version 2 has no bitmaps; remove them first (nb_bitmaps is 1)");
    check_image(3, 4);
    cleanup();
}

static void test_wishes_that_make_no_sense(void)
{
    static const struct {
        struct q2_format_change wish;
        const char *text;
    } rows[] = {
        {{.version = 4}, "img/top.qcow2: there is no such version (version is 4)"},
        {{.refcount_bits = 3}, "img/top.qcow2: refcounts have no such width (refcount_bits is 3)"},
        {{.refcount_bits = 128},
         "img/top.qcow2: refcounts have no such width (refcount_bits is 128)"},
        {{.refcount_bits = 0xfffffffe},
         "img/top.qcow2: refcounts have no such width (refcount_bits is 0xfffffffe)"},
        {{.version = 2, .refcount_bits = 8},
         "img/top.qcow2: refcounts of version 2 have 16 bits; add refcount_bits=16, or compat=1.1 "
         "(refcount_bits is 8, limit 16)"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start(3);
        setup();
        T_CHECK_U64(q2_disk_change_format(f.disk, &rows[i].wish), Q2_ERR_ARGUMENT);
        T_CHECK_STR(fixture_text(&f), rows[i].text);
        T_CHECK(memcmp(memory, image.bytes, image.size) == 0);
        cleanup();
    }
}

/* Without zero clusters, or with nothing below them, no key is needed. */
static void test_downgrade_of_encrypted_images(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        start(3);
        if (i == 0)
            image_backing(&image, "base.img", "raw");
        else
            (void)image_zero(&image, CLUSTER, false);
        image_field_set(&image, "crypt_method", 1);
        setup();
        change(&to_2);
        check_image(2, 4);
        cleanup();
    }
}

/* --- refcounts -------------------------------------------------------------------------------- */

static void test_width_of_every_kind(void)
{
    static const uint32_t bits[] = {1, 64, 2, 32, 4, 16, 8};

    start(3);
    (void)image_data(&image, 5 * CLUSTER, 1);
    setup();
    for (uint32_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        uint32_t order = 0;

        while (1u << order < bits[i])
            order++;
        change(&(struct q2_format_change){.refcount_bits = bits[i]});
        check_image(3, order);
    }
    cleanup();
}

/* The table of the new structure has several clusters, and pieces of it go through the buffer. */
static void test_width_of_a_file_with_many_clusters(void)
{
    image_start(&image,
                &(struct image_spec){.size = SIZE, .cluster_bits = 10, .max_clusters = 40000});
    (void)image_alloc(&image, 34000);
    setup();
    change(&(struct q2_format_change){.refcount_bits = 64});
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    cleanup();
}

/* The place of refcounts that cannot be read is told as the first cluster that they count. */
static void test_width_tells_which_refcounts_fail(void)
{
    const struct q2_format_change wide = {.refcount_bits = 64};
    uint64_t block;

    image_start(&image,
                &(struct image_spec){.size = SIZE, .cluster_bits = 12, .max_clusters = 4096});
    (void)image_alloc(&image, 2100);
    block = image_get64(&image, image_field(&image, "refcount_table_offset") + 8);
    setup();
    f.image.bad_start = block;
    f.image.bad_end = block + CLUSTER;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_disk_change_format(f.disk, &wide), Q2_ERR_IO);
    T_CHECK(strstr(fixture_text(&f), "a refcount cannot be read, at offset 0x800000") != NULL);
    cleanup();
}

/* A table of refcount blocks that is composed in pieces, of which the last one is shorter. */
static void test_width_table_longer_than_what_is_composed_at_once(void)
{
    struct q2_refcount_layout layout = {.nb_blocks = 5, .nb_table = 600, .order = 4};
    uint64_t table;

    image_start(&image, &(struct image_spec){.size = SIZE, .cluster_bits = 9});
    setup();
    layout.first = image.size / 512;
    table = image.size + 5 * 512;
    T_CHECK_U64(q2_refcount_layout_reach(f.disk, &layout), Q2_OK);
    T_CHECK_U64(f.image.source.size, table + 600 * 512);
    memset(memory + table, 0xee, 600 * 512);
    T_CHECK_U64(q2_refcount_layout_write_table(f.disk, &layout), Q2_OK);
    for (uint64_t i = 0; i < 600 * 512 / 8; i++)
        T_CHECK_U64(get(table + i * 8), i < 5 ? image.size + i * 512 : 0);
    cleanup();
}

/* Bytes of the header that a change does not name stay as the file has them. */
static void test_header_set_writes_what_it_names(void)
{
    struct q2_header header;

    start(3);
    setup();
    header = f.disk->layers[0].header;
    header.compatible_features = 0x55;
    memory[16] = memory[79] = memory[88] = 0x77;
    T_CHECK_U64(
        q2_header_set(f.disk, &header, Q2_HEADER_FIELDS(compatible_features, compatible_features)),
        Q2_OK);
    T_CHECK_U64(get(80), 0x55);
    T_CHECK(memory[16] == 0x77 && memory[79] == 0x77 && memory[88] == 0x77);
    cleanup();
}

/* 64 refcount blocks fill a cluster of the table, and one more begins another. */
static void test_width_table_that_fills_its_cluster(void)
{
    struct q2_refcount_layout layout;

    image_start(&image, &(struct image_spec){.size = SIZE, .cluster_bits = 9});
    setup();
    for (uint32_t more = 0; more < 2; more++) {
        T_CHECK_U64(q2_refcount_layout_plan(f.disk, 64 * 256 - 65 + more, 4, &layout), Q2_OK);
        T_CHECK_U64(layout.nb_blocks, 64 + more);
        T_CHECK_U64(layout.nb_table, 1 + more);
    }
    cleanup();
}

static void test_width_that_is_too_narrow(void)
{
    start(3);
    setup();
    f.options.metadata_only = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot_create(f.disk, "first", 1, 2), Q2_OK);
    T_CHECK_U64(q2_disk_change_format(f.disk, &(struct q2_format_change){.refcount_bits = 1}),
                Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f),
                "img/top.qcow2: a cluster has more references than refcounts of this width can "
                "count; choose more bits, or delete snapshots (refcount is 2, limit 1)");
    change(&(struct q2_format_change){.refcount_bits = 2});
    check_image(3, 1);
    cleanup();
}

/* Whichever cluster has too many references, the new width is refused. */
static void test_width_is_judged_by_every_cluster(void)
{
    for (uint64_t i = 0; i < 32; i++) {
        start(3);
        image_refcount_set(&image, image_alloc(&image, 32) / CLUSTER + i, 2);
        setup();
        T_CHECK_U64(
            q2_disk_can_change_format(f.disk, &(struct q2_format_change){.refcount_bits = 1}),
            Q2_ERR_UNSUPPORTED);
        cleanup();
    }
}

/* A file so large that the table would be longer than any that is opened. */
static void test_width_that_needs_too_long_a_table(void)
{
    start(3);
    setup();
    f.disk->writer.end = 1ull << 31;
    T_CHECK_U64(q2_disk_change_format(f.disk, &(struct q2_format_change){.refcount_bits = 64}),
                Q2_ERR_LIMIT);
    T_CHECK_STR(fixture_field(&f), "refcount_table_clusters");
    T_CHECK_U64(f.image.nb_writes, 0);
    cleanup();
}

/* --- failing calls ---------------------------------------------------------------------------- */

static void build_upgrade(void)
{
    start(2);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "bare"});
    (void)image_snapshots_write(&image);
}

static void build_downgrade(void)
{
    start(3);
    image_backing(&image, "base.img", "raw");
    (void)image_zero(&image, CLUSTER, false);
    (void)image_zero(&image, 2 * CLUSTER, true);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1",
                                                         .name = "s",
                                                         .extra = "\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0",
                                                         .extra_size = 16});
    (void)image_snapshots_write(&image);
    (void)image_zero(&image, CLUSTER, false);
}

static void build_plain(void)
{
    start(3);
}

static const struct {
    const char *name;
    void (*build)(void);
    struct q2_format_change wish;
} failing[] = {
    {"upgrade", build_upgrade, {.version = 3}},
    {"downgrade", build_downgrade, {.version = 2}},
    {"wide", build_plain, {.refcount_bits = 64}},
    {"narrow", build_plain, {.refcount_bits = 2}},
};
#define NB_FAILING (sizeof(failing) / sizeof(failing[0]))

/* Cold caches, so that each read can fail. The second try does what the first one did not. */
static bool fail_nth(uint32_t row, enum fake_kind kind, uint64_t n)
{
    enum q2_status status;

    failing[row].build();
    setup();
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    fake_source_fail_nth(&f.image, kind, n);
    status = q2_disk_change_format(f.disk, &failing[row].wish);
    fake_source_fail_nth(&f.image, kind, 0);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    change(&failing[row].wish);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    cleanup();
    return status == Q2_OK;
}

static void test_every_call_fails_once(void)
{
    for (uint32_t row = 0; row < NB_FAILING; row++) {
        for (enum fake_kind kind = 0; kind < FAKE_NB_KINDS; kind++) {
            uint64_t n = 1, nb_done = 0;

            t_row(failing[row].name);
            /* Some failures cost nothing: three in a row that succeed are past the last call. */
            for (; nb_done < 3 && T_CHECK(n < 500); n++)
                nb_done = fail_nth(row, kind, n) ? nb_done + 1 : 0;
        }
    }
}

static const struct q2_source_ops *inner;
static uint64_t old_table;

/* When the header has been written, what it named before cannot be read any more. */
static enum q2_status write_and_break(struct q2_source *source, uint64_t offset, const void *bytes,
                                      size_t length)
{
    enum q2_status status = inner->write_at(source, offset, bytes, length);

    if (offset < CLUSTER) {
        q2_windows_clear(&f.disk->windows);
        q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
        f.image.bad_start = old_table;
        f.image.bad_end = old_table + CLUSTER;
    }
    return status;
}

/* The old refcount table fails when its blocks are given up: that is told, and what is in use stays
 * so. */
static void test_width_with_an_old_table_that_fails_in_the_end(void)
{
    struct q2_source_ops ops;

    start(3);
    setup();
    inner = f.image.source.ops;
    ops = *inner;
    ops.write_at = write_and_break;
    f.image.source.ops = &ops;
    old_table = image_field(&image, "refcount_table_offset");
    T_CHECK_U64(q2_disk_change_format(f.disk, &(struct q2_format_change){.refcount_bits = 64}),
                Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a refcount cannot be read");
    f.image.bad_end = 0;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    cleanup();
}

/* The new snapshot table cannot be written: what it took is given back. */
static void test_upgrade_gives_back_a_table_that_it_cannot_write(void)
{
    build_upgrade();
    setup();
    fake_source_fail_nth(&f.image, FAKE_WRITE, 1);
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_3), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    check_image(2, 4);
    cleanup();
}

/* The file has changed underneath since it was opened and checked. */
static void test_downgrade_meets_a_broken_table(void)
{
    start(3);
    setup();
    memory[image_field(&image, "l1_table_offset") + 7] |= 1;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_BAD_L1);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "L1 entry has a reserved bit set");
    cleanup();
}

static void test_downgrade_cannot_read_a_table(void)
{
    uint64_t table;

    start(3);
    table = image_l2_entry(&image, 0);
    setup();
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    f.image.bad_start = table;
    f.image.bad_end = table + 8;
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_IO);
    T_CHECK(strstr(fixture_text(&f), "a table cannot be read") != NULL);
    cleanup();
}

static void test_downgrade_cannot_read_the_snapshot_table(void)
{
    uint64_t table;

    build_downgrade();
    table = image_field(&image, "snapshots_offset");
    setup();
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    f.image.bad_start = table;
    f.image.bad_end = table + 8;
    T_CHECK_U64(q2_disk_can_change_format(f.disk, &to_2), Q2_ERR_IO);
    cleanup();
}

static void test_a_full_device_changes_nothing_that_counts(void)
{
    for (uint32_t row = 0; row < NB_FAILING; row++) {
        t_row(failing[row].name);
        failing[row].build();
        setup();
        fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, image.size);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_change_format(f.disk, &failing[row].wish), Q2_ERR_NO_SPACE);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(fixture_nb_dangerous(&f), 0);
        cleanup();
    }
}

/* --- who may not ------------------------------------------------------------------------------ */

static void test_raw_images_and_read_only_ones_are_refused(void)
{
    start(3);
    setup();
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: a raw image has no metadata to change");
    f.options.format = Q2_FORMAT_QCOW2;
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_change_format(f.disk, &to_2), Q2_ERR_READ_ONLY);
    cleanup();
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    if (!memory)
        return 1;
    T_RUN(test_downgrade_makes_zero_clusters_unallocated);
    T_RUN(test_downgrade_replaces_zero_clusters_of_every_table);
    T_RUN(test_downgrade_above_a_backing_file_writes_zeros);
    T_RUN(test_downgrade_changes_a_shared_table_once);
    T_RUN(test_downgrade_of_a_table_with_many_references);
    T_RUN(test_downgrade_without_room_for_the_entry);
    T_RUN(test_upgrade_and_downgrade_keep_names_and_extensions);
    T_RUN(test_upgrade_keeps_what_waits);
    T_RUN(test_upgrade_leaves_out_a_list_of_bitmaps);
    T_RUN(test_upgrade_writes_the_names_of_feature_bits);
    T_RUN(test_wishes_that_change_nothing_write_nothing);
    T_RUN(test_upgrade_completes_the_snapshot_table);
    T_RUN(test_upgrade_of_a_full_snapshot_table_is_refused);
    T_RUN(test_downgrade_with_snapshots_that_version_2_cannot_say);
    T_RUN(test_downgrade_with_a_vm_state_of_4_gib);
    T_RUN(test_downgrade_of_what_version_2_does_not_have);
    T_RUN(test_downgrade_with_bitmaps);
    T_RUN(test_wishes_that_make_no_sense);
    T_RUN(test_downgrade_of_encrypted_images);
    T_RUN(test_width_of_every_kind);
    T_RUN(test_width_of_a_file_with_many_clusters);
    T_RUN(test_width_tells_which_refcounts_fail);
    T_RUN(test_width_table_longer_than_what_is_composed_at_once);
    T_RUN(test_header_set_writes_what_it_names);
    T_RUN(test_width_table_that_fills_its_cluster);
    T_RUN(test_width_that_is_too_narrow);
    T_RUN(test_width_is_judged_by_every_cluster);
    T_RUN(test_width_that_needs_too_long_a_table);
    T_RUN(test_every_call_fails_once);
    T_RUN(test_width_with_an_old_table_that_fails_in_the_end);
    T_RUN(test_upgrade_gives_back_a_table_that_it_cannot_write);
    T_RUN(test_downgrade_meets_a_broken_table);
    T_RUN(test_downgrade_cannot_read_a_table);
    T_RUN(test_downgrade_cannot_read_the_snapshot_table);
    T_RUN(test_a_full_device_changes_nothing_that_counts);
    T_RUN(test_raw_images_and_read_only_ones_are_refused);
    free(memory);
    return t_done();
}
