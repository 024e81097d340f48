/* Damaged images: what is done to a subject's image, and how it is judged before and after a
 * repair.
 */
#ifndef METALCOW_TESTS_DAMAGED_H
#define METALCOW_TESTS_DAMAGED_H

#include "judge.h"

/* Copy the subject's image, and damage it by seed: the dirty and the corrupt bit, refcounts, COPIED
 * flags, an entry of the refcount table. No content changes.
 *
 * image      of the subject's size
 * snapshots  the snapshot table may be damaged as well
 */
void damage_image(const struct subject *subject, uint8_t *image, bool snapshots, uint64_t *seed);

/* The files that are in the bench's sources open, and the guest reads what it has always read.
 * False: bench->why says what is wrong. */
bool damaged_judge_content(struct bench *bench);

/* After a repair: the same, and the check finds nothing, not even a leak; the image is neither
 * dirty nor corrupt.
 *
 * model  version 0 alone */
bool damaged_judge_repaired(struct bench *bench, const struct model *model);

#endif
