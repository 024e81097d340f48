/* Attaching: from an entry's or a command's words to a disk that the firmware has.
 *
 * May call registry.c, volumes.c, publish.c, upkeep.c, mc_disk_free(), efi/image and efi/handoff.
 * Invariant: a disk that cannot be attached leaves nothing but a clean image file: no handle,
 * number, room or held volume. The one exception is a disk that the firmware lists and does not
 * give back (MC_DISK_STUCK).
 */
#include "attach_disk.h"

#include "detach_disk.h"
#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/image/room.h"
#include "q2_fail.h"
#include "volumes.h"

static bool is_taken(const struct mc_image *image, const EFI_DEVICE_PATH *volume,
                     unsigned int instance)
{
    EFI_DEVICE_PATH *path = mc_device_path_disk(volume, image->file->source->path, instance);
    bool taken = path && mc_registry_has_path(path);

    mc_free(path);
    return taken;
}

/* The instance number makes the device paths of one image differ, and stay the same over reboots:
 * the entry's own number, or the lowest one that no other disk of this image has. */
static unsigned int free_instance(const struct mc_image *image, const struct mc_origin *origin)
{
    const EFI_DEVICE_PATH *volume = mc_protocol(image->volume, &mc_device_path_guid);
    unsigned int instance = 0;

    if (!volume || (origin && !is_taken(image, volume, origin->instance)))
        return origin ? origin->instance : 0;
    while (instance < 255 && is_taken(image, volume, instance))
        instance++;
    return instance;
}

static enum q2_status check_depth(EFI_HANDLE volume, const char *path, struct q2_fault *fault)
{
    const EFI_DEVICE_PATH *device_path = mc_protocol(volume, &mc_device_path_guid);

    if (!device_path || mc_device_path_depth(device_path) < MC_MAX_DEPTH)
        return Q2_OK;
    return q2_fail(fault, Q2_ERR_LIMIT, "too many images inside images; copy the image to a stick",
                   path);
}

/* Mode rw writes the top image and its data file; nothing else is ever written. */
static bool writes(const struct mc_image *image, uint32_t layer)
{
    return image->mode == MC_MODE_READ_WRITE && layer == 0;
}

/* A file of two layers; NULL: they have none in common. */
static const struct q2_source *common_file(const struct q2_layer_info *a,
                                           const struct q2_layer_info *b)
{
    if (q2_same_file(a->source, b->source) || q2_same_file(a->source, b->data_source))
        return a->source;
    if (q2_same_file(a->data_source, b->source) || q2_same_file(a->data_source, b->data_source))
        return a->data_source;
    return NULL;
}

/* A file that two disks have in common and one of them writes (HAZARDS.md, U10); NULL: none. */
static const struct q2_source *contested_file(const struct mc_image *a, const struct mc_image *b)
{
    struct q2_layer_info layer_a, layer_b;

    for (uint32_t i = 0; i < q2_disk_nb_layers(a->disk); i++) {
        q2_disk_layer_info(a->disk, i, &layer_a);
        for (uint32_t j = 0; j < q2_disk_nb_layers(b->disk); j++) {
            q2_disk_layer_info(b->disk, j, &layer_b);
            if ((writes(a, i) || writes(b, j)) && common_file(&layer_a, &layer_b))
                return common_file(&layer_a, &layer_b);
        }
    }
    return NULL;
}

static enum q2_status check_contested(const struct mc_image *image, struct q2_fault *fault)
{
    for (const struct mc_disk *disk = mc_registry_all(); disk; disk = disk->next) {
        const struct q2_source *source =
            disk->image != image ? contested_file(image, disk->image) : NULL;
        if (source)
            return q2_fail(fault, Q2_ERR_BUSY,
                           image->mode == MC_MODE_READ_WRITE
                               ? "attached already, so it cannot be attached for writing; detach "
                                 "that disk first"
                               : "attached for writing, so it cannot be attached again; detach "
                                 "that disk first",
                           source->path);
    }
    return Q2_OK;
}

/* Repair an image that was not closed cleanly, and say so, because its file changes although nobody
 * has written to the disk. */
static enum q2_status repair(struct mc_image *image, const struct mc_disk_spec *spec,
                             struct q2_fault *fault)
{
    char line[400];
    struct q2_line text = q2_line_start(line, sizeof(line));
    enum q2_status status = mc_image_repair(image, spec, fault);

    if (status != Q2_OK)
        return status;
    q2_line_put_escaped(&text, image->file->source->path);
    q2_line_put(
        &text,
        ": the image was not closed cleanly; its record of which clusters are in use has been "
        "repaired, its data was not touched");
    mc_say(line);
    return Q2_OK;
}

static enum q2_status open_image(struct mc_disk *disk, EFI_HANDLE volume,
                                 const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    const char *title = spec->title ? spec->title : spec->image;
    enum q2_status status = mc_image_open(volume, spec, false, fault, &disk->image);

    if (status != Q2_OK)
        return status;
    status = check_contested(disk->image, fault);
    if (status == Q2_OK)
        status = mc_image_check_files(disk->image, fault);
    if (status == Q2_OK && disk->image->needs_repair)
        status = repair(disk->image, spec, fault);
    if (status == Q2_OK)
        status = mc_image_prepare_cache(disk->image, fault);
    (void)mc_text_copy(disk->title, sizeof(disk->title), title);
    disk->name = mc_to_ucs2(disk->title);
    return status;
}

/* Keep the reason, so that it can be shown before the disk is started. */
static void explain(struct mc_disk *disk, const struct q2_fault *fault)
{
    static const char because[] =
        "a system that starts from this disk loses it, because it cannot be handed over: ";
    size_t length = sizeof(because) - 1;

    __builtin_memcpy(disk->no_handoff, because, length);
    (void)q2_fault_format(fault, disk->no_handoff + length, sizeof(disk->no_handoff) - length);
}

/* A disk that cannot be handed over still boots loaders and EFI programs, so this is no error. */
static void add_handoff(struct mc_disk *disk, const struct mc_disk_spec *spec, EFI_EVENT *ret_read)
{
    struct q2_fault fault;
    enum q2_status status = mc_handoff_add(disk->image, spec, &fault, ret_read, &disk->handoff);
    const char *why = status == Q2_OK ? mc_handoff_reason_against(disk->handoff) : NULL;

    if (why)
        status = q2_fail(&fault, Q2_ERR_UNSUPPORTED, why, spec->image);
    if (status != Q2_OK)
        explain(disk, &fault);
}

/* Free a disk that could not be attached, and give back the room that was made for it. Its number
 * is free again if no disk was attached after it. */
static void drop(struct mc_volume *volume, struct mc_disk *disk)
{
    struct q2_fault fault;

    mc_registry_remove(disk);
    if (disk->image)
        (void)mc_image_give_back(disk->image, &fault);
    mc_registry_return_number(disk->number);
    mc_disk_free(disk);
    volume->nb_disks--;
}

/* Make the first room of a disk that was attached. Less room than asked for is only said, because
 * it does no harm before a write. */
static void make_first_room(struct mc_image *image)
{
    struct q2_fault fault;

    if (mc_image_top_up(image, MC_ROOM_FOR_FIRST, 0, &fault) != Q2_OK)
        mc_say_fault(&fault);
}

/* Open a disk's image, and give the disk to the firmware. */
static enum q2_status open_and_publish(struct mc_disk *disk, EFI_HANDLE volume,
                                       const struct mc_disk_spec *spec,
                                       const struct mc_origin *origin, struct q2_fault *fault)
{
    EFI_EVENT read = NULL;
    enum q2_status status = open_image(disk, volume, spec, fault);

    if (status != Q2_OK)
        return status;
    mc_registry_append(disk);
    status = mc_upkeep_start(&disk->upkeep, disk->image, &disk->published.block_io, fault);
    if (status != Q2_OK)
        return status;
    add_handoff(disk, spec, &read);
    read = mc_upkeep_watch_reads(&disk->upkeep, disk->handoff, read);
    return mc_publish(&disk->published, disk->image, mc_volumes_agent(),
                      free_instance(disk->image, origin), disk->number + 1, disk->upkeep.written,
                      read, fault);
}

/* Attach on a volume that is held. The number is taken first, because the firmware may call the
 * driver again before the disk is attached, and another disk must get another number. */
static enum q2_status attach_on(struct mc_volume *volume, const struct mc_disk_spec *spec,
                                const struct mc_origin *origin, struct q2_fault *fault,
                                struct mc_disk **ret_disk)
{
    struct mc_disk *disk = mc_alloc(sizeof(*disk));
    enum q2_status status;

    if (!disk)
        return q2_fail_memory(fault);
    volume->nb_disks++;
    disk->number = mc_registry_take_number();
    disk->entry = origin ? mc_copy_text(origin->id) : NULL;
    status = open_and_publish(disk, volume->handle, spec, origin, fault);
    if (status != Q2_OK && disk->published.handle) {
        disk->state = MC_DISK_STUCK;
        q2_block_io_lose_medium(&disk->published.block_io);
        return status;
    }
    if (status != Q2_OK) {
        drop(volume, disk);
        return status;
    }
    make_first_room(disk->image);
    disk->state = MC_DISK_PRESENT;
    *ret_disk = disk;
    return Q2_OK;
}

/* Find the volume among those that are held, or hold it. Refuse it while a disk of it is being
 * attached or detached. */
static enum q2_status take_volume(EFI_HANDLE handle, const char *path, struct q2_fault *fault,
                                  struct mc_volume **ret_volume)
{
    struct mc_volume *volume;
    EFI_STATUS held = EFI_SUCCESS;

    if (mc_volumes_are_suspended())
        return q2_fail(fault, Q2_ERR_BUSY, "the driver is just being unloaded; load it again",
                       path);
    volume = mc_volume_find(handle);
    if (!volume)
        held = mc_volume_hold(handle, &volume);
    if (held == EFI_OUT_OF_RESOURCES)
        return q2_fail_memory(fault);
    if (EFI_ERROR(held))
        return q2_fail(
            fault, Q2_ERR_BUSY,
            "another driver holds the image's volume; 'disconnect' in the shell takes it away",
            path);
    if (volume->is_changing || volume->is_opening)
        return q2_fail(fault, Q2_ERR_BUSY,
                       "another disk of this volume is just being attached or detached; try again",
                       path);
    *ret_volume = volume;
    return Q2_OK;
}

enum q2_status mc_disk_attach(EFI_HANDLE handle, const struct mc_disk_spec *spec,
                              const struct mc_origin *origin, struct q2_fault *fault,
                              struct mc_disk **ret_disk)
{
    struct mc_volume *volume = NULL;
    enum q2_status status = check_depth(handle, spec->image, fault);

    if (status == Q2_OK)
        status = take_volume(handle, spec->image, fault, &volume);
    if (status != Q2_OK)
        return status;
    volume->is_changing = true;
    status = attach_on(volume, spec, origin, fault, ret_disk);
    volume->is_changing = false;
    mc_volume_give_back_unused(volume);
    return status;
}
