/* Persistent dirty bitmaps: a walk through the directory.  (qcow2: "Bitmaps")
 *
 * Bitmaps are listed and checked here, never changed.
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

#endif
