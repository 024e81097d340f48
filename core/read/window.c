/* Read-ahead windows.
 *
 * May call the source, range.h and mem*. Invariant: bytes held are what the source gave and nothing
 * has overwritten since.
 */
#include "window.h"

#include "core/base/memory.h"
#include "core/base/range.h"

/* Above this a request is large enough to stand alone, and copying it would cost more than the
 * request saves. */
#define LARGE (128u * 1024)

/* How far after the last request the next one may begin and still be the same stream: an L2 table
 * of the largest common cluster is between. */
#define GAP (64u * 1024)

/* What devices read. Compressed streams are asked for to the end of one, in which the next begins.
 */
#define SECTOR 512u

/* The first window of a stream; two small reads in a row may be an accident. */
#define FIRST_SIZE (Q2_WINDOW_SIZE / 4)

void q2_windows_clear(struct q2_windows *windows)
{
    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++) {
        windows->windows[i].source = NULL;
        windows->near[i].first = 0;
        windows->near[i].reach = 0;
        windows->stamps[i] = 0;
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
    return window->source == source && window->next != UINT64_MAX &&
           offset + SECTOR > window->next && offset <= window->next + GAP;
}

/* `next` will be somewhere in the offsets from first to last. */
static void set_near(struct q2_windows *windows, uint32_t number, uint64_t first, uint64_t last)
{
    first -= q2_min_u64(first, SECTOR);
    windows->near[number].first = first;
    windows->near[number].reach = last + GAP - first;
}

static bool is_near(const struct q2_windows *windows, uint32_t number, uint64_t offset)
{
    return offset - windows->near[number].first <= windows->near[number].reach;
}

/* Most requests are far from every window, and learn it here. */
static bool is_near_any(const struct q2_windows *windows, uint64_t offset)
{
    bool near = false;

    for (uint32_t i = 0; i < Q2_NB_WINDOWS; i++)
        near |= is_near(windows, i, offset);
    return near;
}

/* Fetch a window from the sector of offset on; on failure it holds nothing. Whole sectors go to the
 * device as they are, others by way of a copy. */
static bool fetch(struct q2_windows *windows, uint32_t number, struct q2_source *source,
                  uint64_t offset)
{
    struct q2_window *window = &windows->windows[number];
    uint64_t start = offset & ~(uint64_t)(SECTOR - 1);
    uint64_t length = q2_min_u64(window->size, source->size - start);

    window->length = 0;
    if (source->ops->read_at(source, start, windows->bytes[number], (size_t)length) != Q2_OK)
        return false;
    window->start = start;
    window->length = length;
    set_near(windows, number, start, start + length);
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
    window->size = FIRST_SIZE;
    set_near(windows, number, next, next);
    windows->stamps[number] = ++windows->clock;
}

/* The window that was used longest ago. */
static uint32_t oldest(const struct q2_windows *windows)
{
    uint32_t found = 0;

    for (uint32_t i = 1; i < Q2_NB_WINDOWS; i++)
        found = windows->stamps[i] < windows->stamps[found] ? i : found;
    return found;
}

static const uint8_t *use(struct q2_windows *windows, uint32_t number, uint64_t offset,
                          size_t length)
{
    struct q2_window *window = &windows->windows[number];

    window->next = offset + length;
    windows->stamps[number] = ++windows->clock;
    windows->recent = number;
    return windows->bytes[number] + (offset - window->start);
}

/* What one look at all windows finds. */
struct look {
    const uint8_t *bytes; /* NULL: no window holds the first of them */
    size_t nb_held;       /* how many it holds; the last window may end inside a request */
    uint32_t follower;    /* the first window whose stream goes on here; Q2_NB_WINDOWS: none */
};

static struct look look(struct q2_windows *windows, const struct q2_source *source, uint64_t offset,
                        size_t length)
{
    struct look found = {.follower = Q2_NB_WINDOWS};

    for (uint32_t i = 0; i < Q2_NB_WINDOWS && found.nb_held < length; i++) {
        const struct q2_window *window = &windows->windows[i];
        if (!is_near(windows, i, offset) || window->source != source)
            continue;
        if (found.follower == Q2_NB_WINDOWS && continues(window, source, offset))
            found.follower = i;
        if (holds(window, source, offset, 1)) {
            uint64_t left = window->start + window->length - offset;
            found.nb_held = (size_t)q2_min_u64(left, length);
            found.bytes = use(windows, i, offset, found.nb_held);
        }
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

/* Go on with the stream of a window whose end was reached. */
static const uint8_t *go_on(struct q2_windows *windows, uint32_t number, struct q2_source *source,
                            uint64_t offset, size_t length)
{
    if (!fetch(windows, number, source, offset) ||
        !holds(&windows->windows[number], source, offset, length))
        return NULL;
    return use(windows, number, offset, length);
}

/* A small request that the last window does not hold. No window holds all of it: fetch one if a
 * stream goes on here, else begin to follow one. NULL: there is nothing that the caller could not
 * read itself. */
static const uint8_t *find(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                           size_t length)
{
    struct look found = {.follower = Q2_NB_WINDOWS};

    if (is_near_any(windows, offset))
        found = look(windows, source, offset, length);
    if (found.nb_held == length)
        return found.bytes;
    if (found.follower < Q2_NB_WINDOWS)
        return go_on(windows, found.follower, source, offset, length);
    follow(windows, oldest(windows), source, offset + length);
    return NULL;
}

void q2_windows_view(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                     size_t length, const uint8_t **ret_bytes)
{
    *ret_bytes = look_at_recent(windows, source, offset, length);
    if (!*ret_bytes && length <= LARGE)
        *ret_bytes = find(windows, source, offset, length);
}

/* The longer way of q2_windows_read(), apart so that the common one needs no room for it: the start
 * of what is asked for may be the end of a window, and a stream may go on. */
__attribute__((noinline)) static enum q2_status read_near(struct q2_windows *windows,
                                                          struct q2_source *source, uint64_t offset,
                                                          void *buffer, size_t length)
{
    struct look found = look(windows, source, offset, length);
    uint8_t *to = buffer;
    const uint8_t *bytes;

    if (found.nb_held > 0)
        memcpy(to, found.bytes, found.nb_held);
    if (found.nb_held == length)
        return Q2_OK;
    to += found.nb_held;
    offset += found.nb_held;
    length -= found.nb_held;
    bytes = find(windows, source, offset, length);
    if (!bytes)
        return source->ops->read_at(source, offset, to, length);
    memcpy(to, bytes, length);
    return Q2_OK;
}

enum q2_status q2_windows_read(struct q2_windows *windows, struct q2_source *source,
                               uint64_t offset, void *buffer, size_t length)
{
    const uint8_t *bytes = look_at_recent(windows, source, offset, length);

    if (bytes) {
        memcpy(buffer, bytes, length);
        return Q2_OK;
    }
    if (length <= LARGE && is_near_any(windows, offset))
        return read_near(windows, source, offset, buffer, length);
    if (length <= LARGE)
        follow(windows, oldest(windows), source, offset + length);
    return source->ops->read_at(source, offset, buffer, length);
}

/* Go on with a stream in another window, from the end of the one that ends here: the table is
 * looked up first, and then the data stored before it is read. */
static bool move_on(struct q2_windows *windows, const struct look *found, struct q2_source *source,
                    uint64_t offset)
{
    struct q2_window *ended = &windows->windows[found->follower];
    uint64_t start = ended->length > 0 ? ended->start + ended->length : ended->next;
    uint32_t number = oldest(windows);

    number = number != found->follower ? number : (number + 1) % Q2_NB_WINDOWS;
    start = start <= offset && offset - start <= GAP ? start : offset;
    follow(windows, number, source, start);
    windows->windows[number].size = ended->size;
    ended->next = UINT64_MAX; /* nothing continues there any more */
    windows->recent = number;
    return fetch(windows, number, source, start);
}

void q2_windows_view_table(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                           size_t length, const uint8_t **ret_bytes)
{
    struct look found;

    *ret_bytes = NULL;
    if (!is_near_any(windows, offset))
        return;
    found = look(windows, source, offset, length);
    *ret_bytes = found.nb_held == length ? found.bytes : NULL;
    if (!*ret_bytes && found.follower < Q2_NB_WINDOWS && move_on(windows, &found, source, offset))
        *ret_bytes = look_at_recent(windows, source, offset, length);
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
