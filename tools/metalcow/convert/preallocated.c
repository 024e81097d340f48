/* Whether an image looks preallocated: as few refcounts are counted as answer the question.
 *
 * May call the engine.
 */
#include "preallocated.h"

bool is_preallocated(struct q2_disk *disk, uint32_t layer, uint64_t nb_bytes)
{
    struct q2_layer_info info;
    uint64_t nb_real, threshold, nb_used;

    q2_disk_layer_info(disk, layer, &info);
    nb_real = nb_bytes >> info.header->cluster_bits;
    threshold = nb_real * 10 / 9;
    threshold = threshold > nb_real + 2 ? threshold : nb_real + 2;
    return q2_disk_nb_used(disk, layer, threshold, &nb_used) == Q2_OK && nb_used >= threshold;
}
