/* install, uninstall: options of the firmware that start the driver or the application.
 *
 * May call option_store.c and driver_file.c. Invariant: an option is made only for a file that is
 * there.
 */
#include "commands.h"
#include "driver_file.h"
#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/load_option.h"
#include "efi/base/text.h"
#include "option_store.h"
#include "q2_fail.h"

/* What an option leads to. */
struct target {
    const struct mc_option_kind *kind;
    bool is_boot;
    EFI_HANDLE volume;
    char *file;            /* pool memory */
    EFI_DEVICE_PATH *path; /* pool memory: of the volume and the file */
    EFI_DEVICE_PATH *said; /* the part of path that is stored in the option */
};

/* The application's own file on its volume. */
static enum q2_status own_file(struct target *target, struct q2_fault *fault)
{
    const EFI_LOADED_IMAGE_PROTOCOL *image =
        mc_protocol(mc_firmware.ImageHandle, &mc_loaded_image_guid);

    target->file = image && image->FilePath ? mc_device_path_to_file(image->FilePath) : NULL;
    return target->file
               ? Q2_OK
               : q2_fail(fault, Q2_ERR_UNSUPPORTED,
                         "the program does not know its own file: name it on the command line",
                         NULL);
}

/* Find the file that was named. Without a name, take the application's own file or the stored
 * driver. */
static enum q2_status find_file(struct mc_session *session, struct target *target)
{
    struct q2_fault *fault = &session->fault;
    struct mc_location location;
    enum q2_status status;

    if (session->line.operand) {
        status = mc_locate(session->line.operand, fault, &location);
        if (status != Q2_OK)
            return status;
        target->volume = location.volume;
        target->file = location.path;
        return Q2_OK;
    }
    target->volume = mc_own_volume();
    if (!target->volume)
        return q2_fail(
            fault, Q2_ERR_UNSUPPORTED,
            "metalcow was not loaded from a volume; name the file, such as fs0:\\metalcowdxe.efi",
            NULL);
    if (target->is_boot)
        return own_file(target, fault);
    target->file = mc_copy_text(MC_DRIVER_FILE);
    return target->file ? Q2_OK : q2_fail_memory(fault);
}

/* A boot option may name the partition alone, because firmware searches all buses for it. A driver
 * option needs the whole path, because firmware loads drivers early and not every firmware searches
 * for their partitions at that time. */
static enum q2_status make_path(struct target *target, struct q2_fault *fault)
{
    const EFI_DEVICE_PATH *volume = mc_protocol(target->volume, &mc_device_path_guid);
    size_t prefix = 0;

    target->path = volume ? mc_device_path_file(volume, target->file) : NULL;
    if (!target->path)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "the firmware could not find this volume again at the next boot; copy the "
                       "file to another volume",
                       target->file);
    if (target->is_boot)
        prefix =
            mc_option_path_prefix((const uint8_t *)target->path, mc_device_path_size(target->path));
    target->said = (EFI_DEVICE_PATH *)(void *)((uint8_t *)target->path + prefix);
    return Q2_OK;
}

static enum q2_status open_target(struct mc_session *session, struct target *target)
{
    enum q2_status status;

    target->is_boot = session->line.boot != NULL;
    target->kind = target->is_boot ? &mc_boot_options : &mc_driver_options;
    status = find_file(session, target);
    return status == Q2_OK ? make_path(target, &session->fault) : status;
}

static void close_target(struct target *target)
{
    mc_free(target->path);
    mc_free(target->file);
}

/* Say "Driver0000 WORDS FILE". */
static void say_option(const struct target *target, uint16_t number, const char *words)
{
    char line[400], name[16] = "";
    CHAR16 unicode[16];
    struct q2_line text = q2_line_start(line, sizeof(line));

    mc_option_name_put(target->kind->prefix, number, (uint16_t *)unicode);
    (void)mc_ucs2_to_utf8((const uint16_t *)unicode, name, sizeof(name));
    q2_line_put(&text, name);
    q2_line_put(&text, words);
    q2_line_put_escaped(&text, target->file);
    mc_say(line);
}

static enum q2_status install(struct mc_session *session, const struct target *target)
{
    struct mc_option_result result;
    enum q2_status status = Q2_OK;

    if (!session->line.operand && !target->is_boot)
        status = mc_driver_file_store(target->volume, &session->fault);
    if (status == Q2_OK)
        status = mc_program_check(target->volume, target->file, !target->is_boot, &session->fault);
    if (status == Q2_OK)
        status =
            mc_option_install(target->kind, target->said, L"metalcow", &session->fault, &result);
    if (status == Q2_OK)
        say_option(target, result.number,
                   result.is_new       ? " is new; at each boot it starts "
                   : result.is_changed ? " was there and is up to date now; at each boot it starts "
                                       : " is there already, nothing was changed; it starts ");
    return status;
}

EFI_STATUS mc_command_install(struct mc_session *session)
{
    struct target target = {.file = NULL};
    enum q2_status status = open_target(session, &target);

    if (status == Q2_OK)
        status = install(session, &target);
    close_target(&target);
    return status == Q2_OK ? EFI_SUCCESS : mc_session_fail(session);
}

EFI_STATUS mc_command_uninstall(struct mc_session *session)
{
    struct target target = {.file = NULL};
    struct mc_option_result result;
    enum q2_status status = open_target(session, &target);

    if (status == Q2_OK)
        status = mc_option_uninstall(target.kind, target.said, &session->fault, &result);
    if (status == Q2_OK && result.nb_removed == 0)
        mc_say("nothing is installed from this file, nothing was changed");
    else if (status == Q2_OK)
        say_option(&target, result.number, " was taken out; this file stays: ");
    close_target(&target);
    return status == Q2_OK ? EFI_SUCCESS : mc_session_fail(session);
}
