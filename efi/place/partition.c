/* Where a volume's partition is stored on its disk.
 *
 * Calls boot services for the handle's device path and Block I/O. Invariant: what is not known is
 * zero, never guessed.
 */
#include "efi/base/firmware.h"
#include "place.h"

/* Fields of the hard drive node, which may be stored at any address.  (UEFI 2.10, 10.3.5.1 "Hard
 * Drive Media Device Path") */
#define NODE_NUMBER         4u
#define NODE_START          8u
#define NODE_SIZE           16u
#define NODE_SIGNATURE      24u
#define NODE_SIGNATURE_TYPE 41u
#define NODE_LENGTH         42

/* Hard drive nodes of a path: a partition in a partition has two. NULL: there is none. */
struct nodes {
    const UINT8 *first, *last;
};

static struct nodes find_nodes(const EFI_DEVICE_PATH *path)
{
    struct nodes found = {NULL, NULL};

    for (; path && !IsDevicePathEnd(path); path = NextDevicePathNode(path)) {
        if (DevicePathType(path) != MEDIA_DEVICE_PATH ||
            DevicePathSubType(path) != MEDIA_HARDDRIVE_DP ||
            DevicePathNodeLength(path) < NODE_LENGTH)
            continue;
        found.last = (const UINT8 *)path;
        if (!found.first)
            found.first = found.last;
    }
    return found;
}

static uint64_t number_at(const UINT8 *bytes, size_t width)
{
    uint64_t number = 0;

    while (width-- > 0)
        number = number << 8 | bytes[width];
    return number;
}

/* The blocks that a node counts in are those of the disk. EDK2 gives the partitions of an MBR
 * blocks of 512 bytes on any disk. */
static uint32_t disk_block_size(const UINT8 *node, const struct q2_partition *partition)
{
    uint64_t nb = number_at(node + NODE_SIZE, 8);

    return nb == 0 || partition->size % nb != 0 || partition->size / nb > UINT16_MAX
               ? partition->block_size
               : (uint32_t)(partition->size / nb);
}

/* A logical partition of an MBR is in the extended one, and has no signature in EDK2. The disk's is
 * in the first node; both count from the start of the disk. What else is in a partition counts from
 * there, and operating systems do not look for it. */
static void fill_partition(const struct nodes *nodes, struct q2_partition *partition)
{
    const UINT8 *node = nodes->last;
    bool is_gpt = node[NODE_SIGNATURE_TYPE] == SIGNATURE_TYPE_GUID;

    partition->kind = is_gpt ? Q2_PARTITION_GPT : Q2_PARTITION_MBR;
    partition->number = (uint32_t)number_at(node + NODE_NUMBER, 4);
    partition->block_size = disk_block_size(node, partition);
    partition->start = number_at(node + NODE_START, 8) * partition->block_size;
    partition->size = number_at(node + NODE_SIZE, 8) * partition->block_size;
    if (nodes->first != nodes->last &&
        (is_gpt || nodes->first[NODE_SIGNATURE_TYPE] != SIGNATURE_TYPE_MBR))
        partition->kind = Q2_PARTITION_UNKNOWN;
    if (!is_gpt)
        node = nodes->first;
    if (node[NODE_SIGNATURE_TYPE] != 0)
        __builtin_memcpy(partition->signature, node + NODE_SIGNATURE, is_gpt ? 16 : 4);
}

void mc_partition_get(EFI_HANDLE handle, struct q2_partition *ret_partition)
{
    const struct nodes nodes = find_nodes(mc_protocol(handle, &mc_device_path_guid));
    const EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(handle, &mc_block_io_guid);
    struct q2_partition partition = {.kind = Q2_PARTITION_NONE};

    if (block_io) {
        partition.block_size = block_io->Media->BlockSize;
        partition.size = (block_io->Media->LastBlock + 1) * partition.block_size;
        if (block_io->Media->LogicalPartition)
            partition.kind = Q2_PARTITION_UNKNOWN;
    }
    if (nodes.last)
        fill_partition(&nodes, &partition);
    *ret_partition = partition;
}
