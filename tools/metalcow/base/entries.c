/* The allocation of a disk as qemu-img shows it. May call the engine and holes.c.
 *
 * Below raw layers, and below data clusters of images that look preallocated, the file system is
 * asked for holes: a hole is known to read as zeros. Never below encrypted ones, where a hole is no
 * zero.
 */
#include "entries.h"

#include <sys/stat.h>

#include "tools/metalcow/convert/preallocated.h"

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
    return is_preallocated(image->disk, layer, (uint64_t)stat.st_blocks * 512);
}

void entries_begin(struct entries *entries, struct image *image)
{
    *entries = (struct entries){.image = image, .holes = {.fd = -1}};
    for (uint32_t i = 0; i < q2_disk_nb_layers(image->disk); i++)
        entries->look_for_holes[i] = wants_holes(image, i);
}

/* Data at a place in a file: see whether the file has a hole there. */
static void look_for_hole(struct entries *entries, const struct q2_layer_info *layer,
                          struct q2_map_entry *entry)
{
    if (!entry->data || !entry->has_offset || !entries->look_for_holes[entry->depth])
        return;
    if (holes_find(&entries->holes, image_source_fd(layer->data_source), entry->offset,
                   entry->length, &entry->length)) {
        entry->zero = true;
        entry->data = layer->format != Q2_FORMAT_RAW;
    }
}

enum q2_status entries_next(struct entries *entries, uint64_t start, uint64_t max_length,
                            struct q2_map_entry *ret_entry)
{
    struct q2_layer_info layer;
    struct q2_extent extent;
    enum q2_status status = q2_disk_map(entries->image->disk, start, max_length, &extent);

    if (status != Q2_OK)
        return status;
    q2_map_entry_get(entries->image->disk, &extent, ret_entry);
    q2_disk_layer_info(entries->image->disk, extent.layer, &layer);
    look_for_hole(entries, &layer, ret_entry);
    return Q2_OK;
}
