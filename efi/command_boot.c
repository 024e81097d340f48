/* boot: from an entry of the configuration to a running loader.
 *
 * Below commands.c; calls the driver, connect.c, boot.c. Invariant: when this returns, the disk
 * that it attached is gone again, and the driver that it loaded too.
 */
#include "boot.h"
#include "commands.h"
#include "connect.h"
#include "console.h"
#include "control_client.h"
#include "entries.h"
#include "fail.h"
#include "firmware.h"

/* One attempt. Some 15 KiB with the entry: in pool memory. */
struct attempt {
    struct mc_client client;
    struct mc_disk_record record;
    struct mc_entry entry;
    struct q2_fault fault;
};

static bool find_disk(struct attempt *attempt, uint32_t number)
{
    struct mc_control *control = attempt->client.control;

    for (UINTN i = 0; !EFI_ERROR(control->Get(control, i, &attempt->record)); i++) {
        if (attempt->record.number == number)
            return true;
    }
    return false;
}

/* Start the loader of a disk that is attached. Returns only when the loader does. */
static EFI_STATUS start_disk(struct attempt *attempt, const char *path)
{
    EFI_HANDLE volume;
    EFI_STATUS status;

    mc_connect_disk(attempt->record.handle);
    if (mc_find_on_disk(attempt->record.handle, path, &attempt->fault, &volume) != Q2_OK ||
        mc_boot(volume, path, &attempt->fault, &status) != Q2_OK)
        return mc_command_fail(&attempt->fault);
    return status;
}

/* Attach, start, and undo it if the loader comes back. */
static EFI_STATUS start_entry(struct attempt *attempt, EFI_HANDLE volume)
{
    struct mc_attach_options options = mc_entry_options(&attempt->entry);
    CHAR8 message[MC_MESSAGE_SIZE];
    struct mc_control *control;
    uint32_t number;
    EFI_STATUS status;

    if (mc_client_open(&attempt->client, true, &attempt->fault) != Q2_OK)
        return mc_command_fail(&attempt->fault);
    control = attempt->client.control;
    status = control->Attach(control, volume, &options, message, &number);
    if (EFI_ERROR(status)) {
        mc_say((const char *)message);
    } else {
        status = EFI_NOT_FOUND;
        if (find_disk(attempt, number))
            status = start_disk(attempt, attempt->entry.boot);
        if (EFI_ERROR(control->Detach(control, number, message)))
            mc_say((const char *)message);
    }
    mc_client_unload(&attempt->client);
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

static enum q2_status read_entry(EFI_HANDLE handle, const char *wanted, struct attempt *attempt)
{
    struct q2_fault *fault = &attempt->fault;
    struct mc_volume *volume = mc_alloc(sizeof(*volume));
    struct mc_entries *entries;
    const struct mc_entry *entry;
    enum q2_status status = volume ? Q2_OK : mc_fail_memory(fault);

    if (status == Q2_OK)
        status = mc_volume_open(handle, fault, volume);
    if (status == Q2_OK)
        status = mc_entries_read(volume, fault, &entries);
    mc_free(volume);
    if (status == Q2_ERR_NOT_FOUND)
        return mc_fail(fault, status, "no entry is configured", MC_ENTRIES_FOLDER);
    if (status != Q2_OK)
        return status;
    entry = choose(entries, wanted);
    if (entry)
        __builtin_memcpy(&attempt->entry, entry, sizeof(*entry));
    else
        status = mc_fail(fault, Q2_ERR_NOT_FOUND,
                         wanted ? "no entry has this name" : "no entry is configured",
                         wanted ? wanted : MC_ENTRIES_FOLDER);
    mc_entries_free(entries);
    return status;
}

static EFI_STATUS boot_entry(const char *wanted, struct attempt *attempt)
{
    EFI_HANDLE volume = mc_own_volume();

    if (!volume) {
        (void)mc_fail(&attempt->fault, Q2_ERR_UNSUPPORTED,
                      "the program was not loaded from a volume", NULL);
        return mc_command_fail(&attempt->fault);
    }
    if (read_entry(volume, wanted, attempt) != Q2_OK)
        return mc_command_fail(&attempt->fault);
    mc_print("metalcow: ");
    mc_print(mc_entry_title(&attempt->entry));
    mc_print("\n");
    return start_entry(attempt, volume);
}

static EFI_STATUS boot_disk(const char *word, struct attempt *attempt)
{
    uint32_t number;

    if (mc_client_open(&attempt->client, false, &attempt->fault) != Q2_OK)
        return mc_command_fail(&attempt->fault);
    if (mc_number_parse(word, &number) && find_disk(attempt, number))
        return start_disk(attempt, MC_DEFAULT_BOOT_PATH);
    (void)mc_fail(&attempt->fault, Q2_ERR_NOT_FOUND, "no disk has this number", word);
    return mc_command_fail(&attempt->fault);
}

EFI_STATUS mc_command_boot(const struct mc_command_line *line)
{
    struct attempt *attempt = mc_alloc(sizeof(*attempt));
    EFI_STATUS status;

    if (!attempt)
        return EFI_OUT_OF_RESOURCES;
    status = line->disk ? boot_disk(line->disk, attempt) : boot_entry(line->operand, attempt);
    mc_free(attempt);
    return status;
}
