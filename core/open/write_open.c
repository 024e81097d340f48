/* Opening for writing: what may be written at all.
 *
 * May call the check and, if the options ask for it, the repair. Invariant: an image becomes
 * writable only after the check found no refcount below the number of references, and nothing else
 * that could harm data; leaked clusters do not.
 */
#include "write_open.h"

#include "q2_fail.h"
#include "core/base/range.h"
#include "q2_check.h"

static struct q2_image *top_of(struct q2_disk *disk)
{
    return &disk->layers[0];
}

/* Encryption knows whole sectors, and a raw data file is plain. */
static bool can_encrypt(const struct q2_image *top)
{
    if (q2_image_is_raw_external(top))
        return false;
    return q2_is_aligned(top->virtual_size, 9) &&
           (!top->rules.external_data || q2_is_aligned(top->data->size, 9));
}

static enum q2_status check_sources(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);

    if (top->source->writable && top->data->writable)
        return Q2_OK;
    return q2_fail(&disk->fault, Q2_ERR_READ_ONLY, NULL,
                   top->source->writable ? top->data->path : top->source->path);
}

static enum q2_status check_features(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);
    const char *path = top->source->path;

    if (top->header.incompatible_features & Q2_INCOMPAT_CORRUPT)
        return q2_fail(&disk->fault, Q2_ERR_CORRUPT, NULL, path);
    if (top->header.incompatible_features & Q2_INCOMPAT_DIRTY)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "the image was not closed cleanly and must be repaired before writing",
                       path);
    if (top->is_snapshot)
        return q2_fail(&disk->fault, Q2_ERR_READ_ONLY, "a snapshot can only be read", path);
    /* A data file's clusters have no refcounts: a write would change what the snapshots show. */
    if (top->rules.external_data && top->header.nb_snapshots > 0)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "an image with an external data file and snapshots can only be read", path);
    if (top->cipher && !can_encrypt(top))
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "an encrypted image of this kind can only be read", path);
    return Q2_OK;
}

/* What is left of a repair shows in the check that follows. */
static enum q2_status repair_dirty(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);
    struct q2_repair_result result;
    enum q2_status status;

    if (top->is_snapshot || !(top->header.incompatible_features & Q2_INCOMPAT_DIRTY))
        return Q2_OK;
    disk->writer.repairable = true;
    status = q2_disk_repair(disk, Q2_REPAIR_FOR_WRITING, NULL, &result);
    disk->writer.repairable = false;
    disk->writer.repaired = status == Q2_OK;
    return status;
}

/* A file whose refcounts do not match its references must not be written. */
static enum q2_status check_refcounts(struct q2_disk *disk)
{
    const struct q2_image *top = top_of(disk);
    const char *path = top->source->path;
    struct q2_check_result result;
    enum q2_status status = q2_disk_check(disk, NULL, &result);

    if (status != Q2_OK)
        return status;
    /* These endanger nothing: flags that are clear although they could be set cost a copy, and a
     * snapshot without its extra data has the disk's size. */
    if (result.corruptions > result.copied_missing + result.snapshots_incomplete)
        return q2_fail_value(&disk->fault, Q2_ERR_CORRUPT,
                             "the check finds corruption, so the image can only be read", path,
                             "corruptions", result.corruptions);
    if (result.check_errors > 0)
        return q2_fail(&disk->fault, Q2_ERR_IO,
                       "the check cannot read all of the image, so it can only be read", path);
    disk->writer.end = q2_shift_up(result.image_end_offset, top->rules.cluster_bits);
    return Q2_OK;
}

bool q2_disk_was_repaired(const struct q2_disk *disk)
{
    return disk->writer.repaired;
}

enum q2_status q2_write_prepare(struct q2_disk *disk, const struct q2_disk_options *options)
{
    struct q2_writer *writer = &disk->writer;
    bool raw = top_of(disk)->format == Q2_FORMAT_RAW;
    enum q2_status status = check_sources(disk);

    writer->repairable = status == Q2_OK && options->repair;
    if (status != Q2_OK || options->repair)
        return status;
    if (!raw && options->repair_if_dirty)
        status = repair_dirty(disk);
    if (status == Q2_OK && !raw)
        status = check_features(disk);
    if (status == Q2_OK && !raw)
        status = check_refcounts(disk);
    if (status != Q2_OK)
        return status;
    writer->writable = true;
    writer->header_ready = raw;
    return Q2_OK;
}
