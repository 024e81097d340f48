/* Command line and file names.
 *
 * May call the shell's protocols, if there is a shell.
 */
#include "arguments.h"

#include <efishell.h>

#include "efi/base/device_path.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

enum q2_status mc_arguments_get(struct mc_arguments *arguments, struct q2_fault *fault)
{
    const EFI_SHELL_PARAMETERS_PROTOCOL *shell =
        mc_protocol(mc_firmware.ImageHandle, &mc_shell_parameters_guid);

    *arguments = (struct mc_arguments){.from_shell = shell != NULL};
    for (UINTN i = 1; shell && i < shell->Argc; i++) {
        char *word;
        if (arguments->nb == MC_MAX_WORDS)
            return q2_fail(fault, Q2_ERR_LIMIT,
                           "the command line has more words than metalcow takes, 32", NULL);
        word = mc_to_utf8(shell->Argv[i]);
        if (!word)
            return q2_fail(fault, Q2_ERR_BAD_NAME,
                           "the command line has a broken character; type it again", NULL);
        arguments->words[arguments->nb++] = word;
    }
    return Q2_OK;
}
_Static_assert(MC_MAX_WORDS == 32, "text above");

void mc_arguments_free(struct mc_arguments *arguments)
{
    while (arguments->nb > 0)
        mc_free(arguments->words[--arguments->nb]);
}

EFI_HANDLE mc_own_volume(void)
{
    const EFI_LOADED_IMAGE_PROTOCOL *image =
        mc_protocol(mc_firmware.ImageHandle, &mc_loaded_image_guid);

    return image ? image->DeviceHandle : NULL;
}

/* The shell knows mappings and current folders. */
static enum q2_status locate_by_shell(EFI_SHELL_PROTOCOL *shell, const char *word,
                                      struct q2_fault *fault, struct mc_location *location)
{
    CHAR16 *name = mc_to_ucs2(word);
    EFI_DEVICE_PATH *path, *rest;

    if (!name)
        return q2_fail(fault, Q2_ERR_BAD_NAME, NULL, word);
    for (CHAR16 *c = name; *c != 0; c++) {
        if (*c == '/')
            *c = '\\';
    }
    path = shell->GetDevicePathFromFilePath(name);
    mc_free(name);
    rest = path;
    if (!path || EFI_ERROR(mc_firmware.BootServices->LocateDevicePath(&mc_file_system_guid, &rest,
                                                                      &location->volume))) {
        mc_free(path);
        return q2_fail(
            fault, Q2_ERR_NOT_FOUND,
            "no volume has this name; the shell's own command 'map' lists them, such as fs0:",
            word);
    }
    location->path = mc_device_path_to_file(rest);
    mc_free(path);
    return location->path ? Q2_OK : q2_fail(fault, Q2_ERR_BAD_NAME, NULL, word);
}

static enum q2_status locate_on_own_volume(const char *word, struct q2_fault *fault,
                                           struct mc_location *location)
{
    size_t size = q2_text_length(word) + 2;

    location->volume = mc_own_volume();
    if (!location->volume)
        return q2_fail(
            fault, Q2_ERR_NOT_FOUND,
            "metalcow was not loaded from a volume; put the volume before the path, such as fs0:",
            word);
    location->path = mc_alloc(size);
    if (!location->path)
        return q2_fail_memory(fault);
    if (mc_path_clean(word, location->path, size))
        return Q2_OK;
    mc_free(location->path);
    return q2_fail(fault, Q2_ERR_BAD_NAME, NULL, word);
}

enum q2_status mc_locate(const char *word, struct q2_fault *fault, struct mc_location *ret_location)
{
    EFI_SHELL_PROTOCOL *shell = mc_protocol_anywhere(&mc_shell_guid);
    struct mc_location location = {.volume = NULL};
    enum q2_status status = shell ? locate_by_shell(shell, word, fault, &location)
                                  : locate_on_own_volume(word, fault, &location);

    if (status == Q2_OK)
        *ret_location = location;
    return status;
}
