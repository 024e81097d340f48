/* The edit line as a picture, with what there is to know about the key at the cursor.
 *
 * May call grid.c and options.c. Invariant: the cursor is inside the picture.
 *
 *     | For this boot only: Debian                               |
 *     |                                                          |
 *     | <age=/img/debian.qcow2 mode=overlay_                     |
 *     |                                                          |
 *     | mode=ro|rw|overlay                                       |
 *     | where writes go: nowhere, into the image, into memory    |
 */
#include "menu_draw.h"

#include "efi/base/text.h"
#include "q2_line.h"

/* The column of the frame's text. */
#define LEFT 2u

/* The part of a text that is shown. */
struct view {
    size_t at;      /* its first byte */
    size_t skipped; /* characters before it */
};

/* Skip as many characters as are needed to have the cursor within `room` columns. */
static struct view scroll(const struct mc_field *field, size_t room)
{
    size_t cursor = mc_field_characters(field->text, field->cursor);
    struct view view = {.skipped = cursor >= room ? cursor - room + 1 : 0};
    size_t left = view.skipped;

    for (; left > 0 && view.at < field->length; left--) {
        view.at++;
        while (view.at < field->length && ((unsigned char)field->text[view.at] & 0xc0u) == 0x80u)
            view.at++;
    }
    return view;
}

static void draw_field(const struct mc_field *field, struct mc_grid *grid, size_t row)
{
    size_t room = grid->columns > 2 * LEFT + 1 ? grid->columns - 2 * LEFT : 1;
    size_t left = grid->columns > LEFT ? LEFT : 0;
    struct view view = scroll(field, room);

    (void)mc_grid_put(grid, row, left, field->text + view.at, room);
    if (view.skipped > 0)
        (void)mc_grid_put(grid, row, left, "<", room > 1 ? 1 : 0);
    grid->has_cursor = true;
    grid->cursor_row = row;
    grid->cursor_column = left + mc_field_characters(field->text, field->cursor) - view.skipped;
}

static void draw_heading(const struct mc_menu *menu, struct mc_grid *grid, size_t row)
{
    char text[MC_MAX_TEXT_LENGTH + 32];
    struct q2_line line = q2_line_start(text, sizeof(text));

    q2_line_put(&line, "For this boot only: ");
    q2_line_put(&line, mc_entry_title(menu->entries->sorted[menu->edited.entry]));
    (void)mc_grid_put(grid, row, LEFT, text, grid->columns - LEFT);
}

/* The key at the cursor, else all keys. */
static void draw_keys(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows)
{
    const struct mc_spec_key *key = mc_options_key_at(menu->field.text, menu->field.cursor);
    size_t room = grid->columns - 2 * LEFT;
    char text[512];
    struct q2_line line = q2_line_start(text, sizeof(text));

    if (key) {
        q2_line_put(&line, key->key);
        q2_line_put(&line, "=");
        q2_line_put(&line, key->value);
        (void)mc_grid_put(grid, row, LEFT, text, room);
        (void)mc_grid_wrap(grid, row + 1, rows - 1, LEFT, key->help, room);
        return;
    }
    q2_line_put(&line, "keys:");
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        q2_line_put(&line, mc_options_has(&mc_spec_keys[i]) ? " " : "");
        q2_line_put(&line, mc_options_has(&mc_spec_keys[i]) ? mc_spec_keys[i].key : "");
    }
    (void)mc_grid_wrap(grid, row, rows, LEFT, text, room);
}

void mc_menu_draw_edit(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows)
{
    if (rows < 7 || grid->columns < 40) {
        draw_field(&menu->field, grid, row);
        return;
    }
    draw_heading(menu, grid, row);
    draw_field(&menu->field, grid, row + 2);
    draw_keys(menu, grid, row + 4, rows - 4);
}
