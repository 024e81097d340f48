/* The file allocation table, read through a cache of its blocks.
 *
 * Called by core/fs/fat_path.c and core/fs/fat_map.c. The cache is the caller's memory; nothing is
 * allocated. Where the volume says that its FATs are copies of each other, every entry of a chain
 * is compared with the second copy: two copies that differ leave it open which one the last writer
 * meant, and then no chain is followed (a wrong map overwrites other files). Entries of other files
 * may differ, and a third copy is not looked at.
 */
#ifndef Q2_DRIVERS_FAT_TABLE_H
#define Q2_DRIVERS_FAT_TABLE_H

#include "fat_volume.h"

/* What comes behind the last cluster of a chain: no cluster has number 0. */
#define Q2_FAT_END 0u

/* The unit of the cache. */
#define Q2_FAT_BLOCK_SIZE 4096u

struct q2_fat_table {
    const struct q2_fat_volume *volume;
    uint8_t *blocks; /* nb_slots of them; block n of the FAT lies in slot n % nb_slots */
    uint32_t *tags;  /* by slot: which block, and whether its copy is equal; 0: none */
    uint8_t *mirror; /* the copy of the last blocks that were read */
    uint32_t nb_slots;
    uint32_t nb_mirror;     /* blocks that fit into mirror; 0: the volume has no copy */
    uint32_t mirror_first;  /* the block that mirror starts with */
    uint32_t mirror_length; /* blocks in mirror */
    uint32_t next_block;    /* behind the last miss */
    uint32_t nb_ahead;      /* blocks to read if the next miss is there */
};

/* buffer, size  working memory, size >= Q2_FAT_MIN_BUFFER / 2; best aligned to 4096 */
void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume, void *buffer,
                       size_t size);

/* Bytes of working memory with which every block of the FAT is read once at most. */
uint64_t q2_fat_table_whole_size(const struct q2_fat_volume *volume);

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

/* The clusters from one on that lie in a row in its chain.
 *
 * cluster     valid
 * max         >= 1
 * ret_length  1..max: cluster, cluster + 1, ... are one behind the other in the chain
 * ret_next    what comes behind the last of them, as above; if ret_length < max, not the neighbour
 *
 * Errors as above.
 */
enum q2_status q2_fat_table_run(struct q2_fat_table *table, uint32_t cluster, uint32_t max,
                                struct q2_fault *fault, uint32_t *ret_length, uint32_t *ret_next);

#endif
