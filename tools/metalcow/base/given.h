/* The files that a person gives for an image: their spelling and formats.
 *
 * May call the engine, probe.c and drivers/posix. What is filled in points into image->names or
 * into the options.
 */
#ifndef METALCOW_GIVEN_H
#define METALCOW_GIVEN_H

#include "image.h"

/* Take QEMU's spelling ("file:", "json:{...}") off the name of image itself.
 *
 * ret_format  what the spelling says of the format; PROBED if nothing
 * returns NULL, and fills ret_fault, if it describes no plain file; else a path that lives as long
 * as the image
 */
const char *given_image(struct image *image, const char *name, enum format_choice *ret_format,
                        struct q2_fault *ret_fault);

/* The same for the name of a file that is to be made in a format, said on stderr if it is none.
 *
 * ret_path  Q2_MAX_PATH_LENGTH + 1 bytes
 */
bool given_output(const char *name, enum q2_image_format format, char *ret_path);

/* Fill in data file and backing files of the engine's options. A backing file whose format nobody
 * states is looked at, because a person named it.
 *
 * false: ret_fault says why
 */
bool given_files(struct image *image, const struct image_options *how,
                 struct q2_disk_options *options, struct q2_fault *ret_fault);

/* Whether the backing files of an open image have the formats that are stated for them.
 *
 * false: ret_fault says which has not
 */
bool given_formats_fit(const struct image *image, const struct image_options *how,
                       struct q2_fault *ret_fault);

void given_free(struct image *image);

#endif
