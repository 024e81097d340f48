/* What is odd about a FAT volume and a file on it, and what that means for writing.
 *
 * May call fat_table.c. An oddity does not keep a file from being read: the firmware's driver,
 * which follows the first FAT for as many clusters as the file's size needs, reads it too. It is a
 * remark for `info`. For writing each oddity has a consequence, and two kinds can be put right from
 * within the firmware: the second FAT here, a chain that is too long or too short by the firmware's
 * own driver (efi/place).
 */
#ifndef Q2_FS_FAT_JUDGE_H
#define Q2_FS_FAT_JUDGE_H

#include "fat_chain.h"

/* Oddities of a file, beside those of its volume (fat_volume.h). */
#define Q2_FAT_ODD_COPY  0x0100u /* the second FAT has other entries for the file's clusters */
#define Q2_FAT_ODD_LONG  0x0200u /* the chain goes on after the file's size, and ends */
#define Q2_FAT_ODD_LOOP  0x0400u /* the chain goes on after the file's size, and does not end */
#define Q2_FAT_ODD_SHORT 0x0800u /* the chain ends before the file's size */

/* What may be done to a file, from the most to the least. */
enum q2_fat_write {
    Q2_FAT_WRITE_ALL,      /* overwrite it and make it longer */
    Q2_FAT_WRITE_REPAIRED, /* all, after the oddity has been put right */
    Q2_FAT_WRITE_IN_PLACE, /* overwrite it; making it longer could damage the volume */
    Q2_FAT_WRITE_NOTHING,
};

struct q2_fat_oddity {
    uint32_t bit;
    enum q2_fat_write write;
    const char *what; /* for a line in `info` and for a refusal */
};

/* The index-th oddity of all that there are, NULL after the last one. */
const struct q2_fat_oddity *q2_fat_oddity(size_t index);

/* The most that may be done with all of these bits. */
enum q2_fat_write q2_fat_write_limit(uint32_t odd);

/* Find the oddities of a mapped file, those of its volume among them.
 *
 * extents    chain->nb_extents of them, from q2_fat_map()
 * buffer     working memory, size >= Q2_FAT_MIN_BUFFER; 256 KiB to 1 MiB is best
 * ret_odd    Q2_FAT_ODD_ bits
 *
 * Q2_ERR_ARGUMENT  the buffer is too small
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_judge(const struct q2_fat_volume *volume, const struct q2_fat_file *file,
                            const struct q2_file_extent *extents, const struct q2_fat_chain *chain,
                            void *buffer, size_t size, struct q2_fault *fault, uint32_t *ret_odd);

/* Are the clusters that the chain has after the file's own all zeros? Those that a power cut left
 * while the file was made longer are, because the firmware's driver writes zeros before it writes
 * the FAT. Clusters with other bytes may belong to another file by now, and then a driver that cuts
 * this chain frees them.
 *
 * others   as above; the file has Q2_FAT_ODD_LONG
 *
 * Errors as above */
enum q2_status q2_fat_tail_is_zero(const struct q2_fat_volume *volume,
                                   const struct q2_fat_file *file,
                                   const struct q2_file_extent *extents,
                                   const struct q2_fat_chain *chain, void *buffer, size_t size,
                                   struct q2_fault *fault, bool *ret_zero);

/* Copy the entries of a file's clusters from the first FAT to the second. Other entries stay as
 * they are. Every driver follows the first FAT, and the firmware's driver does the same copy with
 * every page of the FAT that it writes. A power cut in between leaves a part of the entries copied.
 *
 * volume   has_mirror; its source is writable
 * others   as above; the caller flushes the source
 *
 * Errors as above, and Q2_ERR_READ_ONLY
 */
enum q2_status q2_fat_copy_repair(const struct q2_fat_volume *volume,
                                  const struct q2_file_extent *extents,
                                  const struct q2_fat_chain *chain, void *buffer, size_t size,
                                  struct q2_fault *fault);

#endif
