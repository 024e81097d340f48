/* The allocation of a disk as qemu-img tells it. Verbs -> here -> core/disk.c, holes.c.
 *
 * Below raw layers, and below data clusters of images that look preallocated, the file system is
 * asked for holes: what lies in one is known to be zero. Never below encrypted ones, where a hole
 * is no zero.
 */
#include "entries.h"

#include <string.h>
#include <sys/stat.h>

#include "preallocated.h"

static bool wants_holes(struct image *image, uint32_t layer)
{
    struct q2_layer_info info;
    struct stat stat;

    q2_disk_layer_info(image->disk, layer, &info);
    if (info.format == Q2_FORMAT_RAW)
        return true;
    if (info.header->crypt_method != Q2_CRYPT_NONE ||
        fstat(image_source_fd(info.source), &stat) != 0)
        return false;
    return is_preallocated((struct q2_source *)info.source, info.header,
                           (uint64_t)stat.st_blocks * 512);
}

void entries_begin(struct entries *entries, struct image *image)
{
    *entries = (struct entries){.image = image, .holes = {.fd = -1}};
    for (uint32_t i = 0; i < q2_disk_nb_layers(image->disk); i++)
        entries->look_for_holes[i] = wants_holes(image, i);
}

/* Data at a place in a file: say where, and whether the file has a hole there. */
static void add_file(struct entries *entries, const struct q2_layer_info *layer,
                     struct map_entry *entry)
{
    bool encrypted = layer->header && layer->header->crypt_method != Q2_CRYPT_NONE;

    entry->has_offset = entry->has_offset && !encrypted;
    if (!entry->has_offset)
        return;
    entry->file = layer->data_source->path;
    if (!entry->data || !entries->look_for_holes[entry->depth])
        return;
    if (holes_find(&entries->holes, image_source_fd(layer->data_source), entry->offset,
                   entry->length, &entry->length)) {
        entry->zero = true;
        entry->data = layer->format != Q2_FORMAT_RAW;
    }
}

enum q2_status entries_next(struct entries *entries, uint64_t start, uint64_t max_length,
                            struct map_entry *ret_entry)
{
    struct q2_layer_info layer;
    struct q2_extent extent;
    struct map_entry entry;
    enum q2_status status = q2_disk_map(entries->image->disk, start, max_length, &extent);
    bool data;

    if (status != Q2_OK)
        return status;
    data = extent.kind == Q2_EXTENT_DATA || extent.kind == Q2_EXTENT_COMPRESSED;
    entry = (struct map_entry){
        .start = start,
        .length = extent.length,
        .offset = extent.host_offset,
        .depth = extent.layer,
        .present = extent.kind != Q2_EXTENT_UNALLOCATED,
        .zero = !data,
        .data = data,
        .has_offset = extent.has_host_offset && extent.kind != Q2_EXTENT_COMPRESSED,
    };
    q2_disk_layer_info(entries->image->disk, extent.layer, &layer);
    add_file(entries, &layer, &entry);
    *ret_entry = entry;
    return Q2_OK;
}

bool entries_continue(const struct map_entry *a, const struct map_entry *b)
{
    if (a->depth != b->depth || a->present != b->present || a->zero != b->zero ||
        a->data != b->data || a->has_offset != b->has_offset)
        return false;
    return !a->has_offset || (a->offset + a->length == b->offset && strcmp(a->file, b->file) == 0);
}
