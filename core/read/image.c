/* One opened layer: header and extensions.
 *
 * Runs at open only. May call core/format/ and slice_cache.c. Invariant: an image that leaves here
 * has passed every check of format/header.c, and no unknown incompatible feature is set; its
 * strings are NUL-terminated and hold no other NUL.
 */
#include "image.h"

#include "q2_fail.h"
#include "core/format/extension.h"
#include "core/format/header.h"
#include "core/base/memory.h"
#include "q2_line.h"
#include "core/base/range.h"

#define KNOWN_INCOMPATIBLE                                                                         \
    (Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT | Q2_INCOMPAT_DATA_FILE | Q2_INCOMPAT_COMPRESSION |   \
     Q2_INCOMPAT_EXTENDED_L2)

/* What opening hands around; lives on the stack of q2_image_open(). */
struct opening {
    struct q2_slice_cache *cache;
    struct q2_source *source;
    struct q2_image *image;
    struct q2_fault *fault;
    uint64_t names_offset; /* feature name table; 0 if there is none */
    uint32_t names_length;
};

static enum q2_status read_at(const struct opening *opening, uint64_t offset, void *buffer,
                              size_t length, const char *what)
{
    enum q2_status status = q2_slice_read(opening->cache, opening->source, offset, buffer, length);

    if (status != Q2_OK)
        return q2_fail_at(opening->fault, status, what, opening->source->path, offset);
    return Q2_OK;
}

/* Strings in the header: exactly length bytes, without NUL. size is that of to. */
static enum q2_status read_string(const struct opening *opening, uint64_t offset, uint32_t length,
                                  const char *field, char *to, size_t size)
{
    enum q2_status status;

    if (length >= size)
        return q2_fail_limit(opening->fault, Q2_ERR_BAD_EXTENSION, "string is too long",
                             opening->source->path, field, length, size - 1);
    memset(to, 0, size);
    if (length == 0)
        return Q2_OK;
    status = read_at(opening, offset, to, length, "a name in the header cannot be read");
    if (status != Q2_OK)
        return status;
    for (uint32_t i = 0; i < length; i++) {
        if (to[i] == '\0')
            return q2_fail_value(opening->fault, Q2_ERR_BAD_NAME, "string holds a NUL",
                                 opening->source->path, field, length);
    }
    return Q2_OK;
}

static enum q2_status read_bitmaps(const struct opening *opening, uint64_t offset, uint32_t length)
{
    struct q2_image *image = opening->image;
    struct q2_bitmaps_disk disk;
    enum q2_status status;

    if (length != sizeof(disk))
        return q2_fail_limit(opening->fault, Q2_ERR_BAD_EXTENSION,
                             "the bitmaps extension has the wrong length", opening->source->path,
                             "length", length, sizeof(disk));
    status = read_at(opening, offset, &disk, sizeof(disk), "a header extension cannot be read");
    if (status != Q2_OK)
        return status;
    image->nb_bitmaps = q2_be32_get(disk.nb_bitmaps);
    image->bitmaps_length = q2_be64_get(disk.directory_size);
    image->bitmaps_offset = q2_be64_get(disk.directory_offset);
    return Q2_OK;
}

/* (qcow2: "Full disk encryption header pointer") */
static enum q2_status read_encryption(const struct opening *opening, uint64_t offset,
                                      uint32_t length)
{
    struct q2_encryption_disk disk;
    enum q2_status status;

    if (length != sizeof(disk))
        return q2_fail_limit(opening->fault, Q2_ERR_BAD_EXTENSION,
                             "the encryption extension has the wrong length", opening->source->path,
                             "length", length, sizeof(disk));
    status = read_at(opening, offset, &disk, sizeof(disk), "a header extension cannot be read");
    if (status != Q2_OK)
        return status;
    opening->image->encryption_offset = q2_be64_get(disk.offset);
    opening->image->encryption_length = q2_be64_get(disk.length);
    return Q2_OK;
}

/* Take what we use of one extension; the others are left alone.
 * length and offset have been checked to be inside the first cluster. */
static enum q2_status read_extension(struct opening *opening, uint32_t type, uint64_t offset,
                                     uint32_t length)
{
    struct q2_image *image = opening->image;

    switch (type) {
    case Q2_EXTENSION_BACKING_FORMAT:
        return read_string(opening, offset, length, "backing file format", image->backing_format,
                           sizeof(image->backing_format));
    case Q2_EXTENSION_DATA_FILE:
        image->has_data_file_name = true;
        return read_string(opening, offset, length, "external data file name", image->data_file,
                           sizeof(image->data_file));
    case Q2_EXTENSION_FEATURE_NAMES:
        opening->names_offset = offset;
        opening->names_length = length;
        return Q2_OK;
    case Q2_EXTENSION_BITMAPS:
        return read_bitmaps(opening, offset, length);
    case Q2_EXTENSION_ENCRYPTION:
        return read_encryption(opening, offset, length);
    default:
        return Q2_OK;
    }
}

/* Extensions fill the space between the header and the backing file's name, or the end of the first
 * cluster; type 0 ends them early. */
static enum q2_status read_extensions(struct opening *opening)
{
    const struct q2_header *header = &opening->image->header;
    uint64_t offset = header->header_length;
    uint64_t end =
        header->backing_file_offset ? header->backing_file_offset : 1ull << header->cluster_bits;

    end = q2_min_u64(end, opening->source->size);
    while (q2_range_fits(offset, sizeof(struct q2_extension_disk), end)) {
        struct q2_extension_disk disk;
        uint32_t type, length;
        enum q2_status status;

        status = read_at(opening, offset, &disk, sizeof(disk), "a header extension cannot be read");
        if (status != Q2_OK)
            return status;
        type = q2_be32_get(disk.type);
        length = q2_be32_get(disk.length);
        if (type == Q2_EXTENSION_END)
            return Q2_OK;
        offset += sizeof(disk);
        if (!q2_range_fits(offset, length, end))
            return q2_fail_limit(opening->fault, Q2_ERR_BAD_EXTENSION,
                                 "a header extension leaves the first cluster",
                                 opening->source->path, "length", length, end - offset);
        status = read_extension(opening, type, offset, length);
        if (status != Q2_OK)
            return status;
        offset += ((uint64_t)length + 7) & ~7ull;
    }
    return Q2_OK;
}

/* The name that the image gives an incompatible feature; false: none. A last row that is cut off
 * counts as if zeros followed it, as in QEMU. */
static bool feature_name(const struct opening *opening, uint32_t bit,
                         struct q2_feature_name_disk *ret_row)
{
    uint32_t length = opening->names_length, size = (uint32_t)sizeof(*ret_row);

    for (uint32_t at = 0; at < length; at += size) {
        uint32_t n = length - at < size ? length - at : size;

        *ret_row = (struct q2_feature_name_disk){.type = 0};
        if (q2_slice_read(opening->cache, opening->source, opening->names_offset + at, ret_row,
                          n) != Q2_OK)
            return false;
        if (n <= offsetof(struct q2_feature_name_disk, name))
            return false;
        if (ret_row->type == 0 && ret_row->bit == bit)
            return true;
    }
    return false;
}

/* Unknown incompatible features are refused by the names that the image itself gives them; the ones
 * without a name by their numbers, where there are several. */
static void name_features(const struct opening *opening, uint64_t unknown)
{
    char *detail = opening->fault->detail;
    struct q2_line line = q2_line_start(detail, sizeof(opening->fault->detail));
    bool several = (unknown & (unknown - 1)) != 0;

    for (uint32_t bit = 0; bit < 64; bit++) {
        struct q2_feature_name_disk row;

        if (!(unknown >> bit & 1))
            continue;
        if (detail[0] != '\0')
            q2_line_put(&line, ", ");
        if (feature_name(opening, bit, &row)) {
            char name[sizeof(row.name) + 1] = {0};

            memcpy(name, row.name, sizeof(row.name));
            q2_line_put(&line, name);
        } else if (several) {
            q2_line_put(&line, "bit ");
            q2_line_put_number(&line, bit, 10);
        }
    }
}

static enum q2_status check_features(const struct opening *opening)
{
    uint64_t unknown = opening->image->header.incompatible_features & ~KNOWN_INCOMPATIBLE;
    uint32_t lowest = 0;

    if (unknown == 0)
        return Q2_OK;
    while (!(unknown >> lowest & 1))
        lowest++;
    if (unknown >> lowest == 1)
        (void)q2_fail_value(opening->fault, Q2_ERR_FEATURE, NULL, opening->source->path,
                            "incompatible feature bit", lowest);
    else
        (void)q2_fail_value(opening->fault, Q2_ERR_FEATURE, NULL, opening->source->path,
                            "unknown incompatible features", unknown);
    name_features(opening, unknown);
    return Q2_ERR_FEATURE;
}

static enum q2_status read_header(const struct opening *opening)
{
    struct q2_header_disk disk;
    uint64_t length = q2_min_u64(sizeof(disk), opening->source->size);
    const char *path = opening->source->path;
    enum q2_status status;

    memset(&disk, 0, sizeof(disk));
    if (length < Q2_HEADER_V2_LENGTH)
        return q2_fail(opening->fault, Q2_ERR_BAD_MAGIC, "not a qcow2 image, the file is too short",
                       path);
    status = read_at(opening, 0, &disk, (size_t)length, "the header cannot be read");
    if (status == Q2_OK)
        status = q2_header_identify(&disk, path, opening->fault);
    if (status == Q2_OK)
        q2_header_decode(&disk, &opening->image->header);
    return status;
}

/* The numbers that every access needs, worked out once. */
static void derive(struct q2_image *image)
{
    const struct q2_header *header = &image->header;
    bool extended = (header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) != 0;

    image->rules = (struct q2_l2_rules){
        .cluster_bits = header->cluster_bits,
        .version_3 = header->version >= 3,
        .extended = extended,
        .external_data = q2_image_has_data_file(image),
    };
    image->entry_bits = extended ? 4 : 3;
    image->l2_bits = header->cluster_bits - image->entry_bits;
    image->virtual_size = header->size;
    image->l1_table_offset = header->l1_table_offset;
    image->l1_size = header->l1_size;
    image->has_backing = header->backing_file_offset != 0 && header->backing_file_size != 0;
}

enum q2_status q2_image_open(struct q2_slice_cache *cache, struct q2_source *source,
                             struct q2_fault *fault, struct q2_image *ret_image)
{
    struct q2_image *image = ret_image;
    struct opening opening = {.cache = cache, .source = source, .image = image, .fault = fault};
    enum q2_status status;

    memset(image, 0, sizeof(*image));
    image->source = source;
    image->data = source;
    image->format = Q2_FORMAT_QCOW2;
    status = read_header(&opening);
    if (status != Q2_OK)
        return status;
    /* Form first, features second: where the feature names are stored depends on cluster_bits and
     * header_length. */
    status = q2_header_validate(&image->header, source->size, source->path, fault);
    if (status == Q2_OK)
        status = read_extensions(&opening);
    if (status == Q2_OK)
        status = check_features(&opening);
    if (status != Q2_OK)
        return status;
    derive(image);
    if (!image->has_backing)
        return Q2_OK;
    return read_string(&opening, image->header.backing_file_offset, image->header.backing_file_size,
                       "backing file name", image->backing_file, sizeof(image->backing_file));
}

void q2_image_open_raw(struct q2_source *source, struct q2_image *ret_image)
{
    memset(ret_image, 0, sizeof(*ret_image));
    ret_image->format = Q2_FORMAT_RAW;
    ret_image->source = source;
    ret_image->data = source;
    ret_image->virtual_size = source->size;
}

bool q2_file_is_dirty(struct q2_source *source)
{
    struct q2_header_disk disk;

    return source->size >= Q2_HEADER_V3_LENGTH &&
           source->ops->read_at(source, 0, &disk, Q2_HEADER_V3_LENGTH) == Q2_OK &&
           q2_be32_get(disk.magic) == Q2_MAGIC && q2_be32_get(disk.version) == 3 &&
           (q2_be64_get(disk.incompatible_features) & Q2_INCOMPAT_DIRTY) != 0;
}

enum q2_status q2_image_check_snapshot(const struct q2_image *image,
                                       const struct q2_snapshot *snapshot, struct q2_fault *fault)
{
    const char *path = image->source->path;
    uint64_t length = (uint64_t)snapshot->l1_size * 8;
    uint64_t needed = q2_shift_up(snapshot->virtual_size, q2_header_l1_reach_bits(&image->header));

    if (snapshot->l1_size > Q2_MAX_L1_ENTRIES)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "the snapshot's L1 table is too large", path,
                             "l1_size", snapshot->l1_size, Q2_MAX_L1_ENTRIES);
    if (snapshot->l1_size < needed)
        return q2_fail_limit(fault, Q2_ERR_BAD_SNAPSHOT,
                             "the snapshot's L1 table is too small for its size", path, "l1_size",
                             snapshot->l1_size, needed);
    if (length > 0 && (!q2_is_aligned(snapshot->l1_table_offset, image->rules.cluster_bits) ||
                       snapshot->l1_table_offset < 1ull << image->rules.cluster_bits))
        return q2_fail_value(fault, Q2_ERR_BAD_SNAPSHOT,
                             "the snapshot's L1 table does not start at a cluster of its own", path,
                             "l1_table_offset", snapshot->l1_table_offset);
    if (length > 0 && !q2_range_fits(snapshot->l1_table_offset, length, image->source->size))
        return q2_fail_limit(fault, Q2_ERR_TRUNCATED,
                             "the snapshot's L1 table ends past the end of the file", path,
                             "l1_table_offset", snapshot->l1_table_offset, image->source->size);
    return Q2_OK;
}

enum q2_status q2_image_use_snapshot(struct q2_image *image, const struct q2_snapshot *snapshot,
                                     struct q2_fault *fault)
{
    enum q2_status status = q2_image_check_snapshot(image, snapshot, fault);

    if (status != Q2_OK)
        return status;
    image->l1_table_offset = snapshot->l1_table_offset;
    image->l1_size = snapshot->l1_size;
    image->virtual_size = snapshot->virtual_size;
    image->is_snapshot = true;
    return Q2_OK;
}
