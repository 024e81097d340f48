/* Checking an extent map against the file system.
 *
 * Beside the data path, at attach only. Calls two sources. Invariant: offsets only go up.
 */
#include "q2_fail.h"
#include "q2_extents.h"

/* One comparison of the file by both ways. */
struct samples {
    struct q2_source *by_map, *by_file;
    uint8_t *buffer; /* 2 * Q2_VERIFY_SAMPLE_SIZE bytes */
    struct q2_fault *fault;
};

/* Compare up to a sample's size of bytes at offset < size. */
static enum q2_status compare_at(const struct samples *samples, uint64_t offset)
{
    struct q2_source *by_map = samples->by_map, *by_file = samples->by_file;
    uint8_t *ours = samples->buffer, *theirs = samples->buffer + Q2_VERIFY_SAMPLE_SIZE;
    size_t length = Q2_VERIFY_SAMPLE_SIZE;
    enum q2_status status;

    if (length > by_map->size - offset)
        length = (size_t)(by_map->size - offset);
    status = by_map->ops->read_at(by_map, offset, ours, length);
    if (status != Q2_OK)
        return q2_fail_at(samples->fault, status, NULL, by_map->path, offset);
    status = by_file->ops->read_at(by_file, offset, theirs, length);
    if (status != Q2_OK)
        return q2_fail_at(samples->fault, status, NULL, by_file->path, offset);
    if (__builtin_memcmp(ours, theirs, length) != 0)
        return q2_fail_at(samples->fault, Q2_ERR_BAD_VOLUME,
                          "the file's bytes are not where its cluster chain says", by_file->path,
                          offset);
    return Q2_OK;
}

/* The sample-th extent to look at: all of them while they are few, then evenly spread to the last.
 */
static size_t sample_index(size_t sample, size_t nb_extents)
{
    size_t rest = nb_extents - Q2_VERIFY_FIRST;

    if (sample < Q2_VERIFY_FIRST || rest <= Q2_VERIFY_SAMPLED)
        return sample;
    return nb_extents - 1 -
           (Q2_VERIFY_FIRST + Q2_VERIFY_SAMPLED - 1 - sample) * rest / Q2_VERIFY_SAMPLED;
}

enum q2_status q2_extents_verify(struct q2_source *by_map, struct q2_source *by_file,
                                 const struct q2_file_extent *extents, size_t nb_extents,
                                 uint64_t limit, void *buffer, struct q2_fault *fault)
{
    const struct samples samples = {by_map, by_file, buffer, fault};
    size_t nb_samples = nb_extents;
    uint64_t end = by_map->size - Q2_VERIFY_SAMPLE_SIZE;

    if (by_map->size != by_file->size)
        return q2_fail_at(fault, Q2_ERR_BAD_VOLUME,
                          "the file's size is not the one in its directory entry", by_file->path,
                          by_file->size);
    if (nb_samples > Q2_VERIFY_FIRST + Q2_VERIFY_SAMPLED)
        nb_samples = Q2_VERIFY_FIRST + Q2_VERIFY_SAMPLED;
    for (size_t i = 0; i < nb_samples; i++) {
        uint64_t offset = extents[sample_index(i, nb_extents)].file_offset;
        enum q2_status status = offset < limit ? compare_at(&samples, offset) : Q2_OK;
        if (status != Q2_OK)
            return status;
    }
    if (nb_extents == 0 || extents[nb_extents - 1].length <= Q2_VERIFY_SAMPLE_SIZE)
        return Q2_OK; /* the last head's sample went to the end */
    return end < limit ? compare_at(&samples, end) : Q2_OK;
}
