/* Telling which foreign format a file has.
 *
 * May call mem*. Pure functions on memory. Invariant: no byte past the given length is looked at.
 */
#include "q2_foreign.h"

#include "memory.h"
#include "range.h"

#define ROW(offset, bytes, length, name) {offset, bytes, length},

static const struct {
    size_t offset;
    const char *bytes;
    size_t length;
} rows[] = {Q2_FOREIGN_FORMATS(ROW)};
_Static_assert(sizeof(rows) / sizeof(rows[0]) == Q2_NB_FOREIGN, "the count is right");

size_t q2_foreign_find(const uint8_t *bytes, size_t length)
{
    size_t i = 0;

    while (i < Q2_NB_FOREIGN &&
           !(q2_range_fits(rows[i].offset, rows[i].length, length) &&
             memcmp(bytes + rows[i].offset, rows[i].bytes, rows[i].length) == 0))
        i++;
    return i;
}
