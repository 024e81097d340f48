/* Detaching, and what unloading does with all disks.
 *
 * May call registry.c, volumes.c, publish.c, upkeep.c and efi/image. Invariant: a disk's files are
 * closed after the firmware has let go of it, and the volume is held until then.
 */
#include "detach_disk.h"

#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/image/room.h"
#include "q2_fail.h"
#include "volumes.h"

/* --- one disk --------------------------------------------------------------------------------- */

/* Flush for the last time. If the medium is gone, nothing can be saved. */
static void flush(struct mc_disk *disk)
{
    if (q2_disk_flush(disk->image->disk) != Q2_OK)
        mc_say_fault(q2_disk_fault(disk->image->disk));
}

void mc_disk_free(struct mc_disk *disk)
{
    mc_upkeep_stop(&disk->upkeep);
    mc_published_close(&disk->published);
    mc_handoff_remove(disk->handoff);
    if (disk->image)
        mc_image_close(disk->image);
    mc_free(disk->name);
    mc_free(disk->entry);
    mc_free(disk);
}

/* What was not used goes back to the volume. Above TPL_APPLICATION somebody may hold the lock of
 * the file system that the files are made shorter through. */
static void give_back_room(struct mc_disk *disk)
{
    struct q2_fault fault;

    if (mc_current_tpl() == TPL_APPLICATION && disk->published.block_io.media.MediaPresent &&
        q2_disk_is_writable(disk->image->disk) &&
        mc_image_give_back_end(disk->image, &fault) != Q2_OK)
        mc_say_fault(&fault);
}

/* A disk that the firmware does not have any more: the last flush, and its files are closed. */
static void close_disk(struct mc_volume *volume, struct mc_disk *disk)
{
    mc_registry_remove(disk);
    mc_upkeep_stop(&disk->upkeep);
    flush(disk);
    give_back_room(disk);
    mc_disk_free(disk);
    volume->nb_disks--;
}

/* While it serves our request, a driver below may find its medium gone and stop everything above it
 * (EDK2's driver for USB sticks does). Refuse then, because the request still uses what would be
 * freed. */
static EFI_STATUS take_away(struct mc_disk *disk)
{
    if (q2_block_io_is_busy(&disk->published.block_io) ||
        !q2_block_io_drain(&disk->published.block_io))
        return EFI_DEVICE_ERROR;
    return mc_unpublish(&disk->published);
}

static EFI_STATUS detach(struct mc_disk *disk)
{
    struct mc_volume *volume = mc_volume_find(disk->published.volume);
    bool was_changing = volume && volume->is_changing;
    EFI_STATUS status;

    if (disk->state != MC_DISK_PRESENT || volume->is_held_still)
        return EFI_DEVICE_ERROR;
    disk->state = MC_DISK_LEAVING;
    volume->is_changing = true;
    status = take_away(disk);
    if (EFI_ERROR(status))
        disk->state = MC_DISK_PRESENT;
    else
        close_disk(volume, disk);
    volume->is_changing = was_changing;
    if (!EFI_ERROR(status))
        mc_volume_give_back_unused(volume);
    return status;
}

EFI_STATUS mc_disk_detach(struct mc_disk *disk)
{
    return mc_volumes_are_suspended() ? EFI_DEVICE_ERROR : detach(disk);
}

/* --- all disks -------------------------------------------------------------------------------- */

/* The first disk that is being attached, detached or used; NULL: none. While there is one, the
 * driver must not be unloaded. */
static const struct mc_disk *disk_in_use(void)
{
    const struct mc_disk *disk = mc_registry_all();

    while (disk && disk->state == MC_DISK_PRESENT &&
           !q2_block_io_is_busy(&disk->published.block_io) && !disk->published.is_turning)
        disk = disk->next;
    return disk;
}

/* The newest disk that is present; NULL: none is. */
static struct mc_disk *last_present(void)
{
    struct mc_disk *last = NULL;

    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        last = disk;
    return last;
}

/* Is a disk's volume inside another disk of ours? */
static bool is_inside(const struct mc_disk *disk)
{
    const EFI_DEVICE_PATH *path = mc_protocol(disk->published.volume, &mc_device_path_guid);

    return path && mc_device_path_depth(path) > 0;
}

static EFI_STATUS suspend(struct mc_disk *disk)
{
    EFI_STATUS status;

    if (is_inside(disk))
        return detach(disk);
    disk->state = MC_DISK_LEAVING;
    status = take_away(disk);
    disk->state = EFI_ERROR(status) ? MC_DISK_PRESENT : MC_DISK_AWAY;
    return status;
}

static EFI_STATUS refuse_unload(const struct mc_disk *disk, struct q2_fault *fault)
{
    (void)q2_fail(fault, Q2_ERR_BUSY,
                  "the disk is in use, so the driver is not unloaded; end the program that uses it",
                  disk ? disk->image->file->source->path : "a disk");
    return EFI_ACCESS_DENIED;
}

EFI_STATUS mc_disks_suspend(struct q2_fault *fault)
{
    struct mc_disk *disk;

    if (mc_volumes_are_suspended() || mc_volumes_are_changing() || disk_in_use())
        return refuse_unload(disk_in_use(), fault);
    mc_volumes_suspend(true);
    while ((disk = last_present()) != NULL) {
        if (!EFI_ERROR(suspend(disk)))
            continue;
        (void)refuse_unload(disk, fault);
        mc_disks_resume();
        return EFI_ACCESS_DENIED;
    }
    return EFI_SUCCESS;
}

static struct mc_disk *first_away(void)
{
    struct mc_disk *disk = mc_registry_all();

    while (disk && disk->state != MC_DISK_AWAY)
        disk = disk->next;
    return disk;
}

/* A disk that the firmware does not take back is closed, because nobody can reach it any more. */
static void bring_back(struct mc_disk *disk)
{
    struct mc_volume *volume = mc_volume_find(disk->published.volume);
    EFI_HANDLE handle;

    disk->state = MC_DISK_ARRIVING;
    volume->is_changing = true;
    if (EFI_ERROR(mc_publish_again(&disk->published))) {
        mc_say("the firmware does not take a disk back, so it is detached");
        close_disk(volume, disk);
        volume->is_changing = false;
        mc_volume_give_back_unused(volume);
        return;
    }
    disk->state = MC_DISK_PRESENT;
    volume->is_changing = false;
    handle = disk->published.handle;
    (void)mc_firmware.BootServices->ConnectController(handle, NULL, NULL, TRUE);
}

void mc_disks_resume(void)
{
    struct mc_disk *disk;

    mc_volumes_suspend(false);
    while ((disk = first_away()) != NULL)
        bring_back(disk);
}

void mc_disks_close(void)
{
    struct mc_disk *disk;

    while ((disk = first_away()) != NULL)
        close_disk(mc_volume_find(disk->published.volume), disk);
    mc_volumes_close();
}
