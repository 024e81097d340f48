/* boot: from an entry of the configuration to a running loader.
 *
 * Below commands.c; calls the driver, connect.c, boot.c. Invariant: when this returns, the disk
 * that it attached is gone again, and the driver that it loaded too.
 */
#include "boot.h"
#include "commands.h"
#include "connect.h"
#include "efi/arch/arch.h"
#include "efi/base/console.h"
#include "efi/image/entries.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/place/place.h"

/* Enough to read a sentence of warning. */
#define READING_SECONDS 3u

/* The last moment at which a person can read that the system will lose its disk. */
static void warn(const struct mc_disk_record *record)
{
    if (record->no_handoff[0] == '\0')
        return;
    mc_say((const char *)record->no_handoff);
    mc_say("it is started in a moment all the same; a key starts it at once");
    mc_wait_key(READING_SECONDS);
}

/* Start the loader of the disk in session->record. Returns only when the loader does. */
static EFI_STATUS start_disk(struct mc_session *session, const char *path)
{
    EFI_HANDLE volume;
    EFI_STATUS status;

    warn(&session->record);
    mc_connect_disk(session->record.handle);
    if (mc_find_on_disk(session->record.handle, path, &session->fault, &volume) != Q2_OK ||
        mc_boot(volume, path, &session->fault, &status) != Q2_OK)
        return mc_session_fail(session);
    return status;
}

/* What a person has to know before an operating system starts: who keeps the disk afterwards. */
static void say_who_keeps_it(const struct mc_disk_spec *spec, const struct mc_disk_record *record)
{
    if (spec->handoff == MC_HANDOFF_NONE)
        mc_say("systems that are not in their initramfs lose this disk as they start");
    else if (record->no_handoff[0] == '\0')
        mc_say("Linux gets this disk through its initrd; other systems lose it");
}

/* Attach, start, and undo it if the loader comes back. */
static EFI_STATUS attach_and_start(struct mc_session *session, EFI_HANDLE volume,
                                   const struct mc_entry *entry)
{
    struct mc_disk_spec spec = entry->spec;
    struct mc_control *control = session->client.control;
    CHAR8 *message = (CHAR8 *)session->message;
    uint32_t number;
    EFI_STATUS status;

    spec.title = mc_entry_title(entry);
    spec.may_ask = true;
    status = control->Attach(control, volume, &spec, message, &number);
    if (EFI_ERROR(status)) {
        mc_say(session->message);
        return status;
    }
    status = EFI_NOT_FOUND;
    if (mc_session_find(session, number)) {
        say_who_keeps_it(&spec, &session->record);
        status = start_disk(session, spec.boot ? spec.boot : MC_ARCH_BOOT_PATH);
    }
    if (EFI_ERROR(control->Detach(control, number, message)))
        mc_say(session->message);
    return status;
}

/* The entry that was asked for, by id or pattern, else the default. */
static const struct mc_entry *choose(const struct mc_entries *entries, const char *wanted)
{
    if (!wanted)
        return mc_entries_default(entries);
    for (size_t i = 0; i < entries->nb; i++) {
        if (mc_entry_matches(entries->sorted[i], wanted))
            return entries->sorted[i];
    }
    return NULL;
}

/* Say which entries there are, and what to do. */
static void say_entries(const struct mc_entries *entries)
{
    mc_say("these entries can be started with 'metalcow boot ENTRY':");
    for (size_t i = 0; i < entries->nb; i++) {
        mc_print("  ");
        mc_print(entries->sorted[i]->id);
        mc_print("\n");
    }
}

/* Nothing is started that nobody has chosen. */
static enum q2_status refuse_choice(const struct mc_entries *entries, const char *wanted,
                                    struct q2_fault *fault)
{
    if (entries->nb == 0)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, "no entry can be used", MC_ENTRIES_FOLDER);
    say_entries(entries);
    if (wanted)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, "no entry has this name", wanted);
    return q2_fail(fault, Q2_ERR_NOT_FOUND,
                   "its default selects no entry, so nothing is started by itself",
                   MC_SETTINGS_FILE);
}

/* Read the configuration into session->entries and choose an entry of it. */
static enum q2_status get_entry(struct mc_session *session, EFI_HANDLE volume,
                                const struct mc_entry **ret_entry)
{
    const char *wanted = session->line.operand;
    struct q2_fault *fault = &session->fault;
    struct q2_place *place;
    enum q2_status status = mc_place_open(volume, fault, &place);

    if (status == Q2_OK) {
        status = mc_entries_read(place, fault, &session->entries);
        mc_place_close(place);
    }
    if (status == Q2_ERR_NOT_FOUND)
        return q2_fail(fault, status, "no entry is configured", MC_ENTRIES_FOLDER);
    if (status != Q2_OK)
        return status;
    *ret_entry = choose(session->entries, wanted);
    if (*ret_entry)
        return Q2_OK;
    return refuse_choice(session->entries, wanted, fault);
}

static EFI_STATUS boot_from(struct mc_session *session, EFI_HANDLE volume)
{
    const struct mc_entry *entry;
    EFI_STATUS status;

    if (get_entry(session, volume, &entry) != Q2_OK ||
        mc_client_open(&session->client, true, &session->fault) != Q2_OK)
        return mc_session_fail(session);
    mc_say(mc_entry_title(entry));
    status = attach_and_start(session, volume, entry);
    mc_client_unload(&session->client);
    return status;
}

static EFI_STATUS boot_entry(struct mc_session *session)
{
    EFI_HANDLE volume = mc_own_volume();
    EFI_STATUS status;

    if (!volume) {
        (void)q2_fail(&session->fault, Q2_ERR_UNSUPPORTED,
                      "the program was not loaded from a volume", NULL);
        return mc_session_fail(session);
    }
    status = boot_from(session, volume);
    mc_entries_free(session->entries);
    session->entries = NULL;
    return status;
}

static EFI_STATUS boot_disk(struct mc_session *session)
{
    uint32_t number;

    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return mc_session_fail(session);
    if (mc_number_parse(session->line.disk, &number) && mc_session_find(session, number))
        return start_disk(session, MC_ARCH_BOOT_PATH);
    (void)q2_fail(&session->fault, Q2_ERR_NOT_FOUND, "no disk has this number", session->line.disk);
    return mc_session_fail(session);
}

EFI_STATUS mc_command_boot(struct mc_session *session)
{
    return session->line.disk ? boot_disk(session) : boot_entry(session);
}
