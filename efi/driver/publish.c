/* Publishing a disk.  (UEFI 2.10, 11.1.4 to 11.1.6: what a bus driver does for a child)
 *
 * May call boot services and drivers/efi/block_io.c. Invariants: all protocols appear in one call;
 * an uninstall that the firmware refuses changes nothing.
 */
#include "publish.h"

#include "efi/base/device_path.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/place/place.h"

static EFI_STATUS open_by_child(const struct mc_published *published)
{
    void *interface;

    return mc_firmware.BootServices->OpenProtocol(published->volume, published->held, &interface,
                                                  published->agent, published->handle,
                                                  EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER);
}

static void close_by_child(const struct mc_published *published)
{
    (void)mc_firmware.BootServices->CloseProtocol(published->volume, published->held,
                                                  published->agent, published->handle);
}

/* NULL, which ends the list of protocols, for a disk that was read-only from the start. */
static EFI_GUID *erase_guid(const struct mc_published *published)
{
    return published->has_erase_block ? &mc_erase_block_guid : NULL;
}

static EFI_STATUS install(struct mc_published *published)
{
    return mc_firmware.BootServices->InstallMultipleProtocolInterfaces(
        &published->handle, &mc_device_path_guid, published->device_path, &mc_block_io_guid,
        &published->block_io.protocol, &mc_block_io2_guid, &published->block_io2.protocol,
        erase_guid(published), &published->erase_block.protocol, NULL);
}

static EFI_STATUS uninstall(struct mc_published *published)
{
    return mc_firmware.BootServices->UninstallMultipleProtocolInterfaces(
        published->handle, &mc_device_path_guid, published->device_path, &mc_block_io_guid,
        &published->block_io.protocol, &mc_block_io2_guid, &published->block_io2.protocol,
        erase_guid(published), &published->erase_block.protocol, NULL);
}

/* Gather reads that follow each other, and queue reads at the volume if it can do that. If the
 * firmware has no events left, reads are served one by one. */
static void open_queue(struct mc_published *published, const struct mc_image *image)
{
    (void)q2_block_io_gather(&published->block_io);
    if (q2_place_can(image->opener.place, Q2_PLACE_QUEUES) &&
        q2_block_queue_open(&published->queue, mc_firmware.BootServices,
                            &published->block_io.media) == EFI_SUCCESS)
        published->block_io.queue = &published->queue;
}

/* The medium has gone or turned read-only, so Block I/O is reinstalled: the firmware stops the
 * drivers above, which know the old medium, and connects them anew.  (UEFI 2.10, 13.9)
 * The notification comes at TPL_CALLBACK, outside of requests. If a request is inside all the same,
 * its end signals the event once more. */
static VOID EFIAPI on_turn(EFI_EVENT event, VOID *context)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    struct mc_published *published = context;
    struct q2_block_io *block_io = &published->block_io;

    (void)event;
    if (!published->handle || published->is_leaving || published->is_turning ||
        block_io->is_quiet || q2_block_io_is_busy(block_io) || !q2_block_io_has_turned(block_io))
        return;
    published->is_turning = true;
    q2_block_io_tell(block_io);
    (void)services->ReinstallProtocolInterface(published->handle, &mc_block_io_guid,
                                               &block_io->protocol, &block_io->protocol);
    (void)services->ReinstallProtocolInterface(published->handle, &mc_block_io2_guid,
                                               &published->block_io2.protocol,
                                               &published->block_io2.protocol);
    published->is_turning = false;
}

/* Without an event the layers above learn of it at their next request. */
static void watch_medium(struct mc_published *published)
{
    if (EFI_ERROR(mc_firmware.BootServices->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_turn,
                                                        published, &published->turned)))
        published->turned = NULL;
    published->block_io.turned = published->queue.turned = published->turned;
}

/* Fill in all that the firmware will see, before it sees any of it. */
static enum q2_status prepare(struct mc_published *published, const struct mc_image *image,
                              unsigned int instance, uint32_t media_id, EFI_EVENT written,
                              EFI_EVENT read, struct q2_fault *fault)
{
    const struct q2_block_io_options options = {.block_size = mc_image_sector_size(image),
                                                .io_align = image->opener.place->io_align,
                                                .media_id = media_id,
                                                .written = written,
                                                .read = read};
    const char *path = image->file->source->path;
    const EFI_DEVICE_PATH *volume = mc_protocol(image->volume, &mc_device_path_guid);
    enum q2_status status =
        q2_block_io_init(&published->block_io, image->disk, mc_firmware.BootServices, &options);

    if (status != Q2_OK)
        return q2_fail(fault, status, "the disk is smaller than one sector", path);
    if (!volume)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "the firmware has no address for the image's volume; use another volume",
                       path);
    q2_block_io2_init(&published->block_io2, &published->block_io);
    q2_erase_block_init(&published->erase_block, &published->block_io);
    published->has_erase_block = q2_disk_is_writable(image->disk);
    published->device_path = mc_device_path_disk(volume, path, instance);
    return published->device_path ? Q2_OK : q2_fail_memory(fault);
}

enum q2_status mc_publish(struct mc_published *published, const struct mc_image *image,
                          EFI_HANDLE agent, unsigned int instance, uint32_t media_id,
                          EFI_EVENT written, EFI_EVENT read, struct q2_fault *fault)
{
    enum q2_status status;

    *published = (struct mc_published){
        .volume = image->volume, .held = mc_place_held(image->volume), .agent = agent};
    status = prepare(published, image, instance, media_id, written, read, fault);
    if (status != Q2_OK)
        return status;
    open_queue(published, image);
    watch_medium(published);
    if (EFI_ERROR(install(published)))
        goto free_path;
    if (EFI_ERROR(open_by_child(published)))
        goto uninstall;
    return Q2_OK;

uninstall:
    /* Free nothing that the firmware still lists. The caller sees this by the handle, which is not
     * NULL then. */
    if (EFI_ERROR(uninstall(published)))
        return q2_fail(fault, Q2_ERR_BUSY,
                       "the firmware does not let go of the disk; restart the machine",
                       image->file->source->path);
free_path:
    published->handle = NULL;
    mc_published_close(published);
    return q2_fail(fault, Q2_ERR_BUSY, "the firmware does not take the disk; restart the machine",
                   image->file->source->path);
}

EFI_STATUS mc_unpublish(struct mc_published *published)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_STATUS status;

    if (published->is_turning)
        return EFI_DEVICE_ERROR;
    published->is_leaving = true;
    status = services->DisconnectController(published->handle, NULL, NULL);
    if (!EFI_ERROR(status) && !q2_block_io_drain(&published->block_io))
        status = EFI_DEVICE_ERROR;
    if (!EFI_ERROR(status)) {
        close_by_child(published);
        status = uninstall(published);
        if (EFI_ERROR(status))
            (void)open_by_child(published);
    }
    if (EFI_ERROR(status)) {
        published->is_leaving = false;
        (void)services->ConnectController(published->handle, NULL, NULL, TRUE);
        return status;
    }
    published->handle = NULL;
    return EFI_SUCCESS;
}

EFI_STATUS mc_publish_again(struct mc_published *published)
{
    EFI_STATUS status = install(published);

    if (EFI_ERROR(status)) {
        published->handle = NULL;
        return status;
    }
    (void)open_by_child(published);
    published->is_leaving = false;
    return EFI_SUCCESS;
}

/* Leave Block I/O usable, because a timer of ours may still flush the disk before it is freed.
 * Clear each pointer before its target is freed, because a boot service may call back into the
 * driver. */
void mc_published_close(struct mc_published *published)
{
    EFI_DEVICE_PATH *path = published->device_path;
    EFI_EVENT turned = published->turned;

    (void)q2_block_io_drain(&published->block_io); /* one that came after the last drain */
    published->device_path = NULL;
    published->block_io.turned = published->queue.turned = published->turned = NULL;
    if (turned)
        (void)mc_firmware.BootServices->CloseEvent(turned);
    q2_block_gather_close(&published->block_io.gather);
    published->block_io.queue = NULL;
    if (published->queue.is_open)
        q2_block_queue_close(&published->queue);
    mc_free(path);
}
