/* A byte source over a volume (or a whole device) that the firmware publishes.
 *
 * For firmware, at TPL_CALLBACK or below; sources over extent maps use it. Requests that are
 * aligned to blocks go through Block I/O, all others through Disk I/O of the same handle. Firmware
 * without Disk I/O (U-Boot) is asked for whole blocks, into a buffer in here.
 * Implements include/q2_source.h. No file system driver is ever called.
 *
 * The medium is the one that was in the drive when the source was made. Once it is gone or
 * replaced, every call fails, even after it was put in again.
 */
#ifndef Q2_DRIVERS_SOURCE_EFI_DISK_IO_H
#define Q2_DRIVERS_SOURCE_EFI_DISK_IO_H

#include <efi.h>

#include "q2_source.h"

/* The largest block, and the strictest alignment, that is served without Disk I/O. */
#define Q2_DISK_IO_BOUNCE 4096u

struct q2_source_efi_disk_io {
    struct q2_source source;
    EFI_DISK_IO_PROTOCOL *DiskIo; /* NULL: the firmware has none */
    EFI_BLOCK_IO_PROTOCOL *BlockIo;
    EFI_BLOCK_IO2_PROTOCOL *BlockIo2; /* of this handle, set by the owner; NULL: it has none */
    UINT32 MediaId;
    UINT32 BlockSize;
    uint32_t block_bits;                   /* log2 of BlockSize; 0: it has none */
    uint8_t bounce[2 * Q2_DISK_IO_BOUNCE]; /* without DiskIo: blocks, at the device's alignment */
    enum q2_status gone; /* Q2_OK; Q2_ERR_NO_MEDIA or Q2_ERR_MEDIA_CHANGED, and Q2_OK never again */
};

/* Make a source.
 *
 * DiskIo, BlockIo  of one handle; the caller keeps them open. DiskIo may be NULL
 * path             a name for messages, not copied
 *
 * Q2_ERR_NO_MEDIA     no medium in the drive
 * Q2_ERR_UNSUPPORTED  blocks of 0 bytes, or more than 2^64 bytes; without DiskIo also blocks that
 *                     are no power of two or larger than Q2_DISK_IO_BOUNCE, and such an alignment
 */
enum q2_status q2_source_efi_disk_io_init(struct q2_source_efi_disk_io *disk_io,
                                          EFI_DISK_IO_PROTOCOL *DiskIo,
                                          EFI_BLOCK_IO_PROTOCOL *BlockIo, const char *path);

/* The source as this kind, for a caller that queues requests below it; NULL: it is another kind. */
struct q2_source_efi_disk_io *q2_source_efi_disk_io_of(struct q2_source *source);

/* Is the medium still the one that the source was made for? Asks the device for nothing.
 *
 * returns  Q2_OK; Q2_ERR_NO_MEDIA or Q2_ERR_MEDIA_CHANGED, and from then on the same */
enum q2_status q2_source_efi_disk_io_medium(struct q2_source_efi_disk_io *disk_io);

/* Record how a request below the source ended, as the source's own requests do.
 *
 * returns  what the engine is told: Q2_OK, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED or Q2_ERR_IO */
enum q2_status q2_source_efi_disk_io_finish(struct q2_source_efi_disk_io *disk_io,
                                            EFI_STATUS Status);

#endif
