/* The volumes that carry disks, and those between Start and Stop.
 *
 * May call the firmware and efi/place. Invariant: a volume in the list is open BY_DRIVER, or
 * is_opening says that it will be.
 */
#include "volumes.h"

#include "efi/base/firmware.h"
#include "efi/place/place.h"

static struct {
    EFI_HANDLE agent;
    struct mc_volume *first; /* the newest */
    bool is_suspended;
} volumes;

void mc_volumes_init(EFI_HANDLE agent)
{
    volumes.agent = agent;
}

EFI_HANDLE mc_volumes_agent(void)
{
    return volumes.agent;
}

void mc_volumes_suspend(bool suspend)
{
    volumes.is_suspended = suspend;
}

bool mc_volumes_are_suspended(void)
{
    return volumes.is_suspended;
}

struct mc_volume *mc_volume_find(EFI_HANDLE handle)
{
    struct mc_volume *volume = volumes.first;

    while (volume && volume->handle != handle)
        volume = volume->next;
    return volume;
}

bool mc_volume_is_held(EFI_HANDLE handle)
{
    return mc_volume_find(handle) != NULL;
}

static void unlink_volume(struct mc_volume *volume)
{
    struct mc_volume **link = &volumes.first;

    while (*link != volume)
        link = &(*link)->next;
    *link = volume->next;
}

/* The volume is in the list before it is opened, so that a call from inside OpenProtocol() finds
 * it. */
EFI_STATUS mc_volume_hold(EFI_HANDLE handle, struct mc_volume **ret_volume)
{
    EFI_GUID *held = mc_place_held(handle);
    struct mc_volume *volume = held ? mc_alloc(sizeof(*volume)) : NULL;
    void *interface;
    EFI_STATUS status;

    if (!volume)
        return held ? EFI_OUT_OF_RESOURCES : EFI_UNSUPPORTED;
    if (mc_volume_find(handle)) { /* from inside of the calls above */
        mc_free(volume);
        return EFI_ALREADY_STARTED;
    }
    *volume = (struct mc_volume){
        .next = volumes.first, .handle = handle, .held = held, .is_opening = true};
    volumes.first = volume;
    status = mc_firmware.BootServices->OpenProtocol(handle, held, &interface, volumes.agent, handle,
                                                    EFI_OPEN_PROTOCOL_BY_DRIVER);
    volume->is_opening = false;
    if (EFI_ERROR(status)) {
        unlink_volume(volume);
        mc_free(volume);
        return status;
    }
    *ret_volume = volume;
    return EFI_SUCCESS;
}

static void give_back(struct mc_volume *volume)
{
    unlink_volume(volume);
    (void)mc_firmware.BootServices->CloseProtocol(volume->handle, volume->held, volumes.agent,
                                                  volume->handle);
    mc_free(volume);
}

void mc_volume_give_back_unused(struct mc_volume *volume)
{
    if (volume->nb_disks == 0 && !volume->keep && !volume->is_changing)
        give_back(volume);
}

EFI_STATUS mc_volume_keep(EFI_HANDLE handle, bool *ret_was_kept)
{
    struct mc_volume *volume = mc_volume_find(handle);
    EFI_STATUS status = EFI_SUCCESS;

    if (volumes.is_suspended)
        return EFI_ACCESS_DENIED;
    if (volume && (volume->is_opening || volume->is_starting || volume->is_changing))
        return EFI_ALREADY_STARTED;
    if (!volume)
        status = mc_volume_hold(handle, &volume);
    if (EFI_ERROR(status))
        return status;
    *ret_was_kept = volume->keep;
    volume->keep = volume->is_starting = true;
    volume->outer = mc_say_new(&volume->said);
    return EFI_SUCCESS;
}

void mc_volume_started(EFI_HANDLE handle)
{
    struct mc_volume *volume = mc_volume_find(handle);

    if (!volume)
        return;
    volume->is_starting = false;
    (void)mc_say_new(volume->outer);
}

EFI_STATUS mc_volume_release(EFI_HANDLE handle)
{
    struct mc_volume *volume = mc_volume_find(handle);

    if (!volume)
        return EFI_SUCCESS;
    if (volume->nb_disks > 0 || volume->is_opening || volume->is_starting || volume->is_changing)
        return EFI_DEVICE_ERROR;
    volume->keep = false;
    give_back(volume);
    return EFI_SUCCESS;
}

bool mc_volume_hold_still(EFI_HANDLE handle)
{
    struct mc_volume *volume = mc_volume_find(handle);

    if (!volume || volumes.is_suspended || volume->is_opening || volume->is_changing)
        return false;
    volume->is_changing = volume->is_held_still = true;
    return true;
}

void mc_volume_let_go(EFI_HANDLE handle)
{
    struct mc_volume *volume = mc_volume_find(handle);

    volume->is_changing = volume->is_held_still = false;
}

bool mc_volumes_are_changing(void)
{
    const struct mc_volume *volume = volumes.first;

    while (volume && !volume->is_opening && !volume->is_starting && !volume->is_changing)
        volume = volume->next;
    return volume != NULL;
}

void mc_volumes_close(void)
{
    while (volumes.first)
        give_back(volumes.first);
    volumes.is_suspended = false;
}
