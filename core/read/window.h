/* Read-ahead windows: a few pieces of files, fetched in large requests ahead of small ones.
 *
 * May call the sources. A device's cost is per request, not per byte (DESIGN.md, 3.3): what is read
 * in small steps, one after the other, is worth fetching in one. It works on host offsets, so one
 * mechanism serves small guest requests, small clusters whose L2 tables are between them, and
 * compressed streams.
 */
#ifndef Q2_CORE_WINDOW_H
#define Q2_CORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "q2_limits.h"
#include "q2_source.h"

struct q2_window {
    const struct q2_source *source; /* NULL: unused */
    uint64_t start;                 /* host offset of the first byte held */
    uint64_t length;                /* bytes held; 0 while only a stream is followed */
    uint64_t next;                  /* where the next request of the stream is expected */
    uint32_t size;                  /* bytes to fetch next time: grows while the stream goes on */
};

struct q2_windows {
    /* What every small request looks at is stored together. */
    struct {
        uint64_t first,
            reach; /* requests that start outside [first, first + reach] do not use the window */
    } near[Q2_NB_WINDOWS];
    uint64_t stamps[Q2_NB_WINDOWS]; /* of the last use */
    uint64_t clock;
    uint32_t recent; /* the window that was used last */
    struct q2_window windows[Q2_NB_WINDOWS];
    _Alignas(Q2_BUFFER_ALIGN) uint8_t bytes[Q2_NB_WINDOWS][Q2_WINDOW_SIZE];
};

/* Forget everything. */
void q2_windows_clear(struct q2_windows *windows);

/* Look at file bytes if a window holds them, or if they continue a stream of small requests so that
 * fetching a window pays off. Cannot fail: a window that cannot be fetched says nothing of the
 * range asked for, so the caller's own read decides.
 *
 * offset, length  bytes; the range is inside the source, length >= 1
 * ret_bytes       the bytes, good until the next call here; NULL: read them yourself
 */
void q2_windows_view(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                     size_t length, const uint8_t **ret_bytes);

/* Read file bytes: small reads in a row come out of a window, the others straight from the source.
 *
 * offset, length  as above
 * Errors are the source's.
 */
enum q2_status q2_windows_read(struct q2_windows *windows, struct q2_source *source,
                               uint64_t offset, void *buffer, size_t length);

/* q2_windows_view() for metadata: a stream of data goes on over the tables between its clusters,
 * but tables alone begin none. */
void q2_windows_view_table(struct q2_windows *windows, struct q2_source *source, uint64_t offset,
                           size_t length, const uint8_t **ret_bytes);

/* Drop every window that overlaps a range that was, or may have been, written. */
void q2_windows_forget(struct q2_windows *windows, const struct q2_source *source, uint64_t offset,
                       uint64_t length);

#endif
