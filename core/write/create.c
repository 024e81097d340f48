/* Making images.
 *
 * Beside the data path: tools/ -> q2_create() -> header_write.c, source. Layout: header, refcount
 * table, refcount blocks, L1 table, encryption header, each in a row of its own clusters, so that
 * every offset is known before anything is written. Invariant: the first sector of the header is
 * written last, after a flush.
 */
#include "q2_create.h"

#include "q2_cipher.h"
#include "core/read/disk.h"
#include "q2_fail.h"
#include "core/format/extension.h"
#include "core/format/header.h"
#include "core/format/header_write.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/base/text.h"

/* What a disk writes whole. */
#define HEADER_SECTOR 512u

/* One image being made. */
struct making {
    struct q2_source *image;
    const struct q2_create_options *options;
    struct q2_fault *fault;
    uint8_t *buffer; /* Q2_BOUNCE_SIZE bytes of the workspace */
    struct q2_header header;
    uint64_t nb_blocks;     /* refcount blocks */
    uint64_t nb_l1;         /* clusters of the L1 table */
    uint64_t encryption;    /* offset of the encryption header */
    uint64_t nb_encryption; /* its clusters; 0: the image is not encrypted */
    uint64_t nb_clusters;   /* all of them */
};

/* An option that must not be: its name, and whether it is at fault. */
struct option_rule {
    const char *field, *what;
    bool broken;
};

/* A name that no reader would take. */
static bool is_longer(const char *name, size_t length)
{
    return name && q2_text_length(name) > length;
}

static enum q2_status check_options(const struct making *m)
{
    const struct q2_create_options *o = m->options;
    uint32_t bits = o->cluster_bits, refcount_bits = o->refcount_bits;
    bool v2 = o->version == 2;
    const struct option_rule rules[] = {
        {"compat", "unknown version", o->version != 0 && o->version != 2 && o->version != 3},
        {"cluster_size", "the cluster size must be a power of two from 512 to 2M",
         bits != 0 && (bits < Q2_MIN_CLUSTER_BITS || bits > Q2_MAX_CLUSTER_BITS)},
        {"refcount_bits", "the refcount width must be a power of two from 1 to 64",
         refcount_bits > 64 || (refcount_bits != 0 && !q2_is_power_of_two(refcount_bits))},
        {"refcount_bits", "version 2 has refcounts of 16 bits only",
         v2 && refcount_bits != 0 && refcount_bits != 16},
        {"compression_type", "unknown compression type", o->compression_type > Q2_COMPRESSION_ZSTD},
        {"compression_type", "version 2 has zlib only",
         v2 && o->compression_type != Q2_COMPRESSION_ZLIB},
        {"extended_l2", "extended L2 entries need version 3", v2 && o->extended_l2},
        {"extended_l2", "extended L2 entries need clusters of at least 16 KiB",
         o->extended_l2 && bits != 0 && bits < 14},
        {"lazy_refcounts", "lazy refcounts need version 3", v2 && o->lazy_refcounts},
        {"data_file", "an external data file needs version 3", v2 && o->external_data},
        {"data_file", "a data file name without external data", o->data_file && !o->external_data},
        {"data_file_raw", "raw external data without external data",
         o->raw_external_data && !o->external_data},
        {"data_file_raw", "raw external data does not go with a backing file",
         o->raw_external_data && o->backing_file},
        {"data_file_raw", "raw external data cannot be encrypted",
         o->raw_external_data && o->encryption_length > 0},
        {"backing_fmt", "a backing format without a backing file",
         o->backing_format && !o->backing_file},
        {"backing_file", "the name is too long", is_longer(o->backing_file, Q2_MAX_NAME_LENGTH)},
        {"data_file", "the name is too long", is_longer(o->data_file, Q2_MAX_NAME_LENGTH)},
        {"backing_fmt", "the name is too long", is_longer(o->backing_format, Q2_MAX_FORMAT_LENGTH)},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (rules[i].broken) {
            (void)q2_fail(m->fault, Q2_ERR_ARGUMENT, rules[i].what, m->image->path);
            m->fault->field = rules[i].field;
            return Q2_ERR_ARGUMENT;
        }
    }
    return Q2_OK;
}

static void fill_header(struct making *m)
{
    const struct q2_create_options *o = m->options;
    struct q2_header *header = &m->header;

    header->version = o->version ? o->version : 3;
    header->cluster_bits = o->cluster_bits ? o->cluster_bits : 16;
    header->size = q2_shift_up(o->virtual_size, 9) << 9;
    header->refcount_order = o->refcount_bits ? q2_log2(o->refcount_bits) : 4;
    header->header_length = sizeof(struct q2_header_disk);
    header->compression_type = (uint8_t)o->compression_type;
    header->crypt_method = o->encryption_length > 0 ? Q2_CRYPT_LUKS : Q2_CRYPT_NONE;
    if (o->compression_type != Q2_COMPRESSION_ZLIB)
        header->incompatible_features |= Q2_INCOMPAT_COMPRESSION;
    if (o->extended_l2)
        header->incompatible_features |= Q2_INCOMPAT_EXTENDED_L2;
    if (o->external_data)
        header->incompatible_features |= Q2_INCOMPAT_DATA_FILE;
    if (o->lazy_refcounts)
        header->compatible_features |= Q2_COMPAT_LAZY_REFCOUNTS;
    if (o->raw_external_data)
        header->autoclear_features |= Q2_AUTOCLEAR_RAW_EXTERNAL;
}

/* Where everything is stored: the refcount blocks must cover all clusters, their own too. */
static void lay_out(struct making *m, uint64_t nb_l1_entries)
{
    struct q2_header *header = &m->header;
    uint32_t bits = header->cluster_bits;
    uint32_t block_bits = bits + 3 - header->refcount_order;
    uint64_t nb_table = 1;

    m->nb_l1 = q2_shift_up(nb_l1_entries * 8, bits);
    m->nb_encryption = q2_shift_up(m->options->encryption_length, bits);
    m->nb_blocks = 1;
    do {
        m->nb_clusters = 1 + nb_table + m->nb_blocks + m->nb_l1 + m->nb_encryption;
        m->nb_blocks = q2_shift_up(m->nb_clusters, block_bits);
        nb_table = q2_shift_up(m->nb_blocks * 8, bits);
    } while (m->nb_clusters < 1 + nb_table + m->nb_blocks + m->nb_l1 + m->nb_encryption);
    header->refcount_table_offset = 1ull << bits;
    header->refcount_table_clusters = (uint32_t)nb_table;
    header->l1_size = (uint32_t)nb_l1_entries;
    header->l1_table_offset = (1 + nb_table + m->nb_blocks) << bits;
    m->encryption = header->l1_table_offset + (m->nb_l1 << bits);
}

static enum q2_status plan(struct making *m)
{
    uint64_t nb_l1_entries = q2_shift_up(m->header.size, q2_header_l1_reach_bits(&m->header));

    /* The option, not the header: rounded up, 2^64 - 1 is 0. */
    if (m->options->virtual_size > 1ull << 62)
        return q2_fail_limit(m->fault, Q2_ERR_LIMIT, "the virtual size is too large",
                             m->image->path, "size", m->options->virtual_size, 1ull << 62);
    if (nb_l1_entries > Q2_MAX_L1_ENTRIES)
        return q2_fail_limit(m->fault, Q2_ERR_LIMIT, "the virtual size needs too large an L1 table",
                             m->image->path, "l1_size", nb_l1_entries, Q2_MAX_L1_ENTRIES);
    lay_out(m, nb_l1_entries);
    return Q2_OK;
}

static enum q2_status failed(const struct making *m, enum q2_status status)
{
    return q2_fail(m->fault, status, "the image cannot be written", m->image->path);
}

/* Entries 1, 1, .. for nb_ones refcounts, as bytes; returns how many bytes they fill. */
static size_t encode_ones(const struct making *m, uint64_t nb_ones)
{
    uint32_t order = m->header.refcount_order;
    uint8_t *to = m->buffer;

    if (order >= 3) {
        size_t width = (size_t)1 << (order - 3);
        for (uint64_t i = 0; i < nb_ones; i++)
            to[i * width + width - 1] = 1;
        return (size_t)nb_ones * width;
    }
    for (uint64_t i = 0; i < nb_ones; i++)
        to[i >> (3 - order)] |= (uint8_t)(1u << ((i & ((8u >> order) - 1)) << order));
    return (size_t)q2_shift_up(nb_ones, 3 - order);
}

/* All refcounts are 1 from the first cluster on, and the blocks are in a row: one run of ones, in
 * pieces that fit the buffer. */
static enum q2_status write_refcounts(struct making *m)
{
    const struct q2_header *header = &m->header;
    uint64_t at = header->refcount_table_offset +
                  ((uint64_t)header->refcount_table_clusters << header->cluster_bits);
    uint64_t nb_left = m->nb_clusters;

    while (nb_left > 0) {
        uint64_t nb = q2_min_u64(nb_left, Q2_BOUNCE_SIZE / 8);
        size_t length;
        enum q2_status status;

        memset(m->buffer, 0, Q2_BOUNCE_SIZE);
        length = encode_ones(m, nb);
        status = m->image->ops->write_at(m->image, at, m->buffer, length);
        if (status != Q2_OK)
            return failed(m, status);
        at += length;
        nb_left -= nb;
    }
    return Q2_OK;
}

static enum q2_status write_refcount_table(struct making *m)
{
    uint64_t table = m->header.refcount_table_offset;
    uint32_t bits = m->header.cluster_bits;
    uint64_t first = table + ((uint64_t)m->header.refcount_table_clusters << bits);

    for (uint64_t i = 0; i < m->nb_blocks; i++) {
        be64 entry = q2_be64_make(first + (i << bits));
        enum q2_status status =
            m->image->ops->write_at(m->image, table + i * 8, &entry, sizeof(entry));
        if (status != Q2_OK)
            return failed(m, status);
    }
    return Q2_OK;
}

static enum q2_status write_encryption(struct making *m)
{
    const struct q2_create_options *o = m->options;
    enum q2_status status = Q2_OK;

    if (m->nb_encryption > 0)
        status =
            m->image->ops->write_at(m->image, m->encryption, o->encryption, o->encryption_length);
    return status == Q2_OK ? Q2_OK : failed(m, status);
}

/* (qcow2: "Full disk encryption header pointer") */
static void add_encryption(const struct making *m, struct q2_header_bytes *to)
{
    const struct q2_encryption_disk pointer = {q2_be64_make(m->encryption),
                                               q2_be64_make(m->options->encryption_length)};

    if (m->nb_encryption > 0)
        q2_header_bytes_extension(to, Q2_EXTENSION_ENCRYPTION, &pointer, sizeof(pointer));
}

/* Write the header's bytes. A sector reaches the file whole or not at all, so the first one,
 * without which nothing opens, waits until all else is durable. */
static enum q2_status store_header(struct making *m, size_t length)
{
    size_t first = (size_t)q2_min_u64(length, HEADER_SECTOR);
    enum q2_status status = Q2_OK;

    if (length > first)
        status = m->image->ops->write_at(m->image, first, m->buffer + first, length - first);
    if (status == Q2_OK)
        status = m->image->ops->flush(m->image);
    if (status == Q2_OK)
        status = m->image->ops->write_at(m->image, 0, m->buffer, first);
    if (status == Q2_OK)
        status = m->image->ops->flush(m->image);
    return status == Q2_OK ? Q2_OK : failed(m, status);
}

static enum q2_status write_header(struct making *m)
{
    const struct q2_create_options *o = m->options;
    size_t size = (size_t)q2_min_u64(1ull << m->header.cluster_bits, Q2_BOUNCE_SIZE);
    struct q2_header_bytes to = {.bytes = m->buffer, .size = size};
    size_t reserve = sizeof(struct q2_extension_disk);

    if (o->backing_file)
        reserve += q2_text_length(o->backing_file);
    q2_header_bytes_start(&to, &m->header);
    q2_header_bytes_string(&to, Q2_EXTENSION_BACKING_FORMAT, o->backing_format);
    q2_header_bytes_string(&to, Q2_EXTENSION_DATA_FILE, o->data_file);
    add_encryption(m, &to);
    if (m->header.version >= 3)
        q2_header_bytes_features(&to, reserve);
    q2_header_bytes_end(&to, o->backing_file);
    if (to.full)
        return q2_fail_limit(m->fault, Q2_ERR_LIMIT, "the names do not fit into the first cluster",
                             m->image->path, "cluster_size", size, size);
    return store_header(m, to.length);
}

/* The file ends with the L1 table's last entry or with the last cluster of the encryption header,
 * as QEMU's do. */
static uint64_t file_size(const struct making *m)
{
    return m->nb_encryption > 0 ? m->nb_clusters << m->header.cluster_bits
                                : m->header.l1_table_offset + m->header.l1_size * 8ull;
}

/* What a device held is overwritten by zeros, as far as the metadata goes. From the header on: an
 * old image there does not open any more. */
static enum q2_status clear_device(struct making *m)
{
    uint64_t length = m->nb_clusters << m->header.cluster_bits;
    enum q2_status status = Q2_OK;

    if (m->image->size < length)
        return q2_fail_limit(m->fault, Q2_ERR_LIMIT,
                             "the device is too small for the new image's metadata", m->image->path,
                             "length", length, m->image->size);
    memset(m->buffer, 0, Q2_BOUNCE_SIZE);
    for (uint64_t at = 0; at < length && status == Q2_OK; at += Q2_BOUNCE_SIZE)
        status = m->image->ops->write_at(m->image, at, m->buffer,
                                         (size_t)q2_min_u64(length - at, Q2_BOUNCE_SIZE));
    if (status == Q2_OK)
        status = m->image->ops->flush(m->image);
    return status == Q2_OK ? Q2_OK : failed(m, status);
}

/* Have zeros where the metadata is going to be. */
static enum q2_status make_room(struct making *m)
{
    enum q2_status status;

    if (!m->image->ops->grow)
        return clear_device(m);
    if (m->image->size != 0)
        return q2_fail(m->fault, Q2_ERR_ARGUMENT, "a new image needs an empty file",
                       m->image->path);
    status = m->image->ops->grow(m->image, file_size(m));
    return status == Q2_OK ? Q2_OK : failed(m, status);
}

enum q2_status q2_create(void *workspace, struct q2_source *image,
                         const struct q2_create_options *options, struct q2_fault *fault)
{
    struct q2_disk *disk = workspace;
    struct making m = {
        .image = image, .options = options, .fault = fault, .buffer = disk->writer.bounce};
    enum q2_status status = check_options(&m);

    if (status != Q2_OK)
        return status;
    fill_header(&m);
    status = plan(&m);
    if (status != Q2_OK)
        return status;
    status = make_room(&m);
    if (status != Q2_OK)
        return status;
    status = write_refcounts(&m);
    if (status == Q2_OK)
        status = write_refcount_table(&m);
    if (status == Q2_OK)
        status = write_encryption(&m);
    return status == Q2_OK ? write_header(&m) : status;
}
