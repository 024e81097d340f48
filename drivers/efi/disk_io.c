/* A byte source over a volume that the firmware publishes.
 *
 * Lowest step of the data path in firmware. Calls Block I/O and Disk I/O of one handle. Invariant:
 * no call reaches a medium other than the one that the source was made for (HAZARDS.md, U6, U7).
 */
#include "disk_io.h"

#include "status.h"

static struct q2_source_efi_disk_io *disk_io_of(struct q2_source *source)
{
    return (struct q2_source_efi_disk_io *)source;
}

/* Keep in mind that the medium is gone; gives the status back. */
static enum q2_status latch(struct q2_source_efi_disk_io *disk_io, enum q2_status status)
{
    if (status == Q2_ERR_NO_MEDIA || status == Q2_ERR_MEDIA_CHANGED)
        disk_io->gone = status;
    return status;
}

static enum q2_status check_medium(struct q2_source_efi_disk_io *disk_io)
{
    const EFI_BLOCK_IO_MEDIA *Media = disk_io->BlockIo->Media;

    if (disk_io->gone != Q2_OK)
        return disk_io->gone;
    if (!Media->MediaPresent)
        return latch(disk_io, Q2_ERR_NO_MEDIA);
    if (Media->MediaId != disk_io->MediaId)
        return latch(disk_io, Q2_ERR_MEDIA_CHANGED);
    return Q2_OK;
}

/* Disk I/O copies through a buffer of its own what is not aligned; whole blocks into an aligned
 * buffer can do without. */
static bool is_direct(const struct q2_source_efi_disk_io *disk_io, uint64_t offset,
                      const void *buffer, size_t length)
{
    return disk_io->block_bits != 0 && ((offset | length) & (disk_io->BlockSize - 1)) == 0 &&
           ((uintptr_t)buffer & (disk_io->source.io_align - 1)) == 0;
}

/* A failure may well be the medium's last word: look again, so that the answer is the right one. */
enum q2_status q2_source_efi_disk_io_finish(struct q2_source_efi_disk_io *disk_io,
                                            EFI_STATUS Status)
{
    enum q2_status status;

    if (Status == EFI_SUCCESS)
        return Q2_OK;
    status = latch(disk_io, q2_status_from_efi(Status));
    if (disk_io->gone == Q2_OK)
        (void)check_medium(disk_io);
    if (disk_io->gone != Q2_OK)
        return disk_io->gone;
    return status == Q2_ERR_READ_ONLY ? status : Q2_ERR_IO;
}

static enum q2_status disk_io_read(struct q2_source *source, uint64_t offset, void *buffer,
                                   size_t length)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    EFI_BLOCK_IO_PROTOCOL *BlockIo = disk_io->BlockIo;
    EFI_STATUS Status;
    enum q2_status status = check_medium(disk_io);

    if (status != Q2_OK)
        return status;
    if (is_direct(disk_io, offset, buffer, length))
        Status = BlockIo->ReadBlocks(BlockIo, disk_io->MediaId, offset >> disk_io->block_bits,
                                     length, buffer);
    else
        Status =
            disk_io->DiskIo->ReadDisk(disk_io->DiskIo, disk_io->MediaId, offset, length, buffer);
    return q2_source_efi_disk_io_finish(disk_io, Status);
}

/* gnu-efi's prototypes take what is written as a pointer to something writable. */
static void *without_const(const void *buffer)
{
    return (void *)(uintptr_t)buffer;
}

static enum q2_status disk_io_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    EFI_BLOCK_IO_PROTOCOL *BlockIo = disk_io->BlockIo;
    EFI_STATUS Status;
    enum q2_status status = check_medium(disk_io);

    if (status != Q2_OK)
        return status;
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (is_direct(disk_io, offset, buffer, length))
        Status = BlockIo->WriteBlocks(BlockIo, disk_io->MediaId, offset >> disk_io->block_bits,
                                      length, without_const(buffer));
    else
        Status = disk_io->DiskIo->WriteDisk(disk_io->DiskIo, disk_io->MediaId, offset, length,
                                            without_const(buffer));
    return q2_source_efi_disk_io_finish(disk_io, Status);
}

static enum q2_status disk_io_flush(struct q2_source *source)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    enum q2_status status = check_medium(disk_io);

    if (status != Q2_OK || !source->writable)
        return status;
    return q2_source_efi_disk_io_finish(disk_io, disk_io->BlockIo->FlushBlocks(disk_io->BlockIo));
}

static const struct q2_source_ops disk_io_ops = {
    .read_at = disk_io_read,
    .write_at = disk_io_write,
    .flush = disk_io_flush,
};

struct q2_source_efi_disk_io *q2_source_efi_disk_io_of(struct q2_source *source)
{
    return source->ops == &disk_io_ops ? disk_io_of(source) : NULL;
}

/* log2 of a block size; 0: it is no power of two, and every request goes through Disk I/O. */
static uint32_t block_bits(UINT32 BlockSize)
{
    return (BlockSize & (BlockSize - 1)) == 0 ? (uint32_t)__builtin_ctz(BlockSize) : 0;
}

/* IoAlign 0 and 1 both mean any; firmware that gives no power of two gets the next one. */
static uint32_t io_align(UINT32 IoAlign)
{
    uint32_t align = 1;

    while (align < IoAlign && align < (1u << 31))
        align *= 2;
    return align;
}

enum q2_status q2_source_efi_disk_io_init(struct q2_source_efi_disk_io *disk_io,
                                          EFI_DISK_IO_PROTOCOL *DiskIo,
                                          EFI_BLOCK_IO_PROTOCOL *BlockIo, const char *path)
{
    const EFI_BLOCK_IO_MEDIA *Media = BlockIo->Media;

    if (!Media->MediaPresent)
        return Q2_ERR_NO_MEDIA;
    if (Media->BlockSize == 0 || Media->LastBlock >= UINT64_MAX / Media->BlockSize)
        return Q2_ERR_UNSUPPORTED;
    *disk_io = (struct q2_source_efi_disk_io){
        .source =
            {
                .ops = &disk_io_ops,
                .path = path,
                .size = (Media->LastBlock + 1) * Media->BlockSize,
                .identity = {(uintptr_t)BlockIo, Media->MediaId},
                .io_align = io_align(Media->IoAlign),
                .writable = !Media->ReadOnly,
            },
        .DiskIo = DiskIo,
        .BlockIo = BlockIo,
        .MediaId = Media->MediaId,
        .BlockSize = Media->BlockSize,
        .block_bits = block_bits(Media->BlockSize),
    };
    return Q2_OK;
}
