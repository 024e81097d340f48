/* Read-ahead windows.
 *
 * Data path: disk.c, slice_cache.c, compressed.c -> here -> source. May call range.h and mem*.
 * Invariant: bytes held are what the source gave and nothing has overwritten since.
 */
#include "window.h"

#include "memory.h"
#include "range.h"

/* Above this a request is large enough to stand alone, and copying it would cost more than the
 * request saves. */
#define LARGE (128u * 1024)

/* How far behind the last request the next one may begin and still be the same stream: an L2 table
 * of the largest common cluster lies between. */
#define GAP (64u * 1024)

/* Compressed streams are asked for to the end of a sector, in which the next one begins. */
#define SECTOR 512u

/* The first window of a stream; two small reads in a row may be an accident. */
#define FIRST_SIZE (Q2_WINDOW_SIZE / 4)

void q2_windows_clear(struct q2_windows *windows)
{
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        windows->windows[i].source = NULL;
        windows->windows[i].stamp = 0;
        windows->windows[i].first = 0;
        windows->windows[i].reach = 0;
    }
    windows->clock = 0;
    windows->recent = 0;
}

static bool holds(const struct q2_window *window, const struct q2_source *source, uint64_t offset,
                  size_t length)
{
    return window->source == source && offset >= window->start &&
           q2_range_fits(offset - window->start, length, window->length);
}

static bool continues(const struct q2_window *window, const struct q2_source *source,
                      uint64_t offset)
{
    return window->source == source && offset + SECTOR > window->next &&
           offset <= window->next + GAP;
}

/* One comparison tells most requests that they have nothing to do with a window. `next` will lie
 * somewhere in the offsets from first to last. */
static void set_reach(struct q2_window *window, uint64_t first, uint64_t last)
{
    window->first = first - q2_min_u64(first, SECTOR);
    window->reach = last + GAP - window->first;
}

/* Fetch a window from offset on; on failure it holds nothing. */
static bool fetch(struct q2_windows *windows, uint32_t number, struct q2_source *source,
                  uint64_t offset)
{
    struct q2_window *window = &windows->windows[number];
    uint64_t length = q2_min_u64(window->size, source->size - offset);

    window->length = 0;
    if (source->ops->read_at(source, offset, windows->bytes[number], (size_t)length) != Q2_OK)
        return false;
    window->start = offset;
    window->length = length;
    set_reach(window, offset, offset + length);
    window->size = (uint32_t)q2_min_u64(2ull * window->size, Q2_WINDOW_SIZE);
    return true;
}

/* Follow a new stream in a window. */
static void follow(struct q2_windows *windows, uint32_t number, const struct q2_source *source,
                   uint64_t next)
{
    struct q2_window *window = &windows->windows[number];

    window->source = source;
    window->start = 0;
    window->length = 0;
    window->next = next;
    set_reach(window, next, next);
    window->size = FIRST_SIZE;
    window->stamp = ++windows->clock;
}

static const uint8_t *use(struct q2_windows *windows, uint32_t number, uint64_t offset,
                          size_t length)
{
    struct q2_window *window = &windows->windows[number];

    window->next = offset + length;
    window->stamp = ++windows->clock;
    windows->recent = number;
    return windows->bytes[number] + (offset - window->start);
}

/* What one look at all windows finds. */
struct look {
    const uint8_t *bytes; /* NULL: no window holds them */
    uint32_t follower;    /* the first window whose stream goes on here; Q2_NB_WINDOWS: none */
    uint32_t oldest;      /* the window that was used longest ago */
};

static struct look look(struct q2_windows *windows, const struct q2_source *source, uint64_t offset,
                        size_t length)
{
    struct look found = {.follower = Q2_NB_WINDOWS};
    uint64_t stamp = UINT64_MAX;

    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        const struct q2_window *window = &windows->windows[i];
        if (window->stamp < stamp) {
            stamp = window->stamp;
            found.oldest = i;
        }
        if (offset - window->first > window->reach || window->source != source)
            continue;
        if (holds(window, source, offset, length)) {
            found.bytes = use(windows, i, offset, length);
            return found;
        }
        if (found.follower == Q2_NB_WINDOWS && continues(window, source, offset))
            found.follower = i;
    }
    return found;
}

/* The window that was used last is asked first: most small requests end here. */
static const uint8_t *look_at_recent(struct q2_windows *windows, const struct q2_source *source,
                                     uint64_t offset, size_t length)
{
    if (!holds(&windows->windows[windows->recent], source, offset, length))
        return NULL;
    return use(windows, windows->recent, offset, length);
}

void q2_windows_view(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                     size_t length, const uint8_t **ret_bytes)
{
    struct look found;

    *ret_bytes = look_at_recent(windows, source, offset, length);
    if (*ret_bytes)
        return;
    found = look(windows, source, offset, length);
    *ret_bytes = found.bytes;
    if (found.bytes || length > LARGE)
        return;
    if (found.follower == Q2_NB_WINDOWS)
        follow(windows, found.oldest, source, offset + length);
    else if (fetch(windows, found.follower, source, offset))
        *ret_bytes = use(windows, found.follower, offset, length);
}

enum q2_status q2_windows_read(struct q2_windows *windows, struct q2_source *source,
                               uint64_t offset, void *buffer, size_t length)
{
    const uint8_t *bytes;

    q2_windows_view(windows, source, offset, length, &bytes);
    if (!bytes)
        return source->ops->read_at(source, offset, buffer, length);
    memcpy(buffer, bytes, length);
    return Q2_OK;
}

void q2_windows_join(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                     size_t length, const uint8_t **ret_bytes)
{
    struct look found = look(windows, source, offset, length);

    *ret_bytes = found.bytes;
    if (!found.bytes && found.follower < Q2_NB_WINDOWS &&
        fetch(windows, found.follower, source, offset))
        *ret_bytes = use(windows, found.follower, offset, length);
}

void q2_windows_forget(struct q2_windows *windows, const struct q2_source *source, uint64_t offset,
                       uint64_t length)
{
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        struct q2_window *window = &windows->windows[i];
        if (window->source == source &&
            q2_ranges_overlap(window->start, window->length, offset, length))
            window->length = 0;
    }
}
