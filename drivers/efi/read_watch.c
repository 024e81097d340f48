/* When the owner of a disk is told that it was read.
 *
 * May call range.h. Invariant: step is at most Q2_READ_WATCH_MOST.
 */
#include "read_watch.h"

#include "core/base/range.h"

bool q2_read_watch_note(struct q2_read_watch *watch, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return false;
    if (offset != watch->next_offset || length != watch->length)
        watch->step = Q2_READ_WATCH_STEP;
    watch->next_offset = offset + length;
    watch->length = length;
    watch->nb_bytes += length;
    watch->nb_untold += length;
    if (watch->nb_untold < watch->step)
        return false;
    watch->nb_untold = 0;
    watch->step = q2_min_u64(Q2_READ_WATCH_FACTOR * watch->step, Q2_READ_WATCH_MOST);
    return true;
}
