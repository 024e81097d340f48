/* Requests for the blocks of a disk, and Block I/O.  (UEFI 2.10, 13.9; DESIGN.md, 5)
 *
 * Top of the data path: the firmware calls in, the engine's read, write, erase and flush are called
 * below; beside them only RaiseTPL, RestoreTPL, SignalEvent, and the timer of block_gather.c.
 * Invariants: TPL at exit is TPL at entry; at most one request is inside a disk; a medium that is
 * gone stays gone, one that turned read-only stays so; an accepted token is signalled once.
 */
#include "block_io.h"

#include "erase.h"
#include "status.h"

static struct q2_block_io *block_io_of(EFI_BLOCK_IO_PROTOCOL *This)
{
    return (struct q2_block_io *)This;
}

/* log2 of the block size. Our block sizes are powers of two, so requests need no division. */
static unsigned int block_bits(const EFI_BLOCK_IO_MEDIA *media)
{
    return (unsigned int)__builtin_ctz(media->BlockSize);
}

EFI_STATUS q2_block_request_check(const EFI_BLOCK_IO_MEDIA *media,
                                  const struct q2_block_request *request)
{
    uint64_t nb_blocks, left;

    if (!media->MediaPresent)
        return EFI_NO_MEDIA;
    if (request->kind == Q2_BLOCK_FLUSH)
        return EFI_SUCCESS;
    if (request->MediaId != media->MediaId)
        return EFI_MEDIA_CHANGED;
    if (request->kind != Q2_BLOCK_READ && media->ReadOnly)
        return EFI_WRITE_PROTECTED;
    if (!request->Buffer && request->kind != Q2_BLOCK_ERASE)
        return EFI_INVALID_PARAMETER;
    if (request->BufferSize == 0)
        return EFI_SUCCESS;
    if ((request->BufferSize & (media->BlockSize - 1)) != 0)
        return request->kind == Q2_BLOCK_ERASE ? EFI_INVALID_PARAMETER : EFI_BAD_BUFFER_SIZE;
    if (request->LBA > media->LastBlock)
        return EFI_INVALID_PARAMETER;
    nb_blocks = request->BufferSize >> block_bits(media);
    left = media->LastBlock - request->LBA; /* after the first block: LastBlock + 1 might wrap */
    if (nb_blocks - 1 > left)
        return EFI_INVALID_PARAMETER;
    if (request->kind != Q2_BLOCK_ERASE && media->IoAlign > 1 &&
        ((uintptr_t)request->Buffer & (media->IoAlign - 1)) != 0)
        return EFI_INVALID_PARAMETER;
    return EFI_SUCCESS;
}

/* Above TPL_CALLBACK nothing below us may be called. There is no way to ask for the TPL but to
 * raise it, and raising it to a lower one than the present ends the machine; TPL_HIGH_LEVEL may be
 * asked for at any TPL, and from there it goes down to where the request runs. */
bool q2_block_io_acquire(struct q2_block_io *block_io, EFI_TPL *ret_tpl)
{
    EFI_TPL tpl = block_io->services->RaiseTPL(TPL_HIGH_LEVEL);
    bool acquired = tpl <= TPL_CALLBACK && !block_io->busy;

    if (acquired) {
        block_io->busy = true;
        *ret_tpl = tpl;
    }
    block_io->services->RestoreTPL(acquired ? TPL_CALLBACK : tpl);
    return acquired;
}

static void tell_turned(struct q2_block_io *block_io)
{
    if (block_io->turned && !block_io->is_quiet && q2_block_io_has_turned(block_io))
        (void)block_io->services->SignalEvent(block_io->turned);
}

void q2_block_io_release(struct q2_block_io *block_io, EFI_TPL tpl)
{
    block_io->busy = false;
    tell_turned(block_io);
    block_io->services->RestoreTPL(tpl);
}

bool q2_block_io_has_turned(const struct q2_block_io *block_io)
{
    return block_io->media.MediaPresent != block_io->told_present ||
           block_io->media.ReadOnly != block_io->told_read_only;
}

void q2_block_io_tell(struct q2_block_io *block_io)
{
    block_io->told_present = block_io->media.MediaPresent;
    block_io->told_read_only = block_io->media.ReadOnly;
}

/* Is nothing on its way below? */
static bool is_idle(const struct q2_block_io *block_io)
{
    return !block_io->queue || q2_block_queue_is_idle(block_io->queue);
}

static bool is_holding(const struct q2_block_io *block_io)
{
    return *(const volatile uint32_t *)&block_io->gather.nb_held > 0;
}

bool q2_block_io_is_busy(const struct q2_block_io *block_io)
{
    return block_io->busy || block_io->nb_inside > 0;
}

void q2_block_io_lose_medium(struct q2_block_io *block_io)
{
    block_io->media.MediaPresent = FALSE;
}

/* If the volume is gone, our medium is gone and never returns, because the extents mean nothing on
 * another volume. */
static EFI_STATUS end_status(struct q2_block_io *block_io, enum q2_status status)
{
    if (status == Q2_ERR_NO_MEDIA || status == Q2_ERR_MEDIA_CHANGED)
        q2_block_io_lose_medium(block_io);
    if (!q2_disk_is_writable(block_io->disk))
        block_io->media.ReadOnly = TRUE;
    return q2_efi_block_from_status(status);
}

static void tell_of_read(struct q2_block_io *block_io, const struct q2_block_request *request)
{
    uint64_t offset = request->LBA << block_bits(&block_io->media);

    if (block_io->read && !block_io->is_quiet &&
        q2_read_watch_note(&block_io->watch, offset, request->BufferSize))
        (void)block_io->services->SignalEvent(block_io->read);
}

/* The files below were written: by the request itself, or by a flush that wrote metadata. */
static void tell_owner(struct q2_block_io *block_io)
{
    uint64_t nb_changes = q2_disk_nb_changes(block_io->disk);

    block_io->nb_writes++;
    if (!block_io->written || block_io->is_quiet ||
        (!block_io->attention && block_io->nb_changes == nb_changes))
        return;
    block_io->attention = false;
    block_io->nb_changes = nb_changes;
    (void)block_io->services->SignalEvent(block_io->written);
}

/* The check keeps the offset below the disk's size. */
static enum q2_status run(struct q2_block_io *block_io, const struct q2_block_request *request)
{
    uint64_t offset = request->LBA << block_bits(&block_io->media);

    switch (request->kind) {
    case Q2_BLOCK_READ:
        return q2_disk_read(block_io->disk, offset, request->Buffer, request->BufferSize);
    case Q2_BLOCK_WRITE:
        return q2_disk_write(block_io->disk, offset, request->Buffer, request->BufferSize);
    case Q2_BLOCK_ERASE:
        return q2_disk_erase(block_io->disk, offset, request->BufferSize);
    case Q2_BLOCK_FLUSH:
    case Q2_NB_BLOCK_KINDS:
    default:
        return q2_disk_flush(block_io->disk);
    }
}

/* EFI_DEVICE_ERROR and EFI_NO_MEDIA are the errors that a flush has. A disk that turned read-only
 * has lost writes that a flush would have to cover: it says so each time. */
static EFI_STATUS flush_status(EFI_STATUS status)
{
    return status == EFI_SUCCESS || status == EFI_NO_MEDIA ? status : EFI_DEVICE_ERROR;
}

static bool is_nothing(const struct q2_block_request *request)
{
    return request->BufferSize == 0 && request->kind != Q2_BLOCK_FLUSH;
}

static bool has_event(const EFI_BLOCK_IO2_TOKEN *token)
{
    return token && token->Event;
}

/* Read what is held in one piece, and signal its tokens in their order. A failure may be about one
 * of them only, so each is read by itself then. The disk is acquired. */
static void end_held(struct q2_block_io *block_io, bool by_tick)
{
    struct q2_block_gather *gather = &block_io->gather;
    uint32_t nb = gather->nb_held;
    uint64_t offset = gather->offset;
    uint8_t *buffer = gather->buffer;
    bool is_there = block_io->media.MediaPresent;
    enum q2_status status;

    if (nb == 0)
        return;
    q2_block_gather_end(gather, by_tick);
    status =
        is_there ? q2_disk_read(block_io->disk, offset, buffer, gather->length) : Q2_ERR_NO_MEDIA;
    for (uint32_t i = 0; i < nb; i++) {
        const struct q2_block_held *held = &gather->held[i];
        enum q2_status own = status;
        if (status != Q2_OK && is_there)
            own = q2_disk_read(block_io->disk, offset, buffer, held->length);
        held->token->TransactionStatus = own == Q2_OK ? EFI_SUCCESS : end_status(block_io, own);
        (void)block_io->services->SignalEvent(held->token->Event);
        offset += held->length;
        buffer += held->length;
    }
}

static VOID EFIAPI on_tick(EFI_EVENT event, VOID *context)
{
    struct q2_block_io *block_io = context;
    EFI_TPL tpl;

    (void)event;
    if (!is_holding(block_io) || !q2_block_io_acquire(block_io, &tpl))
        return;
    if (q2_block_gather_waits(&block_io->gather))
        end_held(block_io, true);
    q2_block_io_release(block_io, tpl);
}

EFI_STATUS q2_block_io_gather(struct q2_block_io *block_io)
{
    return q2_block_gather_open(&block_io->gather, block_io->services, on_tick, block_io);
}

bool q2_block_io_drain(struct q2_block_io *block_io)
{
    EFI_TPL tpl;

    if (is_holding(block_io)) {
        if (!q2_block_io_acquire(block_io, &tpl))
            return false;
        end_held(block_io, false);
        q2_block_io_release(block_io, tpl);
    }
    return !block_io->queue || q2_block_queue_drain(block_io->queue);
}

/* The disk is acquired. */
static EFI_STATUS serve(struct q2_block_io *block_io, const struct q2_block_request *request)
{
    enum q2_status result;
    EFI_STATUS status;

    if (is_nothing(request))
        return EFI_SUCCESS;
    result = run(block_io, request);
    if (request->kind == Q2_BLOCK_READ)
        return result == Q2_OK ? EFI_SUCCESS : end_status(block_io, result);
    block_io->short_of = result == Q2_ERR_NO_SPACE ? request->BufferSize : 0;
    status = end_status(block_io, result);
    tell_owner(block_io);
    return request->kind == Q2_BLOCK_FLUSH ? flush_status(status) : status;
}

/* Hand over how a request ended: in the token if it has an event, else as the call's result. */
static EFI_STATUS finish(struct q2_block_io *block_io, EFI_BLOCK_IO2_TOKEN *token,
                         EFI_STATUS status)
{
    if (!has_event(token))
        return status;
    token->TransactionStatus = status;
    (void)block_io->services->SignalEvent(token->Event);
    return EFI_SUCCESS;
}

/* Get the disk for a request. A request that changes the disk first waits, at the caller's TPL,
 * until all queued reads have ended. New reads may be queued meanwhile, so it looks again, at most
 * MAX_TURNS times. */
#define MAX_TURNS 1000u
static bool acquire_for(struct q2_block_io *block_io, const struct q2_block_request *request,
                        EFI_TPL *ret_tpl)
{
    for (uint32_t i = 0; i < MAX_TURNS; i++) {
        if (!q2_block_io_acquire(block_io, ret_tpl))
            return false;
        if (request->kind == Q2_BLOCK_READ || is_idle(block_io))
            return true;
        q2_block_io_release(block_io, *ret_tpl);
        if (!q2_block_io_drain(block_io))
            return false;
    }
    return false;
}

/* A read with an event, if all of it can be queued below. The disk is acquired. */
static bool queue_read(struct q2_block_io *block_io, const struct q2_block_request *request,
                       EFI_BLOCK_IO2_TOKEN *token)
{
    return block_io->queue && request->kind == Q2_BLOCK_READ && has_event(token) &&
           request->BufferSize > 0 &&
           q2_block_queue_read(block_io->queue, block_io->disk,
                               request->LBA << block_bits(&block_io->media), request->Buffer,
                               request->BufferSize, token);
}

/* Hold a read with an event until more of them make it longer. At TPL_CALLBACK the timer would not
 * come to a caller that waits. The disk is acquired. */
static bool hold_read(struct q2_block_io *block_io, const struct q2_block_request *request,
                      EFI_BLOCK_IO2_TOKEN *token, EFI_TPL tpl)
{
    struct q2_block_gather *gather = &block_io->gather;
    uint64_t offset = request->LBA << block_bits(&block_io->media);

    if (!gather->timer || request->kind != Q2_BLOCK_READ || !has_event(token) ||
        tpl != TPL_APPLICATION || block_io->is_quiet ||
        !q2_block_gather_note(gather, offset, request->BufferSize, token))
        return false;
    if (!q2_block_gather_hold(gather, offset, request->Buffer, request->BufferSize, token)) {
        end_held(block_io, false);
        if (!q2_block_gather_hold(gather, offset, request->Buffer, request->BufferSize, token))
            return false;
    }
    if (block_io->queue)
        q2_block_queue_pass(block_io->queue, offset + request->BufferSize);
    if (q2_block_gather_is_full(gather))
        end_held(block_io, false);
    return true;
}

/* A write has found too little room, and the owner can make some: its notification comes when the
 * disk is released. At TPL_CALLBACK it does not come, because the caller may hold the lock of the
 * file system that makes files longer. */
static bool can_wait_for_room(const struct q2_block_io *block_io, EFI_TPL tpl)
{
    return block_io->short_of > 0 && block_io->written && !block_io->is_quiet && tpl < TPL_CALLBACK;
}

/* Serve a request, and once more after room was made for it. The disk is acquired.
 *
 * false  the disk could not be acquired again */
static bool serve_with_room(struct q2_block_io *block_io, const struct q2_block_request *request,
                            EFI_TPL *tpl, EFI_STATUS *ret_status)
{
    EFI_STATUS status;

    *ret_status = serve(block_io, request);
    if (!can_wait_for_room(block_io, *tpl))
        return true;
    (void)block_io->services->SignalEvent(block_io->written);
    q2_block_io_release(block_io, *tpl);
    if (!acquire_for(block_io, request, tpl))
        return false;
    if (block_io->short_of > 0)
        return true;
    status = q2_block_request_check(&block_io->media, request);
    *ret_status = status == EFI_SUCCESS ? serve(block_io, request) : status;
    return true;
}

/* Hold a read, or queue it below, or serve the request here and now. What is held ends before
 * anything that comes after it. The disk is acquired.
 *
 * false  the disk could not be acquired again */
static bool serve_or_queue(struct q2_block_io *block_io, const struct q2_block_request *request,
                           EFI_BLOCK_IO2_TOKEN *token, EFI_TPL *tpl, EFI_STATUS *ret_status)
{
    *ret_status = EFI_SUCCESS;
    if (hold_read(block_io, request, token, *tpl))
        return true;
    end_held(block_io, false);
    if (queue_read(block_io, request, token))
        return true;
    if (!serve_with_room(block_io, request, tpl, ret_status))
        return false;
    *ret_status = finish(block_io, token, *ret_status);
    return true;
}

/* While a request waits at its caller's TPL, for queued reads or for room, it has not acquired the
 * disk. Notifications may then come that want to take the disk away, so it counts as inside. */
EFI_STATUS q2_block_io_request(struct q2_block_io *block_io, const struct q2_block_request *request,
                               EFI_BLOCK_IO2_TOKEN *token)
{
    EFI_STATUS status = q2_block_request_check(&block_io->media, request);
    bool acquired;
    EFI_TPL tpl;

    if (status != EFI_SUCCESS)
        return status;
    if (is_nothing(request) && !has_event(token))
        return EFI_SUCCESS;
    block_io->nb_inside++;
    acquired = acquire_for(block_io, request, &tpl) &&
               serve_or_queue(block_io, request, token, &tpl, &status);
    block_io->nb_inside--;
    if (!acquired) {
        tell_turned(block_io); /* a notification that came while this was inside did nothing */
        return EFI_DEVICE_ERROR;
    }
    if (request->kind == Q2_BLOCK_READ)
        tell_of_read(block_io, request);
    q2_block_io_release(block_io, tpl);
    return status;
}

static EFI_STATUS EFIAPI read_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                     UINTN BufferSize, VOID *Buffer)
{
    const struct q2_block_request request = {Q2_BLOCK_READ, MediaId, LBA, BufferSize, Buffer};

    return q2_block_io_request(block_io_of(This), &request, NULL);
}

static EFI_STATUS EFIAPI write_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                      UINTN BufferSize, VOID *Buffer)
{
    const struct q2_block_request request = {Q2_BLOCK_WRITE, MediaId, LBA, BufferSize, Buffer};

    return q2_block_io_request(block_io_of(This), &request, NULL);
}

static EFI_STATUS EFIAPI flush_blocks(EFI_BLOCK_IO_PROTOCOL *This)
{
    const struct q2_block_request request = {.kind = Q2_BLOCK_FLUSH};

    return q2_block_io_request(block_io_of(This), &request, NULL);
}

/* EFI_DEVICE_ERROR is the only error that Reset has. A disk without its medium can be reset: EDK2's
 * Disk I/O driver resets it before it lets go of it. */
EFI_STATUS q2_block_io_reset(struct q2_block_io *block_io)
{
    bool drained;
    EFI_TPL tpl;

    if (is_idle(block_io) && !is_holding(block_io))
        return EFI_SUCCESS;
    if (!q2_block_io_acquire(block_io, &tpl)) /* above TPL_CALLBACK nothing below us would end */
        return EFI_DEVICE_ERROR;
    block_io->nb_inside++;
    q2_block_io_release(block_io, tpl);
    drained = q2_block_io_drain(block_io);
    block_io->nb_inside--;
    return drained ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

static EFI_STATUS EFIAPI reset(EFI_BLOCK_IO_PROTOCOL *This, BOOLEAN ExtendedVerification)
{
    (void)ExtendedVerification;
    return q2_block_io_reset(block_io_of(This));
}

static UINT32 blocks_in(const EFI_BLOCK_IO_MEDIA *media, uint64_t length)
{
    return length > media->BlockSize ? (UINT32)(length >> block_bits(media)) : 1;
}

/* What is written best at once: whole clusters; and without reading: whole subclusters, or clusters
 * if there are none. A raw image has neither: its granularity stays 0, which reports none.
 * (UEFI 2.10, 13.9: revisions 2 and 3 of the media) */
static void set_granules(EFI_BLOCK_IO_MEDIA *media, const struct q2_disk *disk)
{
    struct q2_layer_info info;

    q2_disk_layer_info(disk, 0, &info);
    media->LogicalBlocksPerPhysicalBlock = blocks_in(media, q2_disk_erase_granule(disk));
    if (info.header)
        media->OptimalTransferLengthGranularity =
            blocks_in(media, 1ull << info.header->cluster_bits);
}

enum q2_status q2_block_io_init(struct q2_block_io *block_io, struct q2_disk *disk,
                                EFI_BOOT_SERVICES *services,
                                const struct q2_block_io_options *options)
{
    uint64_t nb_blocks = q2_disk_size(disk) / options->block_size;
    uint32_t align = options->io_align;

    if (nb_blocks == 0)
        return Q2_ERR_LIMIT;
    *block_io = (struct q2_block_io){.disk = disk,
                                     .services = services,
                                     .written = options->written,
                                     .read = options->read,
                                     .turned = options->turned,
                                     .attention = true};
    block_io->media = (EFI_BLOCK_IO_MEDIA){
        .MediaId = options->media_id,
        .MediaPresent = TRUE,
        .ReadOnly = !q2_disk_is_writable(disk),
        .WriteCaching = FALSE, /* metadata waits, what is written does not (DESIGN.md, 5.6) */
        .BlockSize = options->block_size,
        .IoAlign = align > Q2_BLOCK_IO_ALIGN ? align : Q2_BLOCK_IO_ALIGN,
        .LastBlock = nb_blocks - 1,
    };
    set_granules(&block_io->media, disk);
    q2_block_io_tell(block_io);
    block_io->protocol = (EFI_BLOCK_IO_PROTOCOL){
        .Revision = EFI_BLOCK_IO_PROTOCOL_REVISION3,
        .Media = &block_io->media,
        .Reset = reset,
        .ReadBlocks = read_blocks,
        .WriteBlocks = write_blocks,
        .FlushBlocks = flush_blocks,
    };
    return Q2_OK;
}
