/* The image header: decode, then validate.  (qcow2: "Header")
 *
 * May call q2_fail.h and range.h. Invariant: what validate() has passed can be multiplied and added
 * without wrapping: shifts are in range, tables are stored below 2^63.
 */
#include "header.h"

#include "q2_fail.h"
#include "core/base/range.h"

void q2_header_decode(const struct q2_header_disk *disk, struct q2_header *ret_header)
{
    struct q2_header header = {
        .version = q2_be32_get(disk->version),
        .backing_file_offset = q2_be64_get(disk->backing_file_offset),
        .backing_file_size = q2_be32_get(disk->backing_file_size),
        .cluster_bits = q2_be32_get(disk->cluster_bits),
        .size = q2_be64_get(disk->size),
        .crypt_method = q2_be32_get(disk->crypt_method),
        .l1_size = q2_be32_get(disk->l1_size),
        .l1_table_offset = q2_be64_get(disk->l1_table_offset),
        .refcount_table_offset = q2_be64_get(disk->refcount_table_offset),
        .refcount_table_clusters = q2_be32_get(disk->refcount_table_clusters),
        .nb_snapshots = q2_be32_get(disk->nb_snapshots),
        .snapshots_offset = q2_be64_get(disk->snapshots_offset),
        .refcount_order = 4, /* version 2: refcounts always have 16 bits */
        .header_length = Q2_HEADER_V2_LENGTH,
    };

    if (header.version >= 3) {
        header.incompatible_features = q2_be64_get(disk->incompatible_features);
        header.compatible_features = q2_be64_get(disk->compatible_features);
        header.autoclear_features = q2_be64_get(disk->autoclear_features);
        header.refcount_order = q2_be32_get(disk->refcount_order);
        header.header_length = q2_be32_get(disk->header_length);
        if (header.header_length > Q2_HEADER_V3_LENGTH)
            header.compression_type = disk->compression_type;
    }
    *ret_header = header;
}

enum q2_status q2_header_identify(const struct q2_header_disk *disk, const char *path,
                                  struct q2_fault *fault)
{
    uint32_t version = q2_be32_get(disk->version);

    if (q2_be32_get(disk->magic) != Q2_MAGIC)
        return q2_fail(fault, Q2_ERR_BAD_MAGIC, NULL, path);
    if (version < 2 || version > 3)
        return q2_fail_value(fault, Q2_ERR_VERSION, NULL, path, "version", version);
    return Q2_OK;
}

/* A number that must be between two bounds. */
struct range_rule {
    const char *field;
    uint64_t min, max;
    enum q2_status over; /* the status when above max: a breach, or a limit of ours */
};

enum {
    RULE_CLUSTER_BITS,
    RULE_CRYPT,
    RULE_REFCOUNT_ORDER,
    RULE_RT_CLUSTERS,
    RULE_BACKING_SIZE,
    RULE_L1_SIZE,
    RULE_SIZE,
    NB_RULES
};

/* One row per field with bounds of its own. */
static const struct range_rule range_rules[] = {
    [RULE_CLUSTER_BITS] = {"cluster_bits", Q2_MIN_CLUSTER_BITS, Q2_MAX_CLUSTER_BITS, Q2_ERR_LIMIT},
    [RULE_CRYPT] = {"crypt_method", 0, 2, Q2_ERR_BAD_HEADER},
    [RULE_REFCOUNT_ORDER] = {"refcount_order", 0, 6, Q2_ERR_BAD_HEADER},
    [RULE_RT_CLUSTERS] = {"refcount_table_clusters", 1, Q2_MAX_REFCOUNT_TABLE_SIZE >> 9,
                          Q2_ERR_LIMIT},
    [RULE_BACKING_SIZE] = {"backing_file_size", 0, Q2_MAX_NAME_LENGTH, Q2_ERR_BAD_HEADER},
    [RULE_L1_SIZE] = {"l1_size", 0, Q2_MAX_L1_ENTRIES, Q2_ERR_LIMIT},
    [RULE_SIZE] = {"size", 0, (1ull << 62), Q2_ERR_LIMIT},
};
_Static_assert(sizeof(range_rules) / sizeof(range_rules[0]) == NB_RULES, "one row per rule");

static enum q2_status check_ranges(const struct q2_header *header, const char *path,
                                   struct q2_fault *fault)
{
    const uint64_t values[NB_RULES] = {
        [RULE_CLUSTER_BITS] = header->cluster_bits,
        [RULE_CRYPT] = header->crypt_method,
        [RULE_REFCOUNT_ORDER] = header->refcount_order,
        [RULE_RT_CLUSTERS] = header->refcount_table_clusters,
        [RULE_BACKING_SIZE] = header->backing_file_offset ? header->backing_file_size : 0,
        [RULE_L1_SIZE] = header->l1_size,
        [RULE_SIZE] = header->size,
    };

    for (size_t i = 0; i < NB_RULES; i++) {
        const struct range_rule *rule = &range_rules[i];
        if (values[i] < rule->min)
            return q2_fail_limit(fault, Q2_ERR_BAD_HEADER, "header field is too small", path,
                                 rule->field, values[i], rule->min);
        if (values[i] > rule->max)
            return q2_fail_limit(fault, rule->over, "header field is too large", path, rule->field,
                                 values[i], rule->max);
    }
    return Q2_OK;
}

static enum q2_status check_header_length(const struct q2_header *header, const char *path,
                                          struct q2_fault *fault)
{
    if (header->version == 2)
        return Q2_OK;
    if (header->header_length < Q2_HEADER_V3_LENGTH)
        return q2_fail_limit(fault, Q2_ERR_BAD_HEADER, "header field is too small", path,
                             "header_length", header->header_length, Q2_HEADER_V3_LENGTH);
    if (header->header_length > 1ull << header->cluster_bits)
        return q2_fail_limit(fault, Q2_ERR_BAD_HEADER, "header field is too large", path,
                             "header_length", header->header_length, 1ull << header->cluster_bits);
    if (!q2_is_aligned(header->header_length, 3))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER, "header field is not a multiple of 8", path,
                             "header_length", header->header_length);
    return Q2_OK;
}

/* A table must start at a cluster, after the header's own, and end below 2^63. */
static enum q2_status check_table(const struct q2_header *header, const char *field,
                                  uint64_t offset, uint64_t length, const char *path,
                                  struct q2_fault *fault)
{
    if (length == 0)
        return Q2_OK;
    if (!q2_is_aligned(offset, header->cluster_bits))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER, "table does not start at a cluster", path,
                             field, offset);
    if (offset < 1ull << header->cluster_bits)
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER, "table overlaps the header", path, field,
                             offset);
    if (!q2_range_fits(offset, length, INT64_MAX))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER, "table ends past 2^63", path, field, offset);
    return Q2_OK;
}

static enum q2_status check_tables(const struct q2_header *header, uint64_t file_size,
                                   const char *path, struct q2_fault *fault)
{
    uint64_t l1_length = (uint64_t)header->l1_size * 8;
    uint64_t rt_length = (uint64_t)header->refcount_table_clusters << header->cluster_bits;
    enum q2_status status;

    if (rt_length > Q2_MAX_REFCOUNT_TABLE_SIZE)
        return q2_fail_limit(fault, Q2_ERR_LIMIT, "header field is too large", path,
                             "refcount_table_clusters", header->refcount_table_clusters,
                             Q2_MAX_REFCOUNT_TABLE_SIZE >> header->cluster_bits);
    status =
        check_table(header, "l1_table_offset", header->l1_table_offset, l1_length, path, fault);
    if (status != Q2_OK)
        return status;
    status = check_table(header, "refcount_table_offset", header->refcount_table_offset, rt_length,
                         path, fault);
    if (status != Q2_OK)
        return status;
    status = check_table(header, "snapshots_offset", header->snapshots_offset, header->nb_snapshots,
                         path, fault);
    if (status != Q2_OK)
        return status;
    if (q2_ranges_overlap(header->l1_table_offset, l1_length, header->refcount_table_offset,
                          rt_length))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER, "L1 table and refcount table overlap", path,
                             "l1_table_offset", header->l1_table_offset);
    if (!q2_range_fits(header->l1_table_offset, l1_length, file_size) && l1_length > 0)
        return q2_fail_limit(fault, Q2_ERR_TRUNCATED, "the L1 table ends past the end of the file",
                             path, "l1_table_offset", header->l1_table_offset, file_size);
    return Q2_OK;
}

/* The L1 table must reach the disk's end; more entries (for a VM state) are allowed. */
static enum q2_status check_l1_reach(const struct q2_header *header, const char *path,
                                     struct q2_fault *fault)
{
    uint64_t needed = q2_shift_up(header->size, q2_header_l1_reach_bits(header));

    if (header->l1_size < needed)
        return q2_fail_limit(fault, Q2_ERR_BAD_HEADER,
                             "the L1 table is too small for the virtual size", path, "l1_size",
                             header->l1_size, needed);
    return Q2_OK;
}

/* The backing file's name is stored after the header and inside the first cluster. */
static enum q2_status check_backing(const struct q2_header *header, const char *path,
                                    struct q2_fault *fault)
{
    uint64_t cluster_size = 1ull << header->cluster_bits;

    if (header->backing_file_offset == 0)
        return Q2_OK;
    if (header->backing_file_offset < header->header_length ||
        !q2_range_fits(header->backing_file_offset, header->backing_file_size, cluster_size))
        return q2_fail_limit(fault, Q2_ERR_BAD_HEADER,
                             "the backing file name is outside the first cluster", path,
                             "backing_file_offset", header->backing_file_offset, cluster_size);
    return Q2_OK;
}

/* Feature bits against each other and against the fields they speak of. */
static enum q2_status check_features(const struct q2_header *header, const char *path,
                                     struct q2_fault *fault)
{
    bool compression_bit = (header->incompatible_features & Q2_INCOMPAT_COMPRESSION) != 0;

    if (compression_bit != (header->compression_type != Q2_COMPRESSION_ZLIB))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER,
                             "the compression type and its feature bit disagree", path,
                             "compression_type", header->compression_type);
    if (header->compression_type > Q2_COMPRESSION_ZSTD)
        return q2_fail_value(fault, Q2_ERR_UNSUPPORTED, "unknown compression type", path,
                             "compression_type", header->compression_type);
    if ((header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) && header->cluster_bits < 14)
        return q2_fail_limit(fault, Q2_ERR_BAD_HEADER,
                             "extended L2 entries need clusters of at least 16 KiB", path,
                             "cluster_bits", header->cluster_bits, 14);
    /* (qcow2: autoclear bit 1 "may only be set if" the other one is) QEMU, too, opens such an image
     * for `info` alone: "data-file-raw requires a data file". */
    if ((header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) &&
        !(header->incompatible_features & Q2_INCOMPAT_DATA_FILE))
        return q2_fail_value(fault, Q2_ERR_BAD_HEADER,
                             "raw external data without an external data file", path,
                             "autoclear_features", header->autoclear_features);
    return Q2_OK;
}

enum q2_status q2_header_validate(const struct q2_header *header, uint64_t file_size,
                                  const char *path, struct q2_fault *fault)
{
    enum q2_status status = check_ranges(header, path, fault);

    if (status == Q2_OK)
        status = check_header_length(header, path, fault);
    if (status == Q2_OK)
        status = check_features(header, path, fault);
    if (status == Q2_OK)
        status = check_tables(header, file_size, path, fault);
    if (status == Q2_OK)
        status = check_l1_reach(header, path, fault);
    if (status == Q2_OK)
        status = check_backing(header, path, fault);
    return status;
}

uint32_t q2_header_l1_reach_bits(const struct q2_header *header)
{
    uint32_t entry_bits = header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2 ? 4 : 3;

    return header->cluster_bits + (header->cluster_bits - entry_bits);
}
