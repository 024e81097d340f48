/* Requests for the blocks of a disk, and EFI_BLOCK_IO_PROTOCOL.  (UEFI 2.10, 13.9; DESIGN.md, 5)
 *
 * The upward adapter: checks -> LBA to guest offset -> engine. Block I/O 2 and Erase Block
 * (block_io2.h, erase_block.h) are faces of the same requests and share the Media structure. Holds
 * no policy and installs nothing.
 *
 * The firmware may call from a timer while a request is under way, so a request runs at
 * TPL_CALLBACK and a second one on the same disk is refused. No call allocates or frees.
 *
 * Work that remains after a write or a flush is done by whoever made the disk (the driver:
 * efi/driver/upkeep.c). The event `written` is signalled after a write or flush that changed
 * metadata, and when the driver or a file asked for attention. Its notification runs when the TPL
 * falls below TPL_CALLBACK, so never inside a request or inside the file system that sent the
 * request. It is not signalled after every write, because an event costs as much as a small write.
 * A write that finds too little room in the files is served once more after the notification, if
 * the caller's TPL lets it come.
 */
#ifndef Q2_DRIVERS_BLOCK_IO_H
#define Q2_DRIVERS_BLOCK_IO_H

#include <stdbool.h>
#include <stdint.h>

#include <efi.h>

#include "block_gather.h"
#include "block_queue.h"
#include "q2_disk.h"
#include "read_watch.h"

/* All of it is the caller's memory; it must not move while the protocol is installed. */
struct q2_block_io {
    EFI_BLOCK_IO_PROTOCOL protocol; /* first: the protocol's address is this struct's */
    EFI_BLOCK_IO_MEDIA media;
    struct q2_disk *disk;
    EFI_BOOT_SERVICES *services;     /* RaiseTPL, RestoreTPL and SignalEvent are used */
    EFI_EVENT written, read, turned; /* of the options */
    struct q2_read_watch watch;      /* when `read` is signalled */
    bool attention;      /* signal `written` after the next write; the owner and files set it */
    uint64_t nb_writes;  /* writes and flushes that reached the disk */
    uint64_t nb_changes; /* of metadata, when the event was signalled last */
    uint64_t short_of;   /* bytes of the last write, if it found too little room in the files; 0
                            if not, or if the owner has made room for it */
    bool busy;           /* a request is in the disk */
    uint32_t nb_inside;  /* requests that have begun, also those that wait outside of the disk */
    bool is_quiet;       /* the owner's: boot services are ending, and only tokens are signalled */
    BOOLEAN told_present, told_read_only; /* the medium when the owner told of it last */
    struct q2_block_queue *queue;         /* the owner's; NULL: no request is queued below */
    struct q2_block_gather gather;        /* if it is not open, no read is held */
};

struct q2_block_io_options {
    uint32_t block_size; /* bytes, a power of two, >= 512 */
    uint32_t io_align;   /* what the host volume wants of a buffer: 0, or a power of two */
    uint32_t media_id;
    EFI_EVENT written; /* signalled after writes and flushes, see above; NULL: none */
    EFI_EVENT read;    /* signalled as read_watch.h says; NULL: none */
    EFI_EVENT turned;  /* signalled after requests while q2_block_io_has_turned(); NULL: none */
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

/* Hold reads that follow each other, see block_gather.h. *block_io must not be moved afterwards.
 *
 * EFI_OUT_OF_RESOURCES  the firmware has no event left; no read will be held */
EFI_STATUS q2_block_io_gather(struct q2_block_io *block_io);

/* End what is held, and wait at the caller's TPL, up to TPL_CALLBACK, for the reads that are on
 * their way.
 *
 * false  the firmware below does not end them, or a request is inside the disk that holds some */
bool q2_block_io_drain(struct q2_block_io *block_io);

/* Is a request inside, if only to wait for the disk, or has somebody acquired it? Then *block_io
 * must stay where it is. */
bool q2_block_io_is_busy(const struct q2_block_io *block_io);

/* What Reset of both protocols does: wait for what is queued.
 *
 * EFI_DEVICE_ERROR  there is no medium, or the firmware below does not end its requests */
EFI_STATUS q2_block_io_reset(struct q2_block_io *block_io);

/* The medium is gone and never returns: no request reaches the disk any more. */
void q2_block_io_lose_medium(struct q2_block_io *block_io);

/* Has the medium gone, or turned read-only, since the owner told those above of it?  (UEFI 2.10,
 * 13.9: Block I/O is reinstalled then, which cannot happen inside a request) */
bool q2_block_io_has_turned(const struct q2_block_io *block_io);

/* The owner tells of the medium now. */
void q2_block_io_tell(struct q2_block_io *block_io);

enum q2_block_kind {
    Q2_BLOCK_READ,
    Q2_BLOCK_WRITE,
    Q2_BLOCK_ERASE,
    Q2_BLOCK_FLUSH,
    Q2_NB_BLOCK_KINDS,
};

/* A request as the functions of Block I/O, Block I/O 2 and Erase Block get it. */
struct q2_block_request {
    enum q2_block_kind kind;
    UINT32 MediaId;   /* FLUSH: not used, like all below */
    EFI_LBA LBA;      /* of the first block */
    UINTN BufferSize; /* bytes; ERASE: Size */
    VOID *Buffer;     /* READ is written to, WRITE is read from; ERASE: not used */
};

/* Judge a request by its parameters (DESIGN.md, 5.1). Touches nothing. The order: medium
 * there, medium the same, write protection, buffer, size, range, alignment of the buffer.
 *
 * EFI_SUCCESS  the range is inside the medium, or BufferSize is 0: then there is nothing to do
 * EFI_NO_MEDIA, EFI_MEDIA_CHANGED, EFI_WRITE_PROTECTED, EFI_INVALID_PARAMETER,
 * EFI_BAD_BUFFER_SIZE (ERASE does not have it: EFI_INVALID_PARAMETER)
 */
EFI_STATUS q2_block_request_check(const EFI_BLOCK_IO_MEDIA *media,
                                  const struct q2_block_request *request);

/* Check a request and serve it: what every function of Block I/O 2 and Erase Block does.
 *
 * token  whose Event is signalled, once, after TransactionStatus was written. NULL, or without an
 *        Event: the call returns the result, and the token is not changed
 *
 * EFI_SUCCESS       it was served; or the token says how it ended
 * EFI_DEVICE_ERROR  it could not start: the TPL is too high, or a request is inside the disk
 * what q2_block_request_check() gives; without a token also what the request ended with
 */
EFI_STATUS q2_block_io_request(struct q2_block_io *block_io, const struct q2_block_request *request,
                               EFI_BLOCK_IO2_TOKEN *token);

#endif
