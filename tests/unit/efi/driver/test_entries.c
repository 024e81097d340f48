/* The configuration of a volume (efi/image/entries.c) over a folder that is made here: what else is
 * in the folder, and what cannot be read, costs no other entry. */
#include "efi/image/entries.h"

#include "mock.h"
#include "q2_fail.h"

#define MAX_FILES 1100u

static struct {
    struct q2_place place; /* first */
    char names[MAX_FILES][32];
    size_t nb, nb_loaded;
    const char *unreadable; /* a file whose bytes cannot be read; NULL: all can */
} folder;

static enum q2_status load(struct q2_place *place, const char *path, void *buffer, size_t *length,
                           struct q2_fault *fault)
{
    static const char text[] = "image /a\n";

    (void)place;
    if (strcmp(path, MC_SETTINGS_FILE) == 0)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, NULL, path);
    folder.nb_loaded++;
    if (folder.unreadable && strcmp(path, folder.unreadable) == 0)
        return q2_fail(fault, Q2_ERR_IO, NULL, path);
    *length = sizeof(text) - 1;
    memcpy(buffer, text, *length);
    return Q2_OK;
}

static enum q2_status list(struct q2_place *place, const char *path,
                           struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    enum q2_status status = Q2_OK;

    (void)place;
    T_CHECK_STR(path, MC_ENTRIES_FOLDER);
    for (size_t i = 0; i < folder.nb && status == Q2_OK; i++)
        status = visitor->visit(visitor, folder.names[i], fault);
    return status;
}

static const struct q2_place_ops ops = {.load = load, .list = list};

static void add(const char *name)
{
    (void)snprintf(folder.names[folder.nb++], sizeof(folder.names[0]), "%s", name);
}

/* A folder with so many entries. */
static void begin(size_t nb)
{
    char name[32];

    mock_begin();
    memset(&folder, 0, sizeof(folder));
    folder.place.ops = &ops;
    for (size_t i = 0; i < nb; i++) {
        (void)snprintf(name, sizeof(name), "e%02zu.conf", i);
        add(name);
    }
}

/* What editors and other systems leave in a folder is neither read nor counted. */
static void test_entries_other_files_are_passed_over(void)
{
    static const char *const others[] = {"readme.txt",   "._e00.conf", ".DS_Store",
                                         ".hidden.conf", "e00.conf~",  "e00.conf.partial",
                                         ".conf"};
    struct mc_entries *entries;
    struct q2_fault fault;

    begin(MC_MAX_ENTRIES);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        add(others[i]);
    if (!T_CHECK_U64(mc_entries_read(&folder.place, &fault, &entries), Q2_OK))
        return;
    T_CHECK_U64(entries->nb, MC_MAX_ENTRIES);
    T_CHECK_STR(entries->refused, "");
    T_CHECK_STR(fw.text, "");
    mc_entries_free(entries);
    mock_check_nothing_left();
}

/* The menu begins with the highest name. */
static void check_first_ones(size_t nb_files)
{
    struct mc_entries *entries;
    struct q2_fault fault;
    char id[32];

    if (!T_CHECK_U64(mc_entries_read(&folder.place, &fault, &entries), Q2_OK))
        return;
    T_CHECK_U64(entries->nb, MC_MAX_ENTRIES);
    for (size_t i = 0; i < entries->nb; i++) {
        (void)snprintf(id, sizeof(id), "e%02zu", nb_files - 1 - i);
        T_CHECK_STR(entries->sorted[i]->id, id);
    }
    T_CHECK_STR(entries->refused,
                "/metalcow/entries: more than 64 entries; the last ones are left out");
    T_CHECK_STR(fw.text,
                "metalcow: /metalcow/entries: more than 64 entries; the last ones are left "
                "out\r\n");
    mc_entries_free(entries);
    mock_check_nothing_left();
}

static void test_entries_of_more_than_the_limit_the_first_are_taken(void)
{
    begin(MC_MAX_ENTRIES + 3); /* the folder begins with what the menu has last */
    check_first_ones(folder.nb);
    begin(MC_MAX_ENTRIES + 3); /* and the other way round */
    for (size_t i = 0; i < folder.nb / 2; i++) {
        char name[sizeof(folder.names[0])];
        memcpy(name, folder.names[i], sizeof(name));
        memcpy(folder.names[i], folder.names[folder.nb - 1 - i], sizeof(name));
        memcpy(folder.names[folder.nb - 1 - i], name, sizeof(name));
    }
    check_first_ones(folder.nb);
}

static void test_entries_of_a_folder_without_end_some_are_read(void)
{
    struct mc_entries *entries;
    struct q2_fault fault;

    begin(MAX_FILES);
    if (!T_CHECK_U64(mc_entries_read(&folder.place, &fault, &entries), Q2_OK))
        return;
    T_CHECK_U64(entries->nb, MC_MAX_ENTRIES);
    T_CHECK_U64(folder.nb_loaded, 1024);
    T_CHECK(strstr(entries->refused, "more than 64 entries") != NULL);
    mc_entries_free(entries);
    mock_check_nothing_left();
}

static void test_entries_one_that_cannot_be_read_costs_no_other(void)
{
    static const char why[] = "/metalcow/entries/e01.conf: the file cannot be read or written";
    struct mc_entries *entries;
    struct q2_fault fault;
    char said[100];

    begin(3);
    folder.unreadable = "/metalcow/entries/e01.conf";
    if (!T_CHECK_U64(mc_entries_read(&folder.place, &fault, &entries), Q2_OK))
        return;
    if (T_CHECK_U64(entries->nb, 2)) {
        T_CHECK_STR(entries->sorted[0]->id, "e02");
        T_CHECK_STR(entries->sorted[1]->id, "e00");
    }
    T_CHECK_STR(entries->refused, why);
    (void)snprintf(said, sizeof(said), "metalcow: %s\r\n", why);
    T_CHECK_STR(fw.text, said);
    mc_entries_free(entries);
    mock_check_nothing_left();
}

int main(void)
{
    T_RUN(test_entries_other_files_are_passed_over);
    T_RUN(test_entries_of_more_than_the_limit_the_first_are_taken);
    T_RUN(test_entries_of_a_folder_without_end_some_are_read);
    T_RUN(test_entries_one_that_cannot_be_read_costs_no_other);
    return t_done();
}
