/* Filling, registering and freeing a RAM disk.
 *
 * May call boot services, Block I/O of the disk and EFI_RAM_DISK_PROTOCOL. Invariant: the memory is
 * freed only when no handle of the firmware has it any more.
 */
#include "ramdisk.h"

#include "drivers/crypto/wipe.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/base/memory_map.h"
#include "q2_fail.h"
#include "ramdisk_fit.h"

/* One read. Large reads are fast on every bus. */
#define STEP_SIZE (1u << 20)

/* EDK2's RAM disks have sectors of 512 bytes, and the protocol cannot ask for others. */
#define SECTOR_SIZE 512u

/* UEFI 2.10, 13.17. gnu-efi has no header for it. */
typedef struct {
    EFI_STATUS(EFIAPI *Register)
    (UINT64 RamDiskBase, UINT64 RamDiskSize, EFI_GUID *RamDiskType,
     EFI_DEVICE_PATH *ParentDevicePath, EFI_DEVICE_PATH **DevicePath);
    EFI_STATUS(EFIAPI *Unregister)(EFI_DEVICE_PATH *DevicePath);
} ram_disk_protocol;

static EFI_GUID ram_disk_guid = {
    0xab38a0df, 0x6873, 0x44a9, {0x87, 0xe6, 0xd4, 0xeb, 0x56, 0x14, 0x84, 0x49}};

/* UEFI 2.10, 10.3.5.9 "RAM Disk": a virtual disk, not a CD. */
static EFI_GUID virtual_disk_guid = {
    0x77ab535a, 0x45fc, 0x624b, {0x55, 0x60, 0xf7, 0xb2, 0x81, 0xd1, 0xf9, 0x6e}};

enum q2_status mc_ramdisk_check(const char *image, struct q2_fault *fault)
{
    if (mc_protocol_anywhere(&ram_disk_guid))
        return Q2_OK;
    return q2_fail(
        fault, Q2_ERR_UNSUPPORTED,
        "this firmware has no RAM disks (EFI_RAM_DISK_PROTOCOL); use 'mode overlay' with "
        "'handoff auto'",
        image);
}

/* Add up the free memory of the memory map. false: there is no memory to read the map into, or the
 * firmware does not give it. */
static bool count_memory(struct mc_ramdisk_memory *ret_memory)
{
    const EFI_MEMORY_DESCRIPTOR *piece;
    struct mc_memory_map map;
    UINTN at = 0;
    bool done = mc_memory_map_reserve(&map) && mc_memory_map_read(&map);

    *ret_memory = (struct mc_ramdisk_memory){.total = 0};
    while (done && (piece = mc_memory_map_next(&map, &at)) != NULL) {
        if (piece->Type == EfiConventionalMemory)
            mc_ramdisk_count(ret_memory, piece->NumberOfPages);
    }
    mc_memory_map_free(&map);
    return done;
}

/* Draw the bar once for each per cent, because a serial console is slow. */
static void draw(uint64_t before, uint64_t done, uint64_t total)
{
    if (done == total || done * 100 / total != before * 100 / total)
        mc_print_bar("unpacking into memory", done, total);
}

/* Read the whole disk into the memory. */
static enum q2_status read_all(const struct mc_ramdisk *ramdisk, EFI_BLOCK_IO_PROTOCOL *block_io,
                               const char *image, struct q2_fault *fault)
{
    for (uint64_t at = 0; at < ramdisk->size;) {
        uint64_t length = ramdisk->size - at < STEP_SIZE ? ramdisk->size - at : STEP_SIZE;
        void *to = (void *)(uintptr_t)(ramdisk->memory + at); /* our own pages */
        EFI_STATUS status = block_io->ReadBlocks(block_io, block_io->Media->MediaId,
                                                 at / SECTOR_SIZE, (UINTN)length, to);
        if (EFI_ERROR(status)) {
            mc_print("\n");
            return q2_fail_value(fault, Q2_ERR_IO, "the disk cannot be read into memory", image,
                                 "byte", at);
        }
        at += length;
        draw(at - length, at, ramdisk->size);
    }
    return Q2_OK;
}

/* Take memory for the disk if it suffices, and say so. Else the fault has the sentence. */
static enum q2_status take_memory(struct mc_ramdisk *ramdisk, const char *image,
                                  struct q2_fault *fault)
{
    static char sentence[320]; /* the fault points to it */
    struct q2_line text = q2_line_start(sentence, sizeof(sentence));
    struct mc_ramdisk_memory memory;

    if (!count_memory(&memory))
        return q2_fail_memory(fault);
    mc_ramdisk_put(&text, &memory, ramdisk->size);
    if (!mc_ramdisk_fits(&memory, ramdisk->size))
        return q2_fail(fault, Q2_ERR_LIMIT, sentence, image);
    mc_say(sentence);
    if (EFI_ERROR(mc_firmware.BootServices->AllocatePages(AllocateAnyPages, EfiReservedMemoryType,
                                                          EFI_SIZE_TO_PAGES((UINTN)ramdisk->size),
                                                          &ramdisk->memory))) {
        ramdisk->memory = 0;
        return q2_fail_memory(fault);
    }
    return Q2_OK;
}

enum q2_status mc_ramdisk_fill(struct mc_ramdisk *ramdisk, EFI_HANDLE disk, const char *image,
                               struct q2_fault *fault)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(disk, &mc_block_io_guid);
    enum q2_status status;

    if (!block_io || block_io->Media->BlockSize != SECTOR_SIZE)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "a RAM disk has sectors of 512 bytes, and this disk has larger ones; use "
                       "'handoff auto'",
                       image);
    ramdisk->size = (block_io->Media->LastBlock + 1) * SECTOR_SIZE;
    status = take_memory(ramdisk, image, fault);
    if (status == Q2_OK)
        status = read_all(ramdisk, block_io, image, fault);
    if (status != Q2_OK)
        mc_ramdisk_free(ramdisk);
    return status;
}

enum q2_status mc_ramdisk_register(struct mc_ramdisk *ramdisk, const char *image,
                                   struct q2_fault *fault, EFI_HANDLE *ret_handle)
{
    ram_disk_protocol *protocol = mc_protocol_anywhere(&ram_disk_guid);
    EFI_DEVICE_PATH *rest;

    if (protocol && !EFI_ERROR(protocol->Register(ramdisk->memory, ramdisk->size,
                                                  &virtual_disk_guid, NULL, &ramdisk->path))) {
        rest = ramdisk->path;
        if (!EFI_ERROR(
                mc_firmware.BootServices->LocateDevicePath(&mc_block_io_guid, &rest, ret_handle)))
            return Q2_OK;
    }
    return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                   "the firmware refuses the RAM disk; use 'mode overlay' with 'handoff auto'",
                   image);
}

void mc_ramdisk_free(struct mc_ramdisk *ramdisk)
{
    ram_disk_protocol *protocol = mc_protocol_anywhere(&ram_disk_guid);

    if (ramdisk->path && (!protocol || EFI_ERROR(protocol->Unregister(ramdisk->path)))) {
        mc_say("the firmware keeps the RAM disk; its memory stays taken until the next reset");
        return;
    }
    if (ramdisk->memory != 0) {
        q2_wipe((void *)(uintptr_t)ramdisk->memory, (size_t)ramdisk->size);
        (void)mc_firmware.BootServices->FreePages(ramdisk->memory,
                                                  EFI_SIZE_TO_PAGES((UINTN)ramdisk->size));
    }
    *ramdisk = (struct mc_ramdisk){.memory = 0};
}
