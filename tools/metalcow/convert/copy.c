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

/* The state at a guest offset, and how far it holds: the entry's length. */
static bool look(struct conversion *conversion, uint64_t at, enum state *ret_state,
                 struct q2_map_entry *ret_entry)
{
    const struct target *target = conversion->target;

    if (!inputs_look(conversion->inputs, at, ret_entry))
        return false;
    *ret_state = ret_entry->zero ? STATE_ZERO : STATE_DATA;
    if (target->shares_backing && ret_entry->depth > 0)
        *ret_state = STATE_BELOW;
    if (ret_entry->zero && at >= target->blank_from)
        *ret_state = STATE_BELOW;
    if (ret_entry->zero && at < target->blank_from && ret_entry->length > target->blank_from - at)
        ret_entry->length = target->blank_from - at;
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
        struct q2_map_entry next;
        enum state state;

        if (!look(conversion, at + length, &state, &next))
            return false;
        if (length > 0 && worth_skipping(conversion, at + length, state, next.length) > 0)
            break;
        length += next.length;
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
    rate_wait(&conversion->rate, length);
    return target->ops->write(target, at, length);
}

/* -C: have the file system copy data that is stored as it is. Returns how many bytes it has copied;
 * 0: they have to be read and written. */
static uint64_t offload(struct conversion *conversion, uint64_t at,
                        const struct q2_map_entry *entry)
{
    struct target *target = conversion->target;
    uint64_t length = entry->length < OFFLOAD_MOST ? entry->length : OFFLOAD_MOST;

    if (!conversion->offload || !target->ops->offload || !entry->has_offset)
        return 0;
    length = target->ops->offload(target, at, inputs_file(conversion->inputs, entry), entry->offset,
                                  length);
    conversion->offload = length > 0;
    rate_wait(&conversion->rate, length);
    return length;
}

/* Copy what begins at at. */
static bool copy_next(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    struct q2_map_entry entry;
    enum state state;

    if (!look(conversion, at, &state, &entry))
        return false;
    *ret_length = state == STATE_DATA ? offload(conversion, at, &entry)
                                      : worth_skipping(conversion, at, state, entry.length);
    if (*ret_length == 0)
        return copy_data(conversion, at, ret_length);
    if (state == STATE_ZERO && conversion->writes_zeros)
        rate_wait(&conversion->rate, *ret_length);
    return state != STATE_ZERO ||
           conversion->target->ops->zeros(conversion->target, at, *ret_length);
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
