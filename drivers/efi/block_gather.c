/* Making one long read of queued reads that follow each other.
 *
 * May call SetTimer(), and CreateEvent() and CloseEvent() at opening and closing. Invariants: the
 * timer runs if and only if something is held; what is held is one range of the disk and one of
 * memory.
 */
#include "block_gather.h"

/* The shortest time, in 100 ns: the next tick. UEFI says that 0 is the next tick, but EDK2 signals
 * at once then. */
#define SOON 1u

EFI_STATUS q2_block_gather_open(struct q2_block_gather *gather, EFI_BOOT_SERVICES *services,
                                EFI_EVENT_NOTIFY notify, void *context)
{
    *gather = (struct q2_block_gather){.services = services, .nb_needed = Q2_BLOCK_GATHER_NEEDED};
    if (services->CreateEvent(EVT_TIMER | EVT_NOTIFY_SIGNAL, TPL_CALLBACK, notify, context,
                              &gather->timer) != EFI_SUCCESS) {
        gather->timer = NULL;
        return EFI_OUT_OF_RESOURCES;
    }
    return EFI_SUCCESS;
}

void q2_block_gather_close(struct q2_block_gather *gather)
{
    EFI_EVENT timer = gather->timer;

    gather->timer = NULL;
    if (timer)
        (void)gather->services->CloseEvent(timer);
}

/* Is a token among the last ones? Make it one of them. */
static bool is_known(struct q2_block_gather *gather, const EFI_BLOCK_IO2_TOKEN *token)
{
    bool known = false;

    for (size_t i = 0; i + 1 < Q2_BLOCK_GATHER_TOKENS; i++) {
        known = known || gather->tokens[i] == token;
        gather->tokens[i] = gather->tokens[i + 1];
    }
    known = known || gather->tokens[Q2_BLOCK_GATHER_TOKENS - 1] == token;
    gather->tokens[Q2_BLOCK_GATHER_TOKENS - 1] = token;
    return known;
}

bool q2_block_gather_note(struct q2_block_gather *gather, uint64_t offset, size_t length,
                          const EFI_BLOCK_IO2_TOKEN *token)
{
    bool is_new = !is_known(gather, token);
    bool goes_on = offset == gather->next_offset;

    gather->next_offset = offset + length;
    if (!is_new || length < Q2_BLOCK_GATHER_MIN || length > Q2_BLOCK_GATHER_MAX)
        gather->nb_run = 0;
    else if (!goes_on)
        gather->nb_run = 1;
    else if (gather->nb_run < gather->nb_needed)
        gather->nb_run++;
    else
        return true;
    return false;
}

bool q2_block_gather_hold(struct q2_block_gather *gather, uint64_t offset, void *buffer,
                          size_t length, EFI_BLOCK_IO2_TOKEN *token)
{
    if (gather->nb_held == 0) {
        if (gather->services->SetTimer(gather->timer, TimerRelative, SOON) != EFI_SUCCESS)
            return false; /* nobody would end it */
        gather->offset = offset;
        gather->buffer = buffer;
        gather->length = 0;
    } else if (gather->nb_held == Q2_BLOCK_GATHER_HELD ||
               offset != gather->offset + gather->length ||
               buffer != gather->buffer + gather->length) {
        return false;
    }
    gather->held[gather->nb_held++] = (struct q2_block_held){token, length};
    gather->length += length;
    return true;
}

bool q2_block_gather_is_full(const struct q2_block_gather *gather)
{
    return gather->length >= Q2_BLOCK_GATHER_ALL || gather->nb_held == Q2_BLOCK_GATHER_HELD ||
           (gather->offset + gather->length) % Q2_BLOCK_GATHER_ALL == 0;
}

void q2_block_gather_end(struct q2_block_gather *gather, bool by_tick)
{
    gather->nb_held = 0;
    (void)gather->services->SetTimer(gather->timer, TimerCancel, 0);
    if (!by_tick) {
        gather->nb_good += gather->length;
        return;
    }
    gather->nb_run = 0;
    if (gather->nb_good >= Q2_BLOCK_GATHER_GOOD)
        gather->nb_needed = Q2_BLOCK_GATHER_NEEDED;
    else if (gather->nb_needed < Q2_BLOCK_GATHER_MOST_NEEDED)
        gather->nb_needed *= 2;
    gather->nb_good = 0;
}
