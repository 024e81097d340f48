/* Strips: bytes into cells. Pure.
 *
 * Cell i is [length * i / STRIP_CELLS, length * (i + 1) / STRIP_CELLS); of a range with fewer bytes
 * than cells some cells are empty.
 */
#include "strip.h"

uint64_t strip_cell_begin(const struct strip *strip, uint32_t cell)
{
    /* length / N * i + length % N * i / N cannot wrap: i <= N. */
    return strip->length / STRIP_CELLS * cell + strip->length % STRIP_CELLS * cell / STRIP_CELLS;
}

/* The cell that holds the byte at; at < strip->length. */
static uint32_t cell_of(const struct strip *strip, uint64_t at)
{
    uint32_t low = 0, high = STRIP_CELLS;

    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;

        if (strip_cell_begin(strip, middle) <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void strip_add(struct strip *strip, uint64_t offset, uint64_t length, enum paint paint)
{
    uint64_t at = offset > strip->begin ? offset - strip->begin : 0;
    uint64_t before = offset < strip->begin ? strip->begin - offset : 0;

    if (at >= strip->length || length <= before)
        return;
    length -= before;
    if (length > strip->length - at)
        length = strip->length - at;
    strip->totals[paint] += length;
    for (uint32_t cell = cell_of(strip, at); length > 0; cell++) {
        uint64_t room = strip_cell_begin(strip, cell + 1) - at;
        uint64_t n = length < room ? length : room;

        strip->cells[cell][paint] += n;
        at += n;
        length -= n;
    }
}
