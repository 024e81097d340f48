/* The control protocol's driver side.
 *
 * May call registry.c. Every answer is a copy.
 */
#include "efi/base/control.h"

#include "efi/base/console.h"
#include "control_server.h"
#include "efi/base/firmware.h"
#include "attach_disk.h"
#include "detach_disk.h"
#include "registry.h"
#include "efi/image/room.h"
#include "efi/base/text.h"

#include "drivers/efi/status.h"

static EFI_STATUS EFIAPI attach(struct mc_control *This, EFI_HANDLE Volume,
                                const struct mc_disk_spec *Spec, CHAR8 *Message, UINT32 *RetNumber)
{
    struct mc_disk *disk;
    struct q2_fault fault;
    enum q2_status status;

    (void)This;
    Message[0] = '\0';
    status = mc_disk_attach(Volume, Spec, NULL, &fault, &disk);
    if (status != Q2_OK) {
        (void)q2_fault_format(&fault, (char *)Message, MC_MESSAGE_SIZE);
        return q2_efi_from_status(status);
    }
    *RetNumber = disk->number;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI detach(struct mc_control *This, UINT32 Number, CHAR8 *Message)
{
    struct mc_disk *disk = mc_registry_find_number(Number);
    EFI_STATUS status;

    (void)This;
    Message[0] = '\0';
    if (!disk) {
        (void)mc_text_copy((char *)Message, MC_MESSAGE_SIZE,
                           "no disk has this number; see 'metalcow list'");
        return EFI_NOT_FOUND;
    }
    status = mc_disk_detach(disk);
    if (EFI_ERROR(status))
        (void)mc_text_copy(
            (char *)Message, MC_MESSAGE_SIZE,
            "the disk is in use, the firmware does not let go of it; end the program that uses it");
    return status;
}

static EFI_STATUS EFIAPI may_change(struct mc_control *This, const UINT64 Identity[2])
{
    const uint64_t identity[2] = {Identity[0], Identity[1]};

    (void)This;
    return mc_registry_uses(identity) ? EFI_ACCESS_DENIED : EFI_SUCCESS;
}

static void describe(const struct mc_disk *disk, struct mc_disk_record *record)
{
    const EFI_BLOCK_IO_MEDIA *media = &disk->published.block_io.media;

    *record = (struct mc_disk_record){
        .number = disk->number,
        .handle = disk->published.handle,
        .volume = disk->published.volume,
        .size = q2_disk_size(disk->image->disk),
        .nb_layers = q2_disk_nb_layers(disk->image->disk),
        .mode = disk->image->mode,
        .room = mc_image_room(disk->image),
        .is_read_only = media->ReadOnly,
        .is_gone = !media->MediaPresent,
        .is_by_itself = disk->entry != NULL,
    };
    (void)mc_text_copy((char *)record->image, sizeof(record->image),
                       disk->image->file->source->path);
    (void)mc_text_copy((char *)record->title, sizeof(record->title), disk->title);
    (void)mc_text_copy((char *)record->no_handoff, sizeof(record->no_handoff), disk->no_handoff);
}

static EFI_STATUS EFIAPI get(struct mc_control *This, UINTN Index, struct mc_disk_record *RetRecord)
{
    struct mc_disk *disk = mc_registry_first();

    (void)This;
    for (; disk && Index > 0; Index--)
        disk = mc_registry_next(disk);
    if (!disk)
        return EFI_NOT_FOUND;
    describe(disk, RetRecord);
    return EFI_SUCCESS;
}

static struct mc_control control = {.Version = MC_CONTROL_VERSION,
                                    .Attach = attach,
                                    .Detach = detach,
                                    .MayChange = may_change,
                                    .Get = get};

EFI_STATUS mc_control_install(EFI_HANDLE ImageHandle)
{
    return mc_firmware.BootServices->InstallMultipleProtocolInterfaces(
        &ImageHandle, &mc_control_guid, &control, NULL);
}

EFI_STATUS mc_control_uninstall(EFI_HANDLE ImageHandle)
{
    return mc_firmware.BootServices->UninstallMultipleProtocolInterfaces(
        ImageHandle, &mc_control_guid, &control, NULL);
}
