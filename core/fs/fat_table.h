/* The file allocation table, read through a cache of its blocks.
 *
 * May call the volume's source. The cache is the caller's memory; nothing is allocated. A table
 * reads one FAT: the one that counts, or the second one to compare it (fat_judge.c). Chains are
 * followed in the first FAT only, as every driver follows them.
 */
#ifndef Q2_CORE_FAT_TABLE_H
#define Q2_CORE_FAT_TABLE_H

#include "fat_volume.h"

/* What follows the last cluster of a chain: no cluster has number 0. */
#define Q2_FAT_END 0u

/* What follows a cluster whose entry q2_fat_table_next() refuses. */
#define Q2_FAT_BROKEN 1u

/* The unit of the cache. */
#define Q2_FAT_BLOCK_SIZE 4096u

struct q2_fat_table {
    const struct q2_fat_volume *volume;
    uint64_t fat_offset; /* of the FAT that is read */
    uint8_t *blocks;     /* nb_slots of them; block n of the FAT is kept in slot n % nb_slots */
    uint32_t *tags;      /* by slot: which block; 0: none */
    uint32_t nb_slots;
    uint32_t next_block; /* after the last miss */
    uint32_t nb_ahead;   /* blocks to read if the next miss is there */
};

/* fat_offset    volume->fat_offset, or volume->mirror_offset if has_mirror
 * buffer, size  working memory, size >= Q2_FAT_MIN_BUFFER / 2; best aligned to 4096
 */
void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume,
                       uint64_t fat_offset, void *buffer, size_t size);

/* Bytes of working memory with which every block of the FAT is read once at most: at least
 * Q2_FAT_MIN_BUFFER. */
uint64_t q2_fat_table_whole_size(const struct q2_fat_volume *volume);

/* Where the entry of a cluster starts in a FAT, bytes. */
uint64_t q2_fat_entry_offset(enum q2_fat_type type, uint32_t cluster);

/* Is the FAT long enough to have an entry for this cluster? */
bool q2_fat_entry_exists(const struct q2_fat_volume *volume, uint32_t cluster);

/* Does this value of an entry end a chain? */
bool q2_fat_entry_ends(enum q2_fat_type type, uint32_t value);

/* The value of an entry as it is stored, without the upper four bits on FAT32.
 *
 * cluster    its entry exists
 * ret_value  untrusted
 *
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_table_entry(struct q2_fat_table *table, uint32_t cluster,
                                  struct q2_fault *fault, uint32_t *ret_value);

/* The cluster after another one in its chain.
 *
 * cluster   valid (q2_fat_cluster_valid())
 * ret_next  a valid cluster, or Q2_FAT_END
 *
 * Q2_ERR_BAD_VOLUME  the entry is free, bad, reserved or names a cluster outside the volume; the
 *                    fault has the entry's value and its offset. Or the FAT has no such entry
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_table_next(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_next);

/* The clusters from one on that are stored in a row in its chain.
 *
 * cluster     valid
 * max         >= 1; the entry of the max-th cluster is not looked at
 * ret_length  1..max: cluster, cluster + 1, ... follow each other in the chain
 * ret_next    if ret_length < max: what follows the last of them: a valid cluster that is not the
 *             neighbour, Q2_FAT_END, or Q2_FAT_BROKEN with the reason in fault. Else Q2_FAT_END
 *
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_table_run(struct q2_fat_table *table, uint32_t cluster, uint32_t max,
                                struct q2_fault *fault, uint32_t *ret_length, uint32_t *ret_next);

#endif
