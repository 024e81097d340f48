/* Persistent dirty bitmaps: a walk through the directory.  (qcow2: "Bitmaps")
 *
 * Nothing here changes a bitmap.
 */
#ifndef Q2_CORE_BITMAP_H
#define Q2_CORE_BITMAP_H

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

#endif
