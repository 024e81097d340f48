/* Guest ranges as pieces that are read without the engine.
 *
 * Invariant: in a complete plan the pieces of a request add up to it.
 */
#include "bench_plan.h"

#include "efi/base/firmware.h"

#define MAX_PIECES       65536u
#define MAX_STREAM_BYTES (9u * 1024 * 1024) /* of the 8 MiB that a turn reads */

bool mc_plan_init(struct mc_plan *plan)
{
    *plan = (struct mc_plan){.capacity = MAX_PIECES};
    plan->pieces = mc_alloc_pages(MAX_PIECES * sizeof(plan->pieces[0]));
    plan->streams = mc_alloc_pages(MAX_STREAM_BYTES);
    return plan->pieces && plan->streams;
}

void mc_plan_free(struct mc_plan *plan)
{
    mc_free_pages(plan->pieces, MAX_PIECES * sizeof(plan->pieces[0]));
    mc_free_pages(plan->streams, MAX_STREAM_BYTES);
}

void mc_plan_clear(struct mc_plan *plan)
{
    plan->nb = 0;
    plan->nb_data = 0;
    plan->nb_fill = 0;
    plan->nb_stream_bytes = 0;
    plan->complete = true;
}

static void append(struct mc_plan *plan, const struct mc_piece *piece)
{
    if (plan->nb == plan->capacity) {
        plan->complete = false;
        return;
    }
    plan->pieces[plan->nb++] = *piece;
    plan->nb_data += piece->kind == Q2_EXTENT_DATA ? 1 : 0;
    plan->nb_fill += piece->kind == Q2_EXTENT_ZERO || piece->kind == Q2_EXTENT_UNALLOCATED ? 1 : 0;
}

/* The extent of a file that holds offset. */
static const struct q2_file_extent *extent_at(const struct q2_stored_file *file, uint64_t offset)
{
    size_t low = 0, high = file->nb_extents;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (file->extents[middle].file_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return &file->extents[low];
}

static void add_data(struct mc_plan *plan, struct q2_place_file *file,
                     const struct q2_extent *extent)
{
    struct q2_stored_file stored;
    uint64_t at = extent->host_offset, left = extent->length;

    if (!q2_place_can(file->place, Q2_PLACE_LOCATES) ||
        file->place->ops->locate(file, &stored) != Q2_OK) {
        plan->complete = false;
        return;
    }
    while (left > 0 && at < file->source->size) {
        const struct q2_file_extent *place = extent_at(&stored, at);
        uint64_t skip = at - place->file_offset;
        uint64_t n = place->length - skip < left ? place->length - skip : left;
        append(plan, &(struct mc_piece){
                         .kind = Q2_EXTENT_DATA,
                         .length = (uint32_t)n,
                         .file = file,
                         .file_offset = at,
                         .volume_offset = place->volume_offset + skip,
                     });
        at += n;
        left -= n;
    }
    if (left > 0)
        plan->complete = false; /* a file that lost its end */
}

static enum q2_status add_stream(struct mc_plan *plan, struct mc_image *image,
                                 const struct q2_layer_info *info, const struct q2_extent *extent)
{
    struct q2_source *source = (struct q2_source *)(uintptr_t)info->source;
    uint8_t *stream = plan->streams + plan->nb_stream_bytes;
    size_t length = extent->stream_length;
    bool is_zstd = info->header->compression_type == Q2_COMPRESSION_ZSTD;

    if (length > source->size - extent->host_offset)
        length = (size_t)(source->size - extent->host_offset);
    if (extent->length != 1ull << info->header->cluster_bits ||
        length > MAX_STREAM_BYTES - plan->nb_stream_bytes) {
        plan->complete = false;
        return Q2_OK;
    }
    plan->nb_stream_bytes += length;
    append(plan, &(struct mc_piece){
                     .kind = Q2_EXTENT_COMPRESSED,
                     .length = (uint32_t)extent->length,
                     .codec = is_zstd ? &image->zstd.codec : &image->zlib.codec,
                     .stream = stream,
                     .stream_length = length,
                 });
    return source->ops->read_at(source, extent->host_offset, stream, length);
}

static enum q2_status add_extent(struct mc_plan *plan, struct mc_image *image,
                                 const struct q2_extent *extent)
{
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, extent->layer, &info);
    if (extent->kind == Q2_EXTENT_COMPRESSED)
        return add_stream(plan, image, &info, extent);
    if (extent->kind == Q2_EXTENT_DATA)
        add_data(plan, mc_opener_find(&image->opener, info.data_source), extent);
    else
        append(plan, &(struct mc_piece){.kind = extent->kind, .length = (uint32_t)extent->length});
    return Q2_OK;
}

enum q2_status mc_plan_add(struct mc_plan *plan, struct mc_image *image, uint64_t offset,
                           size_t length)
{
    while (length > 0) {
        struct q2_extent extent;
        enum q2_status status = q2_disk_map(image->disk, offset, length, &extent);
        if (status == Q2_OK)
            status = add_extent(plan, image, &extent);
        if (status != Q2_OK)
            return status;
        offset += extent.length;
        length -= (size_t)extent.length;
    }
    return Q2_OK;
}
