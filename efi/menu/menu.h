/* The menu: which entries there are, which is selected, and what a key does.
 *
 * A state machine without a console: whoever has one shows it (menu_draw.h), gives it each key and
 * each second, and does what the action says. Pure functions on memory, no allocation.
 *
 * A line of the menu is an entry, or something below the entry that is open: an internal snapshot,
 * or one of several loaders on its disk. Those are asked for with MC_MENU_OPEN when a person opens
 * the entry, so that no image is opened before.
 */
#ifndef METALCOW_EFI_MENU_H
#define METALCOW_EFI_MENU_H

#include "efi/image/entries.h"
#include "options.h"

/* Snapshots or loaders that are offered below an entry; more are not offered. */
#define MC_MENU_MAX_CHILDREN 64u

#define MC_MENU_NONE SIZE_MAX

/* Bytes of a message, with its NUL. */
#define MC_MENU_MESSAGE_SIZE 600u

enum mc_menu_action {
    MC_MENU_GO_ON, /* show the menu, wait for the next key */
    MC_MENU_START, /* start menu->choice */
    MC_MENU_OPEN,  /* call mc_menu_open() with the snapshots of menu->selected's entry */
    MC_MENU_LEAVE, /* the firmware goes on */
};

enum mc_child_kind {
    MC_CHILD_SNAPSHOT, /* value is its id */
    MC_CHILD_LOADER,   /* value is its path on the disk */
};

struct mc_menu_child {
    enum mc_child_kind kind;
    char value[256]; /* untrusted text out of an image, as is label */
    char label[256]; /* what the menu shows */
};

/* A line: an entry, or something below it. */
struct mc_menu_line {
    size_t entry; /* index into entries->sorted */
    size_t child; /* index into children; MC_MENU_NONE: the entry itself */
};

/* What is to be started. */
struct mc_menu_choice {
    const struct mc_entry *entry;
    struct mc_disk_spec spec; /* for this boot; strings as long as menu and entries live */
    bool is_changed;          /* it is not what the entry's file says */
    bool is_preset;           /* nobody chose it: the countdown ended */
};

/* Some 45 KiB: not for the stack. Does not move. Read it freely; write with the functions below. */
struct mc_menu {
    const struct mc_entries *entries; /* nb >= 1 */
    const struct mc_entry *preset;    /* what starts by itself; NULL: nothing does */
    uint32_t seconds;                 /* until it does; 0: never */
    uint32_t modes[MC_MAX_ENTRIES];   /* enum mc_mode, for this boot */
    size_t selected;                  /* line */
    size_t opened;                    /* entry; MC_MENU_NONE: none */
    size_t nb_children;
    struct mc_menu_child children[MC_MENU_MAX_CHILDREN];
    uint32_t child_mode; /* enum mc_mode of the snapshots */
    bool is_editing;
    struct mc_menu_line edited; /* whose options the field has; entry MC_MENU_NONE: none */
    struct mc_field field;
    struct mc_options options; /* the field, read */
    char message[MC_MENU_MESSAGE_SIZE];
    bool is_alarm; /* the message says what went wrong */
    struct mc_menu_choice choice;
};

/* Begin.
 *
 * entries  at least one; must outlive the menu
 * preset   the selected one, which starts after `seconds`; NULL: the first is selected, and nothing
 *          starts by itself
 * seconds  0: wait for a choice
 */
void mc_menu_init(struct mc_menu *menu, const struct mc_entries *entries,
                  const struct mc_entry *preset, uint32_t seconds);

/* Take a key. It stops the countdown. */
enum mc_menu_action mc_menu_key(struct mc_menu *menu, struct mc_key key);

/* A second has passed: MC_MENU_START at the end of the countdown, else MC_MENU_GO_ON. */
enum mc_menu_action mc_menu_tick(struct mc_menu *menu);

/* Open the selected line's entry.
 *
 * nb_children  children[] was filled with so many; 0: nothing is opened
 */
void mc_menu_open(struct mc_menu *menu, size_t nb_children);

/* Show a text until the next key; NULL: none. An alarm also stops the countdown. */
void mc_menu_say(struct mc_menu *menu, const char *message, bool is_alarm);

size_t mc_menu_nb_lines(const struct mc_menu *menu);

/* line < mc_menu_nb_lines() */
struct mc_menu_line mc_menu_line_at(const struct mc_menu *menu, size_t line);

/* The mode that a line is started with. */
enum mc_mode mc_menu_mode(const struct mc_menu *menu, struct mc_menu_line line);

/* The edit line of the menu, menu_edit.c: what mc_menu_key() does with `e`, and while is_editing.
 */
void mc_menu_edit(struct mc_menu *menu, const struct mc_menu_choice *choice);
enum mc_menu_action mc_menu_edit_key(struct mc_menu *menu, struct mc_key key);

#endif
