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

/* The first window of a stream; two small reads in a row may be an accident. */
#define FIRST_SIZE (Q2_WINDOW_SIZE / 4)

void q2_windows_clear(struct q2_windows *windows)
{
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        windows->windows[i].source = NULL;
        windows->windows[i].stamp = 0;
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
    return window->source == source && offset >= window->next && offset - window->next <= GAP;
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
    window->size = (uint32_t)q2_min_u64(2ull * window->size, Q2_WINDOW_SIZE);
    return true;
}

/* Follow a new stream in the window that was used longest ago. */
static void follow(struct q2_windows *windows, const struct q2_source *source, uint64_t next)
{
    struct q2_window *oldest = &windows->windows[0];

    for (uint32_t i = 1; i < Q2_NB_WINDOWS; i++) {
        if (windows->windows[i].stamp < oldest->stamp)
            oldest = &windows->windows[i];
    }
    oldest->source = source;
    oldest->start = 0;
    oldest->length = 0;
    oldest->next = next;
    oldest->size = FIRST_SIZE;
    oldest->stamp = ++windows->clock;
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

void q2_windows_view(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                     size_t length, const uint8_t **ret_bytes)
{
    uint32_t follower = Q2_NB_WINDOWS; /* the first window whose stream goes on here */

    *ret_bytes = NULL;
    if (holds(&windows->windows[windows->recent], source, offset, length)) {
        *ret_bytes = use(windows, windows->recent, offset, length);
        return;
    }
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        const struct q2_window *window = &windows->windows[i];
        if (window->source != source)
            continue;
        if (holds(window, source, offset, length)) {
            *ret_bytes = use(windows, i, offset, length);
            return;
        }
        if (follower == Q2_NB_WINDOWS && continues(window, source, offset))
            follower = i;
    }
    if (length > LARGE)
        return;
    if (follower == Q2_NB_WINDOWS)
        follow(windows, source, offset + length);
    else if (fetch(windows, follower, source, offset))
        *ret_bytes = use(windows, follower, offset, length);
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

const uint8_t *q2_windows_peek(const struct q2_windows *windows, const struct q2_source *source,
                               uint64_t offset, size_t length)
{
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        const struct q2_window *window = &windows->windows[i];
        if (holds(window, source, offset, length))
            return windows->bytes[i] + (offset - window->start);
    }
    return NULL;
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
