/* The size of a raw image, which is that of its file. */
#ifndef METALCOW_RAW_SIZE_H
#define METALCOW_RAW_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"

/* Give a raw image another size. What is added reads as zeros and gets blocks as `how` says; if
 * that fails, the image has its old size again. False, and said on stderr, if anything fails.
 *
 * image  open for writing; image->disk is another one afterwards, NULL if it cannot be opened
 */
bool raw_size_set(struct image *image, uint64_t size, enum preallocation how);

#endif
