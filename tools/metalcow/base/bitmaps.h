/* Dirty bitmaps, as the verbs copy and merge them. */
#ifndef METALCOW_BITMAPS_H
#define METALCOW_BITMAPS_H

#include "image.h"
#include "q2_bitmap.h"

/* Mark in a bitmap of `to` what a bitmap of `from` says is dirty; both disks have one size.
 * *ret_at_fault is the image whose disk has the fault of an error. */
enum q2_status bitmaps_merge(struct image *from, const struct q2_bitmap *source, struct image *to,
                             const struct q2_bitmap *bitmap, struct image **ret_at_fault);

/* Whether the bitmaps of an image can all be copied; inconsistent ones cannot be, unless they are
 * to be skipped. Said on stderr. */
bool bitmaps_can_copy(struct image *from, bool skip_inconsistent);

/* Copy the bitmaps of an image into another one; inconsistent ones are left out, with a warning.
 * False, and said on stderr, if that fails. */
bool bitmaps_copy(struct image *from, struct image *to);

#endif
