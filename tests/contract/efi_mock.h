/* Disk I/O, Block I/O and a file of UEFI, in memory, with the firmware's own strictness.
 *
 * The protocols check their arguments as the UEFI specification asks and count calls; tests set the
 * fields below to make them fail. Everything is EFIAPI, so the calls are the firmware's.
 */
#ifndef METALCOW_TESTS_EFI_MOCK_H
#define METALCOW_TESTS_EFI_MOCK_H

#include <efi.h>
#include <string.h>

struct mock_disk {
    EFI_BLOCK_IO_PROTOCOL BlockIo; /* first: This is the mock */
    EFI_DISK_IO_PROTOCOL DiskIo;
    EFI_BLOCK_IO_MEDIA Media;
    uint8_t *bytes;
    EFI_STATUS fail;     /* what the next transfers return; EFI_SUCCESS: they work */
    BOOLEAN lose_medium; /* the next transfer fails because the medium goes */
    unsigned nb_block_calls, nb_disk_calls, nb_flushes, nb_misuses;
};

static inline struct mock_disk *mock_of_disk_io(EFI_DISK_IO_PROTOCOL *This)
{
    return (struct mock_disk *)(void *)((char *)This - offsetof(struct mock_disk, DiskIo));
}

static inline uint64_t mock_size(const struct mock_disk *disk)
{
    return (disk->Media.LastBlock + 1) * disk->Media.BlockSize;
}

/* What both protocols check first. */
static inline EFI_STATUS mock_check(struct mock_disk *disk, UINT32 MediaId, uint64_t Offset,
                                    UINTN Size, BOOLEAN write)
{
    if (disk->lose_medium) {
        disk->lose_medium = FALSE;
        disk->Media.MediaPresent = FALSE;
        return EFI_DEVICE_ERROR; /* as USB sticks do: the cause shows in Media only */
    }
    if (!disk->Media.MediaPresent)
        return EFI_NO_MEDIA;
    if (MediaId != disk->Media.MediaId)
        return EFI_MEDIA_CHANGED;
    if (write && disk->Media.ReadOnly)
        return EFI_WRITE_PROTECTED;
    if (Offset > mock_size(disk) || Size > mock_size(disk) - Offset) {
        disk->nb_misuses++;
        return EFI_INVALID_PARAMETER;
    }
    return disk->fail;
}

static inline EFI_STATUS mock_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                     UINTN Size, VOID *Buffer, BOOLEAN write)
{
    struct mock_disk *disk = (struct mock_disk *)(void *)This;
    EFI_STATUS Status;
    uint8_t *at;

    disk->nb_block_calls++;
    if (Size % disk->Media.BlockSize != 0 ||
        (disk->Media.IoAlign > 1 && (uintptr_t)Buffer % disk->Media.IoAlign != 0)) {
        disk->nb_misuses++;
        return EFI_BAD_BUFFER_SIZE;
    }
    Status = mock_check(disk, MediaId, LBA * disk->Media.BlockSize, Size, write);
    if (Status != EFI_SUCCESS)
        return Status;
    at = disk->bytes + LBA * disk->Media.BlockSize;
    memcpy(write ? (void *)at : Buffer, write ? Buffer : (void *)at, Size);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI mock_read_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                          UINTN Size, VOID *Buffer)
{
    return mock_blocks(This, MediaId, LBA, Size, Buffer, FALSE);
}

static EFI_STATUS EFIAPI mock_write_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                           UINTN Size, VOID *Buffer)
{
    return mock_blocks(This, MediaId, LBA, Size, Buffer, TRUE);
}

static EFI_STATUS EFIAPI mock_flush_blocks(EFI_BLOCK_IO_PROTOCOL *This)
{
    struct mock_disk *disk = (struct mock_disk *)(void *)This;

    disk->nb_flushes++;
    return mock_check(disk, disk->Media.MediaId, 0, 0, FALSE);
}

static EFI_STATUS EFIAPI mock_read_disk(EFI_DISK_IO_PROTOCOL *This, UINT32 MediaId, UINT64 Offset,
                                        UINTN Size, VOID *Buffer)
{
    struct mock_disk *disk = mock_of_disk_io(This);
    EFI_STATUS Status = mock_check(disk, MediaId, Offset, Size, FALSE);

    disk->nb_disk_calls++;
    if (Status == EFI_SUCCESS)
        memcpy(Buffer, disk->bytes + Offset, Size);
    return Status;
}

static EFI_STATUS EFIAPI mock_write_disk(EFI_DISK_IO_PROTOCOL *This, UINT32 MediaId, UINT64 Offset,
                                         UINTN Size, VOID *Buffer)
{
    struct mock_disk *disk = mock_of_disk_io(This);
    EFI_STATUS Status = mock_check(disk, MediaId, Offset, Size, TRUE);

    disk->nb_disk_calls++;
    if (Status == EFI_SUCCESS)
        memcpy(disk->bytes + Offset, Buffer, Size);
    return Status;
}

static inline void mock_disk_init(struct mock_disk *disk, uint8_t *bytes, UINT32 BlockSize,
                                  uint64_t nb_blocks, UINT32 IoAlign, BOOLEAN ReadOnly)
{
    memset(disk, 0, sizeof(*disk));
    disk->bytes = bytes;
    disk->Media.MediaId = 7;
    disk->Media.MediaPresent = TRUE;
    disk->Media.ReadOnly = ReadOnly;
    disk->Media.BlockSize = BlockSize;
    disk->Media.IoAlign = IoAlign;
    disk->Media.LastBlock = nb_blocks - 1;
    disk->BlockIo.Media = &disk->Media;
    disk->BlockIo.ReadBlocks = mock_read_blocks;
    disk->BlockIo.WriteBlocks = mock_write_blocks;
    disk->BlockIo.FlushBlocks = mock_flush_blocks;
    disk->DiskIo.ReadDisk = mock_read_disk;
    disk->DiskIo.WriteDisk = mock_write_disk;
}

struct mock_file {
    EFI_FILE_PROTOCOL File; /* first: This is the mock */
    uint8_t *bytes;
    uint64_t size, position;
    uint64_t shorter;     /* Read and Write move so many bytes less, and say success */
    EFI_STATUS fail;      /* what the next transfers return; EFI_SUCCESS: they work */
    EFI_STATUS fail_seek; /* the same for SetPosition */
    BOOLEAN is_directory, read_only;
    unsigned nb_flushes;
};

static EFI_STATUS EFIAPI mock_set_position(EFI_FILE_PROTOCOL *This, UINT64 Position)
{
    struct mock_file *file = (struct mock_file *)(void *)This;

    if (file->is_directory && Position != 0)
        return EFI_UNSUPPORTED;
    if (file->fail_seek != EFI_SUCCESS)
        return file->fail_seek;
    file->position = Position == UINT64_MAX ? file->size : Position;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI mock_get_position(EFI_FILE_PROTOCOL *This, UINT64 *Position)
{
    *Position = ((struct mock_file *)(void *)This)->position;
    return EFI_SUCCESS;
}

static inline EFI_STATUS mock_move(struct mock_file *file, UINTN *Size, VOID *Buffer, BOOLEAN write)
{
    uint64_t left = file->position < file->size ? file->size - file->position : 0;

    if (file->fail != EFI_SUCCESS)
        return file->fail;
    if (write && file->read_only)
        return EFI_WRITE_PROTECTED;
    if (*Size > left) /* HAZARDS.md, W6: fewer bytes are a success */
        *Size = left;
    *Size -= *Size < file->shorter ? *Size : file->shorter;
    memcpy(write ? (void *)(file->bytes + file->position) : Buffer,
           write ? Buffer : (void *)(file->bytes + file->position), *Size);
    file->position += *Size;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI mock_file_read(EFI_FILE_PROTOCOL *This, UINTN *Size, VOID *Buffer)
{
    return mock_move((struct mock_file *)(void *)This, Size, Buffer, FALSE);
}

static EFI_STATUS EFIAPI mock_file_write(EFI_FILE_PROTOCOL *This, UINTN *Size, VOID *Buffer)
{
    return mock_move((struct mock_file *)(void *)This, Size, Buffer, TRUE);
}

static EFI_STATUS EFIAPI mock_file_flush(EFI_FILE_PROTOCOL *This)
{
    struct mock_file *file = (struct mock_file *)(void *)This;

    file->nb_flushes++;
    return file->fail;
}

static inline void mock_file_init(struct mock_file *file, uint8_t *bytes, uint64_t size)
{
    memset(file, 0, sizeof(*file));
    file->bytes = bytes;
    file->size = size;
    file->File.Read = mock_file_read;
    file->File.Write = mock_file_write;
    file->File.SetPosition = mock_set_position;
    file->File.GetPosition = mock_get_position;
    file->File.Flush = mock_file_flush;
}

#endif
