/* The scratch overlay of `io --snapshot`. It takes what is written and vanishes at close. */
#ifndef METALCOW_IO_SCRATCH_H
#define METALCOW_IO_SCRATCH_H

#include "tools/metalcow/base/image.h"

struct scratch {
    struct q2_source_posix file;
    bool is_open;
};

/* Make an empty overlay for a disk, in a file of the folder for temporary files ($TMPDIR, else
 * /var/tmp) that has no name any more when this returns.
 *
 * image  the disk, open in any way
 * false  ret_fault says why; its file is the overlay's
 */
bool scratch_make(struct scratch *scratch, const struct image *image, struct q2_fault *ret_fault);

/* Nothing happens if it is not open. */
void scratch_close(struct scratch *scratch);

#endif
