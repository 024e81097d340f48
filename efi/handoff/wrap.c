/* Wrapping a loader's LoadFile2.
 *
 * The firmware calls in: on_installed() after a LoadFile2 was installed, load_file() when a kernel
 * asks for its initrd. Invariant: a struct of a loader is written to only while the firmware lists
 * it at the initrd's path, or to give back what was replaced there.
 */
#include "wrap.h"

#include "core/base/range.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "initrd_path.h"
#include "own.h"
#include "pe.h"

/* EFI_MEMORY_ATTRIBUTE_PROTOCOL (UEFI 2.10, 37 "Secure Technologies"). gnu-efi does not declare it.
 */
struct memory_attribute {
    EFI_STATUS(EFIAPI *GetMemoryAttributes)
    (struct memory_attribute *This, EFI_PHYSICAL_ADDRESS Base, UINT64 Length, UINT64 *Attributes);
};
static EFI_GUID memory_attribute_guid = {
    0xf4560cf6, 0x40ec, 0x4b4a, {0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89}};
#define MEMORY_READ_ONLY 0x20000u

static struct {
    struct mc_memory_map *map;
    struct mc_payload *payload;
    EFI_EVENT installed;
    VOID *registration;
    struct mc_load_file2 *theirs; /* the struct that is wrapped; NULL: none */
    EFI_STATUS(EFIAPI *OriginalLoadFile)
    (struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath, BOOLEAN BootPolicy, UINTN *BufferSize,
     VOID *Buffer);
    enum mc_payload_for whose;
} wrap;

/* The PE image that holds an address of code, found by going back page by page: shim starts loaders
 * without telling the firmware, so LoadedImage does not know them all. */
static const uint8_t *image_of(const struct mc_memory_map *map, uint64_t address,
                               size_t *ret_length)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = mc_memory_map_find(map, address);
    uint64_t start = address & ~(uint64_t)(EFI_PAGE_SIZE - 1);

    while (descriptor && start >= descriptor->PhysicalStart) {
        uint64_t end = descriptor->PhysicalStart + descriptor->NumberOfPages * EFI_PAGE_SIZE;
        const uint8_t *bytes = (const uint8_t *)(uintptr_t)start;
        uint32_t size;
        *ret_length = (size_t)(end - start);
        if (mc_pe_size(bytes, *ret_length, &size) && address - start < size)
            return bytes;
        if (start < EFI_PAGE_SIZE)
            return NULL;
        start -= EFI_PAGE_SIZE;
        if (start < descriptor->PhysicalStart) /* headers may have a descriptor of their own */
            descriptor = mc_memory_map_find(map, start);
    }
    return NULL;
}

static enum mc_payload_for owner_of(uint64_t function)
{
    const uint8_t *image;
    size_t length;

    if (!mc_memory_map_read(wrap.map))
        return MC_PAYLOAD_FOR_UKI; /* the careful answer */
    image = image_of(wrap.map, function, &length);
    return image && mc_pe_has_section(image, length, ".linux") ? MC_PAYLOAD_FOR_UKI
                                                               : MC_PAYLOAD_FOR_LOADER;
}

static bool may_be_written(const struct mc_load_file2 *theirs)
{
    struct memory_attribute *attribute = mc_protocol_anywhere(&memory_attribute_guid);
    EFI_PHYSICAL_ADDRESS page = (uintptr_t)theirs & ~(uintptr_t)(EFI_PAGE_SIZE - 1);
    UINT64 attributes = 0;

    return !attribute ||
           EFI_ERROR(attribute->GetMemoryAttributes(attribute, page, EFI_PAGE_SIZE, &attributes)) ||
           (attributes & MEMORY_READ_ONLY) == 0;
}

/* A kernel asks for its initrd. The original is asked for its size each time, and once for its
 * bytes: GRUB closes its files after that. */
static EFI_STATUS EFIAPI load_file(struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath,
                                   BOOLEAN BootPolicy, UINTN *BufferSize, VOID *Buffer)
{
    UINTN their_size = 0, size;
    const uint8_t *ours;
    size_t our_size;
    EFI_STATUS status;

    if (This != wrap.theirs || !wrap.OriginalLoadFile)
        return EFI_NOT_FOUND;
    ours =
        BootPolicy || !BufferSize ? NULL : wrap.payload->get(wrap.payload, wrap.whose, &our_size);
    if (!ours)
        return wrap.OriginalLoadFile(This, FilePath, BootPolicy, BufferSize, Buffer);
    status = wrap.OriginalLoadFile(This, FilePath, FALSE, &their_size, NULL);
    if (status != EFI_BUFFER_TOO_SMALL && status != EFI_SUCCESS)
        return status;
    size = *BufferSize;
    status = mc_initrd_answer(their_size, ours, our_size, BufferSize, Buffer);
    if (EFI_ERROR(status))
        return status;
    size = their_size;
    status = wrap.OriginalLoadFile(This, FilePath, FALSE, &size, Buffer);
    /* A loader's initrd of 0 bytes has nothing to store. */
    return status == EFI_BUFFER_TOO_SMALL && their_size == 0 ? EFI_SUCCESS : status;
}

static void give_back(void)
{
    EFI_HANDLE handle;

    if (wrap.theirs && mc_initrd_find(&handle) == wrap.theirs && wrap.theirs->LoadFile == load_file)
        wrap.theirs->LoadFile = wrap.OriginalLoadFile;
    wrap.theirs = NULL;
    wrap.OriginalLoadFile = NULL;
}

static VOID EFIAPI on_installed(EFI_EVENT event, VOID *context)
{
    EFI_HANDLE handle;
    struct mc_load_file2 *found = mc_initrd_find(&handle);

    (void)event;
    (void)context;
    if (!found || mc_initrd_own_is(found) || found->LoadFile == load_file)
        return;
    if (!may_be_written(found)) {
        mc_say("nothing can be added to the files that Linux starts with (initrd), because the "
               "firmware protects their memory; the running system will not find its disk");
        return;
    }
    wrap.theirs = found;
    wrap.OriginalLoadFile = found->LoadFile;
    wrap.whose = owner_of((uintptr_t)found->LoadFile);
    found->LoadFile = load_file;
}

EFI_STATUS mc_initrd_wrap_start(struct mc_memory_map *map, struct mc_payload *payload)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_STATUS status;

    wrap.map = map;
    wrap.payload = payload;
    status =
        services->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_installed, NULL, &wrap.installed);
    if (EFI_ERROR(status))
        return status;
    status =
        services->RegisterProtocolNotify(&mc_load_file2_guid, wrap.installed, &wrap.registration);
    if (EFI_ERROR(status)) {
        (void)services->CloseEvent(wrap.installed);
        wrap.installed = NULL;
        return status;
    }
    on_installed(NULL, NULL);
    return EFI_SUCCESS;
}

void mc_initrd_wrap_stop(void)
{
    give_back();
    if (wrap.installed)
        (void)mc_firmware.BootServices->CloseEvent(wrap.installed);
    wrap.installed = NULL;
}
