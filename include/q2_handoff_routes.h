/* Routes: which parts of a disk go straight to the host partition, and which through the server.
 *
 * Runs of plain data whose place cannot change are collected; the longest of them become a table
 * that covers the disk without a gap, as a device mapper wants it. Implemented by
 * core/handoff/routes.c; pure functions: no I/O, no memory of their own. The caller owns both
 * arrays. Nothing that is added can make them write past an array's end or build a table that
 * leaves the disk.
 */
#ifndef Q2_HANDOFF_ROUTES_H
#define Q2_HANDOFF_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_status.h"

/* One part of a disk. All in bytes. */
struct q2_route {
    uint64_t guest_offset, length;
    uint64_t volume_offset; /* straight: where it is stored on the host partition; else 0 */
    bool straight;          /* false: through the server */
};

/* Runs under collection. */
struct q2_routes {
    struct q2_route *runs; /* of the caller; ascending, all straight */
    size_t nb, max;
    size_t shortest;      /* an index of runs, once they are full */
    struct q2_route last; /* is not yet in runs, because the next one may go on where it ends */
    uint64_t size;        /* of the disk */
    const struct q2_route *keep; /* of q2_routes_keep() */
    size_t nb_keep;
};

/* Places on devices count in these. */
#define Q2_ROUTE_SECTOR_SIZE 512u

/* Begin.
 *
 * runs  memory for max >= 1 runs
 * size  of the disk, bytes
 */
void q2_routes_init(struct q2_routes *routes, struct q2_route *runs, size_t max, uint64_t size);

/* Prefer what goes straight by an older table: runs that include any of it are the last that are
 * forgotten. Before the first run is added.
 *
 * table, nb  of q2_routes_choose(), for a disk of the same size; stay the caller's until the choice
 */
void q2_routes_keep(struct q2_routes *routes, const struct q2_route *table, size_t nb);

/* Add a run that may go straight. One that begins where the last one ends, in the disk and on the
 * partition, makes that one longer. When memory is full the shortest run is forgotten.
 *
 * Q2_ERR_ARGUMENT  it is empty, begins before the end of the last one, or leaves the disk or the
 *                  range of 64 bits; nothing was added
 */
enum q2_status q2_routes_add(struct q2_routes *routes, uint64_t guest_offset,
                             uint64_t volume_offset, uint64_t length);

/* Make the table. May be called again, with a coarser grain or fewer entries.
 *
 * grain         bytes, a power of two, >= Q2_ROUTE_SECTOR_SIZE: straight routes begin and end at
 *               multiples of it in the disk; one may also end with the disk
 * min_length    bytes; shorter runs go through the server
 * table         memory for max >= 1 routes. They are ascending, without gaps, and cover the disk;
 *               two that go through the server are never neighbours. Where they would be too many
 *               the shortest runs go through the server
 * ret_nb        of routes; 0 if the disk is empty
 * ret_straight  bytes that go straight
 */
void q2_routes_choose(struct q2_routes *routes, uint64_t grain, uint64_t min_length,
                      struct q2_route *table, size_t max, size_t *ret_nb, uint64_t *ret_straight);

/* Does a range of the disk go through the server as a whole?
 *
 * table, nb        of q2_routes_choose()
 * offset, length   bytes; false if the range is empty or not inside the disk
 */
bool q2_routes_served(const struct q2_route *table, size_t nb, uint64_t offset, uint64_t length);

/* How much of a range, from its start on, goes one way?
 *
 * table, nb      of q2_routes_choose()
 * length         > 0
 * ret_straight   which way
 * returns        bytes, 1..length; 0: the range does not begin inside the disk
 */
uint64_t q2_routes_reach(const struct q2_route *table, size_t nb, uint64_t offset, uint64_t length,
                         bool *ret_straight);

/* Does everything that goes straight by one table go straight by another, to the same place?
 *
 * table, nb          of q2_routes_choose()
 * other, nb_other    of q2_routes_choose(), for a disk of the same size
 */
bool q2_routes_include(const struct q2_route *table, size_t nb, const struct q2_route *other,
                       size_t nb_other);

#endif
