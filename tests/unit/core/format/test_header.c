/* core/format/header.c: decode, identify, validate. One passing and one failing row per rule; the
 * image that breaks it is in tests/bad/. */
#include "core/format/header.h"
#include "tests/support/image_builder.h"
#include "tests/support/t.h"

#define KIB     1024ull
#define MIB     (1024 * KIB)
#define TIB     (MIB * MIB)
#define MAX_SET 5

struct set {
    const char *field;
    uint64_t value;
};

struct row {
    const char *row;
    struct set sets[MAX_SET];
    enum q2_status status;
    const char *field; /* of the fault */
    uint64_t value, limit;
    uint64_t file_size; /* 0: large enough */
};

/* 1 MiB disk of 64 KiB clusters: refcount table at 64 KiB, block at 128 KiB, L1 table at 192 KiB.
 */
static const struct image_spec base_spec = {.size = MIB};

static void build(struct image *image, const struct set *sets, uint32_t version)
{
    struct image_spec spec = base_spec;

    spec.version = version;
    image_start(image, &spec);
    for (size_t i = 0; i < MAX_SET && sets && sets[i].field; i++)
        image_field_set(image, sets[i].field, sets[i].value);
}

static void header_of(const struct image *image, struct q2_header *ret_header)
{
    struct q2_header_disk disk;

    memcpy(&disk, image->bytes, sizeof(disk));
    q2_header_decode(&disk, ret_header);
}

static void check_rows(const struct row *rows, size_t nb_rows, uint32_t version)
{
    for (size_t i = 0; i < nb_rows; i++) {
        const struct row *row = &rows[i];
        struct q2_fault fault = {.status = Q2_OK};
        struct q2_header header;
        struct image image;

        t_row(row->row);
        build(&image, row->sets, version);
        header_of(&image, &header);
        T_CHECK_STR(q2_status_name(q2_header_validate(
                        &header, row->file_size ? row->file_size : UINT64_MAX, "a", &fault)),
                    q2_status_name(row->status));
        T_CHECK_STR(fault.field ? fault.field : "", row->field ? row->field : "");
        T_CHECK_U64(fault.value, row->value);
        T_CHECK_U64(fault.limit, row->limit);
        T_CHECK(fault.has_limit == (row->limit != 0));
        image_free(&image);
    }
}

#define CHECK_ROWS(rows, version) check_rows(rows, sizeof(rows) / sizeof(rows[0]), version)

static void test_header_decode_version_3_all_fields(void)
{
    struct q2_header_disk disk;
    struct q2_header header;

    for (size_t i = 0; i < sizeof(disk); i++)
        ((uint8_t *)&disk)[i] = (uint8_t)(0x10 + i);
    q2_header_decode(&disk, &header);
    T_CHECK_U64(header.version, 0x14151617);
    T_CHECK_U64(header.backing_file_offset, 0x18191a1b1c1d1e1f);
    T_CHECK_U64(header.backing_file_size, 0x20212223);
    T_CHECK_U64(header.cluster_bits, 0x24252627);
    T_CHECK_U64(header.size, 0x28292a2b2c2d2e2f);
    T_CHECK_U64(header.crypt_method, 0x30313233);
    T_CHECK_U64(header.l1_size, 0x34353637);
    T_CHECK_U64(header.l1_table_offset, 0x38393a3b3c3d3e3f);
    T_CHECK_U64(header.refcount_table_offset, 0x4041424344454647);
    T_CHECK_U64(header.refcount_table_clusters, 0x48494a4b);
    T_CHECK_U64(header.nb_snapshots, 0x4c4d4e4f);
    T_CHECK_U64(header.snapshots_offset, 0x5051525354555657);
    T_CHECK_U64(header.incompatible_features, 0x58595a5b5c5d5e5f);
    T_CHECK_U64(header.compatible_features, 0x6061626364656667);
    T_CHECK_U64(header.autoclear_features, 0x68696a6b6c6d6e6f);
    T_CHECK_U64(header.refcount_order, 0x70717273);
    T_CHECK_U64(header.header_length, 0x74757677);
    T_CHECK_U64(header.compression_type, 0x78);
}

static void test_header_decode_version_2_gets_the_defaults(void)
{
    struct q2_header_disk disk;
    struct q2_header header;

    memset(&disk, 0xff, sizeof(disk));
    disk.version = (be32){{0, 0, 0, 2}};
    q2_header_decode(&disk, &header);
    T_CHECK_U64(header.incompatible_features, 0);
    T_CHECK_U64(header.compatible_features, 0);
    T_CHECK_U64(header.autoclear_features, 0);
    T_CHECK_U64(header.refcount_order, 4);
    T_CHECK_U64(header.header_length, 72);
    T_CHECK_U64(header.compression_type, 0);
}

static void test_header_decode_header_length_104_has_no_compression_type(void)
{
    struct q2_header_disk disk;
    struct q2_header header;

    memset(&disk, 0xff, sizeof(disk));
    disk.version = (be32){{0, 0, 0, 3}};
    disk.header_length = (be32){{0, 0, 0, 104}};
    q2_header_decode(&disk, &header);
    T_CHECK_U64(header.compression_type, 0);
    disk.header_length = (be32){{0, 0, 0, 112}};
    q2_header_decode(&disk, &header);
    T_CHECK_U64(header.compression_type, 0xff);
}

static void test_header_identify_table(void)
{
    static const struct {
        const char *row;
        uint32_t magic, version;
        enum q2_status status;
    } rows[] = {
        {"version 2", Q2_MAGIC, 2, Q2_OK},
        {"version 3", Q2_MAGIC, 3, Q2_OK},
        {"qcow 1", Q2_MAGIC, 1, Q2_ERR_VERSION},
        {"version 4", Q2_MAGIC, 4, Q2_ERR_VERSION},
        {"version 0", Q2_MAGIC, 0, Q2_ERR_VERSION},
        {"version with a high bit", Q2_MAGIC, 0x80000003, Q2_ERR_VERSION},
        {"magic off by one", Q2_MAGIC - 1, 3, Q2_ERR_BAD_MAGIC},
        {"magic beats version", 0, 9, Q2_ERR_BAD_MAGIC},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct set sets[MAX_SET] = {{"magic", rows[i].magic}, {"version", rows[i].version}};
        struct q2_header_disk disk;
        struct q2_fault fault = {.status = Q2_OK};
        struct image image;

        t_row(rows[i].row);
        build(&image, sets, 3);
        memcpy(&disk, image.bytes, sizeof(disk));
        T_CHECK_U64(q2_header_identify(&disk, "a", &fault), rows[i].status);
        T_CHECK_U64(fault.status, rows[i].status);
        if (rows[i].status == Q2_ERR_VERSION)
            T_CHECK_U64(fault.value, rows[i].version);
        image_free(&image);
    }
}

static const struct row ranges[] = {
    {"as built", {{NULL, 0}}, Q2_OK, NULL, 0, 0, 0},
    {"cluster_bits 8", {{"cluster_bits", 8}}, Q2_ERR_BAD_HEADER, "cluster_bits", 8, 9, 0},
    {"cluster_bits 0", {{"cluster_bits", 0}}, Q2_ERR_BAD_HEADER, "cluster_bits", 0, 9, 0},
    {"cluster_bits 9",
     {{"cluster_bits", 9}, {"size", 32 * KIB}, {"header_length", 112}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"cluster_bits 21",
     {{"cluster_bits", 21}, {"l1_table_offset", 4 * MIB}, {"refcount_table_offset", 2 * MIB}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"cluster_bits 22", {{"cluster_bits", 22}}, Q2_ERR_LIMIT, "cluster_bits", 22, 21, 0},
    {"cluster_bits 64", {{"cluster_bits", 64}}, Q2_ERR_LIMIT, "cluster_bits", 64, 21, 0},
    {"cluster_bits 2^32 - 1",
     {{"cluster_bits", UINT32_MAX}},
     Q2_ERR_LIMIT,
     "cluster_bits",
     UINT32_MAX,
     21,
     0},
    {"crypt_method 1", {{"crypt_method", 1}}, Q2_OK, NULL, 0, 0, 0},
    {"crypt_method 2", {{"crypt_method", 2}}, Q2_OK, NULL, 0, 0, 0},
    {"crypt_method 3", {{"crypt_method", 3}}, Q2_ERR_BAD_HEADER, "crypt_method", 3, 2, 0},
    {"refcount_order 0", {{"refcount_order", 0}}, Q2_OK, NULL, 0, 0, 0},
    {"refcount_order 6", {{"refcount_order", 6}}, Q2_OK, NULL, 0, 0, 0},
    {"refcount_order 7", {{"refcount_order", 7}}, Q2_ERR_BAD_HEADER, "refcount_order", 7, 6, 0},
    {"refcount_table_clusters 0",
     {{"refcount_table_clusters", 0}},
     Q2_ERR_BAD_HEADER,
     "refcount_table_clusters",
     0,
     1,
     0},
    {"refcount_table_clusters 8 MiB",
     {{"refcount_table_clusters", 128}, {"refcount_table_offset", MIB}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"refcount_table_clusters 8 MiB and a cluster",
     {{"refcount_table_clusters", 129}, {"refcount_table_offset", MIB}},
     Q2_ERR_LIMIT,
     "refcount_table_clusters",
     129,
     128,
     0},
    {"refcount_table_clusters of any cluster size",
     {{"refcount_table_clusters", 16385}},
     Q2_ERR_LIMIT,
     "refcount_table_clusters",
     16385,
     16384,
     0},
    {"refcount_table_clusters 2^32 - 1",
     {{"refcount_table_clusters", UINT32_MAX}},
     Q2_ERR_LIMIT,
     "refcount_table_clusters",
     UINT32_MAX,
     16384,
     0},
    {"nb_snapshots 65536",
     {{"nb_snapshots", 65536}, {"snapshots_offset", MIB}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"nb_snapshots 65537",
     {{"nb_snapshots", 65537}, {"snapshots_offset", MIB}}, /* judged when a layer is opened */
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"backing_file_size 1023",
     {{"backing_file_offset", 1024}, {"backing_file_size", 1023}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"backing_file_size 1024",
     {{"backing_file_offset", 1024}, {"backing_file_size", 1024}},
     Q2_ERR_BAD_HEADER,
     "backing_file_size",
     1024,
     1023,
     0},
    {"backing_file_size without an offset",
     {{"backing_file_size", UINT32_MAX}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"l1_size 4194304", {{"l1_size", 4194304}}, Q2_OK, NULL, 0, 0, 0},
    {"l1_size 4194305", {{"l1_size", 4194305}}, Q2_ERR_LIMIT, "l1_size", 4194305, 4194304, 0},
    {"size 2^62 + 1",
     {{"size", (1ull << 62) + 1}},
     Q2_ERR_LIMIT,
     "size",
     (1ull << 62) + 1,
     1ull << 62,
     0},
    {"size 2^64 - 1", {{"size", UINT64_MAX}}, Q2_ERR_LIMIT, "size", UINT64_MAX, 1ull << 62, 0},
};

static void test_header_validate_ranges(void)
{
    CHECK_ROWS(ranges, 3);
}

static const struct row lengths[] = {
    {"header_length 104", {{"header_length", 104}}, Q2_OK, NULL, 0, 0, 0},
    {"header_length 103",
     {{"header_length", 103}},
     Q2_ERR_BAD_HEADER,
     "header_length",
     103,
     104,
     0},
    {"header_length 0", {{"header_length", 0}}, Q2_ERR_BAD_HEADER, "header_length", 0, 104, 0},
    {"header_length 108", {{"header_length", 108}}, Q2_ERR_BAD_HEADER, "header_length", 108, 0, 0},
    {"header_length one cluster", {{"header_length", 64 * KIB}}, Q2_OK, NULL, 0, 0, 0},
    {"header_length over a cluster",
     {{"header_length", 64 * KIB + 8}},
     Q2_ERR_BAD_HEADER,
     "header_length",
     64 * KIB + 8,
     64 * KIB,
     0},
};

static void test_header_validate_header_length(void)
{
    CHECK_ROWS(lengths, 3);
}

static const struct row version_2[] = {
    {"as built", {{NULL, 0}}, Q2_OK, NULL, 0, 0, 0},
    {"bytes of version 3 fields mean nothing",
     {{"header_length", 3}, {"refcount_order", 99}, {"incompatible_features", UINT64_MAX}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"backing file name at 72",
     {{"backing_file_offset", 72}, {"backing_file_size", 4}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"backing file name at 71",
     {{"backing_file_offset", 71}, {"backing_file_size", 4}},
     Q2_ERR_BAD_HEADER,
     "backing_file_offset",
     71,
     64 * KIB,
     0},
};

static void test_header_validate_version_2(void)
{
    CHECK_ROWS(version_2, 2);
}

static const struct row features[] = {
    {"zstd with its bit",
     {{"incompatible_features", Q2_INCOMPAT_COMPRESSION}, {"compression_type", 1}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"zstd without its bit",
     {{"compression_type", 1}},
     Q2_ERR_BAD_HEADER,
     "compression_type",
     1,
     0,
     0},
    {"the bit with zlib",
     {{"incompatible_features", Q2_INCOMPAT_COMPRESSION}},
     Q2_ERR_BAD_HEADER,
     "compression_type",
     0,
     0,
     0},
    {"the bit with a short header",
     {{"incompatible_features", Q2_INCOMPAT_COMPRESSION},
      {"compression_type", 1},
      {"header_length", 104}},
     Q2_ERR_BAD_HEADER,
     "compression_type",
     0,
     0,
     0},
    {"compression type 2",
     {{"incompatible_features", Q2_INCOMPAT_COMPRESSION}, {"compression_type", 2}},
     Q2_ERR_UNSUPPORTED,
     "compression_type",
     2,
     0,
     0},
    {"extended L2, 64 KiB",
     {{"incompatible_features", Q2_INCOMPAT_EXTENDED_L2}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"extended L2, 16 KiB",
     {{"incompatible_features", Q2_INCOMPAT_EXTENDED_L2}, {"cluster_bits", 14}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"extended L2, 8 KiB",
     {{"incompatible_features", Q2_INCOMPAT_EXTENDED_L2}, {"cluster_bits", 13}},
     Q2_ERR_BAD_HEADER,
     "cluster_bits",
     13,
     14,
     0},
    {"raw external data with a data file",
     {{"incompatible_features", Q2_INCOMPAT_DATA_FILE},
      {"autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"raw external data without a data file",
     {{"autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL}},
     Q2_ERR_BAD_HEADER,
     "autoclear_features",
     2,
     0,
     0},
    {"unknown features are judged elsewhere",
     {{"incompatible_features", 1ull << 63},
      {"compatible_features", UINT64_MAX},
      {"autoclear_features", ~2ull}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"dirty and corrupt are read", {{"incompatible_features", 3}}, Q2_OK, NULL, 0, 0, 0},
};

static void test_header_validate_features(void)
{
    CHECK_ROWS(features, 3);
}

static const struct row tables[] = {
    {"L1 table unaligned",
     {{"l1_table_offset", 192 * KIB + 512}},
     Q2_ERR_BAD_HEADER,
     "l1_table_offset",
     192 * KIB + 512,
     0,
     0},
    {"L1 table on the header",
     {{"l1_table_offset", 0}},
     Q2_ERR_BAD_HEADER,
     "l1_table_offset",
     0,
     0,
     0},
    {"L1 table past 2^63",
     {{"l1_table_offset", 1ull << 63}},
     Q2_ERR_BAD_HEADER,
     "l1_table_offset",
     1ull << 63,
     0,
     0},
    {"L1 table anywhere if empty",
     {{"l1_table_offset", 7}, {"l1_size", 0}, {"size", 0}},
     Q2_OK,
     NULL,
     0,
     0,
     1},
    {"refcount table unaligned",
     {{"refcount_table_offset", 1}},
     Q2_ERR_BAD_HEADER,
     "refcount_table_offset",
     1,
     0,
     0},
    {"refcount table on the header",
     {{"refcount_table_offset", 0}},
     Q2_ERR_BAD_HEADER,
     "refcount_table_offset",
     0,
     0,
     0},
    {"refcount table past 2^63",
     {{"refcount_table_offset", 0ull - 64 * KIB}},
     Q2_ERR_BAD_HEADER,
     "refcount_table_offset",
     0ull - 64 * KIB,
     0,
     0},
    {"snapshot table unaligned",
     {{"nb_snapshots", 1}, {"snapshots_offset", 64 * KIB + 8}},
     Q2_ERR_BAD_HEADER,
     "snapshots_offset",
     64 * KIB + 8,
     0,
     0},
    {"snapshot table on the header",
     {{"nb_snapshots", 1}},
     Q2_ERR_BAD_HEADER,
     "snapshots_offset",
     0,
     0,
     0},
    {"snapshot table past 2^63",
     {{"nb_snapshots", 1}, {"snapshots_offset", 1ull << 63}},
     Q2_ERR_BAD_HEADER,
     "snapshots_offset",
     1ull << 63,
     0,
     0},
    {"no snapshots, any offset", {{"snapshots_offset", 7}}, Q2_OK, NULL, 0, 0, 0},
    {"L1 on the refcount table",
     {{"l1_table_offset", 64 * KIB}},
     Q2_ERR_BAD_HEADER,
     "l1_table_offset",
     64 * KIB,
     0,
     0},
    {"L1 runs into the refcount table",
     {{"l1_table_offset", 64 * KIB}, {"l1_size", 8193}, {"refcount_table_offset", 128 * KIB}},
     Q2_ERR_BAD_HEADER,
     "l1_table_offset",
     64 * KIB,
     0,
     0},
    {"L1 ends where the refcount table begins",
     {{"l1_table_offset", 64 * KIB}, {"l1_size", 8192}, {"refcount_table_offset", 128 * KIB}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"L1 table ends with the file", {{NULL, 0}}, Q2_OK, NULL, 0, 0, 192 * KIB + 8},
    {"L1 table past the file by a byte",
     {{NULL, 0}},
     Q2_ERR_TRUNCATED,
     "l1_table_offset",
     192 * KIB,
     192 * KIB + 7,
     192 * KIB + 7},
    {"refcount table past the file is no reader's business",
     {{"refcount_table_offset", 1ull << 40}},
     Q2_OK,
     NULL,
     0,
     0,
     256 * KIB},
};

static void test_header_validate_tables(void)
{
    CHECK_ROWS(tables, 3);
}

static const struct row reach[] = {
    {"size 0 needs no L1 table", {{"size", 0}, {"l1_size", 0}}, Q2_OK, NULL, 0, 0, 0},
    {"one byte needs one entry",
     {{"size", 1}, {"l1_size", 0}},
     Q2_ERR_BAD_HEADER,
     "l1_size",
     0,
     1,
     0},
    {"one entry reaches 512 MiB", {{"size", 512 * MIB}}, Q2_OK, NULL, 0, 0, 0},
    {"and no further", {{"size", 512 * MIB + 1}}, Q2_ERR_BAD_HEADER, "l1_size", 1, 2, 0},
    {"extended entries reach half as far",
     {{"size", 256 * MIB}, {"incompatible_features", 16}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"and no further",
     {{"size", 256 * MIB + 1}, {"incompatible_features", 16}},
     Q2_ERR_BAD_HEADER,
     "l1_size",
     1,
     2,
     0},
    {"more entries are for a VM state", {{"l1_size", 100}}, Q2_OK, NULL, 0, 0, 0},
    {"64 TiB", {{"size", 64 * TIB}, {"l1_size", 131072}}, Q2_OK, NULL, 0, 0, 0},
    {"64 TiB, one entry short",
     {{"size", 64 * TIB}, {"l1_size", 131071}},
     Q2_ERR_BAD_HEADER,
     "l1_size",
     131071,
     131072,
     0},
};

static void test_header_validate_l1_reach(void)
{
    CHECK_ROWS(reach, 3);
}

static const struct row backing[] = {
    {"right after the header",
     {{"backing_file_offset", 112}, {"backing_file_size", 8}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"in the header",
     {{"backing_file_offset", 111}, {"backing_file_size", 8}},
     Q2_ERR_BAD_HEADER,
     "backing_file_offset",
     111,
     64 * KIB,
     0},
    {"to the end of the cluster",
     {{"backing_file_offset", 64 * KIB - 8}, {"backing_file_size", 8}},
     Q2_OK,
     NULL,
     0,
     0,
     0},
    {"past the end of the cluster",
     {{"backing_file_offset", 64 * KIB - 8}, {"backing_file_size", 9}},
     Q2_ERR_BAD_HEADER,
     "backing_file_offset",
     64 * KIB - 8,
     64 * KIB,
     0},
    {"offset + size wraps",
     {{"backing_file_offset", UINT64_MAX}, {"backing_file_size", 8}},
     Q2_ERR_BAD_HEADER,
     "backing_file_offset",
     UINT64_MAX,
     64 * KIB,
     0},
    {"empty name", {{"backing_file_offset", 112}}, Q2_OK, NULL, 0, 0, 0},
};

static void test_header_validate_backing(void)
{
    CHECK_ROWS(backing, 3);
}

static void test_header_l1_reach_bits_table(void)
{
    struct q2_header header = {.cluster_bits = 9};

    T_CHECK_U64(q2_header_l1_reach_bits(&header), 15);
    header.cluster_bits = 16;
    T_CHECK_U64(q2_header_l1_reach_bits(&header), 29);
    header.incompatible_features = Q2_INCOMPAT_EXTENDED_L2;
    T_CHECK_U64(q2_header_l1_reach_bits(&header), 28);
    header.cluster_bits = 21;
    T_CHECK_U64(q2_header_l1_reach_bits(&header), 38);
}

int main(void)
{
    T_RUN(test_header_decode_version_3_all_fields);
    T_RUN(test_header_decode_version_2_gets_the_defaults);
    T_RUN(test_header_decode_header_length_104_has_no_compression_type);
    T_RUN(test_header_identify_table);
    T_RUN(test_header_validate_ranges);
    T_RUN(test_header_validate_header_length);
    T_RUN(test_header_validate_version_2);
    T_RUN(test_header_validate_features);
    T_RUN(test_header_validate_tables);
    T_RUN(test_header_validate_l1_reach);
    T_RUN(test_header_validate_backing);
    T_RUN(test_header_l1_reach_bits_table);
    return t_done();
}
