/* Building the header cluster.
 *
 * May call mem*. Pure functions on a buffer. Invariant: nothing is written past to->size; `full`
 * says that something was left out.
 */
#include "header_write.h"

#include "extension.h"
#include "header.h"
#include "core/base/memory.h"
#include "core/base/text.h"

static void put(struct q2_header_bytes *to, const void *data, size_t length)
{
    if (length > to->size - to->length) {
        to->full = true;
        return;
    }
    memcpy(to->bytes + to->length, data, length);
    to->length += length;
}

static void pad(struct q2_header_bytes *to)
{
    static const uint8_t zeros[8];

    put(to, zeros, (8 - to->length % 8) % 8);
}

void q2_header_encode(const struct q2_header *header, struct q2_header_disk *ret_disk)
{
    *ret_disk = (struct q2_header_disk){
        .magic = q2_be32_make(Q2_MAGIC),
        .version = q2_be32_make(header->version),
        .backing_file_offset = q2_be64_make(header->backing_file_offset),
        .backing_file_size = q2_be32_make(header->backing_file_size),
        .cluster_bits = q2_be32_make(header->cluster_bits),
        .size = q2_be64_make(header->size),
        .crypt_method = q2_be32_make(header->crypt_method),
        .l1_size = q2_be32_make(header->l1_size),
        .l1_table_offset = q2_be64_make(header->l1_table_offset),
        .refcount_table_offset = q2_be64_make(header->refcount_table_offset),
        .refcount_table_clusters = q2_be32_make(header->refcount_table_clusters),
        .nb_snapshots = q2_be32_make(header->nb_snapshots),
        .snapshots_offset = q2_be64_make(header->snapshots_offset),
        .incompatible_features = q2_be64_make(header->incompatible_features),
        .compatible_features = q2_be64_make(header->compatible_features),
        .autoclear_features = q2_be64_make(header->autoclear_features),
        .refcount_order = q2_be32_make(header->refcount_order),
        .header_length = q2_be32_make(header->header_length),
        .compression_type = header->compression_type,
    };
}

void q2_header_bytes_start(struct q2_header_bytes *to, const struct q2_header *header)
{
    struct q2_header_disk disk;

    q2_header_encode(header, &disk);
    put(to, &disk, header->version == 2 ? Q2_HEADER_V2_LENGTH : sizeof(disk));
}

void q2_header_bytes_extension(struct q2_header_bytes *to, uint32_t type, const void *data,
                               size_t length)
{
    struct q2_extension_disk head = {q2_be32_make(type), q2_be32_make((uint32_t)length)};

    put(to, &head, sizeof(head));
    put(to, data, length);
    pad(to);
}

void q2_header_bytes_string(struct q2_header_bytes *to, uint32_t type, const char *string)
{
    if (string && string[0] != '\0')
        q2_header_bytes_extension(to, type, string, q2_text_length(string));
}

/* One row per feature bit: the names that QEMU gives them. */
static const struct q2_feature_name_disk feature_names[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};
_Static_assert(sizeof(feature_names) == 8 * 48, "one row per known feature bit");

void q2_header_bytes_features(struct q2_header_bytes *to, size_t reserve)
{
    size_t needed = sizeof(struct q2_extension_disk) + sizeof(feature_names) + reserve;

    if (needed <= to->size - to->length)
        q2_header_bytes_extension(to, Q2_EXTENSION_FEATURE_NAMES, feature_names,
                                  sizeof(feature_names));
}

void q2_header_bytes_end(struct q2_header_bytes *to, const char *backing_file)
{
    static const struct q2_extension_disk end;
    size_t length = backing_file ? q2_text_length(backing_file) : 0;
    be64 offset;
    be32 size = q2_be32_make((uint32_t)length);

    put(to, &end, sizeof(end));
    if (length == 0)
        return;
    offset = q2_be64_make(to->length);
    put(to, backing_file, length);
    memcpy(to->bytes + offsetof(struct q2_header_disk, backing_file_offset), &offset,
           sizeof(offset));
    memcpy(to->bytes + offsetof(struct q2_header_disk, backing_file_size), &size, sizeof(size));
}
