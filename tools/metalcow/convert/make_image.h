/* Making the files of a new image: the image itself and its external data file.
 *
 * Each function prints what failed on stderr.
 */
#ifndef METALCOW_MAKE_IMAGE_H
#define METALCOW_MAKE_IMAGE_H

#include <stdbool.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"

/* What make_image() has made, to be taken back if later work fails. */
struct made_files {
    bool image; /* regular files: to be removed */
    bool data;
    char data_path[Q2_MAX_PATH_LENGTH + 1]; /* "" if there is none */
    uint8_t held[Q2_POSIX_HELD]; /* options.hold: the bytes that q2_source_posix_hold() wants */
};

/* Make an empty image at path. What is there is replaced, as qemu-img does, but nothing is touched
 * before it is sure that the options hold, that nobody has the files open, and that they are none
 * of those that in_use are read from. After an error, files that did not exist before are gone.
 *
 * options   image.virtual_size is set; rounded up to 512 bytes here. A relative data_file is in the
 *           image's folder
 * in_use    nb_in_use open images whose files must stay: the backing file, what is converted
 * ret_made  undefined after an error
 */
bool make_image(const char *path, enum q2_image_format format, const struct create_options *options,
                struct image *const *in_use, size_t nb_in_use, struct made_files *ret_made);

/* Remove what was made. */
void make_image_undo(const char *path, const struct made_files *made);

/* The path of a file that an image at path names: relative names start in the image's folder.
 * false: too long, said on stderr. ret_path: Q2_MAX_PATH_LENGTH + 1 bytes. */
bool make_image_join(const char *path, const char *name, char *ret_path);

/* The same for a backing file that is to be named in the image, judged as it will be when the image
 * is opened: a name that would be refused then is refused here. */
bool make_image_backing(const char *path, const char *name, enum q2_name_policy policy,
                        char *ret_path);

#endif
