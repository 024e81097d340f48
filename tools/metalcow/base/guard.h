/* The guard of a raw image whose format nobody stated.
 *
 * A guest could write a qcow2 header onto such a disk, and whoever opens it next would take it for
 * a qcow2 image that names files of its choice. So a write that would make the first block look
 * like an image of another format is refused, as in QEMU.
 */
#ifndef METALCOW_GUARD_H
#define METALCOW_GUARD_H

#include "image.h"

/* Print the warning on stderr, and guard every write to image->file from now on. */
void guard_raw(struct image *image);

#endif
