/* Reads of a disk that are on their way below it.
 *
 * May call the engine's map, the volume's Block I/O 2, events and the TPL. Invariants: a slot is
 * busy from its start until its event below was signalled; the caller's token is touched last;
 * counts change at TPL_NOTIFY, where the ends of pieces come in.
 */
#include "block_queue.h"

#include "drivers/extents/source.h"
#include "status.h"

/* How long a drain waits: EDK2's drivers end a request that hangs after 5 to 10 seconds. */
#define WAIT_STEP  50u /* us */
#define WAIT_STEPS (15u * 1000000 / WAIT_STEP)

/* Bytes of one read that are stored in one piece on the volume. */
struct volume_piece {
    struct q2_source_efi_disk_io *device;
    uint64_t offset; /* on the volume */
    uint8_t *buffer;
    size_t length;
};

struct plan {
    struct volume_piece pieces[Q2_BLOCK_QUEUE_PIECES];
    uint32_t nb;
};

static EFI_TPL lock(struct q2_block_queue *queue)
{
    return queue->services->RaiseTPL(TPL_NOTIFY);
}

static void unlock(struct q2_block_queue *queue, EFI_TPL tpl)
{
    queue->services->RestoreTPL(tpl);
}

static void lose_medium(struct q2_block_queue *queue)
{
    if (queue->media->MediaPresent && queue->turned)
        (void)queue->services->SignalEvent(queue->turned);
    queue->media->MediaPresent = FALSE;
}

/* One piece less, or the starting call has done its part. Called at TPL_NOTIFY. */
static void drop(struct q2_block_slot *read)
{
    struct q2_block_queue *queue = read->queue;
    EFI_BLOCK_IO2_TOKEN *token = read->token;
    enum q2_status status = read->status;

    if (--read->nb_pending > 0)
        return;
    read->read = NULL;
    queue->nb_busy--;
    if (status == Q2_ERR_NO_MEDIA || status == Q2_ERR_MEDIA_CHANGED)
        lose_medium(queue);
    token->TransactionStatus = q2_efi_block_from_status(status);
    (void)queue->services->SignalEvent(token->Event);
}

/* A piece has ended. The slot that stands for the read is freed by drop(), after all its pieces.
 * Called at TPL_NOTIFY. */
static void end_piece(struct q2_block_slot *slot, enum q2_status status)
{
    struct q2_block_slot *read = slot->read;

    if (status != Q2_OK && read->status == Q2_OK)
        read->status = status;
    if (slot != read) {
        slot->read = NULL;
        slot->queue->nb_busy--;
    }
    drop(read);
}

static VOID EFIAPI piece_ended(EFI_EVENT Event, VOID *Context)
{
    struct q2_block_slot *slot = Context;

    (void)Event;
    end_piece(slot, q2_source_efi_disk_io_finish(slot->device, slot->below.TransactionStatus));
}

EFI_STATUS q2_block_queue_open(struct q2_block_queue *queue, EFI_BOOT_SERVICES *services,
                               EFI_BLOCK_IO_MEDIA *media)
{
    *queue = (struct q2_block_queue){
        .services = services, .media = media, .is_open = true, .has_jumped = true};
    for (uint32_t i = 0; i < Q2_BLOCK_QUEUE_SLOTS; i++) {
        struct q2_block_slot *slot = &queue->slots[i];
        slot->queue = queue;
        if (services->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_NOTIFY, piece_ended, slot,
                                  &slot->below.Event) != EFI_SUCCESS) {
            slot->below.Event = NULL;
            q2_block_queue_close(queue);
            return EFI_OUT_OF_RESOURCES;
        }
    }
    return EFI_SUCCESS;
}

void q2_block_queue_close(struct q2_block_queue *queue)
{
    for (uint32_t i = 0; i < Q2_BLOCK_QUEUE_SLOTS; i++) {
        if (queue->slots[i].below.Event)
            (void)queue->services->CloseEvent(queue->slots[i].below.Event);
        queue->slots[i].below.Event = NULL;
    }
    queue->is_open = false;
}

/* Whole blocks at a multiple of their size are what Block I/O 2 takes; the caller's buffer has the
 * device's alignment since the disk's IoAlign is not smaller. */
static bool fits_blocks(const struct volume_piece *piece)
{
    const struct q2_source_efi_disk_io *device = piece->device;

    return device && device->BlockIo2 && device->block_bits != 0 && device->gone == Q2_OK &&
           ((piece->offset | piece->length) & (device->BlockSize - 1)) == 0 &&
           ((uintptr_t)piece->buffer & (device->source.io_align - 1)) == 0;
}

/* Cut data of one extent at the borders of the file's extents on the volume. */
static bool plan_data(struct plan *plan, struct q2_source *source, uint64_t offset, uint8_t *buffer,
                      size_t length)
{
    while (length > 0) {
        struct volume_piece piece = {.buffer = buffer};
        struct q2_source *volume;
        if (plan->nb == Q2_BLOCK_QUEUE_PIECES ||
            !q2_source_extents_locate(source, offset, length, &volume, &piece.offset,
                                      &piece.length))
            return false;
        piece.device = q2_source_efi_disk_io_of(volume);
        if (!fits_blocks(&piece))
            return false;
        plan->pieces[plan->nb++] = piece;
        offset += piece.length;
        buffer += piece.length;
        length -= piece.length;
    }
    return true;
}

/* What one extent needs: pieces, or zeros at once. */
static bool plan_extent(struct plan *plan, const struct q2_disk *disk,
                        const struct q2_extent *extent, uint8_t *buffer)
{
    struct q2_layer_info info;

    if (extent->kind == Q2_EXTENT_COMPRESSED)
        return false;
    if (extent->kind != Q2_EXTENT_DATA) {
        __builtin_memset(buffer, 0, (size_t)extent->length);
        return true;
    }
    q2_disk_layer_info(disk, extent->layer, &info);
    if (info.encryption_offset != 0 || (info.header && info.header->crypt_method != 0))
        return false;
    return plan_data(plan, (struct q2_source *)(uintptr_t)info.data_source, extent->host_offset,
                     buffer, (size_t)extent->length);
}

static bool make_plan(struct plan *plan, struct q2_disk *disk, uint64_t offset, uint8_t *buffer,
                      size_t length)
{
    uint64_t end = offset + length;

    while (offset < end) {
        struct q2_extent extent;
        if (q2_disk_map(disk, offset, end - offset, &extent) != Q2_OK ||
            !plan_extent(plan, disk, &extent, buffer))
            return false;
        buffer += extent.length;
        offset += extent.length;
    }
    return plan->nb > 0;
}

/* Take a free slot for a read; NULL makes the slot stand for the read itself. */
static struct q2_block_slot *take_slot(struct q2_block_queue *queue, struct q2_block_slot *read)
{
    for (uint32_t i = 0; i < Q2_BLOCK_QUEUE_SLOTS; i++) {
        struct q2_block_slot *slot = &queue->slots[i];
        if (slot->read)
            continue;
        slot->read = read ? read : slot;
        queue->nb_busy++;
        return slot;
    }
    return NULL;
}

/* Queue a piece below. What the firmware does not take (its own queue may be full) is read here and
 * now. */
static void start_piece(struct q2_block_slot *slot, const struct volume_piece *piece)
{
    struct q2_source_efi_disk_io *device = piece->device;
    EFI_BLOCK_IO2_PROTOCOL *BlockIo2 = device->BlockIo2;
    struct q2_block_queue *queue = slot->queue;
    enum q2_status status;
    EFI_TPL tpl;

    slot->device = device;
    slot->below.TransactionStatus = EFI_NOT_READY;
    if (BlockIo2->ReadBlocksEx(BlockIo2, device->MediaId, piece->offset >> device->block_bits,
                               &slot->below, piece->length, piece->buffer) == EFI_SUCCESS)
        return;
    status =
        device->source.ops->read_at(&device->source, piece->offset, piece->buffer, piece->length);
    tpl = lock(queue);
    end_piece(slot, status);
    unlock(queue, tpl);
}

static bool start(struct q2_block_queue *queue, const struct plan *plan, EFI_BLOCK_IO2_TOKEN *token)
{
    struct q2_block_slot *slots[Q2_BLOCK_QUEUE_PIECES], *read;
    EFI_TPL tpl = lock(queue);

    if (plan->nb > Q2_BLOCK_QUEUE_SLOTS - queue->nb_busy) {
        unlock(queue, tpl);
        return false;
    }
    read = slots[0] = take_slot(queue, NULL);
    for (uint32_t i = 1; i < plan->nb; i++)
        slots[i] = take_slot(queue, read);
    read->token = token;
    read->status = Q2_OK;
    read->nb_pending = plan->nb + 1; /* this call is one, so that nothing ends under it */
    unlock(queue, tpl);
    for (uint32_t i = 0; i < plan->nb; i++)
        start_piece(slots[i], &plan->pieces[i]);
    tpl = lock(queue);
    drop(read);
    unlock(queue, tpl);
    return true;
}

/* Is a small read in sequence, or may reads in sequence begin with it? One jump alone may be their
 * begin; after two of them the caller reads here and there. */
static bool is_in_sequence(struct q2_block_queue *queue, uint64_t offset, size_t length)
{
    bool had_jumped = queue->has_jumped;

    queue->has_jumped = offset != queue->next_offset;
    queue->next_offset = offset + length;
    return length <= Q2_BLOCK_QUEUE_SMALL && !(queue->has_jumped && had_jumped);
}

bool q2_block_queue_read(struct q2_block_queue *queue, struct q2_disk *disk, uint64_t offset,
                         void *buffer, size_t length, EFI_BLOCK_IO2_TOKEN *token)
{
    struct plan plan = {.nb = 0};

    if (is_in_sequence(queue, offset, length))
        return false;
    return queue->is_open && queue->nb_busy < Q2_BLOCK_QUEUE_SLOTS &&
           make_plan(&plan, disk, offset, buffer, length) && start(queue, &plan, token);
}

void q2_block_queue_pass(struct q2_block_queue *queue, uint64_t end)
{
    queue->next_offset = end;
    queue->has_jumped = false;
}

bool q2_block_queue_is_idle(const struct q2_block_queue *queue)
{
    return *(const volatile uint32_t *)&queue->nb_busy == 0;
}

bool q2_block_queue_drain(struct q2_block_queue *queue)
{
    for (uint32_t i = 0; i < WAIT_STEPS && !q2_block_queue_is_idle(queue); i++)
        (void)queue->services->Stall(WAIT_STEP);
    return q2_block_queue_is_idle(queue);
}
