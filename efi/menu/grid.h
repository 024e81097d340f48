/* A picture of text: rows of units with a look, and where on the screen they belong.
 *
 * Pure functions on memory. Text that is put is untrusted: what is not one printable column of
 * UCS-2 (control characters, letters that take two columns or none, what is not UTF-8) becomes '?'.
 */
#ifndef METALCOW_EFI_GRID_H
#define METALCOW_EFI_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines longer than this are hard to read, and a list longer than this is scrolled. */
#define MC_GRID_MAX_COLUMNS 100u
#define MC_GRID_MAX_ROWS    40u

/* How a part of a row looks. A screen without colours loses nothing but these. */
enum mc_look {
    MC_LOOK_PLAIN,
    MC_LOOK_TITLE,
    MC_LOOK_SELECTED,
    MC_LOOK_FAINT,
    MC_LOOK_ALARM,
};

struct mc_grid_row {
    uint16_t units[MC_GRID_MAX_COLUMNS + 1]; /* blanks where nothing was put; ends with a 0 */
    uint32_t look;                           /* enum mc_look of the columns from..to - 1 */
    uint32_t from, to;
};

/* Some 9 KiB. */
struct mc_grid {
    size_t left, top;     /* of the screen: where the picture begins */
    size_t columns, rows; /* of the picture, within the limits above */
    bool has_cursor;
    size_t cursor_column, cursor_row; /* of the picture */
    struct mc_grid_row row[MC_GRID_MAX_ROWS];
};

/* Make an empty picture, cut to the limits, columns and rows at least 1. */
void mc_grid_init(struct mc_grid *grid, size_t columns, size_t rows);

/* Put UTF-8 text into a row at a column, at most `room` columns of it; a text that is longer ends
 * with "...". A row or column outside is left out. Returns the columns that were used. */
size_t mc_grid_put(struct mc_grid *grid, size_t row, size_t column, const char *text, size_t room);

/* Put a text over several rows, broken at blanks; at most `rows` of them. Returns how many. */
size_t mc_grid_wrap(struct mc_grid *grid, size_t row, size_t rows, size_t column, const char *text,
                    size_t room);

/* Give a part of a row a look. */
void mc_grid_look(struct mc_grid *grid, size_t row, size_t from, size_t to, enum mc_look look);

/* Do two rows show the same? */
bool mc_grid_row_equal(const struct mc_grid_row *a, const struct mc_grid_row *b);

/* Columns that a text takes. */
size_t mc_grid_columns(const char *text);

#endif
