/* Where a volume's partition is, from device paths and Block I/O as EDK2 makes them. */
#include "efi/base/firmware.h"
#include "efi/place/place.h"
#include "tests/support/t.h"

EFI_GUID mc_device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
EFI_GUID mc_block_io_guid = EFI_BLOCK_IO_PROTOCOL_GUID;

static struct {
    uint8_t path[200];
    size_t length;
    EFI_BLOCK_IO_MEDIA media;
    EFI_BLOCK_IO_PROTOCOL block_io;
} firmware;

void *mc_protocol(EFI_HANDLE handle, EFI_GUID *guid)
{
    (void)handle;
    return guid == &mc_device_path_guid ? (void *)firmware.path : (void *)&firmware.block_io;
}

static void put(uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        firmware.path[firmware.length++] = (uint8_t)(value >> (8 * i));
}

static void put_head(uint8_t type, uint8_t subtype, uint16_t length)
{
    put(type, 1);
    put(subtype, 1);
    put(length, 2);
}

/* A hard drive node; `type` 1: an MBR, with a signature of four bytes; 2: a GPT. */
static void put_drive(uint32_t number, uint64_t start, uint64_t size, uint8_t type, uint32_t id)
{
    put_head(4, 1, 42);
    put(number, 4);
    put(start, 8);
    put(size, 8);
    put(id, 4);
    for (int i = 0; i < 3; i++)
        put(type == 2 ? ~0u : 0, 4);
    put(type, 1);
    put(type, 1);
}

/* A volume of some bytes on a disk with blocks of block_size bytes. */
static void begin(uint64_t bytes, uint32_t block_size, bool logical)
{
    firmware.length = 0;
    firmware.media = (EFI_BLOCK_IO_MEDIA){
        .BlockSize = block_size, .LastBlock = bytes / block_size - 1, .LogicalPartition = logical};
    firmware.block_io.Media = &firmware.media;
    put_head(1, 1, 6); /* a PCI device */
    put(0x0300, 2);
}

static void check(enum q2_partition_kind kind, uint64_t start, uint64_t size, uint32_t block_size,
                  uint32_t id)
{
    struct q2_partition partition;
    uint32_t signature;

    put_head(0x7f, 0xff, 4);
    mc_partition_get(NULL, &partition);
    T_CHECK_U64(partition.kind, kind);
    T_CHECK_U64(partition.start, start);
    T_CHECK_U64(partition.size, size);
    T_CHECK_U64(partition.block_size, block_size);
    memcpy(&signature, partition.signature, sizeof(signature));
    T_CHECK_U64(signature, id);
}

static void test_partition_of_each_kind_is_where_its_node_says(void)
{
    begin(1 << 20, 512, false);
    check(Q2_PARTITION_NONE, 0, 1 << 20, 512, 0);
    begin(1 << 20, 512, true);
    put_drive(1, 2048, 2048, 1, 0x12345678);
    check(Q2_PARTITION_MBR, 1 << 20, 1 << 20, 512, 0x12345678);
    begin(1 << 20, 4096, true);
    put_drive(300, 512, 256, 2, 0x87654321);
    check(Q2_PARTITION_GPT, 2 << 20, 1 << 20, 4096, 0x87654321);
}

/* EDK2: the node of a logical partition has no signature, and counts from the start of the disk. */
static void test_partition_logical_has_the_signature_of_its_disk(void)
{
    begin(1 << 20, 512, true);
    put_drive(2, 2048, 65536, 1, 0x12345678);
    put_drive(1, 4096, 2048, 1, 0);
    check(Q2_PARTITION_MBR, 2 << 20, 1 << 20, 512, 0x12345678);
}

/* EDK2: a partition of an MBR has blocks of 512 bytes, and its node counts those of the disk. */
static void test_partition_of_an_mbr_on_large_sectors_has_those(void)
{
    begin(1 << 20, 512, true);
    put_drive(1, 256, 256, 1, 0x12345678);
    check(Q2_PARTITION_MBR, 1 << 20, 1 << 20, 4096, 0x12345678);
}

static void test_partition_without_a_place_is_unknown(void)
{
    struct q2_partition partition;

    begin(1 << 20, 512, true);
    put_head(4, 2, 24); /* El Torito */
    for (int i = 0; i < 5; i++)
        put(0, 4);
    check(Q2_PARTITION_UNKNOWN, 0, 1 << 20, 512, 0);
    begin(1 << 20, 512, true); /* a table inside of a partition */
    put_drive(1, 2048, 65536, 1, 0x12345678);
    put_drive(1, 34, 2048, 2, 0x87654321);
    put_head(0x7f, 0xff, 4);
    mc_partition_get(NULL, &partition);
    T_CHECK_U64(partition.kind, Q2_PARTITION_UNKNOWN);
}

int main(void)
{
    T_RUN(test_partition_of_each_kind_is_where_its_node_says);
    T_RUN(test_partition_logical_has_the_signature_of_its_disk);
    T_RUN(test_partition_of_an_mbr_on_large_sectors_has_those);
    T_RUN(test_partition_without_a_place_is_unknown);
    return t_done();
}
