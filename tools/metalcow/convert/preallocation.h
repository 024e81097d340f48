/* Preallocation: giving a disk the room that it may need one day.
 *
 * Each function prints what failed on stderr.
 */
#ifndef METALCOW_PREALLOCATION_H
#define METALCOW_PREALLOCATION_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"

/* Give bytes [from, file size) of a raw file blocks: by the file system (falloc) or by writing
 * zeros (full); what is there has to be zeros. Flushes. */
bool preallocate_raw(struct q2_source_posix *file, uint64_t from, enum preallocation how);

/* Give guest bytes of a qcow2 image clusters; what they read as stays. Flushes.
 *
 * image  open for writing
 */
bool preallocate_qcow2(struct image *image, uint64_t offset, uint64_t length,
                       enum preallocation how);

#endif
