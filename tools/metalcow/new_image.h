/* The files of a new image: the image itself and its external data file.
 *
 * Called by the verbs that make images. Everything that fails is said on stderr.
 */
#ifndef METALCOW_NEW_IMAGE_H
#define METALCOW_NEW_IMAGE_H

#include <stdbool.h>

#include "create_options.h"
#include "image.h"

/* Make an image at path. What is there is replaced, as qemu-img does, but nothing is touched before
 * it is sure that the options hold, that nobody has the files open, and that they are none of
 * those that in_use is read from. After an error files that did not exist before are gone again.
 *
 * options  image.virtual_size is set; rounded up to 512 bytes here
 * in_use   an open image whose files must stay (the backing file, what is converted); NULL: none
 */
bool new_image_make(const char *path, enum q2_image_format format,
                    const struct create_options *options, const struct image *in_use);

/* Write the path of a file that an image at path names, relative to that image's folder.
 * false  longer than size */
bool new_image_resolve(const char *path, const char *name, char *ret_path, size_t size);

#endif
