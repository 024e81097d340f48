/* The choice of routes (include/q2_handoff_routes.h).
 *
 * Pure; uses core/base. Invariants: runs are ascending, do not overlap and are inside the disk;
 * work is bounded by max of the runs for each run that is added, and by its square for a choice.
 */
#include "q2_handoff_routes.h"

#include "core/base/range.h"

void q2_routes_init(struct q2_routes *routes, struct q2_route *runs, size_t max, uint64_t size)
{
    *routes = (struct q2_routes){.runs = runs, .max = max, .size = size};
}

void q2_routes_keep(struct q2_routes *routes, const struct q2_route *table, size_t nb)
{
    routes->keep = table;
    routes->nb_keep = nb;
}

/* The last route of a table that begins at an offset or before it; 0 if there is none. */
static size_t search(const struct q2_route *table, size_t nb, uint64_t offset)
{
    size_t low = 0, high = nb;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (table[middle].guest_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Does a run include any of what is to be kept? */
static bool is_kept(const struct q2_routes *routes, const struct q2_route *run)
{
    uint64_t end = run->guest_offset + run->length;
    size_t i = search(routes->keep, routes->nb_keep, run->guest_offset);

    for (; i < routes->nb_keep && routes->keep[i].guest_offset < end; i++) {
        if (routes->keep[i].straight)
            return true;
    }
    return false;
}

/* Is a run forgotten rather than another one? */
static bool is_less(const struct q2_routes *routes, const struct q2_route *run,
                    const struct q2_route *other)
{
    bool kept = is_kept(routes, run), other_kept = is_kept(routes, other);

    return kept == other_kept ? run->length < other->length : other_kept;
}

static size_t find_shortest(const struct q2_routes *routes)
{
    size_t shortest = 0;

    for (size_t i = 1; i < routes->nb; i++) {
        if (is_less(routes, &routes->runs[i], &routes->runs[shortest]))
            shortest = i;
    }
    return shortest;
}

static void forget(struct q2_routes *routes, size_t index)
{
    routes->nb--;
    for (size_t i = index; i < routes->nb; i++)
        routes->runs[i] = routes->runs[i + 1];
}

/* The last run is complete: keep it, if it is longer than what it takes the place of. */
static void keep_last(struct q2_routes *routes)
{
    if (routes->last.length == 0)
        return;
    if (routes->nb == routes->max) {
        if (!is_less(routes, &routes->runs[routes->shortest], &routes->last))
            return;
        forget(routes, routes->shortest);
    }
    routes->runs[routes->nb++] = routes->last;
    if (routes->nb == routes->max)
        routes->shortest = find_shortest(routes);
}

enum q2_status q2_routes_add(struct q2_routes *routes, uint64_t guest_offset,
                             uint64_t volume_offset, uint64_t length)
{
    struct q2_route *last = &routes->last;
    uint64_t end = last->guest_offset + last->length;

    if (length == 0 || guest_offset < end || !q2_range_fits(guest_offset, length, routes->size) ||
        length > UINT64_MAX - volume_offset)
        return Q2_ERR_ARGUMENT;
    if (last->length > 0 && guest_offset == end &&
        volume_offset == last->volume_offset + last->length) {
        last->length += length;
        return Q2_OK;
    }
    keep_last(routes);
    *last = (struct q2_route){
        .guest_offset = guest_offset,
        .length = length,
        .volume_offset = volume_offset,
        .straight = true,
    };
    return Q2_OK;
}

/* Cut a run to whole grains; false: nothing is left, or it begins inside a sector. */
static bool cut(struct q2_route *run, uint64_t grain, uint64_t size)
{
    uint64_t head = (grain - run->guest_offset % grain) % grain, tail;

    if (head >= run->length)
        return false;
    run->guest_offset += head;
    run->volume_offset += head;
    run->length -= head;
    tail = run->guest_offset + run->length == size ? 0 : run->length % grain;
    run->length -= tail;
    return run->length > 0 && run->length % Q2_ROUTE_SECTOR_SIZE == 0 &&
           run->volume_offset % Q2_ROUTE_SECTOR_SIZE == 0;
}

static void cut_all(struct q2_routes *routes, uint64_t grain, uint64_t min_length)
{
    size_t nb = 0;

    for (size_t i = 0; i < routes->nb; i++) {
        if (cut(&routes->runs[i], grain, routes->size) && routes->runs[i].length >= min_length)
            routes->runs[nb++] = routes->runs[i];
    }
    routes->nb = nb;
}

/* Append to the table, as far as it has memory; returns how many there would be. */
static size_t put(struct q2_route *table, size_t max, size_t nb, const struct q2_route *route)
{
    if (route->length == 0)
        return nb;
    if (nb < max)
        table[nb] = *route;
    return nb + 1;
}

/* Build the table of all runs and of what is between them; returns how many routes it takes. */
static size_t build(const struct q2_routes *routes, struct q2_route *table, size_t max)
{
    struct q2_route gap = {.guest_offset = 0};
    size_t nb = 0;

    for (size_t i = 0; i < routes->nb; i++) {
        const struct q2_route *run = &routes->runs[i];

        gap.length = run->guest_offset - gap.guest_offset;
        nb = put(table, max, nb, &gap);
        nb = put(table, max, nb, run);
        gap.guest_offset = run->guest_offset + run->length;
    }
    gap.length = routes->size - gap.guest_offset;
    return put(table, max, nb, &gap);
}

void q2_routes_choose(struct q2_routes *routes, uint64_t grain, uint64_t min_length,
                      struct q2_route *table, size_t max, size_t *ret_nb, uint64_t *ret_straight)
{
    keep_last(routes);
    /* Nothing is added after a choice. */
    routes->last = (struct q2_route){.guest_offset = routes->size};
    cut_all(routes, grain, min_length);
    *ret_nb = build(routes, table, max);
    while (*ret_nb > max) {
        forget(routes, find_shortest(routes));
        *ret_nb = build(routes, table, max);
    }
    *ret_straight = 0;
    for (size_t i = 0; i < routes->nb; i++)
        *ret_straight += routes->runs[i].length;
}

/* The route of a table that a range is inside of; NULL: there is none, or the range is empty. */
static const struct q2_route *find(const struct q2_route *table, size_t nb, uint64_t offset,
                                   uint64_t length)
{
    const struct q2_route *route;

    if (nb == 0 || length == 0)
        return NULL;
    route = &table[search(table, nb, offset)];
    if (offset < route->guest_offset ||
        !q2_range_fits(offset - route->guest_offset, length, route->length))
        return NULL;
    return route;
}

bool q2_routes_served(const struct q2_route *table, size_t nb, uint64_t offset, uint64_t length)
{
    /* Two served routes are never neighbours, so such a range is inside one. */
    const struct q2_route *route = find(table, nb, offset, length);

    return route && !route->straight;
}

uint64_t q2_routes_reach(const struct q2_route *table, size_t nb, uint64_t offset, uint64_t length,
                         bool *ret_straight)
{
    const struct q2_route *route = find(table, nb, offset, 1);
    uint64_t left;

    if (!route)
        return 0;
    *ret_straight = route->straight;
    left = route->length - (offset - route->guest_offset);
    return length < left ? length : left;
}

static bool goes_to(const struct q2_route *table, size_t nb, const struct q2_route *other)
{
    const struct q2_route *route = find(table, nb, other->guest_offset, other->length);

    return route && route->straight &&
           route->volume_offset + (other->guest_offset - route->guest_offset) ==
               other->volume_offset;
}

bool q2_routes_include(const struct q2_route *table, size_t nb, const struct q2_route *other,
                       size_t nb_other)
{
    /* Neighbours in the disk and on the partition are one run, so a run is never inside two. */
    for (size_t i = 0; i < nb_other; i++) {
        if (other[i].straight && !goes_to(table, nb, &other[i]))
            return false;
    }
    return true;
}
