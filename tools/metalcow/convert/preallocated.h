/* Whether an image looks as if its clusters were allocated but never written. */
#ifndef METALCOW_PREALLOCATED_H
#define METALCOW_PREALLOCATED_H

#include <stdbool.h>
#include <stdint.h>

#include "q2_disk.h"

/* True if a layer counts clearly more clusters as used (refcount above 0) than its file has blocks
 * for: 10/9 of them and at least two more. Only then is it worth asking the file system for holes
 * below data clusters; this is qemu-img's measure too, so `map` agrees with it.
 *
 * layer     of the disk, a qcow2 image
 * nb_bytes  bytes that its file occupies
 * Refcounts that cannot be read count as false.
 */
bool is_preallocated(struct q2_disk *disk, uint32_t layer, uint64_t nb_bytes);

#endif
