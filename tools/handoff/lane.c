/* Choose the lane: where is the disk stored, and what of it can never be stored elsewhere?
 *
 * Calls include/q2_disk.h, include/q2_handoff_routes.h, loop.c, mixed.c and nbd.c. Invariant: what
 * goes straight to the host partition is plain data, and in mode rw the engine would write it in
 * place. So nobody ever moves it, and the image stays valid for everybody (DESIGN.md, 15.5 and
 * 15.6).
 */
#include <string.h>

#include "handoff.h"

/* With a server, straight routes begin and end at pages and at sectors of every size. */
#define MIXED_GRAIN 4096u

/* Bytes; with a server, shorter runs are not worth a part of every flush. */
#define MIXED_RUN (1024u * 1024)

static struct q2_route runs[MAX_FAST_ROUTES], routes[MAX_FAST_ROUTES];

/* What the last look at the disk has found. */
static struct plan {
    struct handoff *handoff;
    struct q2_routes routes;
    uint64_t data;   /* bytes that are stored somewhere */
    const char *why; /* why not all of it goes straight; NULL: it does */
} plan_of_disk;

static void refuse(struct plan *plan, const char *why)
{
    if (!plan->why)
        plan->why = why;
}

/* A range of a file, by the file's extents. */
static void add_file_range(struct plan *plan, struct q2_source *file, uint64_t guest_offset,
                           uint64_t offset, uint64_t length)
{
    while (length > 0) {
        struct q2_source *volume;
        uint64_t volume_offset;
        size_t n;

        if (!q2_source_extents_locate(file, offset, (size_t)length, &volume, &volume_offset, &n) ||
            q2_routes_add(&plan->routes, guest_offset, volume_offset, n) != Q2_OK) {
            refuse(plan, "its file is shorter than its disk");
            return;
        }
        guest_offset += n;
        offset += n;
        length -= n;
    }
}

bool layer_is_encrypted(const struct q2_layer_info *layer)
{
    return layer->encryption_offset != 0 ||
           (layer->header && layer->header->crypt_method != Q2_CRYPT_NONE);
}

/* Why an extent cannot go straight; NULL: it can. */
static const char *why_not(const struct plan *plan, const struct q2_extent *extent,
                           const struct q2_layer_info *layer)
{
    bool writable = plan->handoff->record.mode == Q2_HANDOFF_RW;

    if (extent->kind != Q2_EXTENT_DATA)
        return "it is not fully allocated";
    if (layer_is_encrypted(layer))
        return "it is encrypted";
    if (writable && extent->layer != 0)
        return "it has a backing file";
    if (writable && layer->header && !extent->copied)
        return "a snapshot shares its clusters";
    return NULL;
}

/* Leave out what is not a whole cluster: other subclusters of it may have no data yet, and then the
 * cluster's L2 entry still changes. At the disk's end a cluster may be cut. */
static struct q2_extent whole_clusters(const struct plan *plan, const struct q2_extent *extent,
                                       const struct q2_layer_info *layer)
{
    struct q2_extent whole = *extent;
    uint64_t size = layer->header ? 1ull << layer->header->cluster_bits : 1;
    uint64_t head = (size - extent->guest_offset % size) % size;

    if (head > whole.length)
        head = whole.length;
    whole.guest_offset += head;
    whole.host_offset += head;
    whole.length -= head;
    if (whole.guest_offset + whole.length < plan->handoff->size)
        whole.length -= whole.length % size;
    return whole;
}

static void add_extent(struct plan *plan, const struct q2_extent *extent)
{
    struct q2_layer_info layer;
    struct q2_extent whole;
    const char *why;

    q2_disk_layer_info(plan->handoff->disk, extent->layer, &layer);
    if (extent->kind == Q2_EXTENT_DATA || extent->kind == Q2_EXTENT_COMPRESSED)
        plan->data += extent->length;
    why = why_not(plan, extent, &layer);
    if (why) {
        refuse(plan, why);
        return;
    }
    whole = whole_clusters(plan, extent, &layer);
    add_file_range(plan, (struct q2_source *)layer.data_source, whole.guest_offset,
                   whole.host_offset, whole.length);
}

/* Map the whole disk; false: its tables cannot be read. */
static bool map_disk(struct plan *plan, const struct table *keep)
{
    uint64_t offset = 0, size = plan->handoff->size;

    q2_routes_init(&plan->routes, runs, MAX_FAST_ROUTES, size);
    if (keep)
        q2_routes_keep(&plan->routes, keep->routes, keep->nb);
    while (offset < size) {
        struct q2_extent extent;

        if (q2_disk_map(plan->handoff->disk, offset, size - offset, &extent) != Q2_OK)
            return false;
        add_extent(plan, &extent);
        offset += extent.length;
    }
    return true;
}

/* Have the engine write the first sector as it is. Before its first write the engine clears the
 * autoclear bits of what it does not keep up to date, and that must happen although all other
 * writes may go straight. */
static bool announce_writing(struct handoff *handoff)
{
    uint8_t sector[512];

    return handoff->record.mode != Q2_HANDOFF_RW ||
           (q2_disk_read(handoff->disk, 0, sector, sizeof(sector)) == Q2_OK &&
            q2_disk_write(handoff->disk, 0, sector, sizeof(sector)) == Q2_OK &&
            q2_disk_flush(handoff->disk) == Q2_OK);
}

/* Why nothing of the disk may go straight, whatever it holds; NULL: something may. */
static const char *why_nothing(const struct q2_handoff *record)
{
    if (record->lane == Q2_HANDOFF_LANE_SERVER)
        return "the entry asks for the server";
    if (record->mode == Q2_HANDOFF_OVERLAY)
        return "it has an overlay in memory";
    if (record->disk.sector_size != Q2_ROUTE_SECTOR_SIZE)
        return "the host disk's sectors are larger than 512 bytes";
    return NULL;
}

/* All goes straight, if it is in few enough pieces. */
static bool all_straight(struct plan *plan, struct table *ret_table)
{
    if (plan->why)
        return false;
    *ret_table = (struct table){.routes = routes};
    q2_routes_choose(&plan->routes, Q2_ROUTE_SECTOR_SIZE, 0, routes, MAX_FAST_ROUTES,
                     &ret_table->nb, &ret_table->straight);
    if (ret_table->straight == plan->handoff->size)
        return true;
    refuse(plan, "it is stored in too many pieces, or they do not begin at sectors");
    return false;
}

bool lane_look(struct handoff *handoff, const struct table *keep)
{
    plan_of_disk = (struct plan){.handoff = handoff};
    return map_disk(&plan_of_disk, keep);
}

uint64_t lane_choose_mixed(struct q2_route *memory, struct table *ret_table)
{
    *ret_table = (struct table){.routes = memory};
    q2_routes_choose(&plan_of_disk.routes, MIXED_GRAIN, MIXED_RUN, memory, MAX_MIXED_ROUTES,
                     &ret_table->nb, &ret_table->straight);
    return plan_of_disk.data;
}

/* Find out what can go straight; false: nothing may. */
static bool prepare(struct handoff *handoff)
{
    const char *why = why_nothing(&handoff->record);

    if (!why && handoff->size == 0)
        why = "it has no sectors";
    if (!why && !lane_look(handoff, NULL))
        why = "its tables cannot be read";
    if (!why && !announce_writing(handoff))
        why = "it cannot be written";
    if (why)
        plan_of_disk.why = why;
    return !why;
}

static bool has_data_file(const struct q2_handoff *record)
{
    for (uint32_t i = 0; i < record->nb_files; i++) {
        if (record->files[i].layer == 0 && record->files[i].role == Q2_HANDOFF_DATA)
            return true;
    }
    return false;
}

void lane_prepare(const struct handoff *handoff)
{
    static const char *const all[] = {"loop", "dm-mod", "nbd"}, *const server = "nbd";
    const struct q2_handoff *record = &handoff->record;

    if (why_nothing(record))
        modules_begin(&server, 1);
    else if (record->format == Q2_FORMAT_RAW || has_data_file(record))
        modules_begin(all, 1);
    else
        modules_begin(all, sizeof(all) / sizeof(all[0]));
}

void lane_take(struct handoff *handoff)
{
    struct table table;
    bool prepared = prepare(handoff), attached;

    if (all_straight(&plan_of_disk, &table)) {
        attached = loop_attach(handoff, &table);
    } else {
        log_say(LOG_INFO, "no fast lane for %s: %s", handoff->record.files[0].path,
                plan_of_disk.why);
        attached = prepared && mixed_lane(handoff);
    }
    if (!attached)
        server_lane(handoff);
}
