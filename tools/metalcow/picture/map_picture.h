/* `map --output=html` and `--output=svg`: the disk as a picture, layer by layer. */
#ifndef METALCOW_MAP_PICTURE_H
#define METALCOW_MAP_PICTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/metalcow/base/image.h"

/* Draw the guest bytes [begin, end) of an image: for each layer what it answers for, and where
 * everything is stored in its files. The picture's size depends on the number of layers only.
 *
 * html   an HTML page around the picture
 * false  the map cannot be read or there is no memory (said on stderr); nothing was printed
 */
bool map_picture(FILE *out, struct image *image, uint64_t begin, uint64_t end, bool html);

#endif
