/* The edit line of the menu: the options of one line, for one boot.
 *
 * May call options.c and field.c. Invariant: a choice is made of a line that was read whole.
 */
#include "menu.h"

#include "efi/base/text.h"
#include "q2_line.h"

void mc_menu_edit(struct mc_menu *menu, const struct mc_menu_choice *choice)
{
    char *text = menu->options.value;
    size_t size = sizeof(menu->options.value);

    menu->is_editing =
        mc_options_format(&choice->spec, text, size) < size && mc_field_set(&menu->field, text);
    if (menu->is_editing)
        return;
    menu->edited.entry = MC_MENU_NONE;
    mc_menu_say(menu, "The options of this entry are too long to be edited here.", true);
}

/* Say what is wrong, and put the cursor there. */
static enum mc_menu_action refuse(struct mc_menu *menu, const struct mc_options_problem *problem)
{
    char text[MC_MENU_MESSAGE_SIZE];
    struct q2_line line = q2_line_start(text, sizeof(text));

    for (size_t i = 0; i < problem->key_length && i < MC_MAX_KEY_LENGTH; i++)
        q2_line_put_char(&line, menu->field.text[problem->at + i]);
    q2_line_put(&line, problem->key_length > 0 ? " " : "");
    q2_line_put(&line, problem->text);
    if (problem->nearest) {
        q2_line_put(&line, "; did you mean ");
        q2_line_put(&line, problem->nearest);
        q2_line_put(&line, "?");
    }
    menu->field.cursor = problem->at;
    mc_menu_say(menu, text, true);
    return MC_MENU_GO_ON;
}

static enum mc_menu_action start(struct mc_menu *menu)
{
    const struct mc_entry *entry = menu->entries->sorted[menu->edited.entry];
    struct mc_options_problem problem;

    if (!mc_options_parse(menu->field.text, &menu->options, &problem))
        return refuse(menu, &problem);
    if (menu->options.spec.mode == MC_MODE_READ_WRITE && entry->nb_problems > 0) {
        mc_menu_say(menu, "mode rw is refused until the lines of the entry's file are right", true);
        return MC_MENU_GO_ON;
    }
    menu->choice = (struct mc_menu_choice){.entry = entry, .is_changed = true};
    menu->choice.spec = menu->options.spec;
    menu->is_editing = false;
    return MC_MENU_START;
}

enum mc_menu_action mc_menu_edit_key(struct mc_menu *menu, struct mc_key key)
{
    if (key.scan_code == MC_SCAN_ESCAPE)
        menu->is_editing = false;
    else if (key.scan_code == 0 && key.unit == MC_UNIT_ENTER)
        return start(menu);
    else
        (void)mc_field_key(&menu->field, key);
    return MC_MENU_GO_ON;
}
