/* Samples of a file: taken by firmware, compared in the running system.
 *
 * May call core/base, sha256.c and the source. Invariant: the samples taken are in ascending order
 * and none is there twice, whatever the map is.
 */
#include "q2_handoff.h"

#include "q2_fail.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/base/sha256.h"

/* Extents that are sampled after the first Q2_VERIFY_FIRST. */
#define SPREAD 62u

_Static_assert(Q2_VERIFY_FIRST + SPREAD + 2 == Q2_HANDOFF_MAX_SAMPLES, "head, tail, extents");

static enum q2_status digest_at(struct q2_source *source, uint64_t offset, void *buffer,
                                uint8_t ret_digest[Q2_HANDOFF_DIGEST_LENGTH])
{
    size_t length = (size_t)q2_min_u64(Q2_HANDOFF_SAMPLE_SIZE, source->size - offset);
    enum q2_status status = source->ops->read_at(source, offset, buffer, length);
    uint8_t digest[Q2_SHA256_LENGTH];
    struct q2_sha256 hash;

    if (status != Q2_OK)
        return status;
    q2_sha256_init(&hash);
    q2_sha256_add(&hash, buffer, length);
    q2_sha256_end(&hash, digest);
    memcpy(ret_digest, digest, Q2_HANDOFF_DIGEST_LENGTH);
    return Q2_OK;
}

/* The extent that sample n is taken of: the first 64, then 62 over the rest, the last one too. */
static size_t sampled_extent(size_t n, size_t nb_extents)
{
    size_t rest = nb_extents - Q2_VERIFY_FIRST;

    if (n < Q2_VERIFY_FIRST || rest <= SPREAD)
        return n;
    return Q2_VERIFY_FIRST + (n - Q2_VERIFY_FIRST) * (rest - 1) / (SPREAD - 1);
}

/* Samples under construction, in ascending order. */
struct list {
    struct q2_source *source;
    void *buffer;
    struct q2_handoff_sample *samples;
    uint32_t nb;
};

static enum q2_status add(struct list *list, uint64_t offset)
{
    enum q2_status status;

    if (list->nb > 0 && offset <= list->samples[list->nb - 1].offset)
        return Q2_OK;
    status = digest_at(list->source, offset, list->buffer, list->samples[list->nb].digest);
    if (status == Q2_OK)
        list->samples[list->nb++].offset = offset;
    return status;
}

enum q2_status q2_handoff_sample(struct q2_source *source, const struct q2_file_extent *extents,
                                 size_t nb_extents, void *buffer,
                                 struct q2_handoff_sample *ret_samples, uint32_t *ret_nb_samples)
{
    struct list list = {.source = source, .buffer = buffer, .samples = ret_samples};
    size_t nb_sampled = (size_t)q2_min_u64(nb_extents, Q2_VERIFY_FIRST + SPREAD);
    uint64_t size = source->size;
    enum q2_status status = size > 0 ? add(&list, 0) : Q2_OK;

    for (size_t n = 0; status == Q2_OK && n < nb_sampled; n++)
        status = add(&list, extents[sampled_extent(n, nb_extents)].file_offset);
    if (status == Q2_OK && size > Q2_HANDOFF_SAMPLE_SIZE) /* or the last extent's reaches the end */
        status = add(&list, size - Q2_HANDOFF_SAMPLE_SIZE);
    if (status == Q2_OK)
        *ret_nb_samples = list.nb;
    return status;
}

enum q2_status q2_handoff_verify(struct q2_source *source, const struct q2_handoff_file *file,
                                 void *buffer, struct q2_fault *fault)
{
    for (uint32_t i = 0; i < file->nb_samples; i++) {
        uint8_t digest[Q2_HANDOFF_DIGEST_LENGTH];
        uint64_t offset = file->samples[i].offset;
        enum q2_status status = digest_at(source, offset, buffer, digest);

        if (status != Q2_OK)
            return q2_fail_at(fault, status, "a sample cannot be read", file->path, offset);
        if (memcmp(digest, file->samples[i].digest, sizeof(digest)) != 0)
            return q2_fail_at(fault, Q2_ERR_MEDIA_CHANGED,
                              "the bytes are not the ones that the firmware saw", file->path,
                              offset);
    }
    return Q2_OK;
}
