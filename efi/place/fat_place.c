/* The FAT place: opening a volume.
 *
 * Calls boot services, drivers/efi/disk_io.c and core/fs/fat_volume.c. Invariant: a volume whose
 * FAT is damaged is still a FAT volume, and files on it are never read from inside a request by
 * the file system.
 */
#include "fat_place.h"

#include "q2_fail.h"
#include "efi/base/firmware.h"

static enum q2_status load(struct q2_place *place, const char *path, void *buffer, size_t *length,
                           struct q2_fault *fault)
{
    const struct mc_fat_place *fat = (const struct mc_fat_place *)place;

    return mc_file_system_load(fat->FileSystem, path, buffer, length, fault);
}

static enum q2_status list(struct q2_place *place, const char *folder,
                           struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    const struct mc_fat_place *fat = (const struct mc_fat_place *)place;

    return mc_file_system_list(fat->FileSystem, folder, visitor, fault);
}

/* Name oddities after an introduction; nothing if there are none. */
static void put_oddities(struct q2_line *text, const char *introduction, uint32_t odd)
{
    const struct q2_fat_oddity *oddity;

    for (size_t i = 0; (oddity = q2_fat_oddity(i)) != NULL; i++) {
        if ((odd & oddity->bit) == 0)
            continue;
        q2_line_put(text, introduction);
        q2_line_put(text, oddity->what);
        introduction = ", ";
    }
}

static void explain(const struct q2_place_file *place_file, struct q2_line *text)
{
    const struct mc_fat_file *file = (const struct mc_fat_file *)place_file;
    char why[400];

    if (file->memory) {
        (void)q2_fault_format(&file->doubt, why, sizeof(why));
        q2_line_put(text, "a copy in memory (");
        q2_line_put(text, why);
        q2_line_put(text, ")");
        return;
    }
    q2_line_put(text, "the volume itself (");
    q2_line_put_number(text, file->nb_extents, 10);
    q2_line_put(text, file->nb_extents == 1 ? " piece)" : " pieces)");
    put_oddities(text, "; odd, and harmless for reading: ", file->odd);
    put_oddities(text, "; put right: ", file->repaired);
}

static enum q2_status locate(const struct q2_place_file *place_file,
                             struct q2_stored_file *ret_stored)
{
    const struct mc_fat_file *file = (const struct mc_fat_file *)place_file;
    const struct mc_fat_place *place = (const struct mc_fat_place *)place_file->place;

    if (file->memory)
        return Q2_ERR_UNSUPPORTED;
    *ret_stored = (struct q2_stored_file){
        .extents = file->map,
        .nb_extents = file->nb_extents,
        .size = file->as.extents.mapped_size,
    };
    mc_partition_get(place->handle, &ret_stored->partition);
    ret_stored->partition.volume_id = place->fat.volume_id;
    ret_stored->partition.volume_id_offset = place->fat.volume_id_offset;
    return Q2_OK;
}

static void close_place(struct q2_place *place)
{
    mc_free(place);
}

static const struct q2_place_ops fat_ops = {
    .close = close_place,
    .open_file = mc_fat_open_file,
    .close_file = mc_fat_close_file,
    .load = load,
    .list = list,
    .explain = explain,
    .locate = locate,
    .check = mc_fat_check,
    .settle = mc_fat_settle,
    .make_room = mc_fat_make_room,
    .give_back = mc_fat_give_back,
    .free_space = mc_fat_free_space,
    .forget = mc_fat_forget,
    .watch = mc_fat_watch,
};

/* Read the volume's geometry. Where it cannot be read, the volume is taken for FAT, which is the
 * careful way. */
static enum q2_status look_at_volume(struct mc_fat_place *place, EFI_DISK_IO_PROTOCOL *disk_io,
                                     EFI_BLOCK_IO_PROTOCOL *block_io)
{
    enum q2_status status = q2_source_efi_disk_io_init(&place->device, disk_io, block_io, "volume");

    if (status != Q2_OK) {
        (void)q2_fail(&place->doubt, status, NULL, "volume");
        return Q2_OK;
    }
    place->device.BlockIo2 = mc_protocol(place->handle, &mc_block_io2_guid);
    if (place->device.BlockIo2)
        place->place.abilities |= Q2_PLACE_QUEUES;
    status = q2_fat_volume_open(&place->device.source, &place->doubt, &place->fat);
    if (status == Q2_ERR_UNSUPPORTED)
        return status;
    if (status == Q2_OK)
        place->doubt.status = Q2_OK;
    return Q2_OK;
}

static enum q2_status open_fat(EFI_HANDLE handle, struct q2_fault *fault,
                               struct q2_place **ret_place)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system = mc_protocol(handle, &mc_file_system_guid);
    EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(handle, &mc_block_io_guid);
    EFI_DISK_IO_PROTOCOL *disk_io = mc_protocol(handle, &mc_disk_io_guid);
    struct mc_fat_place *place;

    if (!file_system || !block_io)
        return Q2_ERR_UNSUPPORTED;
    place = mc_alloc(sizeof(*place));
    if (!place)
        return q2_fail_memory(fault);
    place->place = (struct q2_place){.ops = &fat_ops,
                                     .name = "FAT volume",
                                     .abilities = Q2_PLACE_WRITES | Q2_PLACE_GROWS |
                                                  Q2_PLACE_LOCATES | Q2_PLACE_REMEMBERS,
                                     .io_align = block_io->Media->IoAlign};
    place->handle = handle;
    place->FileSystem = file_system;
    if (look_at_volume(place, disk_io, block_io) != Q2_OK) {
        mc_free(place);
        return Q2_ERR_UNSUPPORTED;
    }
    *ret_place = &place->place;
    return Q2_OK;
}

const struct mc_place_kind mc_place_fat = {.held = &mc_file_system_guid, .open = open_fat};
