/* Room of an image's files: how much they need.
 *
 * Calls the place, outside of requests only. Invariant: a file is never asked to be longer than its
 * image can ever use.
 */
#include "room.h"

#include "q2_fail.h"
#include "core/base/range.h"

/* What the first requests may need: some clusters that are copied because a snapshot has them, and
 * their tables. */
#define FIRST_SIZE     (1u << 20)
#define FIRST_CLUSTERS 8u

/* The firmware's FAT driver keeps 64 pages of 64 KiB. A piece of a file of this size has a page of
 * its own for each of them, wherever the piece begins. */
#define LARGE_SIZE (6u << 20)

/* New refcount structures take at most so many bytes for each cluster of the file, table included,
 * and some clusters. */
#define REFCOUNT_BYTES  16u
#define REPAIR_CLUSTERS 16u

/* Of the free space, so much is left to other files until a write needs it: this, or a 16th. */
#define SPARED_SIZE (4u << 20)
#define SPARED_PART 16u

/* One step takes at most this part of the free space. */
#define STEP_PART 4u

/* One file of a disk, and how long it should be. */
struct need {
    struct q2_place_file *file;
    uint64_t left;   /* bytes that can be used before it must grow */
    uint64_t wanted; /* left should be this */
    uint64_t needed; /* a write found too little, and left should be this at once */
};

/* Metadata of a disk: L2 tables (16 bytes for a cluster at most) and refcounts, all of them twice
 * over, for a snapshot; and a few whole clusters, because a table takes one. */
static uint64_t metadata_bound(const struct q2_layer_info *info)
{
    return (info->virtual_size >> info->header->cluster_bits) * 64 + (1u << 20) +
           (8ull << info->header->cluster_bits);
}

/* What all writes together can make an image longer by: nothing where all clusters are there. */
static uint64_t growth_bound(const struct mc_image *image, const struct q2_layer_info *info)
{
    uint64_t data = info->data_source != info->source ? 0 : image->growth;

    if (image->growth == 0)
        return 0;
    return data == UINT64_MAX ? UINT64_MAX : data + metadata_bound(info);
}

static struct need image_need(const struct mc_image *image, const struct q2_layer_info *info,
                              uint64_t needed)
{
    const struct q2_source *source = image->file->source;
    uint64_t unused = q2_disk_room(image->disk);
    struct need need = {.file = image->file, .needed = needed};

    need.wanted = q2_max_u64(q2_min_u64(image->room, growth_bound(image, info)), needed);
    need.left = unused + image->file->mapped_size - source->size;
    return need;
}

/* Guest offsets are host offsets in a data file: it needs the disk's size, in whole clusters. */
static struct need data_need(const struct mc_image *image, const struct q2_layer_info *info,
                             uint64_t needed)
{
    struct q2_place_file *file = mc_opener_find(&image->opener, info->data_source);
    uint64_t size = info->data_source->size;
    uint64_t mask = (1ull << info->header->cluster_bits) - 1;
    uint64_t full = (info->virtual_size + mask) & ~mask;
    struct need need = {.file = file, .wanted = q2_max_u64(image->room, needed)};

    if ((info->header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) != 0)
        full = info->virtual_size;
    need.left = file->mapped_size - size;
    if (full <= size)
        need.wanted = 0;
    else if (full - size < need.wanted)
        need.wanted = full - size;
    need.needed = q2_min_u64(needed, need.wanted);
    return need;
}

uint64_t mc_room_step(enum mc_room_for purpose, uint64_t left, uint64_t wanted, uint64_t first,
                      uint64_t space)
{
    uint64_t goal = purpose == MC_ROOM_FOR_FIRST ? first : wanted;
    uint64_t spared = q2_max_u64(SPARED_SIZE, space / SPARED_PART);
    uint64_t free_to_take = space > spared ? space - spared : 0;
    uint64_t more;

    if (purpose == MC_ROOM_FOR_A_WRITE ? left >= first : left >= goal / 2 + goal % 2)
        return 0;
    more = goal - left;
    if (purpose == MC_ROOM_FOR_WRITES || purpose == MC_ROOM_FOR_A_WRITE)
        more = q2_min_u64(more, q2_max_u64(space / STEP_PART, first));
    if (more <= free_to_take)
        return more;
    /* Only what the next writes need comes out of the rest. */
    if (purpose != MC_ROOM_FOR_FIRST && left + free_to_take < first)
        return q2_min_u64(q2_min_u64(more, space), first - left);
    return free_to_take;
}

/* Is the room enough for its purpose after one step, or must the person be told? */
static bool is_enough(const struct need *need, enum mc_room_for purpose, uint64_t step,
                      uint64_t space)
{
    switch (purpose) {
    case MC_ROOM_FOR_WRITES:
        return space > 0;
    case MC_ROOM_FOR_A_WRITE:
        return need->left + step >= need->needed;
    case MC_ROOM_FOR_FIRST:
    case MC_ROOM_FOR_HANDOFF:
    default:
        return need->left + step >= need->wanted / 2;
    }
}

/* Make one file longer. Too little room is an error only if is_enough() says so, and never for the
 * first room of a disk. */
static enum q2_status fill_need(const struct need *need, enum mc_room_for purpose, uint64_t first,
                                struct q2_fault *fault)
{
    const struct q2_place_ops *ops = need->file->place->ops;
    uint64_t size = need->file->mapped_size, space, step;
    enum q2_status status = Q2_OK;

    if (need->left >= q2_max_u64(need->wanted / 2 + need->wanted % 2, need->needed))
        return Q2_OK;
    space = ops->free_space(need->file);
    if (purpose == MC_ROOM_FOR_A_WRITE)
        first = need->needed;
    step = mc_room_step(purpose, need->left, need->wanted, q2_min_u64(first, need->wanted), space);
    if (step > 0)
        status = ops->make_room(need->file, size + step, fault);
    if (status != Q2_OK || purpose == MC_ROOM_FOR_FIRST)
        return status == Q2_ERR_NO_SPACE && purpose == MC_ROOM_FOR_FIRST ? Q2_OK : status;
    if (is_enough(need, purpose, step, space))
        return Q2_OK;
    return q2_fail(fault, Q2_ERR_NO_SPACE, Q2_PLACE_NO_SPACE, need->file->source->path);
}

enum q2_status mc_image_top_up(struct mc_image *image, enum mc_room_for purpose, uint64_t needed,
                               struct q2_fault *fault)
{
    struct q2_layer_info info;
    struct need need;
    enum q2_status status;
    uint64_t first;

    if (image->mode != MC_MODE_READ_WRITE || image->no_more_room || image->room == 0 ||
        !q2_disk_is_writable(image->disk) || !q2_place_can(image->opener.place, Q2_PLACE_GROWS))
        return Q2_OK;
    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return Q2_OK; /* a raw image has its size */
    first = q2_max_u64(FIRST_SIZE, (uint64_t)FIRST_CLUSTERS << info.header->cluster_bits);
    if (needed > 0)
        needed += first; /* its tables */
    need = image_need(image, &info, needed);
    status = fill_need(&need, purpose, first, fault);
    if (status == Q2_OK && info.data_source != info.source) {
        need = data_need(image, &info, needed);
        status = fill_need(&need, purpose, first, fault);
    }
    image->no_more_room = status != Q2_OK;
    return status;
}

enum q2_status mc_image_prepare_cache(struct mc_image *image, struct q2_fault *fault)
{
    struct q2_place *place = image->opener.place;
    struct q2_place_file *file = image->file;
    const uint64_t sizes[] = {LARGE_SIZE, file->mapped_size + LARGE_SIZE};
    enum q2_status status;

    if (image->mode != MC_MODE_READ_WRITE || !q2_place_can(place, Q2_PLACE_REMEMBERS))
        return Q2_OK;
    status = place->ops->forget(place, true, fault);
    if (image->room == 0 || !q2_place_can(place, Q2_PLACE_GROWS))
        return status;
    /* The second size is for a file whose pieces are all smaller: its new piece is not. */
    for (size_t i = 0; i < 2 && status == Q2_ERR_UNSUPPORTED; i++) {
        if (sizes[i] <= file->mapped_size)
            continue;
        status = place->ops->make_room(file, sizes[i], fault);
        if (status == Q2_OK)
            status = place->ops->forget(place, true, fault);
    }
    return status;
}

enum q2_status mc_image_make_repair_room(struct mc_image *image, uint32_t cluster_bits,
                                         struct q2_fault *fault)
{
    struct q2_place_file *file = image->file;
    uint64_t more = (file->source->size >> cluster_bits) * REFCOUNT_BYTES +
                    ((uint64_t)REPAIR_CLUSTERS << cluster_bits);

    if (!q2_place_can(file->place, Q2_PLACE_GROWS))
        return q2_fail(
            fault, Q2_ERR_NO_SPACE,
            "its repair needs space, and the file cannot be made longer here; repair it with "
            "'metalcow check -r all' under Linux",
            file->source->path);
    return file->place->ops->make_room(file, file->source->size + more, fault);
}

/* The disk does not use the image's file from image_end on. */
static enum q2_status give_back(struct mc_image *image, uint64_t image_end, struct q2_fault *fault)
{
    struct q2_place_file *file = image->opener.files;
    enum q2_status status = Q2_OK;

    if (image->mode != MC_MODE_READ_WRITE || !q2_place_can(image->opener.place, Q2_PLACE_GROWS))
        return Q2_OK;
    for (; file && status == Q2_OK; file = file->next) {
        uint64_t end = file == image->file ? image_end : file->source->size;
        /* A file that is gone or was changed is not touched. */
        if (file->mapped_size > end && file->place->ops->check(file, fault) == Q2_OK)
            status = file->place->ops->give_back(file, end, fault);
    }
    image->no_more_room = false;
    return status;
}

enum q2_status mc_image_give_back(struct mc_image *image, struct q2_fault *fault)
{
    return give_back(image, image->file ? image->file->source->size : 0, fault);
}

enum q2_status mc_image_give_back_end(struct mc_image *image, struct q2_fault *fault)
{
    uint64_t unused = image->room > 0 ? q2_disk_room(image->disk) : 0;

    return give_back(image, image->file->source->size - unused, fault);
}

static uint64_t room_in_files(const struct mc_image *image)
{
    struct q2_layer_info info;
    struct need need;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return MC_ROOM_FOR_ALL;
    if (info.data_source == info.source)
        return image_need(image, &info, 0).left;
    need = data_need(image, &info, 0);
    return need.file->mapped_size >= info.virtual_size ? MC_ROOM_FOR_ALL : need.left;
}

uint64_t mc_image_room(const struct mc_image *image)
{
    const struct q2_source_memory *overlay = &image->overlay.source;

    switch (image->mode) {
    case MC_MODE_OVERLAY:
        return overlay->capacity - overlay->source.size + q2_disk_room(image->disk);
    case MC_MODE_READ_WRITE:
        return room_in_files(image);
    case MC_MODE_READ_ONLY:
    default:
        return 0;
    }
}
