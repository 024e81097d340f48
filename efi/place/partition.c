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

/* The last hard drive node of a path: a partition in a partition has two. NULL: there is none. */
static const UINT8 *find_node(const EFI_DEVICE_PATH *path)
{
    const UINT8 *found = NULL;

    for (; path && !IsDevicePathEnd(path); path = NextDevicePathNode(path)) {
        if (DevicePathType(path) == MEDIA_DEVICE_PATH &&
            DevicePathSubType(path) == MEDIA_HARDDRIVE_DP &&
            DevicePathNodeLength(path) >= NODE_LENGTH)
            found = (const UINT8 *)path;
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

void mc_partition_get(EFI_HANDLE handle, struct q2_partition *ret_partition)
{
    const UINT8 *node = find_node(mc_protocol(handle, &mc_device_path_guid));
    const EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(handle, &mc_block_io_guid);
    struct q2_partition partition = {.kind = Q2_PARTITION_NONE};

    if (block_io) {
        partition.block_size = block_io->Media->BlockSize;
        partition.size = (block_io->Media->LastBlock + 1) * partition.block_size;
    }
    if (node) {
        bool is_gpt = node[NODE_SIGNATURE_TYPE] == SIGNATURE_TYPE_GUID;
        partition.kind = is_gpt ? Q2_PARTITION_GPT : Q2_PARTITION_MBR;
        partition.number = (uint32_t)number_at(node + NODE_NUMBER, 4);
        partition.start = number_at(node + NODE_START, 8) * partition.block_size;
        partition.size = number_at(node + NODE_SIZE, 8) * partition.block_size;
        if (node[NODE_SIGNATURE_TYPE] != 0)
            __builtin_memcpy(partition.signature, node + NODE_SIGNATURE, is_gpt ? 16 : 4);
    }
    *ret_partition = partition;
}
