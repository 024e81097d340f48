/* The menu at the console.
 *
 * Calls menu_console.c, and opens the metadata of an image when a person opens its entry.
 * Invariant: no image is opened for a menu that nobody touches.
 */
#include "menu_run.h"

#include "drivers/efi/status.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/menu/child.h"
#include "menu_console.h"
#include "q2_fail.h"

/* In units of 100 ns. A key that is held comes again within LET_GO. */
#define MILLISECOND 10000ull
#define FIRST_KEY   (100 * MILLISECOND)
#define LET_GO      (700 * MILLISECOND)

/* --- a key that is held ----------------------------------------------------------------------- */

/* More than any key buffer holds. */
#define MAX_KEYS_DROPPED 1024u

/* Take what was typed; false: nothing. */
static bool take_keys(struct mc_key *ret_key)
{
    SIMPLE_INPUT_INTERFACE *in = mc_firmware.SystemTable->ConIn;
    EFI_INPUT_KEY key;
    unsigned int nb = 0;

    for (; nb < MAX_KEYS_DROPPED && !EFI_ERROR(in->ReadKeyStroke(in, &key)); nb++)
        *ret_key = (struct mc_key){.scan_code = key.ScanCode, .unit = key.UnicodeChar};
    return nb > 0;
}

bool mc_menu_is_wanted(struct mc_key *ret_key)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_EVENT events[] = {NULL, mc_firmware.SystemTable->ConIn->WaitForKey};
    UINTN index;

    if (take_keys(ret_key))
        return true;
    if (EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &events[0])))
        return false;
    if (!EFI_ERROR(services->SetTimer(events[0], TimerRelative, FIRST_KEY)))
        (void)services->WaitForEvent(2, events, &index);
    (void)services->CloseEvent(events[0]);
    return take_keys(ret_key);
}

/* A key whose repetitions do not count. */
struct held_key {
    struct mc_key key;
    EFI_EVENT timer; /* NULL: every key counts */
};

static void held_init(struct held_key *held, const struct mc_key *key)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;

    *held = (struct held_key){.key = key ? *key : (struct mc_key){0, 0}};
    if (!key ||
        EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &held->timer))) {
        held->timer = NULL;
        return;
    }
    (void)services->SetTimer(held->timer, TimerRelative, LET_GO);
}

static void held_end(struct held_key *held)
{
    if (held->timer)
        (void)mc_firmware.BootServices->CloseEvent(held->timer);
    held->timer = NULL;
}

/* Is a key a repetition? */
static bool held_drops(struct held_key *held, struct mc_key key)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;

    if (!held->timer)
        return false;
    if (key.scan_code != held->key.scan_code || key.unit != held->key.unit ||
        services->CheckEvent(held->timer) == EFI_SUCCESS) {
        held_end(held);
        return false;
    }
    (void)services->SetTimer(held->timer, TimerRelative, LET_GO);
    return true;
}

/* --- snapshots -------------------------------------------------------------------------------- */

/* Read the last snapshots of an image into children; returns how many. */
static size_t read_snapshots(struct mc_menu *menu, struct q2_disk *disk, uint32_t nb)
{
    uint32_t index = nb > MC_MENU_MAX_CHILDREN ? nb - MC_MENU_MAX_CHILDREN : 0;
    struct q2_snapshot snapshot;
    size_t n = 0;

    for (; index < nb && q2_disk_snapshot(disk, index, &snapshot) == Q2_OK; index++)
        n += mc_menu_child_snapshot(&snapshot, &menu->children[n]) ? 1 : 0;
    return n;
}

static void open_entry(struct mc_session *session, struct mc_menu *menu, EFI_HANDLE volume)
{
    struct mc_menu_line line = mc_menu_line_at(menu, menu->selected);
    const struct mc_entry *entry = menu->entries->sorted[line.entry];
    struct q2_fault *fault = &session->fault;
    struct q2_layer_info info;
    struct mc_image *image;
    size_t nb = 0;

    mc_menu_open(menu, 0);
    if (mc_image_open(volume, &entry->spec, true, fault, &image) != Q2_OK) {
        (void)q2_fault_format(fault, session->message, sizeof(session->message));
        mc_menu_say(menu, session->message, true);
        return;
    }
    q2_disk_layer_info(image->disk, 0, &info);
    if (info.header)
        nb = read_snapshots(menu, image->disk, info.header->nb_snapshots);
    mc_image_close(image);
    mc_menu_open(menu, nb);
    if (nb == 0)
        mc_menu_say(menu, "This image has no internal snapshots.", false);
}

/* --- the loop --------------------------------------------------------------------------------- */

static enum mc_menu_action loop(struct mc_session *session, struct mc_menu *menu, EFI_HANDLE volume,
                                struct mc_menu_console *console, struct held_key *held)
{
    enum mc_menu_action action = MC_MENU_GO_ON;
    struct mc_key key;

    while (action == MC_MENU_GO_ON) {
        mc_menu_console_show(console, menu);
        switch (mc_menu_console_wait(console, &key)) {
        case MC_EVENT_SECOND:
            action = mc_menu_tick(menu);
            break;
        case MC_EVENT_KEY:
            action = held_drops(held, key) ? MC_MENU_GO_ON : mc_menu_key(menu, key);
            break;
        case MC_EVENT_LOST:
            return MC_MENU_LEAVE;
        }
        if (action == MC_MENU_OPEN) {
            open_entry(session, menu, volume);
            action = MC_MENU_GO_ON;
        }
    }
    return action;
}

enum mc_menu_action mc_menu_run(struct mc_session *session, struct mc_menu *menu, EFI_HANDLE volume,
                                const struct mc_key *held, bool *ret_by_hand)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    struct mc_menu_console *console;
    struct held_key held_key;
    enum mc_menu_action action;

    if (mc_menu_console_open(&session->fault, &console) != Q2_OK) {
        mc_say_fault(&session->fault);
        return MC_MENU_LEAVE;
    }
    (void)services->SetWatchdogTimer(0, 0, 0, NULL);
    held_init(&held_key, held);
    action = loop(session, menu, volume, console, &held_key);
    held_end(&held_key);
    mc_menu_console_close(console);
    *ret_by_hand = !menu->choice.is_preset;
    return action;
}
