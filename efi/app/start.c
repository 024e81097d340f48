/* From an entry to a running loader.
 *
 * May call the driver, connect.c, loaders.c, ramdisk.c, boot.c. Invariant: before mc_start_entry()
 * returns, it takes away the disk that it attached, its RAM disk, and the driver that it loaded. A
 * line says so if the firmware refuses that.
 */
#include "start.h"

#include "boot.h"
#include "connect.h"
#include "core/base/text.h"
#include "drivers/efi/status.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "last_entry.h"
#include "q2_fail.h"
#include "ramdisk.h"

/* Say session->fault, and keep the text for the menu. */
static EFI_STATUS fail(struct mc_session *session)
{
    (void)q2_fault_format(&session->fault, session->message, sizeof(session->message));
    mc_say(session->message);
    return q2_efi_from_status(session->fault.status);
}

/* Seconds: long enough to read a sentence of warning. */
#define READING_SECONDS 3u

/* What the boot manager gives an option.  (UEFI 2.10, 3.1.2) */
#define WATCHDOG_SECONDS 300u

/* Attaching may take longer than that: sums are compared, an image is repaired, a RAM disk is
 * filled. The loader gets all of the time. The shell runs without a watchdog. */
static void set_watchdog(const struct mc_session *session, bool for_loader)
{
    UINTN seconds = for_loader && !session->from_shell ? WATCHDOG_SECONDS : 0;

    (void)mc_firmware.BootServices->SetWatchdogTimer(seconds, 0, 0, NULL);
}

/* The last moment at which a person can read that the system will lose its disk. */
static void warn(const struct mc_disk_record *record)
{
    struct mc_key key;

    if (record->no_handoff[0] == '\0')
        return;
    mc_say((const char *)record->no_handoff);
    mc_say("it is started in a moment all the same; a key starts it at once");
    (void)mc_wait_key(READING_SECONDS, &key);
}

/* The loader that the disk is started by, as session->loaders.list[0]. */
static enum q2_status find_loader(struct mc_session *session, const char *path)
{
    struct mc_loaders *loaders = &session->loaders;
    struct q2_fault *fault = &session->fault;
    enum q2_status status;

    if (path) {
        loaders->nb = 1;
        if (!mc_text_copy(loaders->list[0].path, sizeof(loaders->list[0].path), path))
            return q2_fail(fault, Q2_ERR_BAD_NAME, NULL, path);
        return mc_find_on_disk(session->record.handle, path, fault, &loaders->list[0].volume);
    }
    status = mc_find_loaders(session->record.handle, fault, loaders);
    if (status != Q2_OK || loaders->nb == 1)
        return status;
    for (size_t i = 0; i < loaders->nb; i++)
        mc_say(loaders->list[i].path);
    return q2_fail(
        fault, Q2_ERR_NOT_FOUND,
        "several loaders are on the disk; say which one with a line 'boot FILE' in the entry",
        NULL);
}

/* Start the loader of the disk in session->record. Returns only when the loader does.
 *
 * path  NULL: it is looked for
 * id    of the entry that is to be remembered; NULL: none */
static EFI_STATUS start_loader(struct mc_session *session, const char *path, const char *id)
{
    enum q2_status booted;
    EFI_STATUS status;

    warn(&session->record);
    mc_connect_disk(session->record.handle);
    if (find_loader(session, path) != Q2_OK)
        return fail(session);
    if (id)
        mc_last_entry_set(id);
    path = session->loaders.list[0].path;
    set_watchdog(session, true);
    booted = mc_boot(session->loaders.list[0].volume, path, &session->fault, &status);
    set_watchdog(session, false);
    if (booted != Q2_OK)
        return fail(session);
    if (!EFI_ERROR(status))
        return status;
    (void)q2_fail_value(&session->fault, Q2_ERR_IO,
                        "the loader came back with an error; it may have printed why", path,
                        "EFI status", status & ~EFI_ERROR_MASK);
    (void)fail(session);
    return status;
}

/* Print the line that tells what is booted. Not inlined, because its buffer would then be on the
 * stack while the loader runs. */
__attribute__((noinline)) static void say_entry(const struct mc_entry *entry,
                                                const struct mc_disk_spec *spec)
{
    static const char *const modes[] = {"ro", "rw", "overlay"};
    char line[900];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, "starting ");
    q2_line_put(&text, mc_entry_title(entry));
    q2_line_put(&text, " from ");
    q2_line_put(&text, spec->image);
    if (spec->snapshot) {
        q2_line_put(&text, ", snapshot ");
        q2_line_put_escaped(&text, spec->snapshot);
    }
    q2_line_put(&text, ", mode ");
    q2_line_put(&text, modes[spec->mode]);
    mc_say(line);
}

/* What a person has to know before an operating system starts: who keeps the disk afterwards. */
static void say_who_keeps_it(const struct mc_disk_spec *spec, const struct mc_disk_record *record)
{
    if (spec->handoff == MC_HANDOFF_NONE)
        mc_say(
            "a system loses this disk while it starts, unless it runs from memory (its initramfs)");
    else if (record->no_handoff[0] == '\0')
        mc_say("Linux keeps this disk when it starts; other systems lose it");
}

/* Detach a disk that the driver attached by itself from the same volume. false: there is none.
 *
 * contested  any that may have a file in common with what is to be attached, because one of the two
 *            writes; else those of the same image only */
__attribute__((noinline)) static bool displace(struct mc_session *session, EFI_HANDLE volume,
                                               const struct mc_disk_spec *spec, bool contested)
{
    struct mc_control *control = session->client.control;
    const struct mc_disk_record *record = &session->record;
    char message[MC_MESSAGE_SIZE]; /* why attaching failed is in session->message */

    for (UINTN i = 0; mc_session_get(session, i); i++) {
        bool writes = record->mode == MC_MODE_READ_WRITE || spec->mode == MC_MODE_READ_WRITE;
        bool is_meant =
            contested ? writes : q2_text_equal((const char *)record->image, spec->image);
        if (!record->is_by_itself || record->volume != volume || !is_meant ||
            EFI_ERROR(control->Detach(control, record->number, (CHAR8 *)message)))
            continue;
        session->has_displaced = true;
        return true;
    }
    return false;
}

/* Attach a disk. Where the driver has attached the same image by itself, that disk gives way: a
 * file that is written can be attached once, and of two disks with the same partitions a loader
 * could take the other one. */
static EFI_STATUS attach(struct mc_session *session, EFI_HANDLE volume,
                         const struct mc_disk_spec *spec, uint32_t *ret_number)
{
    struct mc_control *control = session->client.control;
    EFI_STATUS status;

    while (displace(session, volume, spec, false))
        continue;
    do
        status = control->Attach(control, volume, spec, (CHAR8 *)session->message, ret_number);
    while (status == EFI_ACCESS_DENIED && displace(session, volume, spec, true));
    if (EFI_ERROR(status))
        mc_say(session->message);
    return status;
}

/* Attach the disk, start its loader, and detach the disk. The driver is loaded. */
__attribute__((noinline)) static EFI_STATUS attach_and_start(struct mc_session *session,
                                                             EFI_HANDLE volume,
                                                             const struct mc_disk_spec *spec,
                                                             const char *id)
{
    struct mc_control *control = session->client.control;
    char detached[MC_MESSAGE_SIZE]; /* what is in session->message may be why the loader failed */
    uint32_t number;
    EFI_STATUS status = attach(session, volume, spec, &number);

    if (EFI_ERROR(status))
        return status;
    status = EFI_NOT_FOUND;
    if (mc_session_find(session, number)) {
        say_who_keeps_it(spec, &session->record);
        status = start_loader(session, spec->boot, id);
    }
    if (EFI_ERROR(control->Detach(control, number, (CHAR8 *)detached)))
        mc_say(detached);
    return status;
}

/* Attach the disk, read it into memory, and detach it again. The driver is loaded. A system must
 * not find the same partitions on two disks, so the caller registers the RAM disk afterwards. */
__attribute__((noinline)) static EFI_STATUS unpack(struct mc_session *session, EFI_HANDLE volume,
                                                   const struct mc_disk_spec *spec,
                                                   struct mc_ramdisk *ramdisk)
{
    struct mc_control *control = session->client.control;
    uint32_t number;
    EFI_STATUS status = attach(session, volume, spec, &number);
    enum q2_status done;

    if (EFI_ERROR(status))
        return status;
    status = EFI_NOT_FOUND;
    if (mc_session_find(session, number)) {
        done = mc_ramdisk_fill(ramdisk, session->record.handle, spec->image, &session->fault);
        status = done == Q2_OK ? EFI_SUCCESS : fail(session);
    }
    if (!EFI_ERROR(control->Detach(control, number, (CHAR8 *)session->record.no_handoff)))
        return status;
    mc_say((const char *)session->record.no_handoff);
    return EFI_ERROR(status) ? status : EFI_DEVICE_ERROR;
}

/* Start an entry that says `handoff ramdisk`. The driver is loaded. */
static EFI_STATUS start_from_memory(struct mc_session *session, EFI_HANDLE volume,
                                    const struct mc_disk_spec *spec, const char *id)
{
    struct mc_ramdisk ramdisk = {.memory = 0};
    struct mc_disk_spec source = *spec;
    EFI_STATUS status;

    if (spec->mode == MC_MODE_READ_WRITE) {
        (void)q2_fail(&session->fault, Q2_ERR_DENIED,
                      "what is written to a RAM disk is lost at power-off, and mode rw promises to "
                      "keep it: use mode ro or overlay with handoff ramdisk",
                      spec->image);
        return fail(session);
    }
    if (mc_ramdisk_check(spec->image, &session->fault) != Q2_OK)
        return fail(session);
    source.mode = MC_MODE_READ_ONLY; /* the RAM disk is the overlay */
    status = unpack(session, volume, &source, &ramdisk);
    if (!EFI_ERROR(status)) {
        session->record.no_handoff[0] = '\0';
        if (mc_ramdisk_register(&ramdisk, spec->image, &session->fault, &session->record.handle) ==
            Q2_OK) {
            mc_say("the system runs from memory: what it writes is gone at power-off");
            mc_say("Linux finds a RAM disk only with the modules nfit and nd_pmem in its initrd");
            status = start_loader(session, spec->boot, id);
        } else {
            status = fail(session);
        }
    }
    mc_ramdisk_free(&ramdisk);
    return status;
}

EFI_STATUS mc_start_entry(struct mc_session *session, EFI_HANDLE volume,
                          const struct mc_entry *entry, const struct mc_disk_spec *spec,
                          bool remember)
{
    struct mc_disk_spec copy = *spec;
    enum q2_status opened;
    EFI_STATUS status;

    session->loaders.nb = 0;
    session->has_displaced = false;
    set_watchdog(session, false);
    /* In the shell, disks of an older driver may be somebody's; there it is only reported. */
    opened = session->from_shell ? mc_client_open(&session->client, true, &session->fault)
                                 : mc_client_replace(&session->client, &session->fault);
    if (opened != Q2_OK)
        return fail(session);
    copy.title = mc_entry_title(entry);
    copy.may_ask = true;
    say_entry(entry, &copy);
    status = (copy.handoff == MC_HANDOFF_RAMDISK ? start_from_memory : attach_and_start)(
        session, volume, &copy, remember ? entry->id : NULL);
    /* The driver attaches again what it attaches by itself. */
    if (session->has_displaced)
        (void)mc_firmware.BootServices->ConnectController(volume, NULL, NULL, FALSE);
    mc_client_unload(&session->client);
    return status;
}

EFI_STATUS mc_start_disk(struct mc_session *session)
{
    return start_loader(session, NULL, NULL);
}
