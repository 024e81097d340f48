/* Choose the lane: can the disk's mapping change, and where is the disk stored?
 *
 * Calls include/q2_disk.h and loop.c. Invariant: the fast lane is taken only if every byte of the
 * device is plain data at a fixed place of the host partition, and (in mode rw) the engine would
 * write each of them in place. Then nobody else changes the mapping, and the image stays valid for
 * everybody.
 */
#include <string.h>

#include "handoff.h"

static struct run runs[MAX_RUNS];

/* Runs under construction. */
struct plan {
    struct handoff *handoff;
    size_t nb;
    const char *why; /* why not; NULL: go on */
};

static void refuse(struct plan *plan, const char *why)
{
    if (!plan->why)
        plan->why = why;
}

static void add_run(struct plan *plan, uint64_t guest_offset, uint64_t host_offset, uint64_t length)
{
    struct run *last = plan->nb > 0 ? &runs[plan->nb - 1] : NULL;

    if (last && last->host_offset + last->length == host_offset) {
        last->length += length;
        return;
    }
    if (plan->nb == MAX_RUNS)
        refuse(plan, "it is stored in too many pieces");
    else
        runs[plan->nb++] = (struct run){
            .guest_offset = guest_offset, .host_offset = host_offset, .length = length};
}

/* A range of a file, by the file's extents. */
static void add_file_range(struct plan *plan, const struct q2_source_extents *file,
                           uint64_t guest_offset, uint64_t offset, uint64_t length)
{
    for (size_t i = 0; i < file->nb_extents && length > 0; i++) {
        const struct q2_file_extent *extent = &file->extents[i];
        uint64_t skip = offset - extent->file_offset, n = extent->length - skip;

        if (offset < extent->file_offset || skip >= extent->length)
            continue;
        if (n > length)
            n = length;
        add_run(plan, guest_offset, extent->volume_offset + skip, n);
        guest_offset += n;
        offset += n;
        length -= n;
    }
    if (length > 0)
        refuse(plan, "its file is shorter than its disk");
}

static void add_extent(struct plan *plan, const struct q2_extent *extent)
{
    bool writable = plan->handoff->record.mode == Q2_HANDOFF_RW;
    struct q2_layer_info layer;

    q2_disk_layer_info(plan->handoff->disk, extent->layer, &layer);
    if (extent->kind != Q2_EXTENT_DATA)
        refuse(plan, "it is not fully allocated");
    else if (layer.encryption_offset != 0 ||
             (layer.header && layer.header->crypt_method != Q2_CRYPT_NONE))
        refuse(plan, "it is encrypted");
    else if (writable && extent->layer != 0)
        refuse(plan, "it has a backing file");
    else if (writable && layer.header && !extent->copied)
        refuse(plan, "a snapshot shares its clusters");
    else
        add_file_range(plan, (const struct q2_source_extents *)layer.data_source,
                       extent->guest_offset, extent->host_offset, extent->length);
}

/* Map the whole disk. */
static void map_disk(struct plan *plan)
{
    uint64_t offset = 0, size = plan->handoff->size;

    while (offset < size && !plan->why) {
        struct q2_extent extent;

        if (q2_disk_map(plan->handoff->disk, offset, size - offset, &extent) != Q2_OK) {
            refuse(plan, "its tables cannot be read");
            return;
        }
        add_extent(plan, &extent);
        offset += extent.length;
    }
}

/* Device sizes and places count in sectors of 512 bytes, and of the host's. */
static void check_alignment(struct plan *plan)
{
    uint32_t sector_size = plan->handoff->record.disk.sector_size;

    if (plan->handoff->size == 0 || sector_size != 512)
        refuse(plan, "the host disk's sectors are larger than 512 bytes");
    for (size_t i = 0; i < plan->nb; i++) {
        if (runs[i].host_offset % sector_size != 0 || runs[i].length % sector_size != 0)
            refuse(plan, "its pieces do not begin at sectors");
    }
}

/* What the engine does before its first write must be done although it writes nothing more: clear
 * the autoclear bits of what it does not keep up to date. So it writes the first sector as it
 * is. */
static bool announce_writing(struct handoff *handoff)
{
    uint8_t sector[512];

    return handoff->record.mode != Q2_HANDOFF_RW ||
           (q2_disk_read(handoff->disk, 0, sector, sizeof(sector)) == Q2_OK &&
            q2_disk_write(handoff->disk, 0, sector, sizeof(sector)) == Q2_OK &&
            q2_disk_flush(handoff->disk) == Q2_OK);
}

bool fast_lane(struct handoff *handoff)
{
    struct plan plan = {.handoff = handoff};

    if (handoff->record.lane == Q2_HANDOFF_LANE_SERVER)
        refuse(&plan, "the entry asks for the server");
    else if (handoff->record.mode == Q2_HANDOFF_OVERLAY)
        refuse(&plan, "it has an overlay in memory");
    else
        map_disk(&plan);
    if (!plan.why)
        check_alignment(&plan);
    if (!plan.why && !announce_writing(handoff))
        refuse(&plan, "it cannot be written");
    if (plan.why) {
        log_say(LOG_INFO, "no fast lane for %s: %s", handoff->record.files[0].path, plan.why);
        return false;
    }
    return runs_attach(handoff, runs, plan.nb);
}
