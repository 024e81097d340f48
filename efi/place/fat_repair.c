/* Putting right what keeps a file of the FAT place from being written.
 *
 * A power cut while a file is made longer leaves harmless damage of two forms: the two FATs differ,
 * and the chain of clusters is longer or shorter than the size in the directory entry. The first is
 * put right below the file system, which keeps no bytes of the second FAT. The others are put right
 * by the file system itself: here a chain that is too short, in fat_room.c one that is too long.
 *
 * Calls the file system and core/fs/, outside of requests only. Invariant: the file's bytes stay as
 * they are; a file is shortened only by bytes that have no cluster.
 */
#include "fat_place.h"

#include "q2_fail.h"
#include "efi/base/firmware.h"

const char *mc_fat_oddity_text(uint32_t odd, enum q2_fat_write limit)
{
    const struct q2_fat_oddity *oddity;

    for (size_t i = 0; (oddity = q2_fat_oddity(i)) != NULL; i++) {
        if ((odd & oddity->bit) != 0 && oddity->write >= limit)
            return oddity->what;
    }
    return NULL;
}

/* Let the file end where its chain ends. The file system finds the chain broken the first time if
 * it does not end with a proper mark; it has set one by then. */
static enum q2_status shorten(struct mc_fat_place *place, struct mc_fat_file *file,
                              struct q2_fault *fault, struct mc_fat_map *map)
{
    uint64_t size = map->chain.size;

    mc_free(map->extents);
    map->extents = NULL;
    if (EFI_ERROR(mc_fat_set_size(file, size)) && EFI_ERROR(mc_fat_set_size(file, size)))
        return q2_fail(
            fault, Q2_ERR_BAD_VOLUME,
            "the cluster chain is shorter than the file, and the firmware cannot shorten "
            "the file; check the volume with 'fsck.fat' or 'chkdsk'",
            file->path);
    return mc_fat_map_make(place, file, true, fault, map);
}

/* May the firmware's driver shorten a file?  It changes the FAT, and then the count of free
 * clusters in the sector that the boot sector names. */
static bool can_shorten(uint32_t odd)
{
    return q2_fat_write_limit(odd) != Q2_FAT_WRITE_NOTHING && (odd & Q2_FAT_ODD_INFO_SECTOR) == 0;
}

/* What is still wrong after all repairs. */
static enum q2_status refuse(const struct mc_fat_file *file, struct q2_fault *fault,
                             struct mc_fat_map *map)
{
    enum q2_fat_write limit = q2_fat_write_limit(map->odd);
    bool is_short = (map->odd & Q2_FAT_ODD_SHORT) != 0;

    if (limit != Q2_FAT_WRITE_NOTHING && !is_short)
        return Q2_OK;
    mc_free(map->extents);
    map->extents = NULL;
    return q2_fail(fault, Q2_ERR_BAD_VOLUME,
                   mc_fat_oddity_text(is_short ? Q2_FAT_ODD_SHORT : map->odd,
                                      is_short ? Q2_FAT_WRITE_ALL : Q2_FAT_WRITE_NOTHING),
                   file->path);
}

enum q2_status mc_fat_make_writable(struct mc_fat_place *place, struct mc_fat_file *file,
                                    struct q2_fault *fault, struct mc_fat_map *map)
{
    uint32_t odd = map->odd;
    enum q2_status status = Q2_OK;

    if ((map->odd & Q2_FAT_ODD_SHORT) != 0 && can_shorten(odd))
        status = shorten(place, file, fault, map);
    if (status == Q2_OK)
        status = refuse(file, fault, map);
    if (status != Q2_OK)
        return status;
    if ((map->odd & Q2_FAT_ODD_COPY) != 0) {
        status = mc_fat_repair_copy(&place->fat, map, fault);
        map->odd &= ~Q2_FAT_ODD_COPY;
    }
    if (status != Q2_OK) {
        mc_free(map->extents);
        map->extents = NULL;
        return status;
    }
    file->keeps_tail = (map->odd & Q2_FAT_ODD_LONG) != 0 && !mc_fat_tail_is_zero(&place->fat, map);
    file->repaired = odd & ~map->odd;
    return Q2_OK;
}
