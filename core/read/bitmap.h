/* Persistent dirty bitmaps: a walk through the directory.  (qcow2: "Bitmaps")
 *
 * Nothing here changes a bitmap.
 */
#ifndef Q2_CORE_BITMAP_H
#define Q2_CORE_BITMAP_H

#include "core/base/range.h"
#include "image.h"

/* A walk: zero it, then call q2_bitmap_next() image->nb_bitmaps times. */
struct q2_bitmap_walk {
    uint64_t offset; /* of the next entry, from the start of the directory */
};

/* Check where the directory is stored. Q2_OK also if there is none.
 *
 * Q2_ERR_LIMIT, Q2_ERR_BAD_BITMAP, Q2_ERR_TRUNCATED
 */
enum q2_status q2_bitmap_directory_check(const struct q2_image *image, struct q2_fault *fault);

/* Read the next entry. The directory has passed its check.
 *
 * Q2_ERR_BAD_BITMAP  malformed, or it leaves the directory
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_bitmap_next(struct q2_slice_cache *cache, const struct q2_image *image,
                              struct q2_bitmap_walk *walk, struct q2_fault *fault,
                              struct q2_bitmap *ret_bitmap);

/* Find a valid bitmap by its name; it is then in disk->bitmap.
 *
 * ret_start, ret_end  of its entry, from the start of the directory
 *
 * Q2_ERR_ARGUMENT  there is none
 * or an error of the walk
 */
enum q2_status q2_bitmap_locate(struct q2_disk *disk, const char *name, uint64_t *ret_start,
                                uint64_t *ret_end);

/* Read entry `index` of a bitmap's table, which has it.  (qcow2: "Bitmap table")
 *
 * ret_cluster  bytes into the image; 0: none, every bit is *ret_ones
 *
 * Q2_ERR_BAD_BITMAP, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_bitmap_entry(struct q2_disk *disk, uint64_t table_offset, uint64_t index,
                               uint64_t *ret_cluster, bool *ret_ones);

/* Entries that the table of a bitmap needs for a disk of a size. There is always one, because the
 * format's readers refuse an empty table.  (qcow2: "Bitmap table")
 *
 * size              guest bytes
 * granularity_bits  Q2_MIN_GRANULARITY_BITS..Q2_MAX_GRANULARITY_BITS
 */
static inline uint64_t q2_bitmap_nb_entries(const struct q2_image *image, uint64_t size,
                                            uint32_t granularity_bits)
{
    uint64_t nb_bits = q2_shift_up(size, granularity_bits);

    return q2_max_u64(q2_shift_up(nb_bits, image->rules.cluster_bits + 3), 1);
}

#endif
