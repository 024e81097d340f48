/* A strip: a range of bytes cut into a fixed number of cells, and how much of each cell is of which
 * kind. Whatever the range's size, a strip has the same size.
 *
 * map_picture.c fills strips, and svg.c draws them.
 */
#ifndef METALCOW_STRIP_H
#define METALCOW_STRIP_H

#include <stdint.h>

#define STRIP_CELLS 480u

/* What bytes of a strip are; the order in which a cell is stacked, from below. */
enum paint {
    PAINT_DATA,
    PAINT_COMPRESSED,
    PAINT_ZERO,     /* noted as zeros, with or without a place in the file */
    PAINT_METADATA, /* in a file: header and tables */
    PAINT_COVERED,  /* of the disk: a layer above answers */
    NB_PAINTS,
};

struct strip {
    uint64_t begin, length; /* bytes; length >= 1 */
    uint64_t cells[STRIP_CELLS][NB_PAINTS];
    uint64_t totals[NB_PAINTS];
};

/* Count length bytes from offset on as paint. Bytes outside the strip's range are left out. */
void strip_add(struct strip *strip, uint64_t offset, uint64_t length, enum paint paint);

/* Where a cell begins, in bytes from strip->begin; cell <= STRIP_CELLS. */
uint64_t strip_cell_begin(const struct strip *strip, uint32_t cell);

#endif
