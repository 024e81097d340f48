/* The walk of convert and dd over their inputs (copy.h).
 *
 * May call inputs.c and the targets.
 */
#include "copy.h"

/* A shorter run of zeros is read like data: one large read costs less than many small ones. */
#define SKIP_LENGTH ((uint64_t)64 << 10)
/* The most that the file system is asked to copy at once: progress is told in between. */
#define OFFLOAD_MOST ((uint64_t)64 << 20)

enum state {
    STATE_DATA,
    STATE_ZERO,
    STATE_BELOW, /* the target shows it without having it: from its backing file, or past its end */
};

/* The state at a guest offset, and how far it holds. */
static bool look(struct conversion *conversion, uint64_t at, enum state *ret_state,
                 uint64_t *ret_length)
{
    const struct target *target = conversion->target;
    struct q2_map_entry entry;

    if (!inputs_look(conversion->inputs, at, &entry))
        return false;
    *ret_state = entry.zero ? STATE_ZERO : STATE_DATA;
    if (target->shares_backing && entry.depth > 0)
        *ret_state = STATE_BELOW;
    if (entry.zero && at >= target->blank_from)
        *ret_state = STATE_BELOW;
    *ret_length = entry.length;
    if (entry.zero && at < target->blank_from && entry.length > target->blank_from - at)
        *ret_length = target->blank_from - at;
    return true;
}

/* How many bytes from at on, whole units, can be passed over; 0: too few to be worth it. */
static uint64_t worth_skipping(const struct conversion *conversion, uint64_t at, enum state state,
                               uint64_t length)
{
    uint64_t unit = conversion->target->unit;
    uint64_t least = state == STATE_ZERO && unit < SKIP_LENGTH ? SKIP_LENGTH : unit;

    if (state == STATE_DATA)
        return 0;
    if (length == conversion->inputs->size - at)
        return length;
    return length >= least ? length / unit * unit : 0;
}

/* Length of what is to be read from at on: up to a run that can be passed over, in whole units. */
static bool gather(struct conversion *conversion, uint64_t at, size_t *ret_length)
{
    uint64_t unit = conversion->target->unit, left = conversion->inputs->size - at, length = 0;
    uint64_t most = left < conversion->target->chunk ? left : conversion->target->chunk;

    while (length < most) {
        enum state state;
        uint64_t next;

        if (!look(conversion, at + length, &state, &next))
            return false;
        if (length > 0 && worth_skipping(conversion, at + length, state, next) > 0)
            break;
        length += next;
    }
    length = (length + unit - 1) / unit * unit;
    *ret_length = (size_t)(length < most ? length : most);
    return true;
}

static bool copy_data(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    struct target *target = conversion->target;
    size_t length;
    uint8_t *buffer;

    if (!gather(conversion, at, &length))
        return false;
    buffer = target->ops->buffer(target);
    if (!buffer)
        return false;
    if (!inputs_read(conversion->inputs, at, buffer, length))
        return false;
    *ret_length = length;
    return target->ops->write(target, at, length);
}

/* -C: the file system copies a run that is stored as it is. 0: it has to be read and written. */
static bool offload(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    struct target *target = conversion->target;
    struct q2_map_entry entry;
    uint64_t length;

    *ret_length = 0;
    if (!conversion->offload || !target->ops->offload)
        return true;
    if (!inputs_look(conversion->inputs, at, &entry))
        return false;
    if (entry.zero || !entry.has_offset)
        return true;
    length = entry.length < OFFLOAD_MOST ? entry.length : OFFLOAD_MOST;
    *ret_length = target->ops->offload(target, at, inputs_file(conversion->inputs, &entry),
                                       entry.offset, length);
    conversion->offload = *ret_length > 0;
    return true;
}

/* Copy what begins at at. */
static bool copy_next(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    enum state state;
    uint64_t length;

    *ret_length = 0;
    if (!look(conversion, at, &state, &length))
        return false;
    if (state == STATE_DATA && !offload(conversion, at, ret_length))
        return false;
    if (state == STATE_DATA && *ret_length > 0)
        return true;
    length = worth_skipping(conversion, at, state, length);
    if (length == 0)
        return copy_data(conversion, at, ret_length);
    *ret_length = length;
    return state == STATE_BELOW || conversion->target->ops->zeros(conversion->target, at, length);
}

bool conversion_run(struct conversion *conversion)
{
    uint64_t at = 0, length;

    while (at < conversion->inputs->size) {
        if (!copy_next(conversion, at, &length))
            return false;
        at += length;
        progress_update(&conversion->progress, at, conversion->inputs->size);
    }
    return conversion->target->ops->finish(conversion->target);
}
