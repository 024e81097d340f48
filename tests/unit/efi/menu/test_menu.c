/* efi/menu/menu.c and menu_edit.c: the menu as a state machine. */
#include "menu_fixture.h"

/* preset: of the three entries, MC_MENU_NONE: none */
static void init(size_t preset, uint32_t seconds)
{
    make_three();
    mc_menu_init(&menu, &entries, preset < 3 ? entries.sorted[preset] : NULL, seconds);
}

static void test_menu_tick_counts_down_to_the_preset(void)
{
    init(2, 3);
    T_CHECK_U64(menu.selected, 2);
    T_CHECK_U64(mc_menu_tick(&menu), MC_MENU_GO_ON);
    T_CHECK_U64(mc_menu_tick(&menu), MC_MENU_GO_ON);
    T_CHECK_U64(menu.seconds, 1);
    T_CHECK_U64(mc_menu_tick(&menu), MC_MENU_START);
    T_CHECK(menu.choice.entry == &entries.entries[2]);
    T_CHECK_U64(menu.choice.spec.mode, MC_MODE_READ_WRITE);
    T_CHECK(!menu.choice.is_changed);
    T_CHECK(menu.choice.is_preset);
    (void)type(ENTER);
    T_CHECK(!menu.choice.is_preset);
}

static void test_menu_tick_without_preset_starts_nothing(void)
{
    init(MC_MENU_NONE, 3);
    for (int i = 0; i < 10; i++)
        T_CHECK_U64(mc_menu_tick(&menu), MC_MENU_GO_ON);
    T_CHECK_U64(menu.selected, 0);
}

static void test_menu_key_stops_the_countdown(void)
{
    static const struct mc_key keys[] = {{.unit = 'x'}, {.scan_code = MC_SCAN_DOWN}, {0, 0}};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        init(0, 2);
        T_CHECK_U64(mc_menu_key(&menu, keys[i]), MC_MENU_GO_ON);
        for (int tick = 0; tick < 5; tick++)
            T_CHECK_U64(mc_menu_tick(&menu), MC_MENU_GO_ON);
    }
    init(0, 2);
    mc_menu_say(&menu, "a remark", false);
    T_CHECK_U64(menu.seconds, 2);
    mc_menu_say(&menu, "it failed", true);
    T_CHECK_U64(menu.seconds, 0);
}

static void test_menu_key_moves_between_the_ends(void)
{
    static const struct {
        uint16_t scan_code;
        size_t selected;
    } rows[] = {
        {MC_SCAN_UP, 0},   {MC_SCAN_DOWN, 1},      {MC_SCAN_DOWN, 2},
        {MC_SCAN_DOWN, 2}, {MC_SCAN_HOME, 0},      {MC_SCAN_END, 2},
        {MC_SCAN_UP, 1},   {MC_SCAN_PAGE_DOWN, 2}, {MC_SCAN_PAGE_UP, 0},
    };

    init(0, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        T_CHECK_U64(scan(rows[i].scan_code), MC_MENU_GO_ON);
        T_CHECK_U64(menu.selected, rows[i].selected);
    }
}

static void test_menu_key_digits_select_entries(void)
{
    init(0, 0);
    T_CHECK_U64(type("3"), MC_MENU_GO_ON);
    T_CHECK_U64(menu.selected, 2);
    (void)type("4");
    T_CHECK_U64(menu.selected, 2);
    (void)type("0");
    T_CHECK_U64(menu.selected, 2);
    (void)type("1");
    open_with(MC_CHILD_SNAPSHOT, 5);
    (void)type("3");
    T_CHECK_U64(menu.selected, 7);
    T_CHECK_U64(mc_menu_line_at(&menu, menu.selected).entry, 2);
    (void)type("1");
    T_CHECK_U64(menu.selected, 0);
}

static void test_menu_key_enter_starts_and_escape_leaves(void)
{
    init(0, 0);
    (void)scan(MC_SCAN_DOWN);
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK(menu.choice.entry == &entries.entries[1]);
    T_CHECK_U64(menu.choice.spec.mode, MC_MODE_READ_ONLY); /* its file has wrong lines */
    T_CHECK(!menu.choice.is_changed);
    T_CHECK_U64(scan(MC_SCAN_ESCAPE), MC_MENU_LEAVE);
}

static void test_menu_key_m_goes_through_the_modes(void)
{
    init(0, 0);
    (void)type("m");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 0)), MC_MODE_OVERLAY);
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 1)), MC_MODE_READ_ONLY);
    (void)type("m");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 0)), MC_MODE_READ_WRITE);
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK_U64(menu.choice.spec.mode, MC_MODE_READ_WRITE);
    T_CHECK(menu.choice.is_changed);
    T_CHECK_U64(entries.entries[0].spec.mode, MC_MODE_READ_ONLY);
    (void)type("M");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 0)), MC_MODE_READ_ONLY);
}

/* An entry whose file has wrong lines is not written to, whatever is typed. */
static void test_menu_entry_with_problems_is_never_written(void)
{
    init(1, 0);
    (void)type("mm");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 1)), MC_MODE_READ_ONLY);
    T_CHECK_STR(menu.message, "A line of the entry is wrong: mode rw is left out.");
    T_CHECK_U64(type("e mode=rw" ENTER), MC_MENU_GO_ON);
    T_CHECK_STR(menu.message, "mode rw is refused until the lines of the entry's file are right");
    T_CHECK(menu.is_editing);
    T_CHECK_U64(type("\b\bro" ENTER), MC_MENU_START);
}

static void test_menu_open_shows_children_below_the_entry(void)
{
    init(1, 0);
    T_CHECK_U64(scan(MC_SCAN_RIGHT), MC_MENU_OPEN);
    open_with(MC_CHILD_SNAPSHOT, 2);
    T_CHECK_U64(mc_menu_nb_lines(&menu), 5);
    T_CHECK_U64(menu.selected, 1);
    T_CHECK_U64(scan(MC_SCAN_RIGHT), MC_MENU_GO_ON); /* it is open */
    (void)scan(MC_SCAN_DOWN);
    (void)scan(MC_SCAN_DOWN);
    T_CHECK_U64(scan(MC_SCAN_RIGHT), MC_MENU_GO_ON); /* nothing is below a snapshot */
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK(menu.choice.entry == &entries.entries[1]);
    T_CHECK_STR(menu.choice.spec.snapshot, "v1");
    T_CHECK(menu.choice.spec.boot == NULL);
    (void)scan(MC_SCAN_DOWN);
    T_CHECK_U64(mc_menu_line_at(&menu, menu.selected).entry, 2);
    (void)scan(MC_SCAN_LEFT);
    T_CHECK_U64(menu.selected, 2);
    T_CHECK_U64(mc_menu_nb_lines(&menu), 3);
}

static void test_menu_open_another_entry_closes_the_first(void)
{
    init(0, 0);
    open_with(MC_CHILD_SNAPSHOT, 3);
    (void)scan(MC_SCAN_END);
    T_CHECK_U64(scan(MC_SCAN_RIGHT), MC_MENU_OPEN);
    open_with(MC_CHILD_SNAPSHOT, 1);
    T_CHECK_U64(menu.opened, 2);
    T_CHECK_U64(menu.selected, 2);
    T_CHECK_U64(mc_menu_nb_lines(&menu), 4);
    mc_menu_open(&menu, 0);
    T_CHECK_U64(menu.opened, MC_MENU_NONE);
    T_CHECK_U64(menu.selected, 2);
}

/* A snapshot of an entry of mode rw gets memory for what is written. */
static void test_menu_snapshot_is_never_written(void)
{
    init(2, 0);
    open_with(MC_CHILD_SNAPSHOT, 1);
    (void)scan(MC_SCAN_DOWN);
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK_U64(menu.choice.spec.mode, MC_MODE_OVERLAY);
    (void)type("m");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 3)), MC_MODE_READ_ONLY);
    T_CHECK_STR(menu.message, "A snapshot can only be read: mode rw is left out.");
    (void)type("m");
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 3)), MC_MODE_OVERLAY);
    T_CHECK_U64(mc_menu_mode(&menu, mc_menu_line_at(&menu, 2)), MC_MODE_READ_WRITE);
}

static void test_menu_loader_child_is_started_in_the_entrys_mode(void)
{
    init(2, 0);
    open_with(MC_CHILD_LOADER, 2);
    (void)scan(MC_SCAN_DOWN);
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK_STR(menu.choice.spec.boot, "v0");
    T_CHECK_U64(menu.choice.spec.mode, MC_MODE_READ_WRITE);
}

static void test_menu_edit_starts_what_the_line_says(void)
{
    init(2, 0);
    T_CHECK_U64(type("e"), MC_MENU_GO_ON);
    T_CHECK(menu.is_editing);
    T_CHECK_STR(menu.field.text, "image=/c.qcow2 mode=rw boot=/EFI/c.efi");
    T_CHECK_U64(type(" handoff=none" ENTER), MC_MENU_START);
    T_CHECK(!menu.is_editing);
    T_CHECK(menu.choice.entry == &entries.entries[2]);
    T_CHECK(menu.choice.is_changed);
    T_CHECK_U64(menu.choice.spec.handoff, MC_HANDOFF_NONE);
    T_CHECK_STR(menu.choice.spec.image, "/c.qcow2");
    /* It failed, say. What was typed is still there. */
    (void)type("e");
    T_CHECK_STR(menu.field.text, "image=/c.qcow2 mode=rw boot=/EFI/c.efi handoff=none");
}

static void test_menu_edit_wrong_line_is_said_and_not_started(void)
{
    init(0, 0);
    T_CHECK_U64(type("e mdoe=rw" ENTER), MC_MENU_GO_ON);
    T_CHECK(menu.is_editing && menu.is_alarm);
    T_CHECK_STR(menu.message, "mdoe is no key; did you mean mode?");
    T_CHECK_U64(menu.field.cursor, 15);
    (void)scan(MC_SCAN_END);
    T_CHECK_STR(menu.message, "");
    T_CHECK_U64(scan(MC_SCAN_ESCAPE), MC_MENU_GO_ON);
    T_CHECK(!menu.is_editing);
    T_CHECK_U64(scan(MC_SCAN_ESCAPE), MC_MENU_LEAVE);
}

static void test_menu_edit_of_another_line_or_mode_begins_anew(void)
{
    init(0, 0);
    (void)type("e names=any");
    (void)scan(MC_SCAN_ESCAPE);
    (void)type("m");
    (void)type("e");
    T_CHECK_STR(menu.field.text, "image=/a.qcow2 mode=overlay");
    (void)scan(MC_SCAN_ESCAPE);
    open_with(MC_CHILD_SNAPSHOT, 1);
    (void)scan(MC_SCAN_DOWN);
    (void)type("e");
    T_CHECK_STR(menu.field.text, "image=/a.qcow2 snapshot=v0 mode=overlay");
    (void)scan(MC_SCAN_ESCAPE);
    (void)scan(MC_SCAN_LEFT);
    T_CHECK_U64(menu.edited.entry, MC_MENU_NONE);
}

static void test_menu_edit_entry_that_is_too_long_is_refused(void)
{
    static char text[4096] = "image /a\n";
    const char *texts[] = {text};
    size_t n = strlen(text);

    for (int i = 0; i < 12; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "backing-file /%0200d\n", i);
    make_entries(texts, 1);
    mc_menu_init(&menu, &entries, NULL, 0);
    T_CHECK_U64(type("e"), MC_MENU_GO_ON);
    T_CHECK(!menu.is_editing);
    T_CHECK_STR(menu.message, "The options of this entry are too long to be edited here.");
}

static void test_menu_without_editor_starts_entries_as_they_are(void)
{
    init(2, 0);
    entries.settings.no_editor = 1;
    (void)type("em");
    T_CHECK(!menu.is_editing);
    T_CHECK_U64(scan(MC_SCAN_RIGHT), MC_MENU_GO_ON);
    T_CHECK_STR(menu.message, "metalcow.conf says: editor no. Entries are started as they are.");
    T_CHECK_U64(type(ENTER), MC_MENU_START);
    T_CHECK(!menu.choice.is_changed);
}

int main(void)
{
    T_RUN(test_menu_tick_counts_down_to_the_preset);
    T_RUN(test_menu_tick_without_preset_starts_nothing);
    T_RUN(test_menu_key_stops_the_countdown);
    T_RUN(test_menu_key_moves_between_the_ends);
    T_RUN(test_menu_key_digits_select_entries);
    T_RUN(test_menu_key_enter_starts_and_escape_leaves);
    T_RUN(test_menu_key_m_goes_through_the_modes);
    T_RUN(test_menu_entry_with_problems_is_never_written);
    T_RUN(test_menu_open_shows_children_below_the_entry);
    T_RUN(test_menu_open_another_entry_closes_the_first);
    T_RUN(test_menu_snapshot_is_never_written);
    T_RUN(test_menu_loader_child_is_started_in_the_entrys_mode);
    T_RUN(test_menu_edit_starts_what_the_line_says);
    T_RUN(test_menu_edit_wrong_line_is_said_and_not_started);
    T_RUN(test_menu_edit_of_another_line_or_mode_begins_anew);
    T_RUN(test_menu_edit_entry_that_is_too_long_is_refused);
    T_RUN(test_menu_without_editor_starts_entries_as_they_are);
    return t_done();
}
