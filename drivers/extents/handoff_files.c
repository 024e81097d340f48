/* The files of an open disk, as a hand-off record has them.
 *
 * Calls include/q2_disk.h, include/q2_handoff.h and source.h. Invariant: what the record says of a
 * file is what its source reads from.
 */
#include "handoff_files.h"

#include "q2_fail.h"
#include "source.h"

static enum q2_status add_file(struct q2_handoff *handoff, const struct q2_source *source,
                               enum q2_handoff_role role, uint32_t layer,
                               struct q2_handoff_sample *samples, void *buffer,
                               struct q2_fault *fault)
{
    struct q2_source_extents whole = *(const struct q2_source_extents *)source;
    struct q2_handoff_file *file = &handoff->files[handoff->nb_files];
    enum q2_status status;

    if (whole.nb_extents > Q2_HANDOFF_MAX_EXTENTS)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "the file is in too many pieces", source->path,
                             "extents", whole.nb_extents, Q2_HANDOFF_MAX_EXTENTS);
    whole.source.size = whole.mapped_size; /* with the room */
    *file = (struct q2_handoff_file){
        .role = role,
        .layer = layer,
        .path = source->path,
        .size = whole.mapped_size,
        .nb_extents = (uint32_t)whole.nb_extents,
        .extents = whole.extents,
        .samples = samples + (size_t)handoff->nb_files * Q2_HANDOFF_MAX_SAMPLES,
    };
    status = q2_handoff_sample(&whole.source, whole.extents, whole.nb_extents, buffer,
                               samples + (size_t)handoff->nb_files * Q2_HANDOFF_MAX_SAMPLES,
                               &file->nb_samples);
    if (status != Q2_OK)
        return q2_fail(fault, status, "the file cannot be read for the hand-off", source->path);
    handoff->nb_files++;
    return Q2_OK;
}

enum q2_status q2_handoff_files(struct q2_handoff *handoff, const struct q2_disk *disk,
                                uint32_t first_layer, struct q2_handoff_sample *samples,
                                void *buffer, struct q2_fault *fault)
{
    enum q2_status status = Q2_OK;

    handoff->nb_files = 0;
    for (uint32_t i = first_layer; i < q2_disk_nb_layers(disk) && status == Q2_OK; i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(disk, i, &info);
        status = add_file(handoff, info.source, Q2_HANDOFF_IMAGE, i - first_layer, samples, buffer,
                          fault);
        if (status == Q2_OK && info.data_source && info.data_source != info.source)
            status = add_file(handoff, info.data_source, Q2_HANDOFF_DATA, i - first_layer, samples,
                              buffer, fault);
    }
    return status;
}
