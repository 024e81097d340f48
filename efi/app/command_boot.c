/* boot, menu: choose an entry of the configuration and start it.
 *
 * May call start.c and menu_run.c. Invariant: an entry is started only if the command line named
 * it, a person chose it, or it is the default.
 */
#include "commands.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/menu/child.h"
#include "efi/menu/choose_entry.h"
#include "last_entry.h"
#include "menu_run.h"
#include "efi/place/place.h"
#include "q2_fail.h"
#include "start.h"

/* How long a message stays on a screen that the next boot option may clear. */
#define READING_SECONDS 5u

/* One run of these commands. Some 45 KiB, in pool memory. */
struct boot {
    struct mc_session *session;
    EFI_HANDLE volume; /* of the entries */
    const struct mc_entry *preset;
    const struct mc_key *held; /* the key that brought the menu; NULL: none did */
    struct mc_key key;
    char message[MC_MENU_MESSAGE_SIZE]; /* for the menu; "": none */
    bool is_alarm;
    struct mc_menu menu;
};

/* --- the configuration ------------------------------------------------------------------------ */

static enum q2_status read_entries(struct boot *boot)
{
    struct mc_session *session = boot->session;
    struct q2_fault *fault = &session->fault;
    struct q2_place *place;
    enum q2_status status;

    boot->volume = mc_own_volume();
    if (!boot->volume)
        return q2_fail(
            fault, Q2_ERR_UNSUPPORTED,
            "the program was not loaded from a volume; start it from the one with the entries",
            NULL);
    status = mc_place_open(boot->volume, fault, &place);
    if (status == Q2_OK) {
        status = mc_entries_read(place, fault, &session->entries);
        mc_place_close(place);
    }
    if (status == Q2_ERR_NOT_FOUND)
        return q2_fail(fault, status,
                       "no entry is configured; each is a file NAME.conf in this folder",
                       MC_ENTRIES_FOLDER);
    if (status == Q2_OK && session->entries->nb == 0)
        return q2_fail(fault, Q2_ERR_NOT_FOUND,
                       "no entry can be used; correct the lines that are named above",
                       MC_ENTRIES_FOLDER);
    return status;
}

static void set_message(struct boot *boot, const char *text, bool is_alarm)
{
    (void)mc_text_copy(boot->message, sizeof(boot->message), text);
    boot->is_alarm = is_alarm;
}

/* What is wrong with the configuration, for a menu that has cleared the screen. */
static void note_problems(struct boot *boot)
{
    const struct mc_entries *entries = boot->session->entries;

    if (entries->settings.nb_problems > 0)
        (void)mc_problem_format(&entries->settings.problem, MC_SETTINGS_FILE, boot->message,
                                sizeof(boot->message));
    else if (entries->refused[0] != '\0')
        set_message(boot, entries->refused, false);
}

/* Find the entry that starts by itself, and say what is wrong with that choice. */
static void find_preset(struct boot *boot)
{
    const struct mc_entries *entries = boot->session->entries;
    char saved[MC_MAX_TEXT_LENGTH + 1];
    char text[MC_MENU_MESSAGE_SIZE];

    mc_last_entry_get(saved);
    boot->preset = mc_choose_entry(entries->sorted, entries->nb, entries->settings.default_entry,
                                   saved, text, sizeof(text));
    if (text[0] == '\0')
        return;
    mc_say(text);
    set_message(boot, text, !boot->preset);
}

/* --- without a menu --------------------------------------------------------------------------- */

static EFI_STATUS start_named(struct boot *boot, const char *name)
{
    struct mc_session *session = boot->session;
    const struct mc_entries *entries = session->entries;

    for (size_t i = 0; i < entries->nb; i++) {
        const struct mc_entry *entry = entries->sorted[i];
        if (mc_entry_matches(entry, name))
            return mc_start_entry(session, boot->volume, entry, &entry->spec, false);
    }
    mc_say("these entries can be started with 'metalcow boot ENTRY':");
    for (size_t i = 0; i < entries->nb; i++) {
        mc_print("  ");
        mc_print(entries->sorted[i]->id);
        mc_print("\n");
    }
    (void)q2_fail(&session->fault, Q2_ERR_NOT_FOUND, "no entry has this name", name);
    return mc_session_fail(session);
}

/* The default entry did not start. If a person presses a key, show the menu. On a machine without a
 * person the firmware tries its next boot option; in a shell the command ends with its error. */
static bool is_somebody_here(struct boot *boot)
{
    if (boot->session->from_shell || !mc_can_ask())
        return false;
    mc_drop_keys();
    mc_say("press a key for the menu; else the firmware goes on in 5 s");
    if (!mc_wait_key(READING_SECONDS, &boot->key))
        return false;
    boot->held = &boot->key;
    return true;
}
_Static_assert(READING_SECONDS == 5, "text above");

/* --- the menu --------------------------------------------------------------------------------- */

/* Must the menu be shown before anything is started? */
static bool wants_menu(struct boot *boot)
{
    const struct mc_settings *settings = &boot->session->entries->settings;

    if (!mc_can_ask())
        return false;
    if (boot->session->line.menu || !boot->preset || settings->menu != MC_MENU_HIDDEN)
        return true;
    if (boot->session->from_shell || !mc_menu_is_wanted(&boot->key))
        return false;
    boot->held = &boot->key;
    return true;
}

/* List the loaders of the disk below its entry, because none of them was started by itself. */
static void offer_loaders(struct boot *boot)
{
    const struct mc_loaders *loaders = &boot->session->loaders;
    struct mc_menu *menu = &boot->menu;
    size_t nb = 0;

    if (loaders->nb < 2 || boot->session->entries->settings.no_editor)
        return;
    for (size_t i = 0; i < loaders->nb; i++)
        nb += mc_menu_child_loader(loaders->list[i].path, &menu->children[nb]) ? 1 : 0;
    mc_menu_open(menu, nb);
}
_Static_assert(MC_MAX_LOADERS <= MC_MENU_MAX_CHILDREN, "all fit below an entry");

/* Show in the menu why a start failed, with what can be done. */
static void explain(struct boot *boot, const struct mc_entry *entry)
{
    char text[MC_MENU_MESSAGE_SIZE];
    struct q2_line line = q2_line_start(text, sizeof(text));

    q2_line_put(&line, mc_entry_title(entry));
    q2_line_put(&line, " did not start: ");
    q2_line_put(&line, boot->session->message);
    offer_loaders(boot);
    set_message(boot, text, true);
}

/* Let the person choose once, and do what was chosen. True: the end, with *ret_status. */
static bool choose_and_start(struct boot *boot, EFI_STATUS *ret_status)
{
    struct mc_session *session = boot->session;
    struct mc_menu *menu = &boot->menu;
    bool is_saved = q2_text_equal(session->entries->settings.default_entry, MC_DEFAULT_SAVED);
    bool by_hand = false;

    mc_menu_say(menu, boot->message, boot->is_alarm);
    *ret_status = EFI_ABORTED;
    if (mc_menu_run(session, menu, boot->volume, boot->held, &by_hand) != MC_MENU_START)
        return true;
    boot->held = NULL;
    *ret_status = mc_start_entry(session, boot->volume, menu->choice.entry, &menu->choice.spec,
                                 is_saved && by_hand);
    if (!EFI_ERROR(*ret_status) || (!by_hand && !is_somebody_here(boot)))
        return true;
    explain(boot, menu->choice.entry);
    return false;
}

static EFI_STATUS run_menu(struct boot *boot)
{
    const struct mc_settings *settings = &boot->session->entries->settings;
    EFI_STATUS status = EFI_SUCCESS;

    mc_menu_init(&boot->menu, boot->session->entries, boot->preset,
                 boot->held || boot->session->line.menu ? 0 : settings->timeout_seconds);
    if (boot->session->message[0] != '\0')
        explain(boot, boot->preset);
    while (!choose_and_start(boot, &status))
        continue;
    return status;
}

/* Start the default without a menu. */
static EFI_STATUS start_preset(struct boot *boot)
{
    struct mc_session *session = boot->session;
    EFI_STATUS status;

    if (!boot->preset) {
        (void)q2_fail(
            &session->fault, Q2_ERR_NOT_FOUND,
            "default selects no entry, and there is no console to choose one at; correct it",
            MC_SETTINGS_FILE);
        return mc_session_fail(session);
    }
    status = mc_start_entry(session, boot->volume, boot->preset, &boot->preset->spec, false);
    if (EFI_ERROR(status) && is_somebody_here(boot))
        return run_menu(boot);
    return status;
}

static EFI_STATUS boot_entry(struct boot *boot)
{
    struct mc_session *session = boot->session;
    struct mc_key key;
    EFI_STATUS status;

    if (read_entries(boot) != Q2_OK) {
        status = mc_session_fail(session);
        if (!session->from_shell)
            (void)mc_wait_key(READING_SECONDS, &key);
        return status;
    }
    if (session->line.operand)
        return start_named(boot, session->line.operand);
    note_problems(boot);
    find_preset(boot);
    return wants_menu(boot) ? run_menu(boot) : start_preset(boot);
}

static EFI_STATUS boot_disk(struct mc_session *session)
{
    uint32_t number;

    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return mc_session_fail(session);
    if (mc_number_parse(session->line.disk, &number) && mc_session_find(session, number))
        return mc_start_disk(session);
    (void)q2_fail(&session->fault, Q2_ERR_NOT_FOUND, "no disk has this number; see 'metalcow list'",
                  session->line.disk);
    return mc_session_fail(session);
}

EFI_STATUS mc_command_boot(struct mc_session *session)
{
    struct boot *boot;
    EFI_STATUS status;

    if (session->line.disk)
        return boot_disk(session);
    boot = mc_alloc(sizeof(*boot));
    if (!boot) {
        (void)q2_fail_memory(&session->fault);
        return mc_session_fail(session);
    }
    boot->session = session;
    status = boot_entry(boot);
    mc_entries_free(session->entries);
    session->entries = NULL;
    mc_free(boot);
    return status;
}

EFI_STATUS mc_command_menu(struct mc_session *session)
{
    session->line.menu = true;
    return mc_command_boot(session);
}
