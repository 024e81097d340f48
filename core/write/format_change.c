/* Another version of the format, another width of refcounts.
 *
 * Implements q2_disk_change_format() of include/q2_amend.h. May call header_change.c,
 * refcount_width.c, snapshot_extra.c, zero_expand.c, amend.c for lazy refcounts, write.c for
 * whether the image may be written, and order.c. Invariant: whatever would be refused is refused
 * before the first write; what a version does not have is gone, durably, before the header names
 * that version.
 */
#include "q2_amend.h"

#include "core/base/range.h"
#include "core/format/header.h"
#include "header_change.h"
#include "order.h"
#include "q2_fail.h"
#include "refcount_width.h"
#include "snapshot_extra.h"
#include "write.h"
#include "zero_expand.h"

/* The image as it is to be. */
struct goal {
    uint32_t version, refcount_order;
};

/* Do the wishes make sense, and go together? */
static enum q2_status set_goal(struct q2_disk *disk, const struct q2_format_change *change,
                               struct goal *ret_goal)
{
    const struct q2_image *top = &disk->layers[0];
    const char *path = top->source->path;
    struct goal goal = {.version = change->version ? change->version : top->header.version,
                        .refcount_order = top->header.refcount_order};

    if (goal.version < 2 || goal.version > 3)
        return q2_fail_value(&disk->fault, Q2_ERR_ARGUMENT, "there is no such version", path,
                             "version", goal.version);
    if (change->refcount_bits != 0) {
        if (!q2_is_power_of_two(change->refcount_bits) || change->refcount_bits > 64)
            return q2_fail_value(&disk->fault, Q2_ERR_ARGUMENT, "refcounts have no such width",
                                 path, "refcount_bits", change->refcount_bits);
        goal.refcount_order = q2_log2(change->refcount_bits);
    }
    if (goal.version == 2 && goal.refcount_order != 4)
        return q2_fail_limit(&disk->fault, Q2_ERR_ARGUMENT,
                             "refcounts of version 2 have 16 bits; add refcount_bits=16, or "
                             "compat=1.1",
                             path, "refcount_bits", 1ull << goal.refcount_order, 16);
    if (goal.version == 2 && change->set_lazy && change->lazy_refcounts)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "images of version 2 have no lazy refcounts", path);
    *ret_goal = goal;
    return Q2_OK;
}

/* Incompatible features of version 3 that cannot be removed. */
static const struct {
    uint64_t bit;
    const char *text;
} kept_features[] = {
    {Q2_INCOMPAT_DATA_FILE, "version 2 has no external data file; convert the image instead"},
    {Q2_INCOMPAT_EXTENDED_L2, "version 2 has no extended L2 entries; convert the image instead"},
    {Q2_INCOMPAT_COMPRESSION, "version 2 compresses with zlib only; convert the image instead"},
};

/* Does the image hold what version 2 does not have, and what cannot be replaced? */
static enum q2_status check_downgrade(struct q2_disk *disk, uint64_t disk_size)
{
    const struct q2_image *top = &disk->layers[0];
    const char *path = top->source->path;
    bool exist = false;
    enum q2_status status;

    for (size_t i = 0; i < sizeof(kept_features) / sizeof(kept_features[0]); i++) {
        if (top->header.incompatible_features & kept_features[i].bit)
            return q2_fail_value(&disk->fault, Q2_ERR_UNSUPPORTED, kept_features[i].text, path,
                                 "incompatible_features", top->header.incompatible_features);
    }
    if (top->nb_bitmaps > 0)
        return q2_fail_value(&disk->fault, Q2_ERR_UNSUPPORTED,
                             "version 2 has no bitmaps; remove them first", path, "nb_bitmaps",
                             top->nb_bitmaps);
    status = q2_snapshots_fit_version_2(disk, disk_size);
    if (status == Q2_OK && top->header.crypt_method != 0 && top->has_backing)
        status = q2_zero_clusters_exist(disk, &exist);
    if (status != Q2_OK || !exist)
        return status;
    /* Zeros would have to be encrypted, for which there may be no key here. */
    return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                   "version 2 has no zero clusters, and this image is encrypted and has a backing "
                   "file; convert it instead",
                   path);
}

static enum q2_status judge(struct q2_disk *disk, const struct q2_format_change *change,
                            struct goal *ret_goal)
{
    const struct q2_header *header = &disk->layers[0].header;
    uint64_t disk_size = change->disk_size ? change->disk_size : header->size;
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK)
        status = set_goal(disk, change, ret_goal);
    if (status != Q2_OK)
        return status;
    if (ret_goal->version < header->version)
        status = check_downgrade(disk, disk_size);
    if (status == Q2_OK && ret_goal->version != header->version)
        status = q2_header_can_set_version(disk, ret_goal->version);
    if (status == Q2_OK && ret_goal->refcount_order != header->refcount_order)
        status = q2_refcount_width_can_change(disk, ret_goal->refcount_order);
    return status;
}

enum q2_status q2_disk_can_change_format(struct q2_disk *disk,
                                         const struct q2_format_change *change)
{
    struct goal goal;

    return judge(disk, change, &goal);
}

static enum q2_status upgrade(struct q2_disk *disk)
{
    enum q2_status status = q2_snapshots_complete(disk);

    return status == Q2_OK ? q2_header_set_version(disk, 3) : status;
}

static enum q2_status downgrade(struct q2_disk *disk)
{
    enum q2_status status = q2_zero_clusters_replace(disk);

    return status == Q2_OK ? q2_header_set_version(disk, 2) : status;
}

/* Version 3 comes first and version 2 last, because other widths exist in version 3 only. */
enum q2_status q2_disk_change_format(struct q2_disk *disk, const struct q2_format_change *change)
{
    const struct q2_header *header = &disk->layers[0].header;
    struct goal goal;
    enum q2_status status = judge(disk, change, &goal);

    if (status == Q2_OK)
        status = q2_commit_names(disk); /* O7 */
    if (status == Q2_OK)
        status = q2_commit(disk);
    if (status == Q2_OK && goal.version > header->version)
        status = upgrade(disk);
    if (status == Q2_OK && goal.version == 3 && change->set_lazy)
        status = q2_disk_set_lazy_refcounts(disk, change->lazy_refcounts);
    if (status == Q2_OK && goal.refcount_order != header->refcount_order)
        status = q2_refcount_width_change(disk, goal.refcount_order);
    if (status == Q2_OK && goal.version < header->version)
        status = downgrade(disk);
    return status;
}
