/* The firmware's tables, memory and protocols.
 *
 * May call boot services only. Invariant: nothing here is called while a request of Block I/O is
 * under way.
 */
#include "firmware.h"

#include <efigpt.h>
#include <efishell.h>

#include "drivers/efi/erase_block.h"
#include "text.h"

struct mc_firmware mc_firmware;

EFI_GUID mc_block_io_guid = EFI_BLOCK_IO_PROTOCOL_GUID;
EFI_GUID mc_block_io2_guid = EFI_BLOCK_IO2_PROTOCOL_GUID;
EFI_GUID mc_erase_block_guid = Q2_EFI_ERASE_BLOCK_PROTOCOL_GUID;
EFI_GUID mc_disk_io_guid = EFI_DISK_IO_PROTOCOL_GUID;
EFI_GUID mc_file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
EFI_GUID mc_device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
EFI_GUID mc_loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
EFI_GUID mc_loaded_image_path_guid = EFI_LOADED_IMAGE_DEVICE_PATH_PROTOCOL_GUID;
EFI_GUID mc_driver_binding_guid = EFI_DRIVER_BINDING_PROTOCOL_GUID;
EFI_GUID mc_component_name2_guid = EFI_COMPONENT_NAME2_PROTOCOL_GUID;
/* UEFI 2.10, 11.4; gnu-efi does not have it. */
EFI_GUID mc_driver_diagnostics2_guid = {
    0x4d330321, 0x025f, 0x4aac, {0x90, 0xd8, 0x5e, 0xd9, 0x00, 0x17, 0x3b, 0x63}};
EFI_GUID mc_file_info_guid = EFI_FILE_INFO_ID;
EFI_GUID mc_file_system_info_guid = EFI_FILE_SYSTEM_INFO_ID;
EFI_GUID mc_shell_guid = EFI_SHELL_PROTOCOL_GUID;
EFI_GUID mc_shell_parameters_guid = EFI_SHELL_PARAMETERS_PROTOCOL_GUID;
EFI_GUID mc_esp_guid = EFI_PART_TYPE_EFI_SYSTEM_PART_GUID;
EFI_GUID mc_graphics_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;

/* UEFI 2.9: the event group EFI_EVENT_GROUP_BEFORE_EXIT_BOOT_SERVICES; gnu-efi is older. */
EFI_GUID mc_before_exit_guid = {
    0x8be0e274, 0x3970, 0x4b44, {0x80, 0xc5, 0x1a, 0xb9, 0x50, 0x2f, 0x3b, 0xfc}};

EFI_GUID mc_control_guid = {
    0x6b1c3f0a, 0x52d7, 0x4e0b, {0x9a, 0x41, 0x0d, 0x7e, 0x2f, 0x93, 0xc6, 0x18}};
EFI_GUID mc_disk_guid = {
    0x71c0a2e5, 0x8f3d, 0x4b66, {0xb2, 0x0e, 0x6d, 0x65, 0x74, 0x63, 0x6f, 0x77}};

void mc_firmware_init(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable)
{
    mc_firmware.SystemTable = SystemTable;
    mc_firmware.BootServices = SystemTable->BootServices;
    mc_firmware.ImageHandle = ImageHandle;
}

void *mc_alloc(size_t size)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    void *memory = NULL;

    if (EFI_ERROR(services->AllocatePool(EfiBootServicesData, size, &memory)))
        return NULL;
    services->SetMem(memory, size, 0);
    return memory;
}

void mc_free(void *memory)
{
    if (memory)
        (void)mc_firmware.BootServices->FreePool(memory);
}

void *mc_alloc_pages(size_t size)
{
    EFI_PHYSICAL_ADDRESS address = 0;

    if (EFI_ERROR(mc_firmware.BootServices->AllocatePages(AllocateAnyPages, EfiBootServicesData,
                                                          EFI_SIZE_TO_PAGES(size), &address)))
        return NULL;
    return (void *)(uintptr_t)address;
}

void mc_free_pages(void *memory, size_t size)
{
    if (memory)
        (void)mc_firmware.BootServices->FreePages((uintptr_t)memory, EFI_SIZE_TO_PAGES(size));
}

char *mc_copy_text(const char *text)
{
    size_t size = q2_text_length(text) + 1;
    char *copy = mc_alloc(size);

    if (copy)
        (void)mc_text_copy(copy, size, text);
    return copy;
}

CHAR16 *mc_to_ucs2(const char *utf8)
{
    size_t capacity = q2_text_length(utf8) + 1;
    CHAR16 *ucs2 = mc_alloc(capacity * sizeof(CHAR16));

    if (ucs2 && !mc_utf8_to_ucs2(utf8, (uint16_t *)ucs2, capacity)) {
        mc_free(ucs2);
        return NULL;
    }
    return ucs2;
}

char *mc_to_utf8(const CHAR16 *ucs2)
{
    size_t size = 1;
    char *utf8;

    for (const CHAR16 *c = ucs2; *c != 0; c++)
        size += 3;
    utf8 = mc_alloc(size);
    if (utf8 && !mc_ucs2_to_utf8((const uint16_t *)ucs2, utf8, size)) {
        mc_free(utf8);
        return NULL;
    }
    return utf8;
}

void *mc_protocol(EFI_HANDLE handle, EFI_GUID *guid)
{
    void *interface = NULL;

    if (!handle || EFI_ERROR(mc_firmware.BootServices->OpenProtocol(
                       handle, guid, &interface, mc_firmware.ImageHandle, NULL,
                       EFI_OPEN_PROTOCOL_GET_PROTOCOL)))
        return NULL;
    return interface;
}

void *mc_protocol_anywhere(EFI_GUID *guid)
{
    void *interface = NULL;

    if (EFI_ERROR(mc_firmware.BootServices->LocateProtocol(guid, NULL, &interface)))
        return NULL;
    return interface;
}

EFI_HANDLE *mc_handles(EFI_GUID *guid, UINTN *ret_nb)
{
    EFI_HANDLE *handles = NULL;

    *ret_nb = 0;
    if (EFI_ERROR(mc_firmware.BootServices->LocateHandleBuffer(ByProtocol, guid, NULL, ret_nb,
                                                               &handles))) {
        *ret_nb = 0;
        return NULL;
    }
    return handles;
}

EFI_TPL mc_current_tpl(void)
{
    EFI_TPL tpl = mc_firmware.BootServices->RaiseTPL(TPL_HIGH_LEVEL);

    mc_firmware.BootServices->RestoreTPL(tpl);
    return tpl;
}
