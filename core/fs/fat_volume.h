/* A FAT volume: its geometry, out of the boot sector.  (FAT specification: Microsoft, "FAT32 File
 * System Specification", 1.03, the BPB and "FAT type determination")
 *
 * May call the volume's source and core/base. The source is the volume (the partition), so the same
 * objects run on the host and in firmware. Nothing is written and nothing is allocated. Every field
 * is untrusted until the checks here have passed.
 *
 * For reading, a volume is accepted where the firmware's own FAT driver mounts it, because the file
 * was found by that driver. What is unusual and yet does not hide the file's clusters is an oddity:
 * a bit in `odd`, see fat_judge.h. A field that makes the place of a cluster uncertain is refused
 * with a fault that names the field.
 */
#ifndef Q2_CORE_FAT_VOLUME_H
#define Q2_CORE_FAT_VOLUME_H

#include "q2_source.h"
#include "q2_status.h"

enum q2_fat_type {
    Q2_FAT_12,
    Q2_FAT_16,
    Q2_FAT_32,
};

/* Sectors and clusters that the firmware's driver mounts: 128 sectors of 8192 bytes at most. */
#define Q2_FAT_MAX_SECTOR_SIZE  8192u
#define Q2_FAT_MAX_CLUSTER_SIZE (128u * Q2_FAT_MAX_SECTOR_SIZE)

/* Oddities of a volume: bits of struct q2_fat_volume.odd. Those of a file follow in fat_judge.h. */
#define Q2_FAT_ODD_JUMP         0x0001u /* BS_jmpBoot is no jump */
#define Q2_FAT_ODD_SIGNATURE    0x0002u /* no 0xaa55 at offset 510 */
#define Q2_FAT_ODD_MEDIA        0x0004u /* BPB_Media is none of the defined values */
#define Q2_FAT_ODD_SECTORS      0x0008u /* BPB_TotSec is larger than the partition */
#define Q2_FAT_ODD_COVERAGE     0x0010u /* a FAT has no entries for the last clusters */
#define Q2_FAT_ODD_ROOT_ENTRIES 0x0020u /* BPB_RootEntCnt is set on FAT32 */
#define Q2_FAT_ODD_INFO_SECTOR  0x0040u /* BPB_FSInfo names a sector of something else */

/* Smallest working buffer of the functions that follow chains: a quarter of it is one window. */
#define Q2_FAT_MIN_BUFFER (32u * 1024)

/* Geometry in bytes. Every cluster 2 .. nb_clusters + 1 and every FAT is inside the source. The
 * FAT may have fewer entries than there are clusters: fat_table.c checks each entry's place. */
struct q2_fat_volume {
    struct q2_source *source;
    enum q2_fat_type type;
    uint32_t sector_size;
    uint32_t cluster_size;
    uint32_t nb_clusters;
    uint64_t fat_offset;    /* of the FAT that counts */
    uint64_t fat_size;      /* of one FAT */
    uint64_t mirror_offset; /* of the second FAT, which should say the same, if has_mirror */
    uint64_t root_offset;   /* FAT12/16 */
    uint32_t root_size;     /* FAT12/16 */
    uint32_t root_cluster;  /* FAT32 */
    uint64_t data_offset;   /* of cluster 2 */
    uint32_t volume_id;
    uint32_t odd;              /* Q2_FAT_ODD_ bits */
    uint32_t volume_id_offset; /* where it is stored, bytes from the start of the volume */
    bool has_mirror;
};

/* Read the geometry of a volume.
 *
 * FAT12 and FAT16 are told apart by the count of clusters that the boot sector gives. A layout of
 * FAT32 is FAT32 with any count, as Linux has it: mkfs.fat -F 32 on a small stick makes such
 * volumes.
 *
 * source      the volume; must outlive ret_volume
 * fault       filled on any error
 *
 * Q2_ERR_UNSUPPORTED  not FAT: no FATs, no reserved sectors or sectors of 0 bytes (NTFS, exFAT,
 *                     ext4, ISO 9660). A FAT driver refuses such a volume too.
 * Q2_ERR_BAD_VOLUME   FAT, but a field is out of its range or contradicts another, so that it is
 *                     uncertain where clusters are stored
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the source failed
 */
enum q2_status q2_fat_volume_open(struct q2_source *source, struct q2_fault *fault,
                                  struct q2_fat_volume *ret_volume);

/* Is this the number of a cluster that the volume has? */
static inline bool q2_fat_cluster_valid(const struct q2_fat_volume *volume, uint32_t cluster)
{
    return cluster >= 2 && cluster - 2 < volume->nb_clusters;
}

/* The longest file that every program can handle, in bytes. FAT counts a file's size in 32 bits. A
 * program that adds up the sizes of the clusters in 32 bits gets 0 if the last cluster ends at
 * 4 GiB, and takes the file for empty. */
static inline uint64_t q2_fat_max_file_size(const struct q2_fat_volume *volume)
{
    return (1ull << 32) - volume->cluster_size;
}

/* Where a cluster is stored; cluster must be valid. */
static inline uint64_t q2_fat_cluster_offset(const struct q2_fat_volume *volume, uint32_t cluster)
{
    return volume->data_offset + (uint64_t)(cluster - 2) * volume->cluster_size;
}

/* Fill a fault about the volume's own structures.
 *
 * what    static text
 * field   the specification's name, static text, or NULL; then value means nothing
 * offset  bytes into the volume
 */
enum q2_status q2_fat_fail(struct q2_fault *fault, enum q2_status status,
                           const struct q2_source *source, const char *what, const char *field,
                           uint64_t value, uint64_t offset);

#endif
