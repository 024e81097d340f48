/* The menu: lines, selection, countdown, modes.
 *
 * May call menu_edit.c and efi/base/text.c. Invariant: selected is a line that exists, and nothing
 * starts that was neither chosen nor preset.
 */
#include "menu.h"

#include "efi/base/text.h"

/* Lines that Page Up and Page Down move by. */
#define PAGE_LINES 10u

void mc_menu_init(struct mc_menu *menu, const struct mc_entries *entries,
                  const struct mc_entry *preset, uint32_t seconds)
{
    __builtin_memset(menu, 0, sizeof(*menu));
    menu->entries = entries;
    menu->preset = preset;
    menu->seconds = preset ? seconds : 0;
    menu->opened = MC_MENU_NONE;
    menu->edited.entry = MC_MENU_NONE;
    for (size_t i = 0; i < entries->nb; i++) {
        menu->modes[i] = entries->sorted[i]->spec.mode;
        if (entries->sorted[i] == preset)
            menu->selected = i;
    }
}

size_t mc_menu_nb_lines(const struct mc_menu *menu)
{
    return menu->entries->nb + (menu->opened != MC_MENU_NONE ? menu->nb_children : 0);
}

struct mc_menu_line mc_menu_line_at(const struct mc_menu *menu, size_t line)
{
    if (menu->opened == MC_MENU_NONE || line <= menu->opened)
        return (struct mc_menu_line){line, MC_MENU_NONE};
    if (line <= menu->opened + menu->nb_children)
        return (struct mc_menu_line){menu->opened, line - menu->opened - 1};
    return (struct mc_menu_line){line - menu->nb_children, MC_MENU_NONE};
}

static bool is_snapshot(const struct mc_menu *menu, struct mc_menu_line line)
{
    return line.child != MC_MENU_NONE && menu->children[line.child].kind == MC_CHILD_SNAPSHOT;
}

enum mc_mode mc_menu_mode(const struct mc_menu *menu, struct mc_menu_line line)
{
    return (enum mc_mode)(is_snapshot(menu, line) ? menu->child_mode : menu->modes[line.entry]);
}

void mc_menu_say(struct mc_menu *menu, const char *message, bool is_alarm)
{
    (void)mc_text_copy(menu->message, sizeof(menu->message), message ? message : "");
    menu->is_alarm = message && is_alarm;
    if (menu->is_alarm)
        menu->seconds = 0;
}

static void close_entry(struct mc_menu *menu)
{
    if (menu->opened == MC_MENU_NONE)
        return;
    menu->selected = mc_menu_line_at(menu, menu->selected).entry;
    if (menu->edited.child != MC_MENU_NONE)
        menu->edited.entry = MC_MENU_NONE;
    menu->opened = MC_MENU_NONE;
}

void mc_menu_open(struct mc_menu *menu, size_t nb_children)
{
    size_t entry = mc_menu_line_at(menu, menu->selected).entry;

    close_entry(menu);
    menu->selected = entry;
    if (nb_children == 0)
        return;
    menu->opened = entry;
    menu->nb_children = nb_children;
    /* A snapshot cannot be written, so writes go to memory. */
    menu->child_mode =
        menu->modes[entry] == MC_MODE_READ_WRITE ? (uint32_t)MC_MODE_OVERLAY : menu->modes[entry];
}

/* Set menu->choice to what a line stands for. */
static void choose(struct mc_menu *menu, struct mc_menu_line line)
{
    struct mc_menu_choice *choice = &menu->choice;
    const struct mc_menu_child *child =
        &menu->children[line.child != MC_MENU_NONE ? line.child : 0];

    choice->entry = menu->entries->sorted[line.entry];
    choice->is_preset = false;
    choice->spec = choice->entry->spec;
    choice->spec.mode = mc_menu_mode(menu, line);
    choice->is_changed =
        line.child != MC_MENU_NONE || choice->spec.mode != choice->entry->spec.mode;
    if (line.child == MC_MENU_NONE)
        return;
    if (child->kind == MC_CHILD_SNAPSHOT)
        choice->spec.snapshot = child->value;
    else
        choice->spec.boot = child->value;
}

enum mc_menu_action mc_menu_tick(struct mc_menu *menu)
{
    if (menu->seconds == 0 || --menu->seconds > 0)
        return MC_MENU_GO_ON;
    for (size_t i = 0; i < menu->entries->nb; i++) {
        if (menu->entries->sorted[i] == menu->preset)
            choose(menu, (struct mc_menu_line){i, MC_MENU_NONE});
    }
    menu->choice.is_preset = true;
    return MC_MENU_START;
}

/* --- keys ------------------------------------------------------------------------------------- */

static bool may_change(struct mc_menu *menu)
{
    if (!menu->entries->settings.no_editor)
        return true;
    mc_menu_say(menu, "metalcow.conf says: editor no. Entries are started as they are.", false);
    return false;
}

/* The next mode that a line can have. */
static void change_mode(struct mc_menu *menu)
{
    static const uint32_t next[] = {[MC_MODE_READ_ONLY] = MC_MODE_OVERLAY,
                                    [MC_MODE_OVERLAY] = MC_MODE_READ_WRITE,
                                    [MC_MODE_READ_WRITE] = MC_MODE_READ_ONLY};
    struct mc_menu_line line = mc_menu_line_at(menu, menu->selected);
    const struct mc_entry *entry = menu->entries->sorted[line.entry];
    bool below = is_snapshot(menu, line);
    uint32_t *mode = below ? &menu->child_mode : &menu->modes[line.entry];

    if (!may_change(menu))
        return;
    *mode = next[*mode];
    if (menu->edited.entry == line.entry)
        menu->edited.entry = MC_MENU_NONE;
    if (*mode != MC_MODE_READ_WRITE)
        return;
    if (below || entry->spec.snapshot) {
        mc_menu_say(menu, "A snapshot can only be read: mode rw is left out.", false);
        *mode = MC_MODE_READ_ONLY;
    } else if (entry->nb_problems > 0) {
        mc_menu_say(menu, "A line of the entry is wrong: mode rw is left out.", false);
        *mode = MC_MODE_READ_ONLY;
    }
}

/* Move by some lines, as far as there are any. */
static void move(struct mc_menu *menu, size_t down, size_t up)
{
    size_t last = mc_menu_nb_lines(menu) - 1;

    menu->selected = menu->selected > up ? menu->selected - up : 0;
    menu->selected = last - menu->selected > down ? menu->selected + down : last;
}

static enum mc_menu_action go_right(struct mc_menu *menu)
{
    struct mc_menu_line line = mc_menu_line_at(menu, menu->selected);

    if (line.child != MC_MENU_NONE || line.entry == menu->opened || !may_change(menu))
        return MC_MENU_GO_ON;
    return MC_MENU_OPEN;
}

static enum mc_menu_action scan(struct mc_menu *menu, uint16_t scan_code)
{
    switch (scan_code) {
    case MC_SCAN_UP:
        move(menu, 0, 1);
        break;
    case MC_SCAN_DOWN:
        move(menu, 1, 0);
        break;
    case MC_SCAN_PAGE_UP:
        move(menu, 0, PAGE_LINES);
        break;
    case MC_SCAN_PAGE_DOWN:
        move(menu, PAGE_LINES, 0);
        break;
    case MC_SCAN_HOME:
        menu->selected = 0;
        break;
    case MC_SCAN_END:
        menu->selected = mc_menu_nb_lines(menu) - 1;
        break;
    case MC_SCAN_RIGHT:
        return go_right(menu);
    case MC_SCAN_LEFT:
        close_entry(menu);
        break;
    case MC_SCAN_ESCAPE:
        return MC_MENU_LEAVE;
    default:
        break;
    }
    return MC_MENU_GO_ON;
}

/* The n-th entry, from 1. */
static void select_entry(struct mc_menu *menu, size_t n)
{
    if (n > menu->entries->nb)
        return;
    menu->selected = n - 1;
    if (menu->opened != MC_MENU_NONE && n - 1 > menu->opened)
        menu->selected += menu->nb_children;
}

static enum mc_menu_action type(struct mc_menu *menu, uint16_t unit)
{
    struct mc_menu_line line = mc_menu_line_at(menu, menu->selected);

    if (unit == MC_UNIT_ENTER) {
        choose(menu, line);
        return MC_MENU_START;
    }
    if (unit == 'm' || unit == 'M')
        change_mode(menu);
    if (unit >= '1' && unit <= '9')
        select_entry(menu, (size_t)(unit - '0'));
    if ((unit == 'e' || unit == 'E') && may_change(menu)) {
        if (menu->edited.entry != line.entry || menu->edited.child != line.child) {
            choose(menu, line);
            menu->edited = line;
            mc_menu_edit(menu, &menu->choice);
        } else {
            menu->is_editing = true;
        }
    }
    return MC_MENU_GO_ON;
}

enum mc_menu_action mc_menu_key(struct mc_menu *menu, struct mc_key key)
{
    menu->seconds = 0;
    mc_menu_say(menu, NULL, false);
    if (menu->is_editing)
        return mc_menu_edit_key(menu, key);
    return key.scan_code != 0 ? scan(menu, key.scan_code) : type(menu, key.unit);
}
