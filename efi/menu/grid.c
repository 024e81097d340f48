/* A picture of text.
 *
 * May call core/base/utf8.h and efi/base/text.c. Invariant: every unit of a row is printable and
 * takes one column.
 */
#include "grid.h"

#include "core/base/utf8.h"
#include "efi/base/text.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void mc_grid_init(struct mc_grid *grid, size_t columns, size_t rows)
{
    __builtin_memset(grid, 0, sizeof(*grid));
    grid->columns = least(columns > 0 ? columns : 1, MC_GRID_MAX_COLUMNS);
    grid->rows = least(rows > 0 ? rows : 1, MC_GRID_MAX_ROWS);
    for (size_t row = 0; row < grid->rows; row++) {
        for (size_t i = 0; i < grid->columns; i++)
            grid->row[row].units[i] = ' ';
    }
}

/* Characters that do not take one column, or that change the characters beside them.  (Unicode:
 * East Asian Width W and F, combining marks, format controls.) */
static bool is_one_column(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } others[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x300, 0x36f},      {0x483, 0x489},
        {0x591, 0x5f4},   {0x600, 0x8ff},   {0x1100, 0x11ff}, {0x200b, 0x200f},    {0x2028, 0x202e},
        {0x2060, 0x206f}, {0x20d0, 0x20ff}, {0x2e80, 0xa4cf}, {0xa960, 0xa97f},    {0xac00, 0xfaff},
        {0xfb1d, 0xfe6f}, {0xfeff, 0xff60}, {0xffe0, 0xffff}, {0x10000, 0x10ffff},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (c >= others[i].first && c <= others[i].last)
            return false;
    }
    return true;
}

/* Take a character off a text that is not empty. */
static uint16_t take(const char **text)
{
    size_t left = 1;
    uint32_t c = 0;
    size_t used;

    while (left < 4 && (*text)[left] != '\0')
        left++;
    used = q2_utf8_decode(*text, left, &c);
    *text += used > 0 ? used : 1;
    return used > 0 && is_one_column(c) ? (uint16_t)c : (uint16_t)'?';
}

size_t mc_grid_columns(const char *text)
{
    size_t nb = 0;

    for (; *text != '\0'; nb++)
        (void)take(&text);
    return nb;
}

/* Put the first nb columns of a text, which has as many. */
static void put(struct mc_grid *grid, size_t row, size_t column, const char *text, size_t nb)
{
    for (size_t i = 0; i < nb; i++)
        grid->row[row].units[column + i] = take(&text);
}

size_t mc_grid_put(struct mc_grid *grid, size_t row, size_t column, const char *text, size_t room)
{
    size_t nb = mc_grid_columns(text);
    size_t dots;

    if (row >= grid->rows || column >= grid->columns)
        return 0;
    room = least(room, grid->columns - column);
    if (nb <= room) {
        put(grid, row, column, text, nb);
        return nb;
    }
    dots = least(room, 3);
    put(grid, row, column, text, room - dots);
    put(grid, row, column + room - dots, "...", dots);
    return room;
}

/* Columns of the text's front that one row takes: up to a blank if there is one. */
static size_t row_length(const char *text, size_t room)
{
    size_t nb = 0, last_blank = 0;

    for (; *text != '\0' && nb <= room; nb++) {
        if (take(&text) == ' ')
            last_blank = nb;
    }
    if (nb <= room)
        return nb;
    return last_blank > 0 ? last_blank : room;
}

size_t mc_grid_wrap(struct mc_grid *grid, size_t row, size_t rows, size_t column, const char *text,
                    size_t room)
{
    size_t used = 0;

    if (column >= grid->columns)
        return 0;
    room = least(room, grid->columns - column);
    while (*text != '\0' && used < rows && row + used < grid->rows && room > 0) {
        size_t nb = row_length(text, room);
        if (used + 1 == rows) { /* what is left is cut */
            (void)mc_grid_put(grid, row + used, column, text, room);
            return rows;
        }
        put(grid, row + used, column, text, nb);
        for (size_t i = 0; i < nb; i++)
            (void)take(&text);
        while (*text == ' ')
            text++;
        used++;
    }
    return used;
}

void mc_grid_look(struct mc_grid *grid, size_t row, size_t from, size_t to, enum mc_look look)
{
    if (row >= grid->rows)
        return;
    grid->row[row].look = look;
    grid->row[row].from = (uint32_t)least(from, grid->columns);
    grid->row[row].to = (uint32_t)least(to, grid->columns);
}

bool mc_grid_row_equal(const struct mc_grid_row *a, const struct mc_grid_row *b)
{
    return a->look == b->look && a->from == b->from && a->to == b->to &&
           __builtin_memcmp(a->units, b->units, sizeof(a->units)) == 0;
}
