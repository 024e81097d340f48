/* Reading our disk through Block I/O 2, with as many requests on their way as fit the buffer.
 *
 * Ways of bench_ways.c call this. Requests are queued in order, each into its own part of the
 * buffer; a part is used again when its request has ended. Events are made once and closed with the
 * files. What the events alone cost is a way of its own: no driver can be faster than that.
 */
#include "bench.h"

#include "efi/base/firmware.h"

static EFI_EVENT *event_of(struct mc_bench *bench, size_t slot)
{
    EFI_EVENT *event = &bench->tokens[slot].Event;

    if (!*event &&
        EFI_ERROR(mc_firmware.BootServices->CreateEvent(0, TPL_CALLBACK, NULL, NULL, event)))
        *event = NULL;
    return *event ? event : NULL;
}

static EFI_STATUS wait(struct mc_bench *bench, size_t slot)
{
    EFI_BLOCK_IO2_TOKEN *token = &bench->tokens[slot];
    UINTN index;
    EFI_STATUS status = mc_firmware.BootServices->WaitForEvent(1, &token->Event, &index);

    return EFI_ERROR(status) ? status : token->TransactionStatus;
}

/* Where a piece of the turn starts on the disk; the turn's requests are cut into such pieces. */
static uint64_t offset_of(const struct mc_bench *bench, size_t index, size_t length)
{
    size_t nb_in_request = bench->request / length;

    return bench->offsets[index / nb_in_request] + index % nb_in_request * length;
}

static EFI_STATUS queue(struct mc_bench *bench, size_t slot, uint64_t offset, size_t length)
{
    EFI_BLOCK_IO2_PROTOCOL *block_io2 = bench->ours2;
    const EFI_BLOCK_IO_MEDIA *media = block_io2->Media;

    if (!event_of(bench, slot))
        return EFI_OUT_OF_RESOURCES;
    return block_io2->ReadBlocksEx(block_io2, media->MediaId, offset / media->BlockSize,
                                   &bench->tokens[slot], length, bench->buffer + slot * length);
}

EFI_STATUS mc_bench_queue(struct mc_bench *bench, size_t nb_requests, size_t length, size_t most)
{
    size_t nb = nb_requests * (bench->request / length), depth = MC_BENCH_BUFFER_SIZE / length;
    EFI_STATUS status = EFI_SUCCESS, ended;
    size_t first = 0, next = 0;

    depth = depth < most ? depth : most;
    while (first < nb) {
        if (next < nb && next - first < depth && !EFI_ERROR(status)) {
            status = queue(bench, next % depth, offset_of(bench, next, length), length);
            next += EFI_ERROR(status) ? 0 : 1;
            continue;
        }
        if (first == next)
            break;
        ended = wait(bench, first++ % depth); /* also after an error: the buffer is ours again */
        status = EFI_ERROR(status) ? status : ended;
    }
    return status;
}

EFI_STATUS mc_bench_events(struct mc_bench *bench, size_t nb_events)
{
    EFI_STATUS status = EFI_SUCCESS;

    for (size_t i = 0; i < nb_events && !EFI_ERROR(status); i++) {
        size_t slot = i % MC_BENCH_MAX_QUEUED;
        EFI_EVENT *event = event_of(bench, slot);
        if (!event)
            return EFI_OUT_OF_RESOURCES;
        bench->tokens[slot].TransactionStatus = mc_firmware.BootServices->SignalEvent(*event);
        status = wait(bench, slot);
    }
    return status;
}

void mc_bench_close_events(struct mc_bench *bench)
{
    for (size_t i = 0; i < MC_BENCH_MAX_QUEUED; i++) {
        if (bench->tokens[i].Event)
            (void)mc_firmware.BootServices->CloseEvent(bench->tokens[i].Event);
    }
}
