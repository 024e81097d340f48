/* core/format/l2_entry.c: L1 entries, L2 entries of all kinds (HAZARDS.md, F4, F6). */
#include "core/format/l2_entry.h"
#include "tests/support/t.h"

#define COPIED     Q2_ENTRY_COPIED
#define COMPRESSED Q2_ENTRY_COMPRESSED
#define ZERO       Q2_ENTRY_ZERO
#define HOST       0x50000ull

static const struct q2_l2_rules v2 = {.cluster_bits = 16};
static const struct q2_l2_rules v3 = {.cluster_bits = 16, .version_3 = true};
static const struct q2_l2_rules extended = {
    .cluster_bits = 16, .version_3 = true, .extended = true};
static const struct q2_l2_rules external = {
    .cluster_bits = 16, .version_3 = true, .external_data = true};
static const struct q2_l2_rules extended_external = {
    .cluster_bits = 16, .version_3 = true, .extended = true, .external_data = true};

struct row {
    const char *row;
    const struct q2_l2_rules *rules;
    uint64_t entry, bitmap, guest_offset;
    enum q2_cluster_kind kind;
    bool copied, has_host_offset;
    uint64_t host_offset;
    const char *breach;
};

#define UNALLOCATED Q2_CLUSTER_UNALLOCATED
#define DATA        Q2_CLUSTER_DATA
#define BAD         Q2_CLUSTER_BAD

static const struct row standard[] = {
    {"0, v3", &v3, 0, 0, 0, UNALLOCATED, false, false, 0, NULL},
    {"0, v2", &v2, 0, 0, 0, UNALLOCATED, false, false, 0, NULL},
    {"COPIED at offset 0", &v3, COPIED, 0, 0, BAD, true, false, 0,
     "L2 entry has its COPIED flag set but no host cluster"},
    {"COPIED at offset 0, v2", &v2, COPIED, 0, 0, BAD, true, false, 0,
     "L2 entry has its COPIED flag set but no host cluster"},
    {"COPIED zero at offset 0", &v3, COPIED | ZERO, 0, 0, BAD, true, false, 0,
     "L2 entry has its COPIED flag set but no host cluster"},
    {"COPIED at offset 0, extended", &extended, COPIED, 0xffffffff00000000, 0, BAD, true, false, 0,
     "L2 entry has its COPIED flag set but no host cluster"},
    {"data", &v3, HOST, 0, 0, DATA, false, true, HOST, NULL},
    {"data, COPIED", &v3, HOST | COPIED, 0, 0, DATA, true, true, HOST, NULL},
    {"data, v2", &v2, HOST | COPIED, 0, 0, DATA, true, true, HOST, NULL},
    {"highest offset", &v3, 0x00ffffffffff0000, 0, 0, DATA, false, true, 0x00ffffffffff0000, NULL},
    {"plain zero", &v3, ZERO, 0, 0, Q2_CLUSTER_ZERO, false, false, 0, NULL},
    {"allocated zero", &v3, HOST | ZERO | COPIED, 0, 0, Q2_CLUSTER_ZERO, true, true, HOST, NULL},
    {"zero in v2", &v2, ZERO, 0, 0, BAD, false, false, 0, "zero cluster in a version 2 image"},
    {"reserved bit 1", &v3, HOST | 2, 0, 0, BAD, false, true, HOST,
     "L2 entry has a reserved bit set"},
    {"reserved bit 8", &v3, HOST | 256, 0, 0, BAD, false, true, HOST,
     "L2 entry has a reserved bit set"},
    {"reserved bit 56", &v3, HOST | 1ull << 56, 0, 0, BAD, false, true, HOST,
     "L2 entry has a reserved bit set"},
    {"reserved bit 61", &v3, 1ull << 61, 0, 0, BAD, false, false, 0,
     "L2 entry has a reserved bit set"},
    {"unaligned", &v3, HOST + 512, 0, 0, BAD, false, true, HOST + 512,
     "L2 entry's host offset does not start at a cluster"},
    {"unaligned by half", &v3, 0x8000, 0, 0, BAD, false, true, 0x8000,
     "L2 entry's host offset does not start at a cluster"},
};

static const struct row with_data_file[] = {
    {"unallocated", &external, 0, 0, 0, UNALLOCATED, false, false, 0, NULL},
    {"first cluster", &external, COPIED, 0, 0, DATA, true, true, 0, NULL},
    {"first cluster as zeros", &external, COPIED | ZERO, 0, 0, Q2_CLUSTER_ZERO, true, false, 0,
     NULL},
    {"its own place", &external, HOST | COPIED, 0, HOST, DATA, true, true, HOST, NULL},
    {"its own place, allocated zero", &external, HOST | COPIED | ZERO, 0, HOST, Q2_CLUSTER_ZERO,
     true, true, HOST, NULL},
    {"another place", &external, HOST | COPIED, 0, HOST + 0x10000, BAD, true, true, HOST,
     "host offset in the external data file is not the guest offset"},
    {"another place, allocated zero", &external, HOST | COPIED | ZERO, 0, 0, BAD, true, true, HOST,
     "host offset in the external data file is not the guest offset"},
    {"offset 0 for another cluster", &external, COPIED, 0, HOST, BAD, true, true, 0,
     "host offset in the external data file is not the guest offset"},
    {"compressed", &external, COMPRESSED | HOST, 0, HOST, BAD, false, false, 0,
     "compressed cluster in an image with an external data file"},
    {"extended, first cluster", &extended_external, COPIED, 1, 0, DATA, true, true, 0, NULL},
    {"extended, unallocated with a bitmap", &extended_external, 0, 1, 0, BAD, false, false, 0,
     "subcluster is allocated in an unallocated cluster"},
};

static const struct row subclusters[] = {
    {"nothing", &extended, 0, 0, 0, UNALLOCATED, false, false, 0, NULL},
    {"all data", &extended, HOST | COPIED, UINT32_MAX, 0, DATA, true, true, HOST, NULL},
    {"all zero, unallocated", &extended, 0, 0xffffffff00000000, 0, UNALLOCATED, false, false, 0,
     NULL},
    {"half and half", &extended, HOST, 0xffff00000000ffff, 0, DATA, false, true, HOST, NULL},
    {"allocated, nothing in it", &extended, HOST, 0, 0, DATA, false, true, HOST, NULL},
    {"both bits of one", &extended, HOST, 0x0000000100000001, 0, BAD, false, true, HOST,
     "subcluster is both allocated and zero"},
    {"both bits of the last", &extended, HOST, 0x8000000080000000, 0, BAD, false, true, HOST,
     "subcluster is both allocated and zero"},
    {"allocated in nothing", &extended, 0, 0x80000000, 0, BAD, false, false, 0,
     "subcluster is allocated in an unallocated cluster"},
    {"zero flag", &extended, HOST | ZERO, UINT32_MAX, 0, BAD, false, true, HOST,
     "L2 entry has a reserved bit set"},
    {"zero flag alone", &extended, ZERO, 0, 0, BAD, false, false, 0,
     "L2 entry has a reserved bit set"},
    {"reserved bit beats the bitmap", &extended, HOST | 2, 0x0000000100000001, 0, BAD, false, true,
     HOST, "L2 entry has a reserved bit set"},
    {"compressed", &extended, COMPRESSED | HOST, 0, 0, Q2_CLUSTER_COMPRESSED, false, true, HOST,
     NULL},
    {"compressed with a bitmap", &extended, COMPRESSED | HOST, 1, 0, BAD, false, false, 0,
     "compressed cluster with a subcluster bitmap"},
};

static void check_rows(const struct row *rows, size_t nb_rows)
{
    for (size_t i = 0; i < nb_rows; i++) {
        const struct row *row = &rows[i];
        struct q2_cluster cluster;

        t_row(row->row);
        memset(&cluster, 0xa5, sizeof(cluster));
        q2_l2_entry_decode(row->entry, row->bitmap, row->guest_offset, row->rules, &cluster);
        T_CHECK_U64(cluster.kind, row->kind);
        T_CHECK(cluster.copied == row->copied);
        T_CHECK(cluster.has_host_offset == row->has_host_offset);
        T_CHECK_U64(cluster.host_offset, row->host_offset);
        T_CHECK_STR(cluster.breach ? cluster.breach : "", row->breach ? row->breach : "");
        if (row->rules->extended && row->kind != BAD) {
            T_CHECK_U64(cluster.alloc, row->bitmap & UINT32_MAX);
            T_CHECK_U64(cluster.zero, row->bitmap >> 32);
        }
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(rows[0]))

static void test_l2_entry_decode_standard(void)
{
    CHECK_ROWS(standard);
}

static void test_l2_entry_decode_external_data_file(void)
{
    CHECK_ROWS(with_data_file);
}

static void test_l2_entry_decode_extended(void)
{
    CHECK_ROWS(subclusters);
}

/* Every single bit of an entry is either known, part of the offset, or refused. */
static void test_l2_entry_decode_every_bit(void)
{
    for (uint32_t bit = 0; bit < 62; bit++) {
        struct q2_cluster cluster;
        bool reserved = (bit >= 1 && bit <= 8) || bit >= 56;
        bool unaligned = bit >= 9 && bit <= 15;

        q2_l2_entry_decode(1ull << bit, 0, 0, &v3, &cluster);
        T_CHECK((cluster.kind == BAD) == (reserved || unaligned));
    }
}

static void test_l2_entry_decode_compressed_descriptor(void)
{
    static const struct {
        const char *row;
        uint32_t cluster_bits;
        uint64_t entry, host_offset;
        uint32_t stream_length;
    } rows[] = {
        {"one sector", 16, 0x12200, 0x12200, 512},
        {"rest of a sector", 16, 0x123ff, 0x123ff, 1},
        {"two sectors, unaligned", 16, 1ull << 54 | 0x12201, 0x12201, 1023},
        {"all sectors, 64 KiB", 16, 0xffull << 54 | 0x200, 0x200, 128 * 1024},
        {"highest offset, 64 KiB", 16, (1ull << 54) - 1, (1ull << 54) - 1, 1},
        {"512 bytes: 61 bits of offset", 9, 1ull << 61 | 0x200, 0x200, 1024},
        {"2 MiB: 49 bits of offset", 21, 0x1fffull << 49 | 0x1ffffffffff00, 0x1ffffffffff00,
         8192 * 512 - 256},
        {"offset 0", 16, 0, 0, 512},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_l2_rules rules = {.cluster_bits = rows[i].cluster_bits, .version_3 = true};
        struct q2_cluster cluster;

        t_row(rows[i].row);
        q2_l2_entry_decode(COMPRESSED | rows[i].entry, 0, 0, &rules, &cluster);
        T_CHECK_U64(cluster.kind, Q2_CLUSTER_COMPRESSED);
        T_CHECK_U64(cluster.host_offset, rows[i].host_offset);
        T_CHECK_U64(cluster.stream_length, rows[i].stream_length);
        T_CHECK(cluster.has_host_offset && !cluster.copied);
    }
}

static void test_l2_entry_decode_compressed_past_2_56_is_bad(void)
{
    struct q2_l2_rules rules = {.cluster_bits = 9, .version_3 = true};
    struct q2_cluster cluster;

    q2_l2_entry_decode(COMPRESSED | Q2_ENTRY_OFFSET, 0, 0, &rules, &cluster);
    T_CHECK_U64(cluster.kind, Q2_CLUSTER_COMPRESSED);
    q2_l2_entry_decode(COMPRESSED | 1ull << 56, 0, 0, &rules, &cluster);
    T_CHECK_U64(cluster.kind, BAD);
    T_CHECK_STR(cluster.breach, "compressed cluster is past 2^56");
}

static void test_subcluster_kind_each_position(void)
{
    struct q2_cluster cluster = {.kind = DATA, .alloc = 0x80000001, .zero = 0x40000002};

    T_CHECK_U64(q2_subcluster_kind(&cluster, 0), DATA);
    T_CHECK_U64(q2_subcluster_kind(&cluster, 1), Q2_CLUSTER_ZERO);
    T_CHECK_U64(q2_subcluster_kind(&cluster, 2), UNALLOCATED);
    T_CHECK_U64(q2_subcluster_kind(&cluster, 30), Q2_CLUSTER_ZERO);
    T_CHECK_U64(q2_subcluster_kind(&cluster, 31), DATA);
}

static void test_l1_entry_decode_table(void)
{
    static const struct {
        const char *row;
        uint64_t entry, offset;
        const char *breach;
    } rows[] = {
        {"none", 0, 0, NULL},
        {"table", HOST, HOST, NULL},
        {"table, COPIED", HOST | COPIED, HOST, NULL},
        {"highest", 0x00ffffffffff0000, 0x00ffffffffff0000, NULL},
        {"reserved bit 0", HOST | 1, 99, "L1 entry has a reserved bit set"},
        {"reserved bit 8", HOST | 256, 99, "L1 entry has a reserved bit set"},
        {"reserved bit 56", HOST | 1ull << 56, 99, "L1 entry has a reserved bit set"},
        {"reserved bit 62", HOST | 1ull << 62, 99, "L1 entry has a reserved bit set"},
        {"unaligned", HOST + 512, 99, "L2 table does not start at a cluster"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t offset = 99;
        const char *breach = q2_l1_entry_decode(rows[i].entry, 16, &offset);

        t_row(rows[i].row);
        T_CHECK_STR(breach ? breach : "", rows[i].breach ? rows[i].breach : "");
        T_CHECK_U64(offset, rows[i].offset);
    }
}

static void test_subcluster_mask_table(void)
{
    static const struct {
        uint64_t start, end;
        uint32_t mask;
    } rows[] = {
        {0, 1, 1},
        {0, 16384, UINT32_MAX},
        {511, 513, 3},
        {512, 1024, 2},
        {16383, 16384, 1u << 31},
        {5 * 16384 + 1024, 5 * 16384 + 1025, 4},
        {5 * 16384, 6 * 16384, UINT32_MAX},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        T_CHECK_U64(q2_subcluster_mask(14, rows[i].start, rows[i].end), rows[i].mask);
}

int main(void)
{
    T_RUN(test_subcluster_mask_table);
    T_RUN(test_l2_entry_decode_standard);
    T_RUN(test_l2_entry_decode_external_data_file);
    T_RUN(test_l2_entry_decode_extended);
    T_RUN(test_l2_entry_decode_every_bit);
    T_RUN(test_l2_entry_decode_compressed_descriptor);
    T_RUN(test_l2_entry_decode_compressed_past_2_56_is_bad);
    T_RUN(test_subcluster_kind_each_position);
    T_RUN(test_l1_entry_decode_table);
    return t_done();
}
