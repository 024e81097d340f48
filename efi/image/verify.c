/* Comparing files with sums.
 *
 * May call the sources and SHA-256. Invariant: nothing is read before every file has a sum and
 * every sum a file.
 */
#include "verify.h"

#include "core/base/sha256.h"
#include "q2_fail.h"

_Static_assert(MC_SUM_LENGTH == Q2_SHA256_LENGTH, "a sum is a SHA-256");

void mc_verification_add(struct mc_verification *verification, const struct q2_source *file)
{
    if (verification->nb_files < MC_MAX_SUMS)
        verification->files[verification->nb_files] = file;
    verification->nb_files++;
}

/* Every file needs a sum that can be read, and there must not be more sums. */
static enum q2_status check_list(const struct mc_verification *v, struct q2_fault *fault)
{
    uint8_t digest[MC_SUM_LENGTH];
    size_t i = 0;

    if (v->nb_files > MC_MAX_SUMS)
        return q2_fail_limit(fault, Q2_ERR_LIMIT,
                             "the disk has more files than verify lines can name", NULL, "files",
                             v->nb_files, MC_MAX_SUMS);
    for (; i < v->nb_files; i++) {
        const char *path = v->files[i]->path;
        if (!v->sums[i])
            return q2_fail(fault, Q2_ERR_DENIED,
                           "this file of the disk has no verify line; each needs one, in the order "
                           "of 'metalcow info --backing-chain', a data file after its image",
                           path);
        if (!mc_sum_parse(v->sums[i], digest))
            return q2_fail(fault, Q2_ERR_DENIED,
                           "its verify line is no SHA-256 of 64 hexadecimal digits", path);
    }
    if (i < MC_MAX_SUMS && v->sums[i])
        return q2_fail_value(fault, Q2_ERR_DENIED,
                             "there are more verify lines than files; remove the last ones", NULL,
                             "files", v->nb_files);
    return Q2_OK;
}

static uint64_t total_size(const struct mc_verification *v)
{
    uint64_t total = 0;

    for (size_t i = 0; i < v->nb_files; i++)
        total += v->files[i]->size; /* sizes of files: their sum is far from wrapping */
    return total;
}

/* Hash one file. done: bytes of the files before it; gets those of this one too. */
static enum q2_status hash_file(const struct mc_verification *v, const struct q2_source *file,
                                uint64_t *done, uint64_t total, uint8_t ret_digest[MC_SUM_LENGTH])
{
    struct q2_source *source = (struct q2_source *)(uintptr_t)file;
    struct q2_sha256 hash;

    q2_sha256_init(&hash);
    for (uint64_t at = 0; at < file->size;) {
        uint64_t left = file->size - at;
        size_t step = left < v->buffer_size ? (size_t)left : v->buffer_size;
        enum q2_status status = source->ops->read_at(source, at, v->buffer, step);
        if (status != Q2_OK)
            return status;
        q2_sha256_add(&hash, v->buffer, step);
        at += step;
        *done += step;
        v->tell(*done, total);
    }
    q2_sha256_end(&hash, ret_digest);
    return Q2_OK;
}

enum q2_status mc_verification_run(const struct mc_verification *verification,
                                   struct q2_fault *fault)
{
    enum q2_status status = check_list(verification, fault);
    uint64_t done = 0, total = status == Q2_OK ? total_size(verification) : 0;

    for (size_t i = 0; i < verification->nb_files && status == Q2_OK; i++) {
        const struct q2_source *file = verification->files[i];
        uint8_t digest[MC_SUM_LENGTH], wanted[MC_SUM_LENGTH];

        status = hash_file(verification, file, &done, total, digest);
        if (status != Q2_OK)
            return q2_fail(fault, status, NULL, file->path);
        (void)mc_sum_parse(verification->sums[i], wanted); /* check_list() has read it */
        if (__builtin_memcmp(digest, wanted, sizeof(digest)) != 0)
            return q2_fail(fault, Q2_ERR_DENIED,
                           "its SHA-256 is not the one of its verify line: the file was changed, "
                           "or the line is of another file",
                           file->path);
    }
    return status;
}
