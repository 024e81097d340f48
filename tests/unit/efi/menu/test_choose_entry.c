/* efi/menu/choose_entry.c: which entry starts by itself, and what is said about it. */
#include "efi/menu/choose_entry.h"

#include "tests/support/t.h"

static struct mc_entry entries[3];

/* The entries in the order of a menu. */
static struct mc_entry *const sorted[] = {&entries[0], &entries[1], &entries[2]};

static void set_ids(void)
{
    static const char *const files[] = {"zoo.conf", "debian.conf", "demo.conf"};

    for (size_t i = 0; i < 3; i++)
        T_CHECK(mc_entry_set_id(&entries[i], files[i]));
}

#define NO_ENTRY  "/metalcow/metalcow.conf: default "
#define NO_START  " selects no entry, so nothing is started by itself"
#define LAST_GONE "the entry that was chosen last is not here: "

static void test_choose_entry_by_setting_and_memory(void)
{
    static const struct {
        const char *name, *setting, *saved;
        size_t nb;
        int want; /* index; -1: none */
        const char *text;
    } rows[] = {
        {"no setting", "", "", 3, 0, ""},
        {"no setting, something is remembered", "", "demo", 3, 0, ""},
        {"no entries", "", "", 0, -1, ""},
        {"an id", "demo", "", 3, 2, ""},
        {"an id with .conf", "debian.conf", "", 3, 1, ""},
        {"a pattern takes the first", "de*", "", 3, 1, ""},
        {"a pattern in capitals", "DEM?", "", 3, 2, ""},
        {"a pattern that selects none", "arch*", "zoo", 3, -1, NO_ENTRY "arch*" NO_START},
        {"a pattern without entries", "a", "", 0, -1, NO_ENTRY "a" NO_START},
        {"a pattern is escaped", "a\x1b[1m", "", 3, -1, NO_ENTRY "a\\x1b[1m" NO_START},
        {"the last one", MC_DEFAULT_SAVED, "demo", 3, 2, ""},
        {"the last one is compared as it is", MC_DEFAULT_SAVED, "de*", 3, 0, LAST_GONE "de*"},
        {"nothing was chosen yet", MC_DEFAULT_SAVED, "", 3, 0, ""},
        {"the last one has gone", MC_DEFAULT_SAVED, "old", 3, 0, LAST_GONE "old"},
        {"the last one, no entries", MC_DEFAULT_SAVED, "old", 0, -1, ""},
    };

    set_ids();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256] = "not written";
        const struct mc_entry *got =
            mc_choose_entry(sorted, rows[i].nb, rows[i].setting, rows[i].saved, text, sizeof(text));

        t_row(rows[i].name);
        T_CHECK(got == (rows[i].want < 0 ? NULL : sorted[rows[i].want]));
        T_CHECK_STR(text, rows[i].text);
    }
}

int main(void)
{
    T_RUN(test_choose_entry_by_setting_and_memory);
    return t_done();
}
