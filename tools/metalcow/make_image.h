/* Making a qcow2 image file, with its data file if it has one. Called by convert (and create). */
#ifndef METALCOW_MAKE_IMAGE_H
#define METALCOW_MAKE_IMAGE_H

#include <stdbool.h>

#include "create_options.h"

/* What make_image() has made, to be taken back if later work fails. */
struct made_files {
    bool image; /* regular files: to be removed */
    bool data;
    char data_path[Q2_MAX_PATH_LENGTH + 1]; /* "" if there is none */
};

/* Write an empty image to path, in place of a regular file that may lie there.
 *
 * options  image.virtual_size is set. A relative data_file lies in the image's folder; it is made
 *          anew, all zeros
 * false    said on stderr; what was made is removed again
 */
bool make_image(const char *path, const struct create_options *options,
                struct made_files *ret_made);

/* Remove what was made. */
void make_image_undo(const char *path, const struct made_files *made);

/* The path of a file that an image at path names: relative names start in the image's folder.
 * false: too long. ret_path: Q2_MAX_PATH_LENGTH + 1 bytes. */
bool make_image_join(const char *path, const char *name, char *ret_path);

#endif
