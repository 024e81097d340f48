/* Any bytes as a header: what the check passes keeps the promises that the engine's arithmetic
 * stands on.
 *
 * The input is the file's size (8 bytes) and the header; a short one goes on with zeros.
 */
#include "fuzz_disk.h"

#include "core/format/header.h"

static void judge(const struct q2_header *h, uint64_t file_size)
{
    uint64_t cluster_size = 1ull << h->cluster_bits;
    uint64_t l1_length = (uint64_t)h->l1_size * 8;
    uint32_t reach = q2_header_l1_reach_bits(h);

    require(h->version == 2 || h->version == 3);
    require(h->cluster_bits >= Q2_MIN_CLUSTER_BITS && h->cluster_bits <= Q2_MAX_CLUSTER_BITS);
    require(h->refcount_order <= 6 && h->crypt_method <= 2 && h->compression_type <= 1);
    require(h->size <= 1ull << 62 && reach < 64);
    require(h->l1_size <= Q2_MAX_L1_ENTRIES);
    /* Every guest offset has its L1 entry, inside the file, and none of them on the header. */
    require(h->size == 0 || (h->size - 1) >> reach < h->l1_size);
    require(l1_length == 0 || h->l1_table_offset >= cluster_size);
    require(l1_length == 0 ||
            (h->l1_table_offset <= file_size && l1_length <= file_size - h->l1_table_offset));
    require(h->refcount_table_clusters > 0 && h->refcount_table_offset >= cluster_size);
    require((uint64_t)h->refcount_table_clusters * cluster_size <= Q2_MAX_REFCOUNT_TABLE_SIZE);
    require(h->refcount_table_offset < 1ull << 63);
    require(h->nb_snapshots == 0 ||
            (h->snapshots_offset >= cluster_size && h->snapshots_offset < 1ull << 63));
    require(h->header_length <= cluster_size);
    require(h->backing_file_offset == 0 ||
            h->backing_file_offset + h->backing_file_size <= cluster_size);
    require(!(h->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) || h->cluster_bits >= 14);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t file_size = fuzz_number(data, size, 0);
    struct q2_header_disk disk;
    struct q2_header header;
    struct q2_fault fault;
    enum q2_status status;

    if (size < 8)
        return 0;
    memset(&disk, 0, sizeof(disk));
    memcpy(&disk, data + 8, size - 8 < sizeof(disk) ? size - 8 : sizeof(disk));
    status = q2_header_identify(&disk, "a", &fault);
    if (status == Q2_OK) {
        q2_header_decode(&disk, &header);
        status = q2_header_validate(&header, file_size, "a", &fault);
    }
    if (status != Q2_OK)
        judge_fault(&fault, status);
    else
        judge(&header, file_size);
    return 0;
}
