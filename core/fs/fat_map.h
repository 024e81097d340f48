/* The extent map of a file on a FAT volume.
 *
 * Called by efi/ at attach, and again after the file has grown; by tools/. Follows the file's
 * cluster chain; allocates nothing. Call it twice: first without extents to learn how many there
 * are, then with memory for them.
 */
#ifndef Q2_DRIVERS_FAT_MAP_H
#define Q2_DRIVERS_FAT_MAP_H

#include "fat_path.h"
#include "q2_extents.h"

/* Map a file.
 *
 * The lengths add up to file->size: the rest of the last cluster does not belong to the map. What
 * cannot be seen in one file's chain is a cluster that another file's chain names too; fsck finds
 * those. Time: one request per window of the FAT for contiguous files, up to one per extent.
 *
 * file            from q2_fat_find() on the same volume
 * buffer          for windows of the FAT: size >= Q2_FAT_MIN_BUFFER; 256 KiB to 1 MiB is best,
 *                 aligned to 4096
 * extents         room for capacity extents, or NULL to count only
 * fault           filled on any error; offsets are in the volume
 * ret_nb_extents  0 for an empty file
 *
 * Q2_ERR_BAD_VOLUME  the chain ends before the file's size or goes on after it, comes back to a
 *                    cluster, or has an entry that q2_fat_table_next() refuses; the first cluster
 *                    is not on the volume
 * Q2_ERR_LIMIT       more extents than Q2_MAX_FILE_EXTENTS, or than capacity
 * Q2_ERR_ARGUMENT    the buffer is too small
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_map(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                          void *buffer, size_t size, struct q2_file_extent *extents,
                          size_t capacity, struct q2_fault *fault, size_t *ret_nb_extents);

#endif
