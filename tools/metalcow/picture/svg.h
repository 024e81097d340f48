/* Drawing: strips, legends and text as SVG, standing alone.
 *
 * All text is escaped here, so that names out of images stay text.
 */
#ifndef METALCOW_SVG_H
#define METALCOW_SVG_H

#include <stdbool.h>
#include <stdio.h>

#include "strip.h"

#define SVG_WIDTH  1000u
#define SVG_MARGIN 20u

/* Begin and end the picture.
 *
 * height  pixels
 * html    inside an HTML page that loads nothing
 * title   of the page or picture; any bytes
 */
void svg_begin(FILE *out, unsigned height, bool html, const char *title);
void svg_end(FILE *out, bool html);

/* One line of text with its base line at y; class is one of style[] in svg.c. Text of more than
 * max_length bytes is cut at its start, because the end of a path says most. */
void svg_text(FILE *out, unsigned x, unsigned y, const char *class, size_t max_length,
              const char *text);

/* A strip height pixels high with its top at y. Each cell is stacked by its shares; a share above
 * nothing is at least two pixels high, as far as there is room. */
void svg_strip(FILE *out, unsigned y, unsigned height, const struct strip *strip);

/* Marks and offsets below a strip, down to y + SVG_AXIS_HEIGHT. */
#define SVG_AXIS_HEIGHT 18u
void svg_axis(FILE *out, unsigned y, const struct strip *strip);

/* The square of a legend; paint NB_PAINTS is the strip's ground. */
void svg_square(FILE *out, unsigned x, unsigned y, unsigned paint);

#endif
