/* Sizes of files that images are stored in. */
#ifndef METALCOW_FILE_SIZE_H
#define METALCOW_FILE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

/* Set the size of a regular file: cut it or add zeros; a device keeps its size. The caller uses the
 * disk in it no more. False, and said on stderr, if that fails. */
bool file_size_set(const struct q2_source *source, uint64_t size);

/* After q2_disk_resize(): cut the external data file of a disk that has become smaller. False, and
 * said on stderr, if that fails. */
bool file_size_cut_data(struct image *image, uint64_t old_size);

#endif
