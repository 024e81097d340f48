/* The boot sector's rules: a passing row, a failing row and the field's name for each. */
#include "tests/support/fat_builder.h"
#include "tests/support/t.h"

static enum q2_status open_volume(struct fat_builder *fb, struct q2_fault *fault,
                                  struct q2_fat_volume *volume)
{
    memset(fault, 0, sizeof(*fault));
    return q2_fat_volume_open(&fb->memory.source, fault, volume);
}

/* A count of clusters that makes a volume of each type, and a few to spare for FAT32. */
static uint32_t clusters_of(uint32_t bits)
{
    return bits == 12 ? 100 : bits == 16 ? 4085 : 65600;
}

static void test_open_every_sector_and_cluster_size_is_understood(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) {
        for (uint32_t sector = 512; sector <= 8192; sector *= 2) {
            for (uint32_t spc = 1; spc <= 128; spc *= 2) {
                struct fat_builder fb;
                struct q2_fault fault;
                struct q2_fat_volume volume;
                char row[64];
                uint32_t bits = all_bits[b];

                (void)snprintf(row, sizeof(row), "FAT%u sector %u x%u", bits, sector, spc);
                t_row(row);
                fb_make(&fb, bits, sector, spc, clusters_of(bits), 2);
                if (!T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK))
                    printf("# %s\n", fault.what);
                T_CHECK_U64(volume.type, b);
                T_CHECK_U64(volume.sector_size, sector);
                T_CHECK_U64(volume.cluster_size, spc * sector);
                T_CHECK_U64(volume.nb_clusters, fb.nb_clusters);
                T_CHECK_U64(volume.fat_offset, fb.fat_offset);
                T_CHECK_U64(volume.fat_size, fb.fat_size);
                T_CHECK_U64(volume.mirror_offset, fb.fat_offset + fb.fat_size);
                T_CHECK(volume.has_mirror);
                T_CHECK_U64(volume.data_offset, fb.data_offset);
                T_CHECK_U64(volume.root_cluster, bits == 32 ? 2 : 0);
                T_CHECK_U64(volume.root_size, bits == 32 ? 0 : FB_ROOT_ENTRIES * 32);
                if (bits != 32)
                    T_CHECK_U64(volume.root_offset, fb.root_offset);
                T_CHECK_U64(volume.volume_id, 0x12345678);
                T_CHECK_U64(volume.odd, 0);
                fb_free(&fb);
            }
        }
    }
}

static void test_open_type_is_decided_by_the_count_of_clusters(void)
{
    static const struct {
        const char *row;
        uint32_t bits, nb_clusters;
        enum q2_status status;
        const char *field;
    } rows[] = {
        {"1 cluster", 12, 1, Q2_OK, NULL},
        {"4084 is FAT12", 12, 4084, Q2_OK, NULL},
        {"4084 in a FAT16 layout is read as FAT12", 16, 4084, Q2_OK, NULL},
        {"4085 is FAT16", 16, 4085, Q2_OK, NULL},
        {"4085 is FAT16, whatever its FAT can hold", 12, 4085, Q2_OK, NULL},
        {"65524 is FAT16", 16, 65524, Q2_OK, NULL},
        {"65524 in a FAT32 layout is FAT32", 32, 65524, Q2_OK, NULL},
        {"100 in a FAT32 layout are FAT32", 32, 100, Q2_OK, NULL},
        {"65525 is FAT32", 32, 65525, Q2_OK, NULL},
        {"65525 in a FAT16 layout", 16, 65525, Q2_ERR_BAD_VOLUME, "BPB_FATSz16"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        struct q2_fault fault;
        struct q2_fat_volume volume;

        t_row(rows[i].row);
        fb_make(&fb, rows[i].bits, 512, 1, rows[i].nb_clusters, 2);
        T_CHECK_U64(open_volume(&fb, &fault, &volume), rows[i].status);
        if (rows[i].status == Q2_OK)
            T_CHECK_U64(volume.type, rows[i].bits == 32           ? Q2_FAT_32
                                     : rows[i].nb_clusters < 4085 ? Q2_FAT_12
                                                                  : Q2_FAT_16);
        else
            T_CHECK_STR(fault.field, rows[i].field);
        fb_free(&fb);
    }
}

/* One field of a good volume of one type set to a value. */
static const struct {
    const char *row;
    uint32_t bits;
    uint64_t offset;
    unsigned width;
    uint64_t value;
    enum q2_status status;
    const char *field; /* of the fault */
    uint32_t odd;
} broken_rows[] = {
    {"jump e9 is fine", 12, 0, 1, 0xe9, Q2_OK, NULL, 0},
    {"jump", 12, 0, 1, 0x00, Q2_OK, NULL, Q2_FAT_ODD_JUMP},
    {"signature", 16, 510, 2, 0, Q2_OK, NULL, Q2_FAT_ODD_SIGNATURE},
    {"sector size 0", 16, 11, 2, 0, Q2_ERR_UNSUPPORTED, "BPB_BytsPerSec", 0},
    {"sector size 256", 16, 11, 2, 256, Q2_ERR_BAD_VOLUME, "BPB_BytsPerSec", 0},
    {"sector size 513", 16, 11, 2, 513, Q2_ERR_BAD_VOLUME, "BPB_BytsPerSec", 0},
    {"sector size 16384", 16, 11, 2, 16384, Q2_ERR_BAD_VOLUME, "BPB_BytsPerSec", 0},
    {"cluster of 0 sectors", 16, 13, 1, 0, Q2_ERR_BAD_VOLUME, "BPB_SecPerClus", 0},
    {"cluster of 3 sectors", 16, 13, 1, 3, Q2_ERR_BAD_VOLUME, "BPB_SecPerClus", 0},
    {"no reserved sectors", 16, 14, 2, 0, Q2_ERR_UNSUPPORTED, "BPB_RsvdSecCnt", 0},
    {"no FATs", 32, 16, 1, 0, Q2_ERR_UNSUPPORTED, "BPB_NumFATs", 0},
    {"FATs without end", 32, 16, 1, 255, Q2_ERR_BAD_VOLUME, "BPB_FATSz32", 0},
    {"no root entries in FAT16", 16, 17, 2, 0, Q2_ERR_BAD_VOLUME, "BPB_RootEntCnt", 0},
    {"root entries in FAT32", 32, 17, 2, 16, Q2_OK, NULL, Q2_FAT_ODD_ROOT_ENTRIES},
    {"media f0 is fine", 16, 21, 1, 0xf0, Q2_OK, NULL, 0},
    {"media f7", 16, 21, 1, 0xf7, Q2_OK, NULL, Q2_FAT_ODD_MEDIA},
    {"media 0", 16, 21, 1, 0, Q2_OK, NULL, Q2_FAT_ODD_MEDIA},
    {"no sectors", 16, 19, 2, 0, Q2_ERR_BAD_VOLUME, "BPB_TotSec32", 0},
    {"more sectors than FAT32 can number", 32, 32, 4, 0xffffffff, Q2_ERR_BAD_VOLUME,
     "CountofClusters", 0},
    {"many more sectors than there are", 32, 32, 4, 0x0fffffff, Q2_OK, NULL, Q2_FAT_ODD_SECTORS},
    {"one sector too many", 16, 19, 2, 4 + 2 * 16 + 16 + 4086, Q2_OK, NULL, Q2_FAT_ODD_SECTORS},
    {"no sectors in the FATs", 16, 22, 2, 0, Q2_ERR_BAD_VOLUME, "BPB_FATSz32", 0},
    {"FAT larger than the volume", 16, 22, 2, 65535, Q2_ERR_BAD_VOLUME, "BPB_FATSz32", 0},
    {"FAT of one sector", 16, 22, 2, 1, Q2_OK, NULL, Q2_FAT_ODD_COVERAGE},
    {"FAT of one sector less", 16, 22, 2, 15, Q2_OK, NULL, Q2_FAT_ODD_COVERAGE},
    {"FAT32 larger than 2^64", 32, 36, 4, 0xffffffff, Q2_ERR_BAD_VOLUME, "BPB_FATSz32", 0},
    {"FAT32 version", 32, 42, 2, 1, Q2_ERR_BAD_VOLUME, "BPB_FSVer", 0},
    {"active FAT 1 is fine", 32, 40, 2, 0x81, Q2_OK, NULL, 0},
    {"active FAT 2 of 2", 32, 40, 2, 0x82, Q2_ERR_BAD_VOLUME, "BPB_ExtFlags", 0},
    {"active FAT without meaning", 32, 40, 2, 0x02, Q2_OK, NULL, 0},
    {"root cluster 0", 32, 44, 4, 0, Q2_ERR_BAD_VOLUME, "BPB_RootClus", 0},
    {"root cluster 1", 32, 44, 4, 1, Q2_ERR_BAD_VOLUME, "BPB_RootClus", 0},
    {"root cluster is the last", 32, 44, 4, 65601, Q2_OK, NULL, 0},
    {"no info sector", 32, 48, 2, 0, Q2_OK, NULL, 0},
    {"info sector is the last reserved one", 32, 48, 2, 3, Q2_OK, NULL, 0},
    {"info sector in the FAT", 32, 48, 2, 4, Q2_OK, NULL, Q2_FAT_ODD_INFO_SECTOR},
    {"info sector ffff", 32, 48, 2, 0xffff, Q2_OK, NULL, Q2_FAT_ODD_INFO_SECTOR},
    {"info sector beside the backup", 32, 48, 4, 0x00020001, Q2_OK, NULL, 0},
    {"info sector is the backup", 32, 48, 4, 0x00020002, Q2_OK, NULL, Q2_FAT_ODD_INFO_SECTOR},
    {"info sector has no meaning in FAT16", 16, 48, 2, 0xffff, Q2_OK, NULL, 0},
    {"root cluster past the last", 32, 44, 4, 65602, Q2_ERR_BAD_VOLUME, "BPB_RootClus", 0},
};

static void test_open_every_odd_field_is_noted_or_refused_by_name(void)
{
    for (size_t i = 0; i < sizeof(broken_rows) / sizeof(broken_rows[0]); i++) {
        struct fat_builder fb;
        struct q2_fault fault;
        struct q2_fat_volume volume;
        enum q2_status want = broken_rows[i].status;

        t_row(broken_rows[i].row);
        fb_make(&fb, broken_rows[i].bits, 512, 1, clusters_of(broken_rows[i].bits), 2);
        fb_put(&fb, broken_rows[i].offset, broken_rows[i].width, broken_rows[i].value);
        if (T_CHECK_U64(open_volume(&fb, &fault, &volume), want) && want != Q2_OK) {
            T_CHECK_U64(fault.status, want);
            T_CHECK_STR(fault.field ? fault.field : "", broken_rows[i].field);
            T_CHECK_STR(fault.file, "vol");
            T_CHECK(fault.what != NULL && fault.has_value);
        } else if (want == Q2_OK) {
            T_CHECK_U64(volume.odd, broken_rows[i].odd);
            T_CHECK(volume.nb_clusters <= clusters_of(broken_rows[i].bits) + 30);
            T_CHECK(volume.data_offset + (uint64_t)volume.nb_clusters * volume.cluster_size <=
                    fb.size);
        }
        fb_free(&fb);
    }
}

/* A partition that is cut off: clusters past its end are not there, the others are. */
/* A FAT of 20 sectors has 5120 entries, and the first two are of no cluster. */
static void test_open_fat_with_an_entry_less_than_clusters_is_noted(void)
{
    static const struct {
        uint32_t nb_clusters, odd;
    } rows[] = {{5118, 0}, {5119, Q2_FAT_ODD_COVERAGE}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fat_builder fb;
        struct q2_fault fault;
        struct q2_fat_volume volume;

        fb_make(&fb, 16, 512, 1, 5119, 2);
        fb_put(&fb, 22, 2, 20);                                    /* BPB_FATSz16 */
        fb_put(&fb, 19, 2, 4 + 2 * 20 + 16 + rows[i].nb_clusters); /* BPB_TotSec16 */
        T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
        T_CHECK_U64(volume.nb_clusters, rows[i].nb_clusters);
        T_CHECK_U64(volume.odd, rows[i].odd);
        fb_free(&fb);
    }
}

static void test_open_partition_shorter_than_the_volume_has_fewer_clusters(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 16, 512, 4, 5000, 2);
    fb.memory.source.size = fb.size - 1;
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
    T_CHECK_U64(volume.nb_clusters, 4999);
    T_CHECK_U64(volume.type, Q2_FAT_16);
    T_CHECK_U64(volume.odd, Q2_FAT_ODD_SECTORS);
    fb.memory.source.size = fb.data_offset + 4 * 512;
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
    T_CHECK_U64(volume.nb_clusters, 1);
    T_CHECK_U64(volume.type, Q2_FAT_16); /* the boot sector's count decides */
    fb.memory.source.size--;
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_BAD_VOLUME);
    T_CHECK_STR(fault.field, "BPB_TotSec32");
    fb_free(&fb);
}

static void test_open_active_fat_without_mirror_is_the_one_used(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 32, 512, 1, 65525, 2);
    fb_put(&fb, 40, 2, 0x81);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
    T_CHECK_U64(volume.fat_offset, fb.fat_offset + fb.fat_size);
    T_CHECK(!volume.has_mirror);
    fb_free(&fb);
}

static void test_open_single_fat_has_no_mirror(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 16, 512, 1, 4085, 1);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
    T_CHECK(!volume.has_mirror);
    fb_free(&fb);
}

static void test_open_volume_shorter_than_a_boot_sector_is_refused(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 12, 512, 1, 100, 2);
    fb.memory.source.size = 511;
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_UNSUPPORTED);
    fb.memory.source.size = 0;
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_UNSUPPORTED);
    fb_free(&fb);
}

/* NTFS and exFAT boot sectors as far as they matter; an ext4 volume starts with zeros. */
static void test_open_other_file_systems_are_unsupported(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 16, 512, 1, 4085, 2);
    memset(fb.bytes, 0, 512);
    t_row("ext4");
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_UNSUPPORTED);
    t_row("exFAT");
    memcpy(fb.bytes,
           "\xeb\x76\x90"
           "EXFAT   ",
           11);
    fb_put(&fb, 510, 2, 0xaa55);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_UNSUPPORTED);
    t_row("NTFS");
    memcpy(fb.bytes,
           "\xeb\x52\x90"
           "NTFS    ",
           11);
    fb_put(&fb, 11, 2, 512);
    fb_put(&fb, 13, 1, 8);
    fb_put(&fb, 21, 1, 0xf8);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_UNSUPPORTED);
    fb_free(&fb);
}

static void test_longest_file_ends_a_cluster_before_4_gib(void)
{
    static const struct {
        const char *name;
        uint32_t cluster_size;
        uint64_t want;
    } rows[] = {
        {"512 bytes", 512, 4294966784},
        {"4 KiB", 4096, 4294963200},
        {"64 KiB", 65536, 4294901760},
        {"512 KiB", 1u << 19, 4294443008},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct q2_fat_volume volume = {.cluster_size = rows[i].cluster_size};
        uint64_t size = q2_fat_max_file_size(&volume);

        t_row(rows[i].name);
        T_CHECK_U64(size, rows[i].want);
        T_CHECK_U64(size % rows[i].cluster_size, 0);
        /* The sum of its clusters, in the 32 bits in which fsck.fat 4.2 adds them up. */
        T_CHECK_U64((uint32_t)(size / rows[i].cluster_size * rows[i].cluster_size), size);
    }
}

static void test_open_gives_the_error_of_the_source(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    struct q2_fat_volume volume;

    fb_make(&fb, 16, 512, 1, 4085, 2);
    fb_fail_call(&fb, 1);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_ERR_IO);
    T_CHECK_U64(fault.status, Q2_ERR_IO);
    T_CHECK(fault.has_offset && fault.offset == 0);
    T_CHECK_U64(open_volume(&fb, &fault, &volume), Q2_OK);
    fb_free(&fb);
}

int main(void)
{
    T_RUN(test_open_every_sector_and_cluster_size_is_understood);
    T_RUN(test_open_type_is_decided_by_the_count_of_clusters);
    T_RUN(test_open_every_odd_field_is_noted_or_refused_by_name);
    T_RUN(test_open_fat_with_an_entry_less_than_clusters_is_noted);
    T_RUN(test_open_partition_shorter_than_the_volume_has_fewer_clusters);
    T_RUN(test_open_active_fat_without_mirror_is_the_one_used);
    T_RUN(test_open_single_fat_has_no_mirror);
    T_RUN(test_open_volume_shorter_than_a_boot_sector_is_refused);
    T_RUN(test_open_other_file_systems_are_unsupported);
    T_RUN(test_longest_file_ends_a_cluster_before_4_gib);
    T_RUN(test_open_gives_the_error_of_the_source);
    return t_done();
}
