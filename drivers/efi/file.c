/* A byte source over an open file of the firmware's file system.
 *
 * Lowest step of the data path on volumes that are not FAT. Calls EFI_FILE_PROTOCOL. Invariant: a
 * call either moves every byte or fails; the file system's "success" with fewer bytes is a failure
 * (HAZARDS.md, W6).
 */
#include "file.h"

#include "status.h"
#include "core/base/range.h"

/* SetPosition() takes this value for the end of the file. */
#define END_OF_FILE_POSITION UINT64_MAX

static struct q2_source_efi_file *efi_file_of(struct q2_source *source)
{
    return (struct q2_source_efi_file *)source;
}

/* Status of the firmware into ours; a medium that is gone stays gone. */
static enum q2_status finish(struct q2_source_efi_file *file, EFI_STATUS Status)
{
    enum q2_status status = q2_status_from_efi(Status);

    if (status == Q2_ERR_NO_MEDIA || status == Q2_ERR_MEDIA_CHANGED)
        file->gone = status;
    else if (status != Q2_OK && status != Q2_ERR_READ_ONLY && status != Q2_ERR_NO_SPACE)
        status = Q2_ERR_IO;
    return status;
}

/* Before every transfer: the range, then the position. */
static enum q2_status seek(struct q2_source_efi_file *file, uint64_t offset, size_t length)
{
    if (file->gone != Q2_OK)
        return file->gone;
    if (!q2_range_fits(offset, length, file->source.size))
        return Q2_ERR_IO;
    return finish(file, file->File->SetPosition(file->File, offset));
}

static enum q2_status file_read(struct q2_source *source, uint64_t offset, void *buffer,
                                size_t length)
{
    struct q2_source_efi_file *file = efi_file_of(source);
    UINTN BufferSize = length;
    enum q2_status status = seek(file, offset, length);

    if (status != Q2_OK)
        return status;
    status = finish(file, file->File->Read(file->File, &BufferSize, buffer));
    if (status == Q2_OK && BufferSize != length)
        return Q2_ERR_IO;
    return status;
}

static enum q2_status file_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                 size_t length)
{
    struct q2_source_efi_file *file = efi_file_of(source);
    UINTN BufferSize = length;
    enum q2_status status;

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    status = seek(file, offset, length);
    if (status != Q2_OK)
        return status;
    /* gnu-efi's prototype takes what is written as a pointer to something writable. */
    status = finish(file, file->File->Write(file->File, &BufferSize, (void *)(uintptr_t)buffer));
    if (status == Q2_OK && BufferSize != length)
        return Q2_ERR_IO;
    return status;
}

static enum q2_status file_flush(struct q2_source *source)
{
    struct q2_source_efi_file *file = efi_file_of(source);

    if (file->gone != Q2_OK || !source->writable)
        return file->gone;
    return finish(file, file->File->Flush(file->File));
}

static const struct q2_source_ops file_ops = {
    .read_at = file_read,
    .write_at = file_write,
    .flush = file_flush,
};

enum q2_status q2_source_efi_file_init(struct q2_source_efi_file *efi_file,
                                       const struct q2_efi_file *file)
{
    EFI_FILE_PROTOCOL *File = file->File;
    UINT64 Position;
    EFI_STATUS Status;
    enum q2_status status;

    *efi_file = (struct q2_source_efi_file){.File = File};
    Status = File->SetPosition(File, END_OF_FILE_POSITION);
    if (Status == EFI_UNSUPPORTED)
        return Q2_ERR_NOT_A_FILE;
    if (Status == EFI_SUCCESS)
        Status = File->GetPosition(File, &Position);
    status = finish(efi_file, Status);
    if (status != Q2_OK)
        return status;
    efi_file->source = (struct q2_source){
        .ops = &file_ops,
        .path = file->path,
        .size = Position,
        .identity = {file->identity[0], file->identity[1]},
        .io_align = 1,
        .writable = file->writable,
    };
    return Q2_OK;
}
