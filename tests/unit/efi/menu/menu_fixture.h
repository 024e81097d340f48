/* A menu of entries for the tests of the menu and of its picture. */
#ifndef METALCOW_TESTS_MENU_FIXTURE_H
#define METALCOW_TESTS_MENU_FIXTURE_H

#include "efi/menu/menu.h"
#include "tests/support/t.h"

static struct mc_entries entries;
static struct mc_menu menu;

/* Make entries of texts such as "title A\nimage /a.qcow2", ids e0, e1, ... */
static inline void make_entries(const char *const *texts, size_t nb)
{
    static struct mc_problems problems;

    memset(&entries, 0, sizeof(entries));
    entries.nb = nb;
    for (size_t i = 0; i < nb; i++) {
        (void)mc_entry_parse(texts[i], strlen(texts[i]), &entries.entries[i], &problems);
        (void)snprintf(entries.entries[i].id, sizeof(entries.entries[i].id), "e%zu", i);
        entries.sorted[i] = &entries.entries[i];
    }
}

static inline void make_three(void)
{
    static const char *const texts[] = {
        "title Alpha\nimage /a.qcow2",
        "title Beta\nimage /b.qcow2\nmode rw\nsnapshto x\nrom 1",
        "title Gamma\nimage /c.qcow2\nmode rw\nboot /EFI/c.efi",
    };

    make_entries(texts, 3);
}

/* Put children into the menu, as its caller does for MC_MENU_OPEN. */
static inline void open_with(enum mc_child_kind kind, size_t nb)
{
    for (size_t i = 0; i < nb; i++) {
        struct mc_menu_child *child = &menu.children[i];
        child->kind = kind;
        (void)snprintf(child->value, sizeof(child->value), "v%zu", i);
        (void)snprintf(child->label, sizeof(child->label), "label %zu", i);
    }
    mc_menu_open(&menu, nb);
}

static inline enum mc_menu_action scan(uint16_t scan_code)
{
    return mc_menu_key(&menu, (struct mc_key){.scan_code = scan_code});
}

/* Type a text; the action of its last character. */
static inline enum mc_menu_action type(const char *text)
{
    enum mc_menu_action action = MC_MENU_GO_ON;

    for (; *text != '\0'; text++)
        action = mc_menu_key(&menu, (struct mc_key){.unit = (uint8_t)*text});
    return action;
}

#define ENTER "\r"

#endif
