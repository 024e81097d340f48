/* An image as --image-opts names it: QEMU's KEY=VALUE,... instead of a file name. */
#ifndef METALCOW_IMAGE_OPTS_H
#define METALCOW_IMAGE_OPTS_H

#include <stdbool.h>

#include "arguments.h"

/* Parse a list of keys and values.
 *
 * text      it is cut up, and what is filled in points into it
 * ret_path  the file that is named; unchanged if none is
 * how       gets what else is said: driver, data file, backing files, secret and so on
 *
 * false  said on stderr: a key is not known, or does not take its value
 */
bool image_opts_parse(char *text, const char **ret_path, struct image_options *how);

/* The same for an operand of a command line, which must name a file. false: said on stderr. */
bool image_opts_operand(char *operand, const char **ret_path, struct image_options *how);

#endif
