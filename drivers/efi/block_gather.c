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

/* Make a token one of the last ones. Returns how many reads ago it came: 1 to
 * Q2_BLOCK_GATHER_TOKENS, or 0 if it is none of the last ones. */
static uint32_t reads_since(struct q2_block_gather *gather, const EFI_BLOCK_IO2_TOKEN *token)
{
    uint32_t ago = 0;

    for (uint32_t i = 0; i < Q2_BLOCK_GATHER_TOKENS; i++) {
        if (gather->tokens[i] == token)
            ago = Q2_BLOCK_GATHER_TOKENS - i;
        if (i > 0)
            gather->tokens[i - 1] = gather->tokens[i];
    }
    gather->tokens[Q2_BLOCK_GATHER_TOKENS - 1] = token;
    return ago;
}

/* Reads in sequence that must come before one is held. */
static uint32_t nb_needed(const struct q2_block_gather *gather)
{
    bool has_few = gather->nb_tokens > 0 && gather->nb_needed < Q2_BLOCK_GATHER_FEW_NEEDED;

    return has_few ? Q2_BLOCK_GATHER_FEW_NEEDED : gather->nb_needed;
}

bool q2_block_gather_note(struct q2_block_gather *gather, uint64_t offset, size_t length,
                          const EFI_BLOCK_IO2_TOKEN *token)
{
    bool goes_on = offset == gather->next_offset;

    gather->nb_tokens = reads_since(gather, token);
    gather->next_offset = offset + length;
    if (gather->nb_tokens == 1 || length < Q2_BLOCK_GATHER_MIN || length > Q2_BLOCK_GATHER_MAX) {
        gather->nb_run = 0;
        return false;
    }
    gather->nb_run = goes_on ? gather->nb_run + 1 : 1;
    return gather->nb_run > nb_needed(gather);
}

static bool start_timer(struct q2_block_gather *gather)
{
    return gather->services->SetTimer(gather->timer, TimerRelative, SOON) == EFI_SUCCESS;
}

bool q2_block_gather_hold(struct q2_block_gather *gather, uint64_t offset, void *buffer,
                          size_t length, EFI_BLOCK_IO2_TOKEN *token)
{
    if (gather->nb_held == 0) {
        if (!start_timer(gather))
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
    gather->has_grown = true;
    return true;
}

/* A caller that has few tokens waits when it has used them all. It began with the first read of the
 * sequence, or with the one after a tick. */
static bool has_used_all(const struct q2_block_gather *gather)
{
    return gather->nb_tokens > 0 && gather->nb_run % gather->nb_tokens == 0;
}

bool q2_block_gather_is_full(const struct q2_block_gather *gather)
{
    return has_used_all(gather) || gather->length >= Q2_BLOCK_GATHER_ALL ||
           gather->nb_held == Q2_BLOCK_GATHER_HELD ||
           (gather->offset + gather->length) % Q2_BLOCK_GATHER_ALL == 0;
}

bool q2_block_gather_waits(struct q2_block_gather *gather)
{
    bool goes_on = gather->has_grown && start_timer(gather);

    gather->has_grown = false;
    return !goes_on;
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
        gather->nb_needed = nb_needed(gather) * (gather->nb_tokens > 0 ? 8 : 2);
    gather->nb_good = 0;
}
