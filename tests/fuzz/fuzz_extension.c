/* Any bytes as the first cluster after a right header: extensions, names, feature table.
 *
 * The input is flags (1: external data file, 2: unknown feature), the place of the backing file's
 * name and its length (2 bytes each), and the bytes from 112 on.
 */
#include "fuzz_disk.h"

#include "core/format/header.h"
#include "core/read/image.h"

#define CLUSTER 65536

static uint8_t file_bytes[3 * CLUSTER];
static struct q2_slice_cache cache;
static struct q2_windows windows;

static void put(size_t offset, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++)
        file_bytes[offset + i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static void put_header(uint8_t flags, uint32_t name_offset, uint32_t name_size)
{
    put(offsetof(struct q2_header_disk, magic), 4, Q2_MAGIC);
    put(offsetof(struct q2_header_disk, version), 4, 3);
    put(offsetof(struct q2_header_disk, cluster_bits), 4, 16);
    put(offsetof(struct q2_header_disk, size), 8, CLUSTER);
    put(offsetof(struct q2_header_disk, l1_size), 4, 1);
    put(offsetof(struct q2_header_disk, l1_table_offset), 8, CLUSTER);
    put(offsetof(struct q2_header_disk, refcount_table_offset), 8, 2 * CLUSTER);
    put(offsetof(struct q2_header_disk, refcount_table_clusters), 4, 1);
    put(offsetof(struct q2_header_disk, incompatible_features), 8,
        (flags & 1 ? Q2_INCOMPAT_DATA_FILE : 0) | (flags & 2 ? 1ull << 9 : 0));
    put(offsetof(struct q2_header_disk, refcount_order), 4, 4);
    put(offsetof(struct q2_header_disk, header_length), 4, 112);
    put(offsetof(struct q2_header_disk, backing_file_offset), 8, name_offset);
    put(offsetof(struct q2_header_disk, backing_file_size), 4, name_size);
}

static void judge(const struct q2_image *image)
{
    require(strlen(image->backing_file) ==
            (image->has_backing ? image->header.backing_file_size : 0));
    require(strlen(image->data_file) <= Q2_MAX_NAME_LENGTH);
    require(strlen(image->backing_format) < sizeof(image->backing_format));
    require(image->has_data_file_name || image->data_file[0] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct q2_image image;
    struct fuzz_file file;
    struct q2_fault fault;
    enum q2_status status;

    if (size < 5 || size - 5 > CLUSTER - 112)
        return 0;
    memset(file_bytes, 0, CLUSTER);
    put_header(data[0], data[1] * 256u + data[2], data[3] * 256u + data[4]);
    memcpy(file_bytes + 112, data + 5, size - 5);
    fuzz_file_init(&file, "a", file_bytes, sizeof(file_bytes), 0, 1);
    q2_windows_clear(&windows);
    q2_slice_cache_init(&cache, &windows);
    status = q2_image_open(&cache, &file.source, &fault, &image);
    if (status != Q2_OK)
        judge_fault(&fault, status);
    else
        judge(&image);
    require(status != Q2_OK || !(data[0] & 2));
    require(file.nb_reads <= 2 * CLUSTER / Q2_SLICE_SIZE);
    return 0;
}
