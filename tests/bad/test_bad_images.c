/* The bad images: one for each rule that the engine enforces, named after the rule, with the
 * status, the field and the whole sentence that a person reads.
 *
 *     build/san/tests/bad/test_bad_images                 check them all
 *     build/san/tests/bad/test_bad_images --write DIR     write them to DIR/RULE.qcow2 as well
 *
 * An image is right but for its rule. Where the rule is about one cluster, the test reads the
 * others too: they must come back right. Nothing may stay open after a refusal.
 */
#include <stdlib.h>

#include "core/format/extension.h"
#include "core/format/header.h"
#include "core/format/l2_entry.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"
#include "q2_check.h"

#define KIB     1024ull
#define MIB     (1024 * KIB)
#define CLUSTER (64 * KIB)
#define MAX_SET 4
#define DEEP    200

/* When the fault shows itself. */
enum stage {
    OPEN,     /* at q2_disk_open() */
    READ,     /* reading guest cluster 1; cluster 0 and cluster 2 read right */
    READ_ALL, /* reading guest cluster 1; the fault takes others along */
    BITMAP,   /* at q2_disk_bitmap() */
    SNAPSHOT, /* at q2_disk_snapshot() */
    CHECK,    /* at q2_disk_check() */
};

struct bad;

struct row {
    const char *rule;
    void (*build)(struct bad *bad);   /* NULL: build_plain */
    void (*arrange)(struct bad *bad); /* options and files, once the fixture stands; may be NULL */
    enum stage stage;
    struct {
        const char *field;
        uint64_t value;
    } set[MAX_SET]; /* header fields, set last */
    enum q2_status status;
    const char *field; /* of the fault, "" if none */
    const char *text;
};

struct bad {
    struct image image, other;
    bool has_other;
    struct fake_source others[3];
    struct fixture f;
    struct fake_source deep[DEEP]; /* a chain of equals */
};

/* ---- images ---- */

/* Data in clusters 0 and 2, cluster 1 for the rule to break. */
static void build_spec(struct bad *bad, const struct image_spec *spec)
{
    image_start(&bad->image, spec);
    image_data(&bad->image, 0, 1);
    (void)image_data(&bad->image, 1ull << bad->image.spec.cluster_bits, 1);
    image_data(&bad->image, 2ull << bad->image.spec.cluster_bits, 1);
}

static void build_plain(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB});
}

static void build_version_2(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .version = 2});
}

static void build_extended(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .extended = true});
}

static void build_external(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .external = true});
    image_data_name(&bad->image, "data.raw");
}

/* Put an entry in place of guest cluster 1's. */
static void entry_set(struct bad *bad, uint64_t entry, uint64_t bitmap)
{
    uint64_t at = image_l2_entry(&bad->image, image_cluster_size(&bad->image));

    image_put64(&bad->image, at, entry);
    if (bad->image.spec.extended)
        image_put64(&bad->image, at + 8, bitmap);
}

static void build_with_backing(struct bad *bad, const char *name, const char *format)
{
    build_plain(bad);
    image_backing(&bad->image, name, format);
}

/* An image with an extension of its own type and length. */
static void build_extension(struct bad *bad, uint32_t type, uint32_t length)
{
    static const uint8_t bytes[2048] = {[0 ... 2047] = 'x'};

    build_plain(bad);
    (void)image_extension(&bad->image, type, bytes, length);
}

static void build_tiny(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = 8 * 512, .cluster_bits = 9});
}

static void build_512_past_2_56(struct bad *bad)
{
    build_tiny(bad);
    entry_set(bad, Q2_ENTRY_COMPRESSED | 1ull << 56, 0);
}

/* ---- extensions ---- */

static void build_file_short(struct bad *bad)
{
    build_plain(bad);
    bad->image.size = 71;
}

static void build_extension_leaves(struct bad *bad)
{
    build_plain(bad);
    image_put32(&bad->image, 112, 0x12345678);
    image_put32(&bad->image, 116, 65536 - 112 - 8 + 1);
}

static void build_format_too_long(struct bad *bad)
{
    build_extension(bad, Q2_EXTENSION_BACKING_FORMAT, 32);
}

static void build_data_name_too_long(struct bad *bad)
{
    build_extension(bad, Q2_EXTENSION_DATA_FILE, Q2_MAX_NAME_LENGTH + 1);
}

static void build_data_name_nul(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .external = true});
    (void)image_extension(&bad->image, Q2_EXTENSION_DATA_FILE, "data.raw\0x", 10);
}

static void build_backing_name_nul(struct bad *bad)
{
    build_with_backing(bad, "base.raw", "raw");
    bad->image.bytes[image_field(&bad->image, "backing_file_offset") + 4] = 0;
}

static void build_bitmaps_length(struct bad *bad)
{
    build_extension(bad, Q2_EXTENSION_BITMAPS, 25);
}

static void build_encryption_length(struct bad *bad)
{
    build_extension(bad, Q2_EXTENSION_ENCRYPTION, 8);
}

static void build_feature(struct bad *bad, const char *name)
{
    struct q2_feature_name_disk rows[3] = {
        {.type = 1, .bit = 40, .name = "compatible, not it"},
        {.type = 0, .bit = 41, .name = "another bit"},
        {.type = 0, .bit = 40},
    };

    build_plain(bad);
    memcpy(rows[2].name, name, strlen(name));
    (void)image_extension(&bad->image, Q2_EXTENSION_FEATURE_NAMES, rows, sizeof(rows));
    image_field_set(&bad->image, "incompatible_features", 1ull << 40);
}

static void build_feature_named(struct bad *bad)
{
    build_feature(bad, "time travel");
}

static void build_features_named(struct bad *bad)
{
    build_feature(bad, "time travel");
    image_field_set(&bad->image, "incompatible_features", 1ull << 40 | 1ull << 41 | 1ull << 63);
}

/* 46 bytes without a NUL, control sequences among them (HAZARDS.md, F11). */
static void build_feature_hostile(struct bad *bad)
{
    build_feature(bad, "\x1b[2J\x1b[31mpwned\r\n\\0123456789012345678901234567");
}

/* ---- names ---- */

#define NAMED_BACKING(function, name)                                                              \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_with_backing(bad, name, "raw");                                                      \
    }
#define NAMED_DATA(function, name)                                                                 \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_spec(bad, &(struct image_spec){.size = MIB, .external = true});                      \
        image_data_name(&bad->image, name);                                                        \
    }
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

NAMED_BACKING(build_backing_absolute, "/etc/passwd")
NAMED_BACKING(build_backing_parent, "sub/../../base.raw")
NAMED_BACKING(build_backing_protocol, "json:{\"driver\":\"nbd\"}")
NAMED_BACKING(build_backing_drive, "C:/base.raw")
NAMED_BACKING(build_backing_backslash, "sub\\base.raw")
NAMED_BACKING(build_backing_control, "base\x1b[2J.raw")
NAMED_BACKING(build_backing_not_utf8, "b\xe4se.raw")
NAMED_BACKING(build_backing_surrogate, "base\xed\xa0\x80.raw")
NAMED_BACKING(build_backing_beyond_plane, "base\xf0\x9f\x90\x84.raw")
NAMED_BACKING(build_backing_component, A64 A64 A64 A64)
NAMED_DATA(build_data_absolute, "/dev/sda")
NAMED_DATA(build_data_parent, "../other/data.raw")
NAMED_DATA(build_data_protocol, "nbd:host:10809")
NAMED_DATA(build_data_backslash, "\\data.raw")
NAMED_DATA(build_data_is_image, "top.qcow2")

static void build_backing_format_none(struct bad *bad)
{
    build_with_backing(bad, "base.raw", NULL);
}

static void build_backing_format_unknown(struct bad *bad)
{
    build_with_backing(bad, "base.vmdk", "vmdk");
}

static void build_backing_raw(struct bad *bad)
{
    build_with_backing(bad, "base.raw", "raw");
}

static void build_backing_qcow2(struct bad *bad)
{
    build_with_backing(bad, "base.qcow2", "qcow2");
}

/* ---- chains ---- */

static void other_start(struct bad *bad, const struct image_spec *spec)
{
    image_start(&bad->other, spec);
    bad->has_other = true;
}

static void open_as(struct bad *bad, uint32_t slot, const char *path, const struct image *image)
{
    fake_source_init(&bad->others[slot], path, image->bytes, image->size);
    fake_opener_add(&bad->f.opener, path, &bad->others[slot]);
}

/* Cluster 1 is left to a base that breaks a rule (HAZARDS.md, F8). */
static void build_backing_broken(struct bad *bad)
{
    build_backing_qcow2(bad);
    entry_set(bad, 0, 0);
    other_start(bad, &(struct image_spec){.size = MIB});
    image_put64(&bad->other, image_l2_entry(&bad->other, CLUSTER), 2);
}

static void build_backing_broken_header(struct bad *bad)
{
    build_backing_qcow2(bad);
    other_start(bad, &(struct image_spec){.size = MIB});
    image_field_set(&bad->other, "l1_size", 0);
}

static void build_backing_cut(struct bad *bad)
{
    build_backing_broken(bad);
    image_put64(&bad->other, image_l2_entry(&bad->other, CLUSTER), 16 * MIB);
}

static void arrange_base(struct bad *bad)
{
    open_as(bad, 0, "img/base.qcow2", &bad->other);
}

static void arrange_backing_is_image(struct bad *bad)
{
    open_as(bad, 0, "img/base.qcow2", &bad->image);
    memcpy(bad->others[0].source.identity, bad->f.image.source.identity,
           sizeof(bad->others[0].source.identity));
}

/* top -> base -> top */
static void build_loop_2(struct bad *bad)
{
    build_backing_qcow2(bad);
    other_start(bad, &(struct image_spec){.size = MIB});
    image_backing(&bad->other, "top.qcow2", "qcow2");
}

static void arrange_loop_2(struct bad *bad)
{
    arrange_base(bad);
    fake_opener_add(&bad->f.opener, "img/top.qcow2", &bad->f.image);
}

static void build_deep(struct bad *bad)
{
    build_with_backing(bad, "next", "qcow2");
}

/* One set of bytes under 200 identities: the opener gives another file each time. */
static void arrange_deep(struct bad *bad)
{
    for (uint32_t i = 0; i < DEEP; i++) {
        fake_source_init(&bad->deep[i], "img/next", bad->image.bytes, bad->image.size);
        fake_opener_add(&bad->f.opener, "img/next", &bad->deep[i]);
    }
}

static void arrange_data_is_image(struct bad *bad)
{
    fake_opener_add(&bad->f.opener, "img/top.qcow2", &bad->f.image);
}

static void build_data_is_backing(struct bad *bad)
{
    build_external(bad);
    image_backing(&bad->image, "data.raw", "raw");
}

/* Two layers, one data file. */
static void build_data_shared(struct bad *bad)
{
    build_external(bad);
    image_backing(&bad->image, "base.qcow2", "qcow2");
    other_start(bad, &(struct image_spec){.size = MIB, .external = true});
    image_data_name(&bad->other, "data.raw");
}

static void build_data_not_named(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .external = true});
}

static void build_data_name_empty(struct bad *bad)
{
    build_data_not_named(bad);
    image_data_name(&bad->image, "");
}

static void arrange_data_missing(struct bad *bad)
{
    bad->f.opener.nb_files = 0;
}

static void arrange_data_denied(struct bad *bad)
{
    bad->f.opener.nb_files = 0;
    fake_opener_fail(&bad->f.opener, FIXTURE_DATA_PATH, Q2_ERR_DENIED);
}

static void arrange_data_given(struct bad *bad)
{
    bad->f.options.data_file = "my/data.raw";
}

static void arrange_raw_with_data_given(struct bad *bad)
{
    bad->f.options.format = Q2_FORMAT_RAW;
    bad->f.options.data_file = "my/data.raw";
}

static const struct q2_given_file my_base = {.path = "my/base.raw"};

static void arrange_backing_given(struct bad *bad)
{
    bad->f.options.backing_files = &my_base;
    bad->f.options.nb_backing_files = 1;
}

static void arrange_raw_with_backing_given(struct bad *bad)
{
    bad->f.options.format = Q2_FORMAT_RAW;
    bad->f.options.backing_files = &my_base;
    bad->f.options.nb_backing_files = 1;
}

static void arrange_given_path_too_long(struct bad *bad)
{
    static char path[Q2_MAX_PATH_LENGTH + 2];

    memset(path, 'p', sizeof(path) - 1);
    bad->f.options.data_file = path;
}

static void arrange_names_none(struct bad *bad)
{
    bad->f.options.names = Q2_NAMES_NONE;
}

/* ---- encryption ---- */

static enum q2_status no_unlock(struct q2_unlocker *unlocker, struct q2_source *image,
                                uint32_t crypt_method, uint64_t offset, uint64_t length,
                                struct q2_cipher **ret_cipher)
{
    (void)unlocker, (void)image, (void)crypt_method, (void)offset, (void)length, (void)ret_cipher;
    return Q2_ERR_ENCRYPTED;
}

static void arrange_unlocker(struct bad *bad)
{
    static const struct q2_unlocker_ops ops = {.unlock = no_unlock};
    static struct q2_unlocker unlocker = {.ops = &ops};

    bad->f.options.unlocker = &unlocker;
}

static void build_luks_at(struct bad *bad, uint64_t offset, uint64_t length)
{
    uint64_t at;

    build_plain(bad);
    at = image_extension(&bad->image, Q2_EXTENSION_ENCRYPTION, "0123456789abcdef", 16);
    image_put64(&bad->image, at + 8, offset);
    image_put64(&bad->image, at + 16, length);
    image_field_set(&bad->image, "crypt_method", 2);
}

static void build_luks_outside(struct bad *bad)
{
    build_luks_at(bad, 64 * KIB, 64 * MIB);
}

static void build_luks_empty(struct bad *bad)
{
    build_luks_at(bad, 64 * KIB, 0);
}

/* ---- snapshots ---- */

static const struct image_snapshot_spec first_snapshot = {.id = "1", .name = "first"};

static void build_snapshot(struct bad *bad)
{
    image_start(&bad->image, &(struct image_spec){.size = MIB});
    image_data(&bad->image, 0, 9);
    image_snapshot(&bad->image, &first_snapshot);
    image_data(&bad->image, 0, 1);
    image_data(&bad->image, 2 * CLUSTER, 1);
    (void)image_snapshots_write(&bad->image);
}

static void snapshot_put(struct bad *bad, uint64_t l1_table_offset, uint32_t l1_size)
{
    uint64_t at = image_field(&bad->image, "snapshots_offset");

    image_put64(&bad->image, at, l1_table_offset);
    image_put32(&bad->image, at + 8, l1_size);
}

#define SNAPSHOT_L1(function, offset, size)                                                        \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_snapshot(bad);                                                                       \
        snapshot_put(bad, offset, size);                                                           \
    }

SNAPSHOT_L1(build_snapshot_l1_too_large, 192 * KIB, Q2_MAX_L1_ENTRIES + 1)
SNAPSHOT_L1(build_snapshot_l1_too_small, 192 * KIB, 0)
SNAPSHOT_L1(build_snapshot_l1_unaligned, 192 * KIB + 512, 1)
SNAPSHOT_L1(build_snapshot_l1_on_header, 0, 1)
SNAPSHOT_L1(build_snapshot_l1_past_file, 64 * MIB, 1)

static void build_snapshot_extra_too_long(struct bad *bad)
{
    build_snapshot(bad);
    image_put32(&bad->image, image_field(&bad->image, "snapshots_offset") + 36,
                Q2_MAX_SNAPSHOT_EXTRA_SIZE + 1);
}

static void build_snapshot_name_past_file(struct bad *bad)
{
    build_snapshot(bad);
    bad->image.size = image_field(&bad->image, "snapshots_offset") + 59;
}

/* Entries of the greatest length until the table passes 64 MiB; all but the fixed parts is zero. */
static void build_snapshot_table_too_long(struct bad *bad)
{
    uint64_t at, length = (40 + 1024 + 2 * 65535ull + 7) & ~7ull;
    uint32_t nb = (uint32_t)(Q2_MAX_SNAPSHOT_TABLE_SIZE / length) + 1;

    image_start(&bad->image, &(struct image_spec){.size = MIB, .max_clusters = 2048});
    at = image_alloc(&bad->image, (uint32_t)(nb * length / CLUSTER) + 1);
    for (uint32_t i = 0; i < nb; i++) {
        image_put32(&bad->image, at + i * length + 12, 0xffffffff);
        image_put32(&bad->image, at + i * length + 36, 1024);
    }
    image_field_set(&bad->image, "nb_snapshots", nb);
    image_field_set(&bad->image, "snapshots_offset", at);
}

static void arrange_snapshot(struct bad *bad)
{
    bad->f.options.snapshot = "first";
}

static void arrange_raw_snapshot(struct bad *bad)
{
    bad->f.options.snapshot = "first";
    bad->f.options.format = Q2_FORMAT_RAW;
}

/* ---- L1 and L2 ---- */

#define L1_ENTRY(function, value)                                                                  \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_plain(bad);                                                                          \
        image_put64(&bad->image, image_l1_entry(&bad->image, 0), value);                           \
    }
#define L2_ENTRY(function, base, entry, bitmap)                                                    \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        base(bad);                                                                                 \
        entry_set(bad, entry, bitmap);                                                             \
    }

L1_ENTRY(build_l1_reserved, 0x40001 | Q2_ENTRY_COPIED)
L1_ENTRY(build_l1_unaligned, 0x40200 | Q2_ENTRY_COPIED)
L1_ENTRY(build_l2_on_l1, 0x30000 | Q2_ENTRY_COPIED)
L1_ENTRY(build_l2_on_refcount_table, 0x10000 | Q2_ENTRY_COPIED)
L1_ENTRY(build_l2_past_file, 0x1000000 | Q2_ENTRY_COPIED)

L2_ENTRY(build_l2_reserved, build_plain, 0x50000 | 2, 0)
L2_ENTRY(build_l2_reserved_high, build_plain, 0x50000 | 1ull << 56, 0)
L2_ENTRY(build_l2_unaligned, build_plain, 0x50200, 0)
L2_ENTRY(build_l2_copied_nowhere, build_plain, Q2_ENTRY_COPIED, 0)
L2_ENTRY(build_l2_zero_v2, build_version_2, 1, 0)
L2_ENTRY(build_l2_past_end, build_plain, 0x1000000 | Q2_ENTRY_COPIED, 0)
L2_ENTRY(build_sub_both, build_extended, 0x50000 | Q2_ENTRY_COPIED, 0x0000000100000001)
L2_ENTRY(build_sub_unallocated, build_extended, 0, 0x1)
L2_ENTRY(build_sub_zero_flag, build_extended, 0x50001, 0xffffffff)
L2_ENTRY(build_sub_compressed, build_extended, Q2_ENTRY_COMPRESSED | 0x50000, 0x1)
L2_ENTRY(build_data_compressed, build_external, Q2_ENTRY_COMPRESSED | 0x10000, 0)
L2_ENTRY(build_data_shifted, build_external, Q2_ENTRY_COPIED | 0x20000, 0)
L2_ENTRY(build_data_first, build_external, Q2_ENTRY_COPIED, 0)
L2_ENTRY(build_stream_past_file, build_plain, Q2_ENTRY_COMPRESSED | 0x1000000, 0)

/* The file ends in the middle of the L2 table, before the entry of cluster 1. */
static void build_l2_cut(struct bad *bad)
{
    uint64_t old, at;

    build_plain(bad);
    /* Move the table to the end of the file, so that the data stays whole. */
    old = image_l2_entry(&bad->image, 0);
    at = image_alloc(&bad->image, 1);
    image_put64(&bad->image, at, image_get64(&bad->image, old));
    image_put64(&bad->image, image_l1_entry(&bad->image, 0), at | Q2_ENTRY_COPIED);
    bad->image.size = at + 12;
}

static void build_data_file_cut(struct bad *bad)
{
    build_external(bad);
    bad->image.data_size = 2 * CLUSTER - 1;
}

static void build_file_cut(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB});
    (void)image_data(&bad->image, CLUSTER, 1); /* now the last of the file */
    bad->image.size -= 1;
}

/* ---- compressed clusters ---- */

static void build_stream(struct bad *bad, const uint8_t *stream, size_t length)
{
    build_plain(bad);
    (void)image_stream(&bad->image, CLUSTER, stream, length);
}

static void build_stream_short(struct bad *bad)
{
    static const uint8_t stream[] = {255, 'x', 0};

    build_stream(bad, stream, sizeof(stream));
}

static void build_stream_bomb(struct bad *bad)
{
    static const uint8_t stream[1024] = {[0 ... 1023] = 255};

    build_stream(bad, stream, sizeof(stream));
}

static void build_stream_garbage(struct bad *bad)
{
    static const uint8_t stream[512] = {1, 2, 3, 4};

    build_stream(bad, stream, 3);
}

/* 2 MiB clusters have room for a descriptor of 4 MiB. */
static void build_stream_too_long(struct bad *bad)
{
    uint64_t host;

    build_spec(bad, &(struct image_spec){.size = 6 * MIB, .cluster_bits = 21, .max_clusters = 32});
    host = image_alloc(&bad->image, 3);
    entry_set(bad, Q2_ENTRY_COMPRESSED | 0x1003ull << 49 | host, 0);
}

static void build_compressed(struct bad *bad)
{
    build_plain(bad);
    (void)image_compressed(&bad->image, CLUSTER, 1);
}

static void build_compressed_zstd(struct bad *bad)
{
    build_spec(bad, &(struct image_spec){.size = MIB, .compression_type = 1});
    (void)image_compressed(&bad->image, CLUSTER, 1);
}

static void arrange_no_codecs(struct bad *bad)
{
    bad->f.options.zlib = NULL;
    bad->f.options.zstd = NULL;
}

/* ---- bitmaps ---- */

static void build_bitmaps(struct bad *bad, uint32_t nb, uint64_t length, uint64_t offset)
{
    uint64_t at;

    build_plain(bad);
    at = image_extension(&bad->image, Q2_EXTENSION_BITMAPS, "0123456789abcdef01234567", 24);
    image_put32(&bad->image, at + 8, nb);
    image_put32(&bad->image, at + 12, 0);
    image_put64(&bad->image, at + 16, length);
    image_put64(&bad->image, at + 24, offset);
    image_field_set(&bad->image, "autoclear_features", 1);
}

/* A directory with one entry: name of name_size bytes, extra data of extra_size. */
static void build_bitmap_entry(struct bad *bad, uint64_t length, uint32_t name_size,
                               uint32_t extra_size)
{
    uint64_t at;

    build_bitmaps(bad, 1, length, 0);
    at = image_alloc(&bad->image, 1);
    image_put64(&bad->image, 112 + 24, at);
    image_put32(&bad->image, at + 16, 1u << 24 | 16u << 16 | name_size);
    image_put32(&bad->image, at + 20, extra_size);
}

#define BITMAPS(function, nb, length, offset)                                                      \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_bitmaps(bad, nb, length, offset);                                                    \
    }
#define BITMAP_ENTRY(function, length, name_size, extra_size)                                      \
    static void function(struct bad *bad)                                                          \
    {                                                                                              \
        build_bitmap_entry(bad, length, name_size, extra_size);                                    \
    }

BITMAPS(build_bitmaps_too_many, 65536, 24, 0x10000)
BITMAPS(build_bitmaps_too_long, 1, 65535 * 1024 + 1, 0x10000)
BITMAPS(build_bitmaps_unaligned, 1, 32, 0x10200)
BITMAPS(build_bitmaps_on_header, 1, 32, 0)
BITMAPS(build_bitmaps_past_file, 1, 32, 0x1000000)
BITMAP_ENTRY(build_bitmap_none, 16, 8, 0)
BITMAP_ENTRY(build_bitmap_leaves, 32, 9, 0)
BITMAP_ENTRY(build_bitmap_extra_leaves, 64, 8, 0xffffffff)
BITMAP_ENTRY(build_bitmap_no_name, 32, 0, 0)
BITMAP_ENTRY(build_bitmap_long_name, 2048, 1024, 0)

/* ---- check ---- */

static void arrange_raw(struct bad *bad)
{
    bad->f.options.format = Q2_FORMAT_RAW;
}

/* ---- writing ---- */

static void arrange_writable(struct bad *bad)
{
    fake_source_init_writable(&bad->f.image, FIXTURE_IMAGE_PATH, bad->image.bytes, bad->image.size,
                              bad->image.size);
    bad->f.options.writable = true;
}

static void arrange_write_to_read_only_file(struct bad *bad)
{
    bad->f.options.writable = true;
}

static void arrange_write_snapshot(struct bad *bad)
{
    arrange_writable(bad);
    bad->f.options.snapshot = "first";
}

static enum q2_status any_unlock(struct q2_unlocker *unlocker, struct q2_source *image,
                                 uint32_t crypt_method, uint64_t offset, uint64_t length,
                                 struct q2_cipher **ret_cipher)
{
    static struct q2_cipher cipher;

    (void)unlocker, (void)image, (void)crypt_method, (void)offset, (void)length;
    *ret_cipher = &cipher;
    return Q2_OK;
}

static void no_lock(struct q2_unlocker *unlocker, struct q2_cipher *cipher)
{
    (void)unlocker, (void)cipher;
}

static void arrange_write_encrypted(struct bad *bad)
{
    static const struct q2_unlocker_ops ops = {.unlock = any_unlock, .lock = no_lock};
    static struct q2_unlocker unlocker = {.ops = &ops};

    arrange_writable(bad);
    bad->f.options.unlocker = &unlocker;
}

static void arrange_write_encrypted_external(struct bad *bad)
{
    arrange_write_encrypted(bad);
    bad->f.data.source.writable = true;
}

/* Two guest clusters on one host cluster (HAZARDS.md, F12). */
static void build_shared_cluster(struct bad *bad)
{
    build_plain(bad);
    entry_set(bad, image_get64(&bad->image, image_l2_entry(&bad->image, 0)), 0);
}

/* A cluster in use whose refcount is 0 (HAZARDS.md, F12). */
static void build_refcount_0(struct bad *bad)
{
    uint64_t entry;

    build_plain(bad);
    entry = image_get64(&bad->image, image_l2_entry(&bad->image, 0));
    image_refcount_set(&bad->image, (entry & 0xffffffff) >> 16, 0);
}

#include "bad_images.h"

/* ---- running ---- */

static enum q2_status read_cluster_1(struct bad *bad)
{
    uint64_t size = image_cluster_size(&bad->image);
    uint8_t *buffer = malloc(size);
    enum q2_status status = q2_disk_read(bad->f.disk, size, buffer, size);

    free(buffer);
    return status;
}

static enum q2_status run_stage(struct bad *bad, enum stage stage)
{
    struct q2_snapshot snapshot;
    struct q2_bitmap bitmap;
    struct q2_check_result result;
    enum q2_status status = Q2_OK;

    switch (stage) {
    case READ:
    case READ_ALL:
        return read_cluster_1(bad);
    case BITMAP:
        return q2_disk_bitmap(bad->f.disk, 0, &bitmap);
    case SNAPSHOT:
        for (uint32_t i = 0; i < image_field(&bad->image, "nb_snapshots") && status == Q2_OK;
             i += i < 500 ? 500 : 1)
            status = q2_disk_snapshot(bad->f.disk, i, &snapshot);
        return status;
    case CHECK:
        return q2_disk_check(bad->f.disk, NULL, &result);
    case OPEN:
    default:
        return Q2_OK;
    }
}

/* The clusters beside the bad one. */
static void check_rest(struct bad *bad)
{
    uint64_t size = image_cluster_size(&bad->image);
    uint8_t *buffer = malloc(size);

    for (uint64_t at = 0; at <= 2 * size; at += 2 * size) {
        T_CHECK_U64(q2_disk_read(bad->f.disk, at, buffer, size), Q2_OK);
        T_CHECK(memcmp(buffer, bad->image.model.bytes + at, size) == 0);
    }
    free(buffer);
}

static void prepare(struct bad *bad, const struct row *row)
{
    memset(bad, 0, sizeof(*bad));
    if (row->build)
        row->build(bad);
    else
        build_plain(bad);
    for (size_t i = 0; i < MAX_SET && row->set[i].field; i++)
        image_field_set(&bad->image, row->set[i].field, row->set[i].value);
    fixture_start(&bad->f, &bad->image);
    if (row->arrange)
        row->arrange(bad);
}

static void dispose(struct bad *bad)
{
    fixture_end(&bad->f);
    image_free(&bad->image);
    if (bad->has_other)
        image_free(&bad->other);
}

static void check_row(struct bad *bad, const struct row *row)
{
    enum q2_status status;

    prepare(bad, row);
    status = fixture_open(&bad->f);
    T_CHECK((status != Q2_OK) == (row->stage == OPEN));
    if (status == Q2_OK)
        status = run_stage(bad, row->stage);
    T_CHECK_STR(q2_status_name(status), q2_status_name(row->status));
    T_CHECK_STR(q2_status_name(fixture_status(&bad->f)), q2_status_name(row->status));
    T_CHECK_STR(fixture_field(&bad->f), row->field);
    T_CHECK_STR(fixture_text(&bad->f), row->text);
    if (bad->f.disk && row->stage == READ)
        check_rest(bad);
    fixture_close(&bad->f);
    T_CHECK_U64(bad->f.opener.nb_open, 0);
    dispose(bad);
}

static bool write_file(const char *folder, const char *rule, const char *suffix,
                       const uint8_t *bytes, uint64_t size)
{
    char path[1024];
    FILE *file;
    bool ok;

    (void)snprintf(path, sizeof(path), "%s/%s%s", folder, rule, suffix);
    file = fopen(path, "wb");
    if (!file)
        return false;
    ok = size == 0 || fwrite(bytes, size, 1, file) == 1;
    return fclose(file) == 0 && ok;
}

static void write_row(struct bad *bad, const struct row *row, const char *folder)
{
    prepare(bad, row);
    T_CHECK(write_file(folder, row->rule, ".qcow2", bad->image.bytes, bad->image.size));
    if (bad->image.data)
        T_CHECK(write_file(folder, row->rule, ".data.raw", bad->image.data, bad->image.data_size));
    if (bad->has_other)
        T_CHECK(write_file(folder, row->rule, ".base.qcow2", bad->other.bytes, bad->other.size));
    dispose(bad);
}

int main(int argc, char **argv)
{
    static struct bad bad;
    const char *folder = argc == 3 && strcmp(argv[1], "--write") == 0 ? argv[2] : NULL;

    if (argc > 1 && !folder) {
        printf("usage: %s [--write DIR]\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].rule);
        check_row(&bad, &rows[i]);
        if (folder)
            write_row(&bad, &rows[i], folder);
        t_case_end(rows[i].rule);
    }
    return t_done();
}
