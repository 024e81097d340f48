/* Block I/O: publishes a disk as EFI_BLOCK_IO_PROTOCOL.  (UEFI 2.10, 13.9; DESIGN.md, 5)
 *
 * The upward adapter. Made by efi/driver/publish.c, called by the firmware: ReadBlocks -> checks ->
 * LBA to guest offset -> q2_disk_read(); writes and flushes the same way. Holds no policy and
 * installs nothing.
 *
 * The firmware may call from a timer while a request is under way, so a request runs at
 * TPL_CALLBACK and a second one on the same disk is refused. No call allocates or frees.
 *
 * What a write or a flush leaves to be done is the owner's business: an event is signalled after it
 * if metadata has changed, or if the owner or a file asked for attention; its notification comes
 * when the TPL has fallen below TPL_CALLBACK, so outside of every request and of whatever file
 * system the request came from. Not after each write: an event costs as much as a small one.
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
    EFI_BOOT_SERVICES *services; /* RaiseTPL, RestoreTPL and SignalEvent are used */
    EFI_EVENT written;           /* of the options */
    bool attention;              /* signal it after the next write; the owner's and files' to set */
    uint64_t nb_writes;          /* writes and flushes that reached the disk */
    uint64_t nb_changes;         /* of metadata, when the event was signalled last */
    bool busy;                   /* a request is in the disk */
};

struct q2_block_io_options {
    uint32_t block_size; /* bytes, a power of two, >= 512 */
    uint32_t io_align;   /* what the host volume wants of a buffer: 0, or a power of two */
    uint32_t media_id;
    EFI_EVENT written; /* signalled after writes and flushes, see above; NULL: none */
};

/* Alignment at which the engine itself copies fastest. IoAlign is this or the volume's. */
#define Q2_BLOCK_IO_ALIGN 8u

/* Make the protocol of a disk; nothing is installed. The medium is ReadOnly if the disk is; a disk
 * that turns read-only later (rule O10) takes its medium along.
 *
 * Q2_ERR_LIMIT  the disk is smaller than one block: there is no LastBlock to tell
 */
enum q2_status q2_block_io_init(struct q2_block_io *block_io, struct q2_disk *disk,
                                EFI_BOOT_SERVICES *services,
                                const struct q2_block_io_options *options);

/* Get the disk for a while, outside of a request: at TPL_CALLBACK, nothing else inside.
 *
 * ret_tpl  for q2_block_io_release(), which must follow
 * false    the caller runs above TPL_CALLBACK, or interrupted a request
 */
bool q2_block_io_acquire(struct q2_block_io *block_io, EFI_TPL *ret_tpl);
void q2_block_io_release(struct q2_block_io *block_io, EFI_TPL tpl);

/* Is a request inside the disk, or has somebody acquired it? */
bool q2_block_io_is_busy(const struct q2_block_io *block_io);

/* The medium is gone for good: no request reaches the disk any more. */
void q2_block_io_lose_medium(struct q2_block_io *block_io);

/* A request as ReadBlocks and WriteBlocks get it, of Block I/O and of Block I/O 2. */
struct q2_block_request {
    UINT32 MediaId;
    EFI_LBA LBA;
    UINTN BufferSize;
    const VOID *Buffer;
    bool write;
};

/* Judge a request by its parameters, in the order of DESIGN.md, 5.1. Touches nothing.
 *
 * EFI_SUCCESS  the range lies inside the medium, or BufferSize is 0: then there is nothing to do
 * EFI_NO_MEDIA, EFI_MEDIA_CHANGED, EFI_WRITE_PROTECTED, EFI_INVALID_PARAMETER,
 * EFI_BAD_BUFFER_SIZE
 */
EFI_STATUS q2_block_request_check(const EFI_BLOCK_IO_MEDIA *media,
                                  const struct q2_block_request *request);

#endif
