/* Passphrases from files and from the console.
 *
 * May call the file system and the console, at attach and detach only. Invariant: the passphrase is
 * in memory of ours from mc_unlock_init() to mc_unlock_forget() only, and a key no longer than the
 * disk is open.
 */
#include "unlock.h"

#include "drivers/crypto/wipe.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

/* In units of 100 ns. */
#define TICK 10000000ull

/* Read a small file; one byte more than a passphrase has tells that it is too long. */
static enum q2_status load(struct mc_unlock *unlock, struct q2_place *place, const char *path,
                           struct q2_fault *fault)
{
    struct mc_passphrase *passphrase = &unlock->passphrase;

    passphrase->length = sizeof(passphrase->bytes);
    return place->ops->load(place, path, passphrase->bytes, &passphrase->length, fault);
}

static enum q2_status load_given(struct mc_unlock *unlock, struct q2_place *place,
                                 const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    struct mc_passphrase *passphrase = &unlock->passphrase;
    const char *path = spec->key_file ? spec->key_file : spec->passphrase_file;
    enum q2_status status;
    bool fits;

    if (spec->key_file && spec->passphrase_file)
        return q2_fail(fault, Q2_ERR_ARGUMENT,
                       "a passphrase-file and a key-file are given; give one of them", spec->image);
    status = load(unlock, place, path, fault);
    if (status != Q2_OK)
        return status;
    fits = spec->key_file ? passphrase->length <= Q2_MAX_PASSPHRASE_LENGTH
                          : mc_passphrase_take_line(passphrase);
    if (!fits)
        return q2_fail(fault, Q2_ERR_LIMIT, "a passphrase has at most 4096 bytes", path);
    unlock->unlocker.passphrase = passphrase->bytes;
    unlock->unlocker.passphrase_length = passphrase->length;
    return Q2_OK;
}
_Static_assert(Q2_MAX_PASSPHRASE_LENGTH == 4096, "text above");

static void print_prompt(const char *path, uint32_t nb_failed)
{
    char line[400];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, nb_failed > 0 ? "It does not fit. Passphrase of " : "Passphrase of ");
    q2_line_put_escaped(&text, path);
    if (nb_failed > 0) {
        q2_line_put(&text, ", try ");
        q2_line_put_number(&text, nb_failed + 1, 10);
        q2_line_put(&text, " of ");
        q2_line_put_number(&text, Q2_MAX_PASSPHRASES_ASKED, 10);
    }
    q2_line_put(&text, " (Esc gives up): ");
    mc_print(line);
}

/* The firmware ends a boot option after 5 minutes (UEFI: "SetWatchdogTimer()"); a person who thinks
 * and a slow key may take longer. */
static void stop_watchdog(void)
{
    (void)mc_firmware.BootServices->SetWatchdogTimer(0, 0, 0, NULL);
}

/* q2_unlocker_passphrase.ask. Keys that were typed before the prompt are dropped. */
static bool ask(struct q2_unlocker_passphrase *unlocker, const char *path, uint32_t nb_failed)
{
    struct mc_unlock *unlock = unlocker->ask_context;
    struct mc_passphrase *passphrase = &unlock->passphrase;
    enum mc_typing typing = MC_TYPING_GOES_ON;
    struct mc_key key;
    const char *echo;

    mc_passphrase_wipe(passphrase);
    stop_watchdog();
    mc_drop_keys();
    print_prompt(path, nb_failed);
    while (typing == MC_TYPING_GOES_ON) {
        if (!mc_wait_for_key(&key))
            return false;
        typing = mc_passphrase_type(passphrase, key.scan_code, key.unit, &echo);
        mc_print(echo);
    }
    q2_wipe(&key, sizeof(key));
    mc_print("\n");
    unlocker->passphrase = passphrase->bytes;
    unlocker->passphrase_length = passphrase->length;
    return typing == MC_TYPING_DONE;
}

/* Print a dot each second. The timer interrupts whatever runs. */
static VOID EFIAPI tick(EFI_EVENT Event, VOID *Context)
{
    (void)Event;
    (void)Context;
    mc_print(".");
}

static void begin_work(struct mc_unlock *unlock, const char *path)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    char line[400];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, "metalcow: unlocking ");
    q2_line_put_escaped(&text, path);
    q2_line_put(&text, " ");
    mc_print(line);
    if (EFI_ERROR(services->CreateEvent(EVT_TIMER | EVT_NOTIFY_SIGNAL, TPL_CALLBACK, tick, NULL,
                                        &unlock->ticking)))
        unlock->ticking = NULL;
    else
        (void)services->SetTimer(unlock->ticking, TimerPeriodic, TICK);
}

static void end_work(struct mc_unlock *unlock)
{
    if (unlock->ticking)
        (void)mc_firmware.BootServices->CloseEvent(unlock->ticking);
    unlock->ticking = NULL;
    mc_print("\n");
}

/* Boot services end. Wipe the keys, because nobody reads the disk any more and the operating system
 * gets this memory. The ciphers stay callable. */
static VOID EFIAPI wipe_keys(EFI_EVENT Event, VOID *Context)
{
    struct mc_unlock *unlock = Context;

    (void)Event;
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++) {
        struct q2_cipher_aes *cipher = &unlock->unlocker.ciphers[i];
        q2_wipe(cipher->data.words, sizeof(cipher->data.words));
        q2_wipe(cipher->iv.words, sizeof(cipher->iv.words));
    }
    q2_wipe(unlock->unlocker.kept, sizeof(unlock->unlocker.kept));
}

static void wipe_at_exit(struct mc_unlock *unlock)
{
    if (EFI_ERROR(mc_firmware.BootServices->CreateEvent(EVT_SIGNAL_EXIT_BOOT_SERVICES, TPL_CALLBACK,
                                                        wipe_keys, unlock, &unlock->exiting)))
        unlock->exiting = NULL;
}

/* q2_unlocker_passphrase.trying */
static void trying(struct q2_unlocker_passphrase *unlocker, const char *path, bool begins)
{
    struct mc_unlock *unlock = unlocker->ask_context;

    if (begins) {
        stop_watchdog();
        begin_work(unlock, path);
    } else {
        end_work(unlock);
    }
}

enum q2_status mc_unlock_init(struct mc_unlock *unlock, struct q2_place *place,
                              const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    struct q2_unlocker_passphrase *unlocker = &unlock->unlocker;

    (void)q2_unlocker_passphrase_init(unlocker);
    unlocker->ask_context = unlock;
    unlocker->trying = trying;
    unlocker->keep_keys = spec->handoff == MC_HANDOFF_AUTO || spec->handoff == MC_HANDOFF_SERVER;
    if (spec->key_file || spec->passphrase_file)
        return load_given(unlock, place, spec, fault);
    if (spec->may_ask && mc_can_ask())
        unlocker->ask = ask;
    return Q2_OK;
}

void mc_unlock_forget(struct mc_unlock *unlock, enum q2_status status, struct q2_fault *fault)
{
    struct q2_unlocker_passphrase *unlocker = &unlock->unlocker;

    if (status == Q2_ERR_ENCRYPTED && !unlocker->passphrase && !unlocker->ask)
        fault->what = "it is encrypted, and nobody is there to ask; its entry needs a "
                      "passphrase-file or key-file";
    if (unlocker->ciphers[0].cipher.ops && !unlock->exiting)
        wipe_at_exit(unlock);
    mc_passphrase_wipe(&unlock->passphrase);
    unlocker->passphrase = NULL;
    unlocker->passphrase_length = 0;
}

void mc_unlock_close(struct mc_unlock *unlock)
{
    if (unlock->exiting)
        (void)mc_firmware.BootServices->CloseEvent(unlock->exiting);
    q2_wipe(unlock, sizeof(*unlock));
}
