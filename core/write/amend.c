/* Changing an opened image itself.
 *
 * Implements include/q2_amend.h. May call what changes content (write.c, write_zeroes.c,
 * preallocate.c), header_change.c, bitmap_resize.c, bitmap_write.c, table.c, alloc.c, space.c,
 * store.c and order.c.
 * Invariant: what waits is committed before the header says something new (O5).
 */
#include "q2_amend.h"

#include "alloc.h"
#include "bitmap_write.h"
#include "order.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "header_change.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "space.h"
#include "store.h"
#include "table.h"
#include "core/base/text.h"
#include "write.h"

/* --- names in the header -------------------------------------------------------------------- */

static enum q2_status check_name(struct q2_disk *disk, const char *name, const char *field,
                                 size_t most)
{
    size_t length = q2_text_length(name);

    if (length <= most)
        return Q2_OK;
    return q2_fail_limit(&disk->fault, Q2_ERR_ARGUMENT, "the name is too long",
                         disk->layers[0].source->path, field, length, most);
}

static enum q2_status change_names(struct q2_disk *disk, const struct q2_header_names *names)
{
    enum q2_status status = q2_header_can_change(disk, names);

    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status == Q2_OK)
        status = q2_commit(disk);
    return status == Q2_OK ? q2_header_change(disk, names) : status;
}

/* Judge a backing file's name, and compose the header's names with it. */
static enum q2_status judge_backing(struct q2_disk *disk, const char *file, const char *format,
                                    struct q2_header_names *ret_names)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header_names names = {.backing_file = file ? file : "",
                                    .backing_format = format ? format : "",
                                    .data_file = top->data_file};
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK)
        status = check_name(disk, names.backing_file, "backing_file", Q2_MAX_NAME_LENGTH);
    if (status == Q2_OK)
        status = check_name(disk, names.backing_format, "backing_fmt", Q2_MAX_FORMAT_LENGTH);
    if (status != Q2_OK)
        return status;
    if (names.backing_format[0] != '\0' && names.backing_file[0] == '\0')
        return q2_fail(&disk->fault, Q2_ERR_ARGUMENT, "a backing format without a backing file",
                       top->source->path);
    if (names.backing_file[0] != '\0' && q2_image_is_raw_external(top))
        return q2_fail(&disk->fault, Q2_ERR_ARGUMENT,
                       "raw external data does not go with a backing file", top->source->path);
    *ret_names = names;
    return Q2_OK;
}

enum q2_status q2_disk_can_set_backing(struct q2_disk *disk, const char *file, const char *format)
{
    struct q2_header_names names;
    enum q2_status status = judge_backing(disk, file, format, &names);

    return status == Q2_OK ? q2_header_can_change(disk, &names) : status;
}

enum q2_status q2_disk_set_backing(struct q2_disk *disk, const char *file, const char *format)
{
    struct q2_header_names names;
    enum q2_status status = judge_backing(disk, file, format, &names);

    return status == Q2_OK ? change_names(disk, &names) : status;
}

enum q2_status q2_disk_set_data_file(struct q2_disk *disk, const char *name)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header_names names = {.backing_file = top->backing_file,
                                    .backing_format = top->backing_format,
                                    .data_file = name ? name : ""};
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK && !top->rules.external_data)
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "the image has no external data file",
                         top->source->path);
    if (status == Q2_OK)
        status = check_name(disk, names.data_file, "data_file", Q2_MAX_NAME_LENGTH);
    return status == Q2_OK ? change_names(disk, &names) : status;
}

/* --- features ------------------------------------------------------------------------------- */

enum q2_status q2_disk_set_lazy_refcounts(struct q2_disk *disk, bool lazy)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header header;
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK && !top->rules.version_3)
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                         "images of version 2 have no lazy refcounts", top->source->path);
    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    header = top->header; /* O7 may have changed it */
    header.compatible_features &= ~Q2_COMPAT_LAZY_REFCOUNTS;
    if (lazy)
        header.compatible_features |= Q2_COMPAT_LAZY_REFCOUNTS;
    return q2_header_set(disk, &header, Q2_HEADER_FIELDS(compatible_features, compatible_features));
}

enum q2_status q2_disk_set_raw_external_data(struct q2_disk *disk, bool raw)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header header;
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK && raw && !q2_image_is_raw_external(top))
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                         "the data of an existing image does not become raw", top->source->path);
    if (status != Q2_OK || raw == q2_image_is_raw_external(top))
        return status;
    status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    header = top->header; /* O7 may have changed it */
    header.autoclear_features &= ~Q2_AUTOCLEAR_RAW_EXTERNAL;
    return q2_header_set(disk, &header, Q2_HEADER_FIELDS(autoclear_features, autoclear_features));
}

/* --- size ------------------------------------------------------------------------------------ */

static enum q2_status write_size(struct q2_disk *disk, uint64_t size)
{
    struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    enum q2_status status;

    header.size = size;
    status = q2_header_set(disk, &header, Q2_HEADER_FIELDS(size, size));
    if (status == Q2_OK)
        top->virtual_size = size;
    return status;
}

/* Copy the L1 table to a longer place; zeros after it. */
static enum q2_status copy_l1(struct q2_disk *disk, uint64_t to, uint64_t length)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t old_length = top->l1_size * 8ull;
    enum q2_status status = q2_store_copy(disk, top->l1_table_offset, to, old_length, 0);

    if (status == Q2_OK)
        status = q2_store_zero(disk, top->source, to + old_length, length - old_length);
    return status;
}

/* Have the header name the new L1 table: its size and offset are neighbours. */
static enum q2_status switch_l1(struct q2_disk *disk, uint64_t offset, uint32_t nb_entries)
{
    struct q2_image *top = &disk->layers[0];
    struct q2_header header = top->header;
    enum q2_status status;

    header.l1_size = nb_entries;
    header.l1_table_offset = offset;
    status = q2_header_set(disk, &header, Q2_HEADER_FIELDS(l1_size, l1_table_offset));
    if (status != Q2_OK)
        return status;
    top->l1_size = nb_entries;
    top->l1_table_offset = offset;
    return Q2_OK;
}

/* A longer L1 table, as a refcount table grows: complete and durable before the header names it. */
static enum q2_status grow_l1(struct q2_disk *disk, uint32_t nb_entries)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t nb = q2_shift_up(nb_entries * 8ull, bits), offset;
    uint64_t old_offset = top->l1_table_offset;
    uint64_t old_length = q2_shift_up(top->l1_size * 8ull, bits) << bits;
    enum q2_status status = q2_commit(disk); /* nothing waits for the old table */

    if (status == Q2_OK)
        status = q2_clusters_alloc_row(disk, nb, &offset);
    if (status != Q2_OK)
        return status;
    status = copy_l1(disk, offset, nb << bits);
    if (status == Q2_OK)
        status = switch_l1(disk, offset, nb_entries);
    if (status != Q2_OK) { /* named by nobody */
        q2_clusters_free_later(disk, offset, nb << bits);
        return status;
    }
    if (old_length > 0)
        q2_clusters_free_later(disk, old_offset, old_length); /* O3 */
    return Q2_OK;
}

/* Guest bytes [offset, end) become zeros wherever something shows: a longer backing file, clusters
 * that a VM state has past the disk's end, what a last cluster has past it. */
static enum q2_status hide(struct q2_disk *disk, uint64_t offset, uint64_t end)
{
    enum q2_status status = Q2_OK;

    while (offset < end && status == Q2_OK) {
        struct q2_extent extent;

        status = q2_disk_map(disk, offset, end - offset, &extent);
        if (status != Q2_OK)
            return status;
        if (extent.kind == Q2_EXTENT_DATA || extent.kind == Q2_EXTENT_COMPRESSED)
            status = q2_disk_write_zeroes(disk, offset, extent.length);
        offset += extent.length;
    }
    return status;
}

/* A raw data file is the disk: what it holds past the old end is on the disk from now on, and its
 * clusters are mapped to it. In all other images the new bytes read as zeros. */
static enum q2_status grow(struct q2_disk *disk, uint64_t size)
{
    struct q2_image *top = &disk->layers[0];
    uint64_t old_size = top->virtual_size;
    uint64_t nb_l1 = q2_shift_up(size, q2_header_l1_reach_bits(&top->header));
    enum q2_status status = Q2_OK;

    if (nb_l1 > top->l1_size)
        status = grow_l1(disk, (uint32_t)nb_l1);
    if (status != Q2_OK)
        return status;
    top->virtual_size = size; /* in memory first, so that the new bytes can be written */
    if (top->rules.external_data)
        status = q2_store_grow(disk, top->data, size);
    if (status == Q2_OK)
        status = q2_image_is_raw_external(top)
                     ? q2_disk_preallocate(disk, old_size, size - old_size, false)
                     : hide(disk, old_size, size);
    if (status == Q2_OK)
        status = write_size(disk, size);
    if (status != Q2_OK)
        top->virtual_size = old_size;
    return status;
}

/* First what is stored past the new end goes, then the end moves, as in QEMU: a power cut leaves a
 * disk of the old size without it, never one whose old bytes come back when QEMU lets it grow
 * again. */
static enum q2_status shrink(struct q2_disk *disk, uint64_t size)
{
    struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits, reach_bits = q2_header_l1_reach_bits(&top->header);
    uint64_t nb_l1 = q2_shift_up(size, reach_bits);
    enum q2_status status =
        q2_write_unlink(disk, q2_shift_up(size, bits) << bits, nb_l1 << reach_bits);

    for (uint64_t i = nb_l1; i < top->l1_size && status == Q2_OK; i++)
        status = q2_table_drop(disk, i);
    if (status == Q2_OK)
        status = write_size(disk, size); /* what waits goes first: then the clusters are free */
    return status == Q2_OK ? q2_space_cut_end(disk) : status;
}

static enum q2_status check_size(struct q2_disk *disk, uint64_t size, bool may_shrink,
                                 uint32_t version)
{
    const struct q2_image *top = &disk->layers[0];
    const char *path = top->source->path;
    uint64_t nb_l1 = q2_shift_up(size, q2_header_l1_reach_bits(&top->header));

    if (!q2_is_aligned(size, 9))
        return q2_fail_value(&disk->fault, Q2_ERR_ARGUMENT, "the new size is not a multiple of 512",
                             path, "size", size);
    if (size > 1ull << 62)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "the virtual size is too large", path,
                             "size", size, 1ull << 62);
    if (nb_l1 > Q2_MAX_L1_ENTRIES)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT,
                             "the virtual size needs too large an L1 table", path, "l1_size", nb_l1,
                             Q2_MAX_L1_ENTRIES);
    if (size < top->virtual_size && !may_shrink)
        return q2_fail_limit(&disk->fault, Q2_ERR_ARGUMENT,
                             "shrinking loses data and was not allowed", path, "size", size,
                             top->virtual_size);
    if (version == 2 && top->header.nb_snapshots > 0)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "a version 2 image with snapshots has one size for all", path);
    return Q2_OK;
}

enum q2_status q2_disk_can_resize(struct q2_disk *disk, uint64_t new_size, bool may_shrink,
                                  uint32_t version)
{
    enum q2_status status = q2_write_metadata_possible(disk);

    if (version == 0)
        version = disk->layers[0].header.version;
    if (status == Q2_OK)
        status = q2_write_allowed(disk, 0, 0);
    if (status == Q2_OK)
        status = check_size(disk, new_size, may_shrink, version);
    if (status == Q2_OK && disk->writer.keep_bitmaps && new_size != q2_disk_size(disk))
        status = q2_bitmaps_check_resize(disk, new_size);
    return status;
}

/* However a resize has ended, recorded bitmaps fit the size that the disk has now, or they are
 * lost. A shrink that has failed may have removed data, of which they say nothing. */
static enum q2_status fit_bitmaps(struct q2_disk *disk, enum q2_status status, bool shrinks)
{
    struct q2_fault fault = disk->fault;
    enum q2_status fitted = status;

    if (!disk->writer.keep_bitmaps)
        return status;
    if (!disk->writer.latched && (status == Q2_OK || !shrinks))
        fitted = q2_bitmaps_fit(disk);
    if (fitted != Q2_OK)
        q2_bitmaps_lose(disk);
    if (status == Q2_OK)
        return fitted;
    disk->fault = fault;
    return status;
}

enum q2_status q2_disk_resize(struct q2_disk *disk, uint64_t new_size, bool may_shrink)
{
    enum q2_status status = q2_disk_can_resize(disk, new_size, may_shrink, 0);
    bool shrinks;

    if (status != Q2_OK)
        return status;
    if (new_size == q2_disk_size(disk))
        return q2_commit(disk);
    shrinks = new_size < q2_disk_size(disk);
    status = q2_commit_header(disk);
    if (status != Q2_OK)
        return status;
    status = q2_bitmaps_grow(disk, new_size);
    if (status == Q2_OK)
        status = shrinks ? shrink(disk, new_size) : grow(disk, new_size);
    if (status == Q2_OK)
        status = q2_commit(disk); /* what was replaced */
    return fit_bitmaps(disk, status, shrinks);
}

/* --- content --------------------------------------------------------------------------------- */

enum q2_status q2_disk_make_empty(struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = q2_write_metadata_possible(disk);

    if (status == Q2_OK && q2_image_is_raw_external(top))
        status =
            q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                    "raw external data cannot be emptied without being written", top->source->path);
    if (status == Q2_OK)
        status = q2_commit_header(disk);
    for (uint64_t i = 0; i < top->l1_size && status == Q2_OK; i++)
        status = q2_table_drop(disk, i);
    if (status == Q2_OK)
        status = q2_commit(disk);
    return status == Q2_OK ? q2_space_cut_end(disk) : status;
}
