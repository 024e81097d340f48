/* Reading a disk of which a part cannot be read. */
#ifndef METALCOW_SALVAGE_H
#define METALCOW_SALVAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/metalcow/base/image.h"

/* Read sector by sector, as qemu-img does; zeros take the place of each 512 bytes that cannot be
 * read. A warning on stderr names each run of such sectors and why its first one failed.
 *
 * at     guest offset; at and length are inside the disk
 * quiet  no warnings
 */
void salvage_read(struct image *image, uint64_t at, uint8_t *buffer, size_t length, bool quiet);

#endif
