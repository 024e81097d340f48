/* The extent map of a file on a FAT volume.
 *
 * May call fat_table.c. Follows the file's cluster chain as the firmware's driver follows it for
 * reading: in the first FAT, for as many clusters as the file's size needs. What the chain says
 * after them, and what the second FAT says, is judged by fat_judge.h. Nothing is allocated. Call it
 * twice: first without extents to learn how many there are, then with memory for them.
 */
#ifndef Q2_CORE_FAT_CHAIN_H
#define Q2_CORE_FAT_CHAIN_H

#include "fat_path.h"
#include "q2_extents.h"

struct q2_fat_chain {
    size_t nb_extents; /* 0 for an empty file */
    uint64_t size;     /* bytes that are mapped; less than file->size if the chain ends early */
};

/* Map a file.
 *
 * The lengths of the extents add up to ret_chain->size: the rest of the last cluster does not
 * belong to the map. A cluster that another file's chain names too is not noticed here. Time: one
 * request per window of the FAT for contiguous files, up to one per extent.
 *
 * file       from q2_fat_find() on the same volume
 * buffer     for windows of the FAT: size >= Q2_FAT_MIN_BUFFER; 256 KiB to 1 MiB is best, aligned
 *            to 4096
 * extents    room for capacity extents, or NULL to count only
 * fault      filled on any error, and if ret_chain->size < file->size: what ends the chain, with
 *            status Q2_ERR_BAD_VOLUME; offsets are in the volume
 *
 * Q2_ERR_BAD_VOLUME  the chain comes back to a cluster before the file's size is reached; the first
 *                    cluster is not on the volume
 * Q2_ERR_LIMIT       more extents than Q2_MAX_FILE_EXTENTS, or than capacity
 * Q2_ERR_ARGUMENT    the buffer is too small
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_map(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                          void *buffer, size_t size, struct q2_file_extent *extents,
                          size_t capacity, struct q2_fault *fault, struct q2_fat_chain *ret_chain);

#endif
