/* The file allocation table, read through a window.
 *
 * Called by drivers/fat_path.c and drivers/fat_map.c. The window is the caller's memory; nothing is
 * allocated. Where the volume says that its FATs are copies of each other, every entry is compared
 * with the second copy: two copies that differ leave it open which one the last writer meant, and
 * then no chain is followed (a wrong map overwrites other files). Entries of other files may
 * differ, and a third copy is not looked at.
 */
#ifndef Q2_DRIVERS_FAT_TABLE_H
#define Q2_DRIVERS_FAT_TABLE_H

#include "fat_volume.h"

/* What q2_fat_table_next() gives for the last cluster of a chain: no cluster has number 0. */
#define Q2_FAT_END 0u

struct q2_fat_table {
    const struct q2_fat_volume *volume;
    uint8_t *window, *mirror; /* capacity bytes each; mirror is used if the volume has one */
    size_t capacity;
    uint64_t start;     /* of the window, in the FAT */
    size_t length;      /* bytes in the window; 0: nothing is loaded */
    size_t next_length; /* what to load next time */
};

/* buffer, size  working memory, size >= Q2_FAT_MIN_BUFFER / 2; best aligned to 4096 */
void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume, void *buffer,
                       size_t size);

/* The cluster behind another one in its chain.
 *
 * cluster   valid (q2_fat_cluster_valid())
 * ret_next  a valid cluster, or Q2_FAT_END
 *
 * Q2_ERR_BAD_VOLUME  the entry is free, bad, reserved or names a cluster outside the volume, or the
 *                    two FATs differ there; the fault has the entry's value and its offset
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_table_next(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_next);

#endif
