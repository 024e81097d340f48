/* Component Name 2: a disk is called by its entry's title, or by its image.
 *
 * May call registry.c. Names live as long as what they name.
 */
#include "component_name.h"

#include "volumes.h"
#include "registry.h"

bool mc_is_english(const CHAR8 *language)
{
    return language && language[0] == 'e' && language[1] == 'n' &&
           (language[2] == '\0' || language[2] == '-');
}

static EFI_STATUS EFIAPI get_driver_name(EFI_COMPONENT_NAME2_PROTOCOL *This, CHAR8 *Language,
                                         CHAR16 **DriverName)
{
    static CHAR16 name[] = L"metalcow qcow2 disk driver";

    (void)This;
    if (!Language || !DriverName)
        return EFI_INVALID_PARAMETER;
    if (!mc_is_english(Language))
        return EFI_UNSUPPORTED;
    *DriverName = name;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_controller_name(EFI_COMPONENT_NAME2_PROTOCOL *This,
                                             EFI_HANDLE ControllerHandle, EFI_HANDLE ChildHandle,
                                             CHAR8 *Language, CHAR16 **ControllerName)
{
    static CHAR16 volume_name[] = L"volume with qcow2 images";
    const struct mc_disk *disk = ChildHandle ? mc_registry_find_handle(ChildHandle) : NULL;

    (void)This;
    if (!ControllerHandle || !Language || !ControllerName)
        return EFI_INVALID_PARAMETER;
    if (!mc_is_english(Language) || !mc_volume_is_held(ControllerHandle))
        return EFI_UNSUPPORTED;
    if (ChildHandle && (!disk || disk->published.volume != ControllerHandle || !disk->name))
        return EFI_UNSUPPORTED;
    *ControllerName = disk ? disk->name : volume_name;
    return EFI_SUCCESS;
}

static CHAR8 languages[] = "en";

EFI_COMPONENT_NAME2_PROTOCOL mc_component_name2 = {
    .GetDriverName = get_driver_name,
    .GetControllerName = get_controller_name,
    .SupportedLanguages = languages,
};
