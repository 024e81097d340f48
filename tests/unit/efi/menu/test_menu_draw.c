/* efi/menu/menu_draw.c, menu_draw_edit.c and grid.c: the menu as a picture. */
#include "efi/menu/menu_draw.h"

#include "menu_fixture.h"

static struct mc_grid grid;

/* A row as text, units beyond ASCII as '~', without the blanks at its end. */
static const char *row_text(size_t row)
{
    static char text[MC_GRID_MAX_COLUMNS + 1];
    size_t n = 0;

    for (; n < grid.columns; n++)
        text[n] = grid.row[row].units[n] < 0x7f ? (char)grid.row[row].units[n] : '~';
    while (n > 0 && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
    return text;
}

static void check_picture(const char *const *rows, size_t nb)
{
    T_CHECK_U64(grid.rows, nb);
    for (size_t i = 0; i < nb && i < grid.rows; i++)
        T_CHECK_STR(row_text(i), rows[i]);
}

#define EDGE "+-----------------------------------------------------------------------------+"
#define SIDE "|                                                                             |"

static void test_menu_draw_80x25_shows_everything(void)
{
    static const char *const rows[] = {
        " metalcow: choose what to start                                      3 entries",
        EDGE,
        "|   1  Alpha                                                          ro      |",
        "|   2  Beta                                                           ro      |",
        "| > 3  Gamma                                                 default  rw      |",
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        SIDE,
        EDGE,
        " Image    /c.qcow2",
        " Mode     rw: writes go into the image",
        " Loader   /EFI/c.efi",
        " Gamma starts in 5 s. Any key stops this.",
        "",
        "",
        " Enter start   Up, Down choose   1-9 entry   Esc leave to the firmware",
        " For this boot:   m mode   e edit options   Right snapshots (Left closes)",
    };

    make_three();
    mc_menu_init(&menu, &entries, entries.sorted[2], 5);
    mc_menu_draw(&menu, 80, 25, &grid);
    check_picture(rows, sizeof(rows) / sizeof(rows[0]));
    T_CHECK_U64(grid.left, 0);
    T_CHECK_U64(grid.columns, 79); /* the last column stays empty, and the last row */
    T_CHECK_U64(grid.row[4].look, MC_LOOK_SELECTED);
    T_CHECK(!grid.has_cursor);
}

static void test_menu_draw_children_and_problem(void)
{
    make_three();
    mc_menu_init(&menu, &entries, NULL, 0);
    (void)scan(MC_SCAN_DOWN);
    open_with(MC_CHILD_SNAPSHOT, 2);
    (void)scan(MC_SCAN_DOWN);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK_STR(row_text(3),
                "|   2  Beta                                                           ro      |");
    T_CHECK_STR(row_text(4),
                "| >      label 0                                                      ro      |");
    T_CHECK_STR(row_text(6),
                "|   3  Gamma                                                          rw      |");
    T_CHECK_STR(row_text(18), " Wrong    line 4: snapshto is no key; did you "
                              "mean snapshot? (and 1 more)");
}

static void test_menu_draw_edit_shows_line_key_and_cursor(void)
{
    make_three();
    mc_menu_init(&menu, &entries, NULL, 0);
    (void)type("e mode=rw");
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK_STR(row_text(2),
                "| For this boot only: Alpha                                                   |");
    T_CHECK_STR(row_text(4),
                "| image=/a.qcow2 mode=rw                                                      |");
    T_CHECK_STR(row_text(6),
                "| mode=ro|rw|overlay                                                          |");
    T_CHECK_STR(row_text(7),
                "| where writes go: nowhere, into the image, into memory                       |");
    T_CHECK(grid.has_cursor);
    T_CHECK_U64(grid.cursor_row, 4);
    T_CHECK_U64(grid.cursor_column, 2 + 22);
    (void)type("x" ENTER);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK_STR(row_text(19), " mode is none of ro, rw, overlay");
    T_CHECK_U64(grid.row[19].look, MC_LOOK_ALARM);
}

static void test_menu_draw_edit_scrolls_with_the_cursor(void)
{
    make_three();
    mc_menu_init(&menu, &entries, NULL, 0);
    (void)type("e snapshot=");
    for (int i = 0; i < 100; i++)
        (void)type(i == 99 ? "z" : "y");
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK_STR(row_text(4),
                "| <yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyz  |");
    T_CHECK_U64(grid.cursor_column, 76);
    (void)scan(MC_SCAN_HOME);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK(strncmp(row_text(4), "| image=/a.qcow2 snapshot=yyy", 29) == 0);
    T_CHECK_U64(grid.cursor_column, 2);
}

static void test_menu_draw_long_list_scrolls(void)
{
    static const char *texts[40];

    for (size_t i = 0; i < 40; i++)
        texts[i] = "image /a";
    make_entries(texts, 40);
    mc_menu_init(&menu, &entries, NULL, 0);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK_STR(row_text(1), EDGE);
    T_CHECK(strncmp(row_text(15), "+-- 27 more below ---", 21) == 0);
    for (int i = 0; i < 20; i++)
        (void)scan(MC_SCAN_DOWN);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK(strncmp(row_text(1), "+-- 9 more above ---", 20) == 0);
    T_CHECK(strncmp(row_text(13), "| >    e20", 10) == 0);
    T_CHECK(strncmp(row_text(15), "+-- 18 more below ---", 21) == 0);
    (void)scan(MC_SCAN_END);
    mc_menu_draw(&menu, 80, 25, &grid);
    T_CHECK(strncmp(row_text(14), "| >    e39", 10) == 0);
    T_CHECK_STR(row_text(15), EDGE);
}

/* Is the selected line shown, and everything inside the screen but for its last column and row? */
static void check_fits(size_t columns, size_t rows)
{
    bool is_shown = false;

    mc_menu_draw(&menu, columns, rows, &grid);
    T_CHECK(grid.left + grid.columns <= (columns > 1 ? columns - 1 : 1));
    T_CHECK(grid.top + grid.rows <= (rows > 1 ? rows - 1 : 1));
    T_CHECK(!grid.has_cursor || (grid.cursor_column < grid.columns && grid.cursor_row < grid.rows));
    for (size_t i = 0; i < grid.rows; i++) {
        is_shown |= grid.row[i].look == MC_LOOK_SELECTED;
        T_CHECK_U64(grid.row[i].units[grid.columns], 0);
        for (size_t k = 0; k < grid.columns; k++)
            T_CHECK(grid.row[i].units[k] >= ' ');
    }
    T_CHECK(is_shown || menu.is_editing);
}

static void test_menu_draw_fits_every_screen(void)
{
    char row[48];

    make_three();
    for (size_t columns = 1; columns <= 240; columns += columns < 90 ? 1 : 37) {
        for (size_t rows = 1; rows <= 90; rows += rows < 40 ? 1 : 17) {
            (void)snprintf(row, sizeof(row), "%zux%zu", columns, rows);
            t_row(row);
            mc_menu_init(&menu, &entries, entries.sorted[1], 9);
            open_with(MC_CHILD_SNAPSHOT, 30);
            check_fits(columns, rows);
            mc_menu_say(&menu, "a message that is wider than a small screen, so that it breaks",
                        true);
            (void)scan(MC_SCAN_END);
            check_fits(columns, rows);
            (void)type("e");
            check_fits(columns, rows);
        }
    }
}

static void test_menu_draw_large_screen_is_centred(void)
{
    make_three();
    mc_menu_init(&menu, &entries, NULL, 0);
    mc_menu_draw(&menu, 160, 60, &grid);
    T_CHECK_U64(grid.columns, MC_GRID_MAX_COLUMNS);
    T_CHECK_U64(grid.left, 30);
    T_CHECK_U64(grid.rows, 27);
    T_CHECK_U64(grid.top, 11);
}

/* Names out of images and files cannot move the cursor or turn the text around. */
static void test_grid_put_shows_only_single_columns(void)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"plain", "plain"},
        {"a\x1b[2Jb", "a?[2Jb"},
        {"\r\n\t\x7f", "????"},
        {"\xc3\xa4\xe2\x82\xac", "~~"},           /* Latin, a currency */
        {"\xe6\xbc\xa2", "?"},                    /* two columns */
        {"\xe2\x80\xae", "?"},                    /* turns the direction around */
        {"e\xcc\x81", "e?"},                      /* a combining mark */
        {"\xf0\x9f\x98\x80", "?"},                /* beyond UCS-2 */
        {"\xff\xc3", "??"},                       /* no UTF-8 */
        {"\xc2\x9b", "?"},                        /* a control character of 8 bits */
        {"0123456789abcdef", "0123456789abc..."}, /* exactly the room */
        {"0123456789abcdefg", "0123456789abc..."},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool fits = strlen(rows[i].text) <= 16;
        t_row(rows[i].text);
        mc_grid_init(&grid, 20, 1);
        T_CHECK_U64(mc_grid_put(&grid, 0, 0, rows[i].text, 16), strlen(rows[i].shown));
        T_CHECK_STR(row_text(0), fits && i == 10 ? rows[i].text : rows[i].shown);
    }
    mc_grid_init(&grid, 20, 1);
    T_CHECK_U64(mc_grid_put(&grid, 1, 0, "x", 9), 0);
    T_CHECK_U64(mc_grid_put(&grid, 0, 20, "x", 9), 0);
    T_CHECK_U64(mc_grid_put(&grid, 0, 18, "xyz", 9), 2);
    T_CHECK_STR(row_text(0), "                  ..");
}

static void test_grid_wrap_breaks_at_blanks(void)
{
    mc_grid_init(&grid, 12, 4);
    T_CHECK_U64(mc_grid_wrap(&grid, 0, 3, 1, "one two three fourteen5678", 9), 3);
    T_CHECK_STR(row_text(0), " one two");
    T_CHECK_STR(row_text(1), " three");
    T_CHECK_STR(row_text(2), " fourte...");
    mc_grid_init(&grid, 12, 4);
    T_CHECK_U64(mc_grid_wrap(&grid, 1, 9, 0, "0123456789abcdef0123456789abcdef", 12), 3);
    T_CHECK_STR(row_text(3), "89abcdef");
    T_CHECK_U64(mc_grid_wrap(&grid, 0, 3, 0, "", 9), 0);
    T_CHECK_U64(mc_grid_wrap(&grid, 0, 3, 12, "x", 9), 0);
    mc_grid_init(&grid, 12, 4);
    T_CHECK_U64(mc_grid_wrap(&grid, 0, 3, 0, "twelve chars", 12), 1);
    T_CHECK_STR(row_text(0), "twelve chars");
}

static void test_grid_row_equal_sees_every_difference(void)
{
    static struct mc_grid other;

    mc_grid_init(&grid, 12, 2);
    mc_grid_init(&other, 12, 2);
    T_CHECK(mc_grid_row_equal(&grid.row[0], &other.row[0]));
    (void)mc_grid_put(&other, 0, 11, "x", 1);
    T_CHECK(!mc_grid_row_equal(&grid.row[0], &other.row[0]));
    mc_grid_look(&other, 1, 0, 5, MC_LOOK_ALARM);
    T_CHECK(!mc_grid_row_equal(&grid.row[1], &other.row[1]));
    mc_grid_look(&grid, 1, 0, 4, MC_LOOK_ALARM);
    T_CHECK(!mc_grid_row_equal(&grid.row[1], &other.row[1]));
    mc_grid_look(&grid, 1, 0, 5, MC_LOOK_ALARM);
    T_CHECK(mc_grid_row_equal(&grid.row[1], &other.row[1]));
}

int main(void)
{
    T_RUN(test_menu_draw_80x25_shows_everything);
    T_RUN(test_menu_draw_children_and_problem);
    T_RUN(test_menu_draw_edit_shows_line_key_and_cursor);
    T_RUN(test_menu_draw_edit_scrolls_with_the_cursor);
    T_RUN(test_menu_draw_long_list_scrolls);
    T_RUN(test_menu_draw_fits_every_screen);
    T_RUN(test_menu_draw_large_screen_is_centred);
    T_RUN(test_grid_put_shows_only_single_columns);
    T_RUN(test_grid_wrap_breaks_at_blanks);
    T_RUN(test_grid_row_equal_sees_every_difference);
    return t_done();
}
