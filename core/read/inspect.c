/* What is known of a disk: its layers, snapshots and bitmaps.
 *
 * May call snapshot.c and bitmap.c. Invariant: nothing here reads guest bytes or changes what maps
 * them.
 */
#include "bitmap.h"
#include "q2_fail.h"
#include "disk.h"
#include "snapshot.h"

uint32_t q2_disk_nb_layers(const struct q2_disk *disk)
{
    return disk->nb_layers;
}

void q2_disk_layer_info(const struct q2_disk *disk, uint32_t layer, struct q2_layer_info *ret_info)
{
    const struct q2_image *image = &disk->layers[layer];

    *ret_info = (struct q2_layer_info){
        .format = image->format,
        .source = image->source,
        .data_source = disk->metadata_only ? NULL : image->data,
        .header = image->format == Q2_FORMAT_QCOW2 ? &image->header : NULL,
        .virtual_size = image->virtual_size,
        .backing_file = image->backing_file,
        .backing_format = image->backing_format,
        .data_file = image->data_file,
        .encryption_offset = image->encryption_offset,
        .encryption_length = image->encryption_length,
        .is_snapshot = image->is_snapshot,
        .is_beside = image->is_beside,
    };
}

enum q2_status q2_disk_snapshot(struct q2_disk *disk, uint32_t index,
                                struct q2_snapshot *ret_snapshot)
{
    const struct q2_image *top = &disk->layers[0];

    if (top->format == Q2_FORMAT_RAW)
        return q2_fail(&disk->fault, Q2_ERR_RANGE, "a raw image has no snapshots",
                       top->source->path);
    return q2_snapshot_read(&disk->slices, top, index, &disk->listing, &disk->fault, ret_snapshot);
}

uint32_t q2_disk_nb_bitmaps(const struct q2_disk *disk)
{
    return disk->layers[0].nb_bitmaps;
}

enum q2_status q2_disk_bitmap(struct q2_disk *disk, uint32_t index, struct q2_bitmap *ret_bitmap)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_bitmap_walk walk_state = {0};
    enum q2_status status = q2_bitmap_directory_check(top, &disk->fault);

    if (status != Q2_OK)
        return status;
    if (index >= top->nb_bitmaps)
        return q2_fail_limit(&disk->fault, Q2_ERR_RANGE, "no such bitmap", top->source->path,
                             "bitmap index", index, top->nb_bitmaps);
    for (uint32_t i = 0; i <= index; i++) {
        status = q2_bitmap_next(&disk->slices, top, &walk_state, &disk->fault, ret_bitmap);
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}
