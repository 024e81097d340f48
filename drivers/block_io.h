/* Block I/O: publishes a disk as EFI_BLOCK_IO_PROTOCOL.  (UEFI 2.10, 13.9; design, section 5)
 *
 * The upward adapter. Made by efi/publish.c, called by the firmware: ReadBlocks -> checks -> LBA to
 * guest offset -> q2_disk_read(). Holds no policy and installs nothing.
 *
 * The firmware may call from a timer while a request is under way, so a request runs at
 * TPL_CALLBACK and a second one on the same disk is refused. No call allocates or frees.
 */
#ifndef Q2_DRIVERS_BLOCK_IO_H
#define Q2_DRIVERS_BLOCK_IO_H

#include <stdbool.h>
#include <stdint.h>

#include <efi.h>

#include "q2_disk.h"

/* All of it is the caller's memory; it must not move while the protocol is installed. */
struct q2_block_io {
    EFI_BLOCK_IO_PROTOCOL protocol; /* first: the protocol's address is this struct's */
    EFI_BLOCK_IO_MEDIA media;
    struct q2_disk *disk;
    EFI_BOOT_SERVICES *services; /* RaiseTPL and RestoreTPL are used */
    bool busy;                   /* a request is in the disk */
};

struct q2_block_io_options {
    uint32_t block_size; /* bytes, a power of two, >= 512 */
    uint32_t io_align;   /* what the host volume wants of a buffer: 0, or a power of two */
    uint32_t media_id;
};

/* Alignment at which the engine itself copies fastest. IoAlign is this or the volume's. */
#define Q2_BLOCK_IO_ALIGN 8u

/* Make the protocol of a disk; nothing is installed. The disk is read-only.
 *
 * Q2_ERR_LIMIT  the disk is smaller than one block: there is no LastBlock to tell
 */
enum q2_status q2_block_io_init(struct q2_block_io *block_io, struct q2_disk *disk,
                                EFI_BOOT_SERVICES *services,
                                const struct q2_block_io_options *options);

/* A request as ReadBlocks and WriteBlocks get it, of Block I/O and of Block I/O 2. */
struct q2_block_request {
    UINT32 MediaId;
    EFI_LBA LBA;
    UINTN BufferSize;
    const VOID *Buffer;
    bool write;
};

/* Judge a request by its parameters, in the order of the design's section 5. Touches nothing.
 *
 * EFI_SUCCESS  the range lies inside the medium, or BufferSize is 0: then there is nothing to do
 * EFI_NO_MEDIA, EFI_MEDIA_CHANGED, EFI_WRITE_PROTECTED, EFI_INVALID_PARAMETER,
 * EFI_BAD_BUFFER_SIZE
 */
EFI_STATUS q2_block_request_check(const EFI_BLOCK_IO_MEDIA *media,
                                  const struct q2_block_request *request);

#endif
