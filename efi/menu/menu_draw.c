/* The menu as a picture.
 *
 * May call grid.c, menu.c and menu_draw_edit.c. Invariant: whatever the size of the screen, the
 * selected line is shown.
 *
 *      metalcow                                        3 entries      title
 *     +---------------------------------------------------------+     frame
 *     | > 1  Debian                          default        ro   |     list
 *     +---------------------------------------------------------+
 *      Image  /img/debian.qcow2                                       details
 *      Debian starts in 5 s. Any key stops this.                      message
 *      Enter start ...                                                help
 */
#include "menu_draw.h"

#include "efi/base/text.h"
#include "q2_line.h"

#define MAX_LIST_ROWS 16u

/* Columns of what is right of a title. */
#define MODE_COLUMNS    8u
#define DEFAULT_COLUMNS 9u

/* Rows of each part; 0 where the screen has no room for it. */
struct layout {
    size_t title, list, frame, details, message, help;
};

static size_t take(size_t *left, size_t wanted)
{
    size_t n = *left < wanted ? *left : wanted;

    *left -= n;
    return n;
}

/* The most important first. */
static struct layout arrange(size_t rows)
{
    size_t left = rows > 1 ? rows - 1 : 1;
    struct layout layout = {.list = take(&left, 1)};

    layout.message = take(&left, 1);
    layout.frame = left >= 2 ? take(&left, 2) : 0;
    layout.help = take(&left, 2);
    layout.title = take(&left, 1);
    layout.details = take(&left, 3);
    layout.message += take(&left, 2);
    layout.list += take(&left, MAX_LIST_ROWS - 1);
    return layout;
}

static size_t height(const struct layout *layout)
{
    return layout->title + layout->list + layout->frame + layout->details + layout->message +
           layout->help;
}
_Static_assert(MAX_LIST_ROWS + 11 <= MC_GRID_MAX_ROWS, "the whole picture fits");

static void draw_title(const struct mc_menu *menu, struct mc_grid *grid, size_t row)
{
    char text[64];
    struct q2_line line = q2_line_start(text, sizeof(text));
    size_t nb = menu->entries->nb;

    q2_line_put_number(&line, nb, 10);
    q2_line_put(&line, nb == 1 ? " entry" : " entries");
    (void)mc_grid_put(grid, row, 1, "metalcow: choose what to start", grid->columns);
    if (grid->columns > line.length + 34)
        (void)mc_grid_put(grid, row, grid->columns - 1 - line.length, text, line.length);
    mc_grid_look(grid, row, 0, grid->columns, MC_LOOK_TITLE);
}

static void draw_edge(struct mc_grid *grid, size_t row, const char *text)
{
    for (size_t i = 0; i < grid->columns; i++)
        (void)mc_grid_put(grid, row, i, i == 0 || i + 1 == grid->columns ? "+" : "-", 1);
    if (*text != '\0')
        (void)mc_grid_put(grid, row, 3, text, grid->columns - 4);
}

/* " 3 more above ", if there are. */
static void draw_frame(struct mc_grid *grid, size_t row, size_t nb_more, const char *where)
{
    char text[48];
    struct q2_line line = q2_line_start(text, sizeof(text));

    if (nb_more > 0) {
        q2_line_put(&line, " ");
        q2_line_put_number(&line, nb_more, 10);
        q2_line_put(&line, where);
    }
    draw_edge(grid, row, text);
}

static const char *mode_word(enum mc_mode mode)
{
    return mode == MC_MODE_READ_ONLY ? "ro" : mode == MC_MODE_OVERLAY ? "overlay" : "rw";
}

/* What is right of the title of a line; returns its first column. */
static size_t draw_right(const struct mc_menu *menu, struct mc_grid *grid, size_t row,
                         struct mc_menu_line line)
{
    bool is_preset =
        line.child == MC_MENU_NONE && menu->entries->sorted[line.entry] == menu->preset;
    size_t column = grid->columns;

    if (column < 50)
        return column - 1;
    column -= MODE_COLUMNS + 1;
    (void)mc_grid_put(grid, row, column, mode_word(mc_menu_mode(menu, line)), MODE_COLUMNS);
    if (is_preset) {
        column -= DEFAULT_COLUMNS;
        (void)mc_grid_put(grid, row, column, "default", DEFAULT_COLUMNS);
    }
    return column - 1;
}

static void draw_line(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t index)
{
    struct mc_menu_line line = mc_menu_line_at(menu, index);
    bool is_entry = line.child == MC_MENU_NONE;
    size_t end = draw_right(menu, grid, row, line);
    size_t column = is_entry ? 7 : 9;
    char digit[] = {(char)('1' + (line.entry < 9 ? line.entry : 0)), '\0'};
    const char *text = is_entry ? mc_entry_title(menu->entries->sorted[line.entry])
                                : menu->children[line.child].label;

    if (is_entry && line.entry < 9)
        (void)mc_grid_put(grid, row, 4, digit, 1);
    (void)mc_grid_put(grid, row, column, text, end > column ? end - column : 0);
    if (index != menu->selected)
        return;
    (void)mc_grid_put(grid, row, 2, ">", 1);
    mc_grid_look(grid, row, 1, grid->columns - 1, MC_LOOK_SELECTED);
}

/* The first line that is shown, so that the selected one is, with one more below if there is. */
static size_t first_line(const struct mc_menu *menu, size_t rows)
{
    size_t nb = mc_menu_nb_lines(menu);
    size_t wanted = menu->selected + (menu->selected + 1 < nb && rows > 1 ? 2 : 1);

    return wanted > rows ? wanted - rows : 0;
}

static void draw_list(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows,
                      bool has_frame)
{
    size_t nb = mc_menu_nb_lines(menu), first = first_line(menu, rows);

    for (size_t i = 0; i < rows && first + i < nb; i++)
        draw_line(menu, grid, row + i, first + i);
    if (!has_frame)
        return;
    draw_frame(grid, row - 1, first, " more above ");
    draw_frame(grid, row + rows, nb > first + rows ? nb - first - rows : 0, " more below ");
}

static void draw_sides(struct mc_grid *grid, size_t row, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        (void)mc_grid_put(grid, row + i, 0, "|", 1);
        (void)mc_grid_put(grid, row + i, grid->columns - 1, "|", 1);
    }
}

/* --- below the frame ------------------------------------------------------------------------- */

static void draw_pair(struct mc_grid *grid, size_t row, const char *name, const char *value)
{
    (void)mc_grid_put(grid, row, 1, name, 10);
    (void)mc_grid_put(grid, row, 10, value, grid->columns - 11);
}

static void draw_mode(struct mc_grid *grid, size_t row, enum mc_mode mode, uint64_t overlay_size)
{
    char text[128];
    struct q2_line line = q2_line_start(text, sizeof(text));

    q2_line_put(&line, mode_word(mode));
    if (mode == MC_MODE_READ_ONLY) {
        q2_line_put(&line, ": nothing is written");
    } else if (mode == MC_MODE_READ_WRITE) {
        q2_line_put(&line, ": writes go into the image");
    } else {
        q2_line_put(&line, ": writes stay in memory (");
        mc_put_size(&line, overlay_size);
        q2_line_put(&line, ") until power-off");
    }
    draw_pair(grid, row, "Mode", text);
}

/* What is wrong with an entry's file, on one row. */
static void draw_problem(struct mc_grid *grid, size_t row, const struct mc_entry *entry)
{
    char text[256];
    struct q2_line more;
    size_t length = mc_problem_format(&entry->problem, "", text, sizeof(text));
    const char *from = text;

    if (length < sizeof(text) && entry->nb_problems > 1) {
        more = q2_line_start(text + length, sizeof(text) - length);
        q2_line_put(&more, " (and ");
        q2_line_put_number(&more, entry->nb_problems - 1, 10);
        q2_line_put(&more, " more)");
    }
    while (*from == ',' || *from == ' ') /* the file's name would be in front */
        from++;
    draw_pair(grid, row, "Wrong", from);
}

static void draw_details(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows)
{
    struct mc_menu_line line = mc_menu_line_at(menu, menu->selected);
    const struct mc_entry *entry = menu->entries->sorted[line.entry];
    const struct mc_disk_spec *spec = &entry->spec;

    if (rows > 0)
        draw_pair(grid, row, "Image", spec->image);
    if (rows > 1)
        draw_mode(grid, row + 1, mc_menu_mode(menu, line), spec->overlay_size);
    if (rows <= 2)
        return;
    if (entry->nb_problems > 0)
        draw_problem(grid, row + 2, entry);
    else if (spec->snapshot)
        draw_pair(grid, row + 2, "Snapshot", spec->snapshot);
    else if (spec->boot)
        draw_pair(grid, row + 2, "Loader", spec->boot);
}

static void draw_countdown(const struct mc_menu *menu, struct mc_grid *grid, size_t row)
{
    char text[160], title[64];
    struct q2_line line = q2_line_start(text, sizeof(text));

    (void)mc_text_copy(title, sizeof(title), mc_entry_title(menu->preset));
    q2_line_put(&line, title);
    q2_line_put(&line, " starts in ");
    q2_line_put_number(&line, menu->seconds, 10);
    q2_line_put(&line, " s. Any key stops this.");
    (void)mc_grid_put(grid, row, 1, text, grid->columns - 2);
}

static void draw_message(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows)
{
    size_t used = 0;

    if (menu->seconds > 0 && rows > 0) {
        draw_countdown(menu, grid, row);
        used = 1;
    }
    if (grid->columns < 3)
        return;
    rows = mc_grid_wrap(grid, row + used, rows - used, 1, menu->message, grid->columns - 2);
    for (size_t i = 0; menu->is_alarm && i < rows; i++)
        mc_grid_look(grid, row + used + i, 0, grid->columns, MC_LOOK_ALARM);
}

static void draw_help(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows)
{
    static const char *const list[] = {
        "Enter start   Up, Down choose   1-9 entry   Esc leave to the firmware",
        "For this boot:   m mode   e edit options   Right snapshots (Left closes)"};
    static const char *const edit[] = {"Enter start with these options   Esc back to the list",
                                       "Left, Right, Home, End, Backspace, Delete"};
    size_t nb = !menu->is_editing && menu->entries->settings.no_editor ? 1 : 2;

    for (size_t i = 0; i < rows && i < nb; i++) {
        (void)mc_grid_put(grid, row + i, 1, menu->is_editing ? edit[i] : list[i],
                          grid->columns - 1);
        mc_grid_look(grid, row + i, 0, grid->columns, MC_LOOK_FAINT);
    }
}

void mc_menu_draw(const struct mc_menu *menu, size_t columns, size_t rows, struct mc_grid *ret_grid)
{
    struct layout layout = arrange(rows);
    bool has_frame = layout.frame > 0;
    size_t row = layout.title;

    mc_grid_init(ret_grid, columns > 1 ? columns - 1 : 1, height(&layout));
    ret_grid->left = columns > ret_grid->columns ? (columns - ret_grid->columns) / 2 : 0;
    ret_grid->top = rows > ret_grid->rows ? (rows - ret_grid->rows) / 3 : 0;
    if (layout.title > 0)
        draw_title(menu, ret_grid, 0);
    row += has_frame ? 1 : 0;
    if (has_frame)
        draw_sides(ret_grid, row, layout.list);
    if (menu->is_editing) {
        mc_menu_draw_edit(menu, ret_grid, row, layout.list);
        if (has_frame) {
            draw_edge(ret_grid, row - 1, "");
            draw_edge(ret_grid, row + layout.list, "");
        }
    } else {
        draw_list(menu, ret_grid, row, layout.list, has_frame);
        draw_details(menu, ret_grid, row + layout.list + layout.frame / 2, layout.details);
    }
    row += layout.list + layout.frame / 2 + layout.details;
    draw_message(menu, ret_grid, row, layout.message);
    draw_help(menu, ret_grid, row + layout.message, layout.help);
}
