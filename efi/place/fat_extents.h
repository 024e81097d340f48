/* The extent map of a file on a FAT volume, with memory for it. Never used inside a request. */
#ifndef METALCOW_EFI_FAT_EXTENTS_H
#define METALCOW_EFI_FAT_EXTENTS_H

#include "core/fs/fat_judge.h"

/* Find a file and map it.
 *
 * Memory: 1 MiB while it works. A file in more than some dozen pieces is worth holding the whole
 * FAT, up to 65 MiB of it. What stays are 24 bytes for each extent, up to 192 MiB for a file of 4
 * GiB in clusters of 512 bytes that all lie apart.
 *
 * path         UTF-8, absolute, '/' between components
 * fault        filled on any error
 * ret_file     the file's directory entry
 * ret_extents  pool memory, for mc_free(); an array also for an empty file
 *
 * Errors are those of q2_fat_find() and q2_fat_map(); Q2_ERR_LIMIT also if there is no memory.
 */
enum q2_status mc_fat_extents(const struct q2_fat_volume *volume, const char *path,
                              struct q2_fault *fault, struct q2_fat_file *ret_file,
                              struct q2_file_extent **ret_extents, size_t *ret_nb_extents);

#endif
