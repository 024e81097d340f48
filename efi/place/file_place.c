/* The place on any file system of the firmware that is not FAT: UDF, NTFS, ext4, ISO 9660.
 *
 * Calls the file protocols, from inside requests too: of the firmware's file systems only FAT's has
 * a lock that forbids this. Invariant: nothing is ever written.
 */
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "drivers/efi/file.h"
#include "file_system.h"
#include "place.h"

struct file_place {
    struct q2_place place; /* first */
    EFI_HANDLE handle;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem;
};

struct place_file {
    struct q2_place_file file; /* first */
    struct q2_source_efi_file source;
    EFI_FILE_PROTOCOL *File;
    char *path; /* pool memory */
};

static enum q2_status load(struct q2_place *place, const char *path, void *buffer, size_t *length,
                           struct q2_fault *fault)
{
    return mc_file_system_load(((struct file_place *)place)->FileSystem, path, buffer, length,
                               fault);
}

static enum q2_status list(struct q2_place *place, const char *folder,
                           struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    return mc_file_system_list(((struct file_place *)place)->FileSystem, folder, visitor, fault);
}

static void explain(const struct q2_place_file *file, struct q2_line *text)
{
    (void)file;
    q2_line_put(text, "the file system (it is not FAT)");
}

static void close_file(struct q2_place_file *place_file)
{
    struct place_file *file = (struct place_file *)place_file;

    if (file->File)
        (void)file->File->Close(file->File);
    mc_free(file->path);
    mc_free(file);
}

static enum q2_status make_source(struct file_place *place, struct place_file *file,
                                  struct q2_fault *fault)
{
    struct q2_efi_file by_file = {
        .path = file->path,
        .identity = {(uintptr_t)place->handle, mc_file_system_path_id(file->path)},
    };
    enum q2_status status =
        mc_file_system_open(place->FileSystem, file->path, EFI_FILE_MODE_READ, &file->File);

    by_file.File = file->File;
    if (status == Q2_OK)
        status = q2_source_efi_file_init(&file->source, &by_file);
    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, NULL, file->path);
}

static enum q2_status open_file(struct q2_place *place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file)
{
    size_t size = q2_text_length(path) + 2;
    struct place_file *file;
    enum q2_status status = Q2_OK;

    if (writable)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "only files on FAT volumes can be written; copy the file to one", path);
    file = mc_alloc(sizeof(*file));
    if (!file)
        return q2_fail_memory(fault);
    file->file = (struct q2_place_file){.place = place, .source = &file->source.source};
    file->path = mc_alloc(size);
    if (!file->path)
        status = q2_fail_memory(fault);
    else if (!mc_path_clean(path, file->path, size))
        status = q2_fail(fault, Q2_ERR_BAD_NAME, NULL, path);
    if (status == Q2_OK)
        status = make_source((struct file_place *)place, file, fault);
    if (status != Q2_OK) {
        close_file(&file->file);
        return status;
    }
    file->file.mapped_size = file->source.source.size;
    *ret_file = &file->file;
    return Q2_OK;
}

static void close_place(struct q2_place *place)
{
    mc_free(place);
}

static const struct q2_place_ops file_ops = {
    .close = close_place,
    .open_file = open_file,
    .close_file = close_file,
    .load = load,
    .list = list,
    .explain = explain,
};

static enum q2_status open_place(EFI_HANDLE handle, struct q2_fault *fault,
                                 struct q2_place **ret_place)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system = mc_protocol(handle, &mc_file_system_guid);
    const EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(handle, &mc_block_io_guid);
    struct file_place *place;

    if (!file_system)
        return Q2_ERR_UNSUPPORTED;
    place = mc_alloc(sizeof(*place));
    if (!place)
        return q2_fail_memory(fault);
    *place = (struct file_place){
        .place = {.ops = &file_ops,
                  .name = "file system of the firmware",
                  .io_align = block_io ? block_io->Media->IoAlign : 0},
        .handle = handle,
        .FileSystem = file_system,
    };
    *ret_place = &place->place;
    return Q2_OK;
}

const struct mc_place_kind mc_place_file_system = {.held = &mc_file_system_guid,
                                                   .open = open_place};
