/* A FAT volume: decode the boot sector, then judge it, rule by rule.
 *
 * May call the volume's source. Invariant: a geometry that comes out of here keeps every table and
 * every cluster inside the source.
 */
#include "fat_volume.h"

#include "core/base/range.h"
#include "q2_fail.h"
#include "fat_bytes.h"

/* The boot sector.  (FAT specification, "Boot Sector and BPB") */
struct boot_disk {
    uint8_t jump[3];
    uint8_t oem_name[8];
    le16 bytes_per_sector;
    uint8_t sectors_per_cluster;
    le16 reserved_sectors;
    uint8_t nb_fats;
    le16 root_entries;
    le16 total_sectors_16;
    uint8_t media;
    le16 fat_sectors_16;
    uint8_t unused[8];
    le32 total_sectors_32;
    /* From here on as on FAT32; FAT12/16 have the volume id at 39. */
    le32 fat_sectors_32;
    le16 ext_flags;
    le16 fs_version;
    le32 root_cluster;
    le16 info_sector;
    le16 backup_boot_sector;
    uint8_t unused_32[15];
    le32 volume_id_32;
    uint8_t rest[439];
    uint8_t signature[2];
};
_Static_assert(sizeof(struct boot_disk) == 512, "FAT specification, boot sector");
_Static_assert(offsetof(struct boot_disk, total_sectors_32) == 32, "BPB_TotSec32");
_Static_assert(offsetof(struct boot_disk, root_cluster) == 44, "BPB_RootClus");
_Static_assert(offsetof(struct boot_disk, info_sector) == 48, "BPB_FSInfo");
_Static_assert(offsetof(struct boot_disk, volume_id_32) == 67, "BS_VolID of FAT32");
_Static_assert(offsetof(struct boot_disk, signature) == 510, "signature");

#define VOLUME_ID_16_OFFSET 39u /* BS_VolID of FAT12/16 */

/* FAT type determination: below 4085 clusters FAT12, below 65525 FAT16, else FAT32. But a layout of
 * FAT32 (no BPB_FATSz16) is FAT32 however few clusters it has: small sticks are formatted so, and
 * the firmware's and Linux's drivers take them for what they say they are. Numbers of clusters end
 * before 0x0ffffff7, the mark of a bad one. */
#define MIN_CLUSTERS_FAT16 4085u
#define MIN_CLUSTERS_FAT32 65525u
#define MAX_CLUSTERS_FAT32 0x0ffffff5u

/* ExtFlags of FAT32: mirroring off, and then which FAT counts. */
#define EXT_FLAGS_NO_MIRROR   0x80u
#define EXT_FLAGS_ACTIVE_MASK 0x0fu

/* The decoded form. 32-bit fields only, so that a rule can name one by its offset. */
struct boot {
    uint32_t jump, bytes_per_sector, sectors_per_cluster, reserved_sectors, nb_fats;
    uint32_t root_entries, total_sectors_16, media, fat_sectors_16, total_sectors_32;
    uint32_t fat_sectors_32, ext_flags, fs_version, root_cluster, signature;
    uint32_t info_sector, backup_boot_sector;
    /* What follows from them; valid once the fields' own rules have passed. */
    uint32_t cluster_size, fat_sectors, total_sectors, root_sectors, nb_clusters;
    uint64_t overhead; /* sectors before the first cluster */
    enum q2_fat_type type;
    uint64_t source_size;
};

enum q2_status q2_fat_fail(struct q2_fault *fault, enum q2_status status,
                           const struct q2_source *source, const char *what, const char *field,
                           uint64_t value, uint64_t offset)
{
    if (field)
        (void)q2_fail_value(fault, status, what, source->path, field, value);
    else
        (void)q2_fail(fault, status, what, source->path);
    fault->has_offset = true;
    fault->offset = offset;
    return status;
}

static void decode(const struct boot_disk *disk, struct boot *ret_boot)
{
    *ret_boot = (struct boot){
        .jump = disk->jump[0],
        .bytes_per_sector = le16_get(disk->bytes_per_sector),
        .sectors_per_cluster = disk->sectors_per_cluster,
        .reserved_sectors = le16_get(disk->reserved_sectors),
        .nb_fats = disk->nb_fats,
        .root_entries = le16_get(disk->root_entries),
        .total_sectors_16 = le16_get(disk->total_sectors_16),
        .media = disk->media,
        .fat_sectors_16 = le16_get(disk->fat_sectors_16),
        .total_sectors_32 = le32_get(disk->total_sectors_32),
        .fat_sectors_32 = le32_get(disk->fat_sectors_32),
        .ext_flags = le16_get(disk->ext_flags),
        .fs_version = le16_get(disk->fs_version),
        .root_cluster = le32_get(disk->root_cluster),
        .info_sector = le16_get(disk->info_sector),
        .backup_boot_sector = le16_get(disk->backup_boot_sector),
        .signature = (uint32_t)(disk->signature[0] | disk->signature[1] << 8),
    };
}

/* One rule of the specification about one field. */
struct rule {
    enum q2_status status; /* if it is broken */
    const char *what, *field;
    size_t boot_offset;   /* of the field in struct boot */
    uint64_t disk_offset; /* of the field in the boot sector */
    bool (*holds)(const struct boot *boot);
};

#define RULE(status, name, field, disk_offset, what, holds)                                        \
    {                                                                                              \
        status, what, name, offsetof(struct boot, field), disk_offset, holds                       \
    }

static bool holds_bytes_per_sector_set(const struct boot *boot)
{
    return boot->bytes_per_sector != 0;
}

static bool holds_nb_fats(const struct boot *boot)
{
    return boot->nb_fats != 0;
}

static bool holds_reserved_sectors(const struct boot *boot)
{
    return boot->reserved_sectors != 0;
}

static bool holds_bytes_per_sector(const struct boot *boot)
{
    return q2_is_power_of_two(boot->bytes_per_sector) && boot->bytes_per_sector >= 512 &&
           boot->bytes_per_sector <= Q2_FAT_MAX_SECTOR_SIZE;
}

static bool holds_sectors_per_cluster(const struct boot *boot)
{
    return q2_is_power_of_two(boot->sectors_per_cluster);
}

static bool holds_total_sectors(const struct boot *boot)
{
    return boot->total_sectors_16 != 0 || boot->total_sectors_32 != 0;
}

static bool holds_fat_sectors(const struct boot *boot)
{
    return boot->fat_sectors_16 != 0 || boot->fat_sectors_32 != 0;
}

/* About single fields. The first three tell other file systems from a damaged FAT. */
static const struct rule field_rules[] = {
    RULE(Q2_ERR_UNSUPPORTED, "BPB_BytsPerSec", bytes_per_sector, 11, "not a FAT volume",
         holds_bytes_per_sector_set),
    RULE(Q2_ERR_UNSUPPORTED, "BPB_NumFATs", nb_fats, 16, "not a FAT volume", holds_nb_fats),
    RULE(Q2_ERR_UNSUPPORTED, "BPB_RsvdSecCnt", reserved_sectors, 14, "not a FAT volume",
         holds_reserved_sectors),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_BytsPerSec", bytes_per_sector, 11,
         "the sector size is no power of two from 512 to 8192", holds_bytes_per_sector),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_SecPerClus", sectors_per_cluster, 13,
         "the sectors of a cluster are no power of two", holds_sectors_per_cluster),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_TotSec32", total_sectors_32, 32, "the volume has no sectors",
         holds_total_sectors),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_FATSz32", fat_sectors_32, 36, "the FATs have no sectors",
         holds_fat_sectors),
};

static bool is_fat32(const struct boot *boot)
{
    return boot->type == Q2_FAT_32;
}

/* The sectors that the partition can hold, at most as many as the boot sector counts. */
static uint64_t real_sectors(const struct boot *boot)
{
    uint64_t most = boot->source_size / boot->bytes_per_sector;

    return boot->total_sectors < most ? boot->total_sectors : most;
}

static bool holds_inside_source(const struct boot *boot)
{
    return boot->overhead < real_sectors(boot) &&
           real_sectors(boot) - boot->overhead >= boot->sectors_per_cluster;
}

static bool holds_overhead(const struct boot *boot)
{
    return boot->nb_clusters > 0;
}

static bool holds_nb_clusters(const struct boot *boot)
{
    return boot->nb_clusters <= MAX_CLUSTERS_FAT32;
}

static bool holds_fat_sectors_16(const struct boot *boot)
{
    return is_fat32(boot) || boot->nb_clusters < MIN_CLUSTERS_FAT32;
}

static bool holds_root_entries(const struct boot *boot)
{
    return is_fat32(boot) || boot->root_entries != 0;
}

/* The clusters that are inside the partition: fewer than the boot sector counts if it counts more
 * sectors than there are. Valid after holds_inside_source(). */
static uint32_t real_clusters(const struct boot *boot)
{
    return (uint32_t)(real_sectors(boot) - boot->overhead) / boot->sectors_per_cluster;
}

static bool holds_fs_version(const struct boot *boot)
{
    return !is_fat32(boot) || boot->fs_version == 0;
}

static bool holds_ext_flags(const struct boot *boot)
{
    return !is_fat32(boot) || (boot->ext_flags & EXT_FLAGS_NO_MIRROR) == 0 ||
           (boot->ext_flags & EXT_FLAGS_ACTIVE_MASK) < boot->nb_fats;
}

static bool holds_root_cluster(const struct boot *boot)
{
    return !is_fat32(boot) ||
           (boot->root_cluster >= 2 && boot->root_cluster - 2 < real_clusters(boot));
}

/* About fields against each other, once the geometry is computed. */
static const struct rule geometry_rules[] = {
    RULE(Q2_ERR_BAD_VOLUME, "BPB_FATSz32", fat_sectors, 36, "the FATs leave no room for clusters",
         holds_overhead),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_TotSec32", total_sectors, 32,
         "the FAT volume is larger than its partition, which has no room for a cluster",
         holds_inside_source),
    RULE(Q2_ERR_BAD_VOLUME, "CountofClusters", nb_clusters, 32, "the volume has too many clusters",
         holds_nb_clusters),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_FATSz16", fat_sectors_16, 22,
         "the volume has too many clusters for FAT16", holds_fat_sectors_16),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_RootEntCnt", root_entries, 17,
         "the root directory of FAT12 or FAT16 has no entries", holds_root_entries),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_FSVer", fs_version, 42, "unknown version of FAT32",
         holds_fs_version),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_ExtFlags", ext_flags, 40, "the active FAT does not exist",
         holds_ext_flags),
    RULE(Q2_ERR_BAD_VOLUME, "BPB_RootClus", root_cluster, 44,
         "the root directory is in no cluster of the volume", holds_root_cluster),
};

static enum q2_status judge(const struct rule *rules, size_t nb_rules, const struct boot *boot,
                            const struct q2_source *source, struct q2_fault *fault)
{
    for (size_t i = 0; i < nb_rules; i++) {
        const struct rule *rule = &rules[i];
        uint32_t value;
        if (rule->holds(boot))
            continue;
        __builtin_memcpy(&value, (const uint8_t *)boot + rule->boot_offset, sizeof(value));
        return q2_fat_fail(fault, rule->status, source, rule->what, rule->field, value,
                           rule->disk_offset);
    }
    return Q2_OK;
}

/* "FAT type determination", step by step. The fields' own rules have passed. Sums are 64 bits wide:
 * 255 FATs of 2^32 sectors do not overflow them. The driver of the firmware takes BPB_RootEntCnt of
 * FAT32 for 0, whatever it is. */
static void compute_geometry(struct boot *boot)
{
    uint32_t root_bytes = boot->fat_sectors_16 == 0 ? 0 : boot->root_entries * 32;

    boot->cluster_size = boot->sectors_per_cluster * boot->bytes_per_sector;
    boot->fat_sectors = boot->fat_sectors_16 != 0 ? boot->fat_sectors_16 : boot->fat_sectors_32;
    boot->total_sectors =
        boot->total_sectors_16 != 0 ? boot->total_sectors_16 : boot->total_sectors_32;
    boot->root_sectors = (root_bytes + boot->bytes_per_sector - 1) / boot->bytes_per_sector;
    boot->overhead =
        boot->reserved_sectors + (uint64_t)boot->nb_fats * boot->fat_sectors + boot->root_sectors;
    boot->nb_clusters = 0;
    if (boot->overhead < boot->total_sectors)
        boot->nb_clusters =
            (uint32_t)(boot->total_sectors - boot->overhead) / boot->sectors_per_cluster;
    boot->type = boot->fat_sectors_16 == 0                ? Q2_FAT_32
                 : boot->nb_clusters < MIN_CLUSTERS_FAT16 ? Q2_FAT_12
                                                          : Q2_FAT_16;
}

static bool is_odd_jump(const struct boot *boot)
{
    return boot->jump != 0xeb && boot->jump != 0xe9;
}

static bool is_odd_signature(const struct boot *boot)
{
    return boot->signature != 0xaa55;
}

static bool is_odd_media(const struct boot *boot)
{
    return boot->media != 0xf0 && boot->media < 0xf8;
}

static bool is_odd_sectors(const struct boot *boot)
{
    return boot->total_sectors > boot->source_size / boot->bytes_per_sector;
}

static bool is_odd_coverage(const struct boot *boot)
{
    static const uint8_t entry_bits[] = {[Q2_FAT_12] = 12, [Q2_FAT_16] = 16, [Q2_FAT_32] = 32};
    uint64_t bits = (uint64_t)boot->fat_sectors * boot->bytes_per_sector * 8;

    return bits / entry_bits[boot->type] < (uint64_t)real_clusters(boot) + 2;
}

static bool is_odd_root_entries(const struct boot *boot)
{
    return is_fat32(boot) && boot->root_entries != 0;
}

/* 0: there is none. The firmware's driver writes the sector when it has counted free clusters,
 * whatever was there before. */
static bool is_odd_info_sector(const struct boot *boot)
{
    return is_fat32(boot) && boot->info_sector != 0 &&
           (boot->info_sector >= boot->reserved_sectors ||
            boot->info_sector == boot->backup_boot_sector);
}

/* What the specification asks for and the firmware's driver does not. */
static const struct {
    uint32_t bit;
    bool (*is_odd)(const struct boot *boot);
} odd_rows[] = {
    {Q2_FAT_ODD_JUMP, is_odd_jump},
    {Q2_FAT_ODD_SIGNATURE, is_odd_signature},
    {Q2_FAT_ODD_MEDIA, is_odd_media},
    {Q2_FAT_ODD_SECTORS, is_odd_sectors},
    {Q2_FAT_ODD_COVERAGE, is_odd_coverage},
    {Q2_FAT_ODD_ROOT_ENTRIES, is_odd_root_entries},
    {Q2_FAT_ODD_INFO_SECTOR, is_odd_info_sector},
};

static uint32_t odd_bits(const struct boot *boot)
{
    uint32_t odd = 0;

    for (size_t i = 0; i < sizeof(odd_rows) / sizeof(odd_rows[0]); i++)
        odd |= odd_rows[i].is_odd(boot) ? odd_rows[i].bit : 0;
    return odd;
}

/* A checked boot sector as bytes. Which FAT counts: the first, as in every driver; the active one
 * where FAT32 says that they are not mirrored. */
static void fill_volume(const struct boot *boot, struct q2_source *source,
                        struct q2_fat_volume *ret_volume)
{
    uint64_t sector = boot->bytes_per_sector;
    uint64_t first_fat = boot->reserved_sectors * sector;
    uint64_t fat_size = boot->fat_sectors * sector;
    bool mirrored = !is_fat32(boot) || (boot->ext_flags & EXT_FLAGS_NO_MIRROR) == 0;
    uint32_t active = mirrored ? 0 : boot->ext_flags & EXT_FLAGS_ACTIVE_MASK;

    *ret_volume = (struct q2_fat_volume){
        .source = source,
        .type = boot->type,
        .sector_size = boot->bytes_per_sector,
        .cluster_size = boot->cluster_size,
        .nb_clusters = real_clusters(boot),
        .fat_offset = first_fat + active * fat_size,
        .fat_size = fat_size,
        .mirror_offset = first_fat + fat_size,
        .has_mirror = mirrored && boot->nb_fats > 1,
        .root_offset = first_fat + boot->nb_fats * fat_size,
        .root_size = is_fat32(boot) ? 0 : boot->root_entries * 32,
        .root_cluster = is_fat32(boot) ? boot->root_cluster : 0,
        .data_offset = boot->overhead * sector,
        .odd = odd_bits(boot),
    };
}

static uint32_t volume_id(const struct boot_disk *disk, enum q2_fat_type type)
{
    le32 id = disk->volume_id_32;

    if (type != Q2_FAT_32)
        __builtin_memcpy(&id, (const uint8_t *)disk + VOLUME_ID_16_OFFSET, sizeof(id));
    return le32_get(id);
}

#define NB_RULES(rules) (sizeof(rules) / sizeof((rules)[0]))

enum q2_status q2_fat_volume_open(struct q2_source *source, struct q2_fault *fault,
                                  struct q2_fat_volume *ret_volume)
{
    struct boot_disk disk;
    struct boot boot;
    enum q2_status status;

    if (source->size < sizeof(disk))
        return q2_fat_fail(fault, Q2_ERR_UNSUPPORTED, source,
                           "the volume is smaller than a boot sector", NULL, 0, 0);
    status = source->ops->read_at(source, 0, &disk, sizeof(disk));
    if (status != Q2_OK)
        return q2_fat_fail(fault, status, source, NULL, NULL, 0, 0);
    decode(&disk, &boot);
    boot.source_size = source->size;
    status = judge(field_rules, NB_RULES(field_rules), &boot, source, fault);
    if (status != Q2_OK)
        return status;
    compute_geometry(&boot);
    status = judge(geometry_rules, NB_RULES(geometry_rules), &boot, source, fault);
    if (status != Q2_OK)
        return status;
    fill_volume(&boot, source, ret_volume);
    ret_volume->volume_id = volume_id(&disk, boot.type);
    ret_volume->volume_id_offset = boot.type == Q2_FAT_32
                                       ? (uint32_t)offsetof(struct boot_disk, volume_id_32)
                                       : VOLUME_ID_16_OFFSET;
    return Q2_OK;
}
