/* The extent map of a file on a FAT volume, with memory for it.
 *
 * May call core/fs and boot services; never used from inside a request.
 */
#ifndef METALCOW_EFI_FAT_EXTENTS_H
#define METALCOW_EFI_FAT_EXTENTS_H

#include "core/fs/fat_judge.h"

/* Where a file of a FAT volume is stored now. */
struct mc_fat_map {
    struct q2_file_extent
        *extents;              /* pool memory, for mc_free(); an array also for an empty file */
    struct q2_fat_chain chain; /* chain.size < file.size: the chain ends early */
    struct q2_fat_file file;
    uint32_t odd; /* Q2_FAT_ODD_ bits */
};

/* Find a file, map it and judge it.
 *
 * Memory: 1 MiB while it works, and for a file in more than 64 pieces the whole FAT, up to 65 MiB
 * of it. What stays are 24 bytes for each extent: at most 192 MiB, for a file of 4 GiB in clusters
 * of 512 bytes that are all apart.
 *
 * path     UTF-8, absolute, '/' between components
 * fault    filled on any error, and if chain.size < file.size with what ends the chain
 * ret_map  on an error extents is NULL, and file.entry_offset is 0 unless the file was found
 *
 * Errors are those of q2_fat_find(), q2_fat_map() and q2_fat_judge(); Q2_ERR_LIMIT also if there is
 * no memory.
 */
enum q2_status mc_fat_extents(const struct q2_fat_volume *volume, const char *path,
                              struct q2_fault *fault, struct mc_fat_map *ret_map);

/* May the firmware's driver cut what the chain of a file has after its size? Only if it is zeros:
 * q2_fat_tail_is_zero(). An error or no memory is no. */
bool mc_fat_tail_is_zero(const struct q2_fat_volume *volume, const struct mc_fat_map *map);

/* Make the second FAT equal for the clusters of a mapped file, and durable.
 *
 * Errors are those of q2_fat_copy_repair(); Q2_ERR_LIMIT if there is no memory. */
enum q2_status mc_fat_repair_copy(const struct q2_fat_volume *volume, const struct mc_fat_map *map,
                                  struct q2_fault *fault);

#endif
