/* Whether an image looks as if its clusters were allocated but never written. */
#ifndef METALCOW_PREALLOCATED_H
#define METALCOW_PREALLOCATED_H

#include <stdbool.h>
#include <stdint.h>

#include "q2_disk.h"

/* True if the image counts clearly more clusters as used (refcount above 0) than its file has
 * blocks for: 10/9 of them and at least two more. Only then is it worth asking the file system for
 * holes below data clusters; this is qemu-img's measure too, so `map` agrees with it.
 *
 * source     the image file; header is its header
 * nb_bytes   bytes that the file occupies
 * A refcount structure that cannot be read counts as false.
 */
bool is_preallocated(struct q2_source *source, const struct q2_header *header, uint64_t nb_bytes);

#endif
