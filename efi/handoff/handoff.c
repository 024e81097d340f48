/* Deciding about the hand-off, and keeping what is delivered up to date.
 *
 * May call record.c and core/handoff. Invariants: get() encodes where the files are stored now; if
 * they cannot be read any more while boot services end, it returns what it encoded last. Nothing is
 * allocated while boot services end. Keys of encrypted images are in the archive and in the record,
 * not in what is published, and in nothing of ours after boot services have ended.
 */
#include "handoff.h"

#include "drivers/crypto/wipe.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "measure.h"
#include "own.h"
#include "patch.h"
#include "program.h"
#include "q2_handoff_cpio.h"
#include "record.h"
#include "variable.h"
#include "wrap.h"

/* Bytes by which a record may grow before new memory is needed. It grows by the new extents of a
 * file that is made longer. */
#define SPARE_SIZE 4096u

struct mc_handoff {
    struct mc_handoff *next;
    struct mc_image *image;
    struct mc_record record;
    EFI_EVENT read;
    uint8_t *encoded; /* the record; pages */
    size_t encoded_capacity, encoded_length;
    uint8_t *archive; /* pages */
    size_t archive_capacity;
    size_t size; /* bytes of the archive that are in use */
    bool may_under_secure_boot;
    bool has_said_no;
    bool is_wiped; /* the keys were, so nothing can be delivered any more */
};

static struct {
    struct mc_payload payload;
    struct mc_memory_map map;
    struct mc_handoff *all;
    struct mc_handoff *current; /* the one whose disk was read last; NULL: none */
    EFI_EVENT before_exit, exit;
    bool works;
    bool exiting;
} state;

static EFI_GUID global_variable_guid = EFI_GLOBAL_VARIABLE;

static bool is_secure_boot(void)
{
    UINT8 value = 0;
    UINTN size = sizeof(value);
    CHAR16 name[] = u"SecureBoot";

    return !EFI_ERROR(mc_firmware.SystemTable->RuntimeServices->GetVariable(
               name, &global_variable_guid, NULL, &size, &value)) &&
           value == 1;
}

static const char *reason_against(const struct mc_handoff *handoff, enum mc_payload_for whose)
{
    if (handoff->is_wiped)
        return "the key of the encrypted image was wiped when a system was started: attach it "
               "again, or the running system will not find its disk";
    if (!is_secure_boot())
        return NULL;
    if (whose == MC_PAYLOAD_FOR_UKI)
        return "Secure Boot is on, and this kernel image's signature covers all its start files "
               "(initrd): nothing is added, so the running system will not find its disk; use "
               "'handoff ramdisk' in its entry";
    return handoff->may_under_secure_boot
               ? NULL
               : "Secure Boot is on and the entry does not say 'handoff-secure-boot yes'";
}

/* There may be keys in them. */
static void free_wiped(uint8_t *pages, size_t size)
{
    if (pages)
        q2_wipe(pages, size);
    mc_free_pages(pages, size);
}

/* Pages of at least `needed` bytes; what was in them is lost. */
static bool fit_pages(uint8_t **pages, size_t *capacity, size_t needed)
{
    if (needed <= *capacity)
        return true;
    if (state.exiting)
        return false;
    free_wiped(*pages, *capacity);
    *capacity = needed;
    *pages = mc_alloc_pages(needed);
    if (!*pages)
        *capacity = 0;
    return *pages != NULL;
}

/* Make room for a record of some size, and for some more. */
static enum q2_status fit(struct mc_handoff *handoff, size_t record_size, struct q2_fault *fault)
{
    if (record_size > handoff->encoded_capacity)
        record_size += SPARE_SIZE;
    else
        record_size = handoff->encoded_capacity;
    if (fit_pages(&handoff->encoded, &handoff->encoded_capacity, record_size) &&
        fit_pages(&handoff->archive, &handoff->archive_capacity,
                  q2_handoff_cpio_size(mc_handoff_program_size(), record_size)))
        return Q2_OK;
    return q2_fail_memory(fault);
}

/* Make the archive of what mc_record_look() found. handoff->encoded is the record without keys
 * afterwards. */
static enum q2_status make_archive(struct mc_handoff *handoff, struct q2_fault *fault)
{
    struct q2_handoff_cpio parts = {.program = mc_handoff_program,
                                    .program_length = mc_handoff_program_size(),
                                    .record = handoff->encoded};
    enum q2_status status =
        mc_record_encode(&handoff->record, true, handoff->encoded, handoff->encoded_capacity, fault,
                         &parts.record_length);

    if (status != Q2_OK)
        return status;
    status = q2_handoff_cpio_make(&parts, handoff->archive, handoff->archive_capacity);
    if (status != Q2_OK)
        return q2_fail(fault, status,
                       "what the running system needs to find its disk cannot be put together",
                       NULL);
    q2_wipe(handoff->encoded, handoff->encoded_capacity);
    status = mc_record_encode(&handoff->record, false, handoff->encoded, handoff->encoded_capacity,
                              fault, &handoff->encoded_length);
    if (status == Q2_OK)
        handoff->size = q2_handoff_cpio_size(parts.program_length, parts.record_length);
    return status;
}

/* Look where the files are stored now, and make the archive anew. */
static enum q2_status refresh(struct mc_handoff *handoff, struct q2_fault *fault)
{
    size_t size;
    enum q2_status status = mc_record_look(&handoff->record, handoff->image, fault, &size);

    if (status != Q2_OK)
        return status; /* the archive is what it was */
    handoff->size = 0;
    status = fit(handoff, size, fault);
    return status == Q2_OK ? make_archive(handoff, fault) : status;
}

/* While boot services end there may be no console any more, and nobody reads it. */
static void say_no(struct mc_handoff *handoff, const char *why)
{
    if (!state.exiting && !handoff->has_said_no)
        mc_say(why);
    handoff->has_said_no = true;
}

/* Guests that were prepared read the record from variables. A record that is too long for them is
 * in the archive only. */
static void publish(const struct mc_handoff *handoff)
{
    if (!state.exiting)
        (void)mc_variable_publish(handoff->encoded, handoff->encoded_length);
}

static const uint8_t *get(struct mc_payload *payload, enum mc_payload_for whose, size_t *ret_size)
{
    struct mc_handoff *handoff = state.current;
    struct q2_fault fault;
    const char *why;

    (void)payload;
    if (!handoff)
        return NULL;
    why = reason_against(handoff, whose);
    if (why) {
        say_no(handoff, why);
        return NULL;
    }
    /* While boot services end the host disk's driver may have stopped its device already, as USB's
     * does. Then the last archive is given, which on_before_exit() has made. Firmware older than
     * UEFI 2.9 does not call that. The archive may be too old there, and it is safe all the same:
     * the running system compares the files before it uses them, and refuses what was written since
     * where it was sampled. A file that has become longer since is as long there as it was, so what
     * is stored after that cannot be read, and nothing is written to a wrong place. */
    if (refresh(handoff, &fault) != Q2_OK && !(state.exiting && handoff->size > 0)) {
        if (!state.exiting)
            mc_say_fault(&fault);
        return NULL;
    }
    publish(handoff);
    *ret_size = handoff->size;
    return handoff->archive;
}

static void measure(struct mc_payload *payload)
{
    (void)payload;
    (void)mc_measure(state.current->archive, state.current->size);
}

/* Wipe our copies of the keys when boot services end. The archive was delivered by then, or will
 * not be. */
static void wipe_keys(void)
{
    for (struct mc_handoff *handoff = state.all; handoff; handoff = handoff->next) {
        if (handoff->record.handoff.nb_keys == 0)
            continue;
        handoff->is_wiped = true;
        mc_record_wipe(&handoff->record);
        q2_wipe(handoff->archive, handoff->archive_capacity);
        handoff->size = 0;
    }
}

static VOID EFIAPI on_exit(EFI_EVENT event, VOID *context)
{
    (void)event;
    (void)context;
    state.exiting = true;
    (void)mc_initrd_patch(&state.map, &state.payload);
    wipe_keys();
    state.exiting = false; /* the call may fail, and boot services go on */
}

/* Make the archive at the last moment at which every disk can be read, because USB's driver stops
 * its device when boot services end. A file may have become longer since the archive was made, and
 * what was sampled may have been written. More memory is needed only if a file has many new
 * extents. The key of the memory map changes then, and the loader calls ExitBootServices() once
 * more, as UEFI says. */
static VOID EFIAPI on_before_exit(EFI_EVENT event, VOID *context)
{
    struct q2_fault fault;

    (void)event;
    (void)context;
    if (state.current && !state.current->is_wiped)
        (void)refresh(state.current, &fault);
}

static VOID EFIAPI on_read(EFI_EVENT event, VOID *context)
{
    (void)event;
    state.current = context;
    mc_initrd_own_look();
}

void mc_handoff_start(void)
{
    state.payload = (struct mc_payload){.get = get, .measure = measure};
    if (!mc_memory_map_reserve(&state.map))
        return;
    mc_initrd_own_init(&state.map, &state.payload);
    if (EFI_ERROR(mc_firmware.BootServices->CreateEvent(EVT_SIGNAL_EXIT_BOOT_SERVICES, TPL_CALLBACK,
                                                        on_exit, NULL, &state.exit)))
        return;
    if (EFI_ERROR(mc_firmware.BootServices->CreateEventEx(
            EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_before_exit, NULL, &mc_before_exit_guid,
            &state.before_exit)))
        state.before_exit = NULL;
    state.works = !EFI_ERROR(mc_initrd_wrap_start(&state.map, &state.payload));
}

void mc_handoff_stop(void)
{
    mc_initrd_own_stop();
    mc_initrd_wrap_stop();
    if (state.exit)
        (void)mc_firmware.BootServices->CloseEvent(state.exit);
    if (state.before_exit)
        (void)mc_firmware.BootServices->CloseEvent(state.before_exit);
    state.before_exit = state.exit = NULL;
    mc_memory_map_free(&state.map);
}

static enum q2_status prepare(struct mc_handoff *handoff, const struct mc_disk_spec *spec,
                              struct q2_fault *fault)
{
    enum q2_status status = mc_record_init(&handoff->record, handoff->image, spec, fault);

    if (status == Q2_OK)
        status = refresh(handoff, fault);
    if (status != Q2_OK)
        return status;
    if (!state.works || EFI_ERROR(mc_firmware.BootServices->CreateEvent(
                            EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_read, handoff, &handoff->read)))
        return q2_fail(fault, Q2_ERR_LIMIT, "the firmware has no events left; restart the machine",
                       spec->image);
    return Q2_OK;
}

enum q2_status mc_handoff_add(struct mc_image *image, const struct mc_disk_spec *spec,
                              struct q2_fault *fault, EFI_EVENT *ret_read,
                              struct mc_handoff **ret_handoff)
{
    struct mc_handoff *handoff;
    enum q2_status status;

    *ret_read = NULL;
    *ret_handoff = NULL;
    if (spec->handoff == MC_HANDOFF_NONE)
        return Q2_OK;
    if (spec->handoff == MC_HANDOFF_RAMDISK)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "'handoff ramdisk' is for entries that 'metalcow boot' or the menu starts",
                       spec->image);
    if (mc_handoff_program_size() == 0)
        return q2_fail(
            fault, Q2_ERR_UNSUPPORTED,
            "this build of metalcow has no program for the running system of such a machine",
            spec->image);
    handoff = mc_alloc(sizeof(*handoff));
    if (!handoff)
        return q2_fail_memory(fault);
    handoff->next = state.all; /* the rest is zero */
    handoff->image = image;
    handoff->may_under_secure_boot = spec->handoff_secure_boot == 1;
    state.all = handoff;
    status = prepare(handoff, spec, fault);
    if (status != Q2_OK) {
        mc_handoff_remove(handoff);
        return status;
    }
    publish(handoff);
    *ret_read = handoff->read;
    *ret_handoff = handoff;
    return Q2_OK;
}

const char *mc_handoff_reason_against(const struct mc_handoff *handoff)
{
    return handoff ? reason_against(handoff, MC_PAYLOAD_FOR_LOADER) : NULL;
}

void mc_handoff_moved(struct mc_handoff *handoff)
{
    struct q2_fault fault;

    if (handoff && refresh(handoff, &fault) == Q2_OK)
        publish(handoff);
}

void mc_handoff_remove(struct mc_handoff *handoff)
{
    struct mc_handoff **link = &state.all;

    if (!handoff)
        return;
    while (*link != handoff)
        link = &(*link)->next;
    *link = handoff->next;
    if (state.current == handoff)
        state.current = NULL;
    if (!state.all)
        mc_variable_withdraw();
    if (handoff->read)
        (void)mc_firmware.BootServices->CloseEvent(handoff->read);
    mc_record_free(&handoff->record);
    free_wiped(handoff->encoded, handoff->encoded_capacity);
    free_wiped(handoff->archive, handoff->archive_capacity);
    mc_free(handoff);
}
