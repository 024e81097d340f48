/* A byte source over a volume that the firmware publishes.
 *
 * Lowest step of the data path in firmware. Calls Block I/O and Disk I/O of one handle. Invariant:
 * no call reaches a medium other than the one that the source was made for (HAZARDS.md, U6, U7).
 */
#include "disk_io.h"

#include "core/base/range.h"
#include "status.h"

static struct q2_source_efi_disk_io *disk_io_of(struct q2_source *source)
{
    return (struct q2_source_efi_disk_io *)source;
}

/* Record that the medium is gone, if the status says so. Returns the status. */
static enum q2_status latch(struct q2_source_efi_disk_io *disk_io, enum q2_status status)
{
    if (status == Q2_ERR_NO_MEDIA || status == Q2_ERR_MEDIA_CHANGED)
        disk_io->gone = status;
    return status;
}

enum q2_status q2_source_efi_disk_io_medium(struct q2_source_efi_disk_io *disk_io)
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

/* A request may have failed because the medium has gone, so look at the medium again. */
enum q2_status q2_source_efi_disk_io_finish(struct q2_source_efi_disk_io *disk_io,
                                            EFI_STATUS Status)
{
    enum q2_status status;

    if (Status == EFI_SUCCESS)
        return Q2_OK;
    status = latch(disk_io, q2_status_from_efi(Status));
    if (disk_io->gone == Q2_OK)
        (void)q2_source_efi_disk_io_medium(disk_io);
    if (disk_io->gone != Q2_OK)
        return disk_io->gone;
    return status == Q2_ERR_READ_ONLY ? status : Q2_ERR_IO;
}

/* gnu-efi's prototypes take what is written as a pointer to something writable. */
static void *without_const(const void *buffer)
{
    return (void *)(uintptr_t)buffer;
}

static EFI_STATUS move_blocks(struct q2_source_efi_disk_io *disk_io, uint64_t offset, void *buffer,
                              size_t length, bool write)
{
    EFI_BLOCK_IO_PROTOCOL *BlockIo = disk_io->BlockIo;
    EFI_LBA lba = offset >> disk_io->block_bits;

    return write ? BlockIo->WriteBlocks(BlockIo, disk_io->MediaId, lba, length, buffer)
                 : BlockIo->ReadBlocks(BlockIo, disk_io->MediaId, lba, length, buffer);
}

static uint8_t *aligned_bounce(struct q2_source_efi_disk_io *disk_io)
{
    uintptr_t at = (uintptr_t)disk_io->bounce, mask = disk_io->source.io_align - 1;

    return disk_io->bounce + (((at + mask) & ~mask) - at);
}

/* Move bytes through the bounce buffer, as many as it has room for. A write reads the blocks
 * before, so that the bytes around it stay. */
static EFI_STATUS bounce_some(struct q2_source_efi_disk_io *disk_io, uint64_t offset,
                              uint8_t *buffer, size_t *length, bool write)
{
    size_t block_mask = disk_io->BlockSize - 1, within = (size_t)offset & block_mask;
    size_t n = *length < Q2_DISK_IO_BOUNCE - within ? *length : Q2_DISK_IO_BOUNCE - within;
    size_t blocks = (within + n + block_mask) & ~block_mask;
    uint8_t *bounce = aligned_bounce(disk_io);
    EFI_STATUS Status = move_blocks(disk_io, offset - within, bounce, blocks, false);

    *length = n;
    if (Status != EFI_SUCCESS)
        return Status;
    if (!write) {
        __builtin_memcpy(buffer, bounce + within, n);
        return EFI_SUCCESS;
    }
    __builtin_memcpy(bounce + within, buffer, n);
    return move_blocks(disk_io, offset - within, bounce, blocks, true);
}

/* What Disk I/O does, on Block I/O alone. */
static EFI_STATUS move_by_blocks(struct q2_source_efi_disk_io *disk_io, uint64_t offset,
                                 uint8_t *buffer, size_t length, bool write)
{
    while (length > 0) {
        size_t n = length & ~(size_t)(disk_io->BlockSize - 1);
        EFI_STATUS Status;
        if (n > 0 && is_direct(disk_io, offset, buffer, n)) {
            Status = move_blocks(disk_io, offset, buffer, n, write);
        } else {
            n = length;
            Status = bounce_some(disk_io, offset, buffer, &n, write);
        }
        if (Status != EFI_SUCCESS)
            return Status;
        offset += n;
        buffer += n;
        length -= n;
    }
    return EFI_SUCCESS;
}

static enum q2_status disk_io_read(struct q2_source *source, uint64_t offset, void *buffer,
                                   size_t length)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    EFI_BLOCK_IO_PROTOCOL *BlockIo = disk_io->BlockIo;
    EFI_STATUS Status;
    enum q2_status status = q2_source_efi_disk_io_medium(disk_io);

    if (status != Q2_OK)
        return status;
    if (is_direct(disk_io, offset, buffer, length))
        Status = BlockIo->ReadBlocks(BlockIo, disk_io->MediaId, offset >> disk_io->block_bits,
                                     length, buffer);
    else if (!disk_io->DiskIo)
        Status = move_by_blocks(disk_io, offset, buffer, length, false);
    else
        Status =
            disk_io->DiskIo->ReadDisk(disk_io->DiskIo, disk_io->MediaId, offset, length, buffer);
    return q2_source_efi_disk_io_finish(disk_io, Status);
}

static enum q2_status disk_io_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    EFI_BLOCK_IO_PROTOCOL *BlockIo = disk_io->BlockIo;
    EFI_STATUS Status;
    enum q2_status status = q2_source_efi_disk_io_medium(disk_io);

    if (status != Q2_OK)
        return status;
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (is_direct(disk_io, offset, buffer, length))
        Status = BlockIo->WriteBlocks(BlockIo, disk_io->MediaId, offset >> disk_io->block_bits,
                                      length, without_const(buffer));
    else if (!disk_io->DiskIo)
        Status = move_by_blocks(disk_io, offset, without_const(buffer), length, true);
    else
        Status = disk_io->DiskIo->WriteDisk(disk_io->DiskIo, disk_io->MediaId, offset, length,
                                            without_const(buffer));
    return q2_source_efi_disk_io_finish(disk_io, Status);
}

static enum q2_status disk_io_flush(struct q2_source *source)
{
    struct q2_source_efi_disk_io *disk_io = disk_io_of(source);
    enum q2_status status = q2_source_efi_disk_io_medium(disk_io);

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
    return q2_is_power_of_two(BlockSize) ? q2_log2(BlockSize) : 0;
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
    if (!DiskIo && (block_bits(Media->BlockSize) == 0 || Media->BlockSize > Q2_DISK_IO_BOUNCE ||
                    Media->IoAlign > Q2_DISK_IO_BOUNCE))
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
