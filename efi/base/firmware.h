/* The firmware, as every file of efi/ sees it: its tables, memory, protocols, and our GUIDs.
 *
 * The entry point calls mc_firmware_init() before anything else. Nothing here is called from inside
 * a request of Block I/O.
 */
#ifndef METALCOW_EFI_FIRMWARE_H
#define METALCOW_EFI_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <efi.h>

#include "page_tables.h"

/* What the entry point was given. */
struct mc_firmware {
    EFI_SYSTEM_TABLE *SystemTable;
    EFI_BOOT_SERVICES *BootServices;
    EFI_HANDLE ImageHandle;            /* of the program that this code is part of */
    struct mc_page_tables page_tables; /* of who looks at memory that is not its own: the driver */
};

extern struct mc_firmware mc_firmware;

void mc_firmware_init(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable);

/* Pool memory, zeroed; NULL if there is none. mc_free(NULL) is nothing. */
void *mc_alloc(size_t size);
void mc_free(void *memory);

/* Pages (aligned to 4096) for size bytes, not zeroed; NULL if there are none. size as allocated. */
void *mc_alloc_pages(size_t size);
void mc_free_pages(void *memory, size_t size);

/* A copy in pool memory; NULL if there is none. */
char *mc_copy_text(const char *text);

/* UTF-8 to UCS-2 in pool memory; NULL: not representable, or no memory. */
CHAR16 *mc_to_ucs2(const char *utf8);

/* UCS-2 to UTF-8 in pool memory; NULL: a surrogate, or no memory. */
char *mc_to_utf8(const CHAR16 *ucs2);

/* The interface of a protocol on a handle, NULL if the handle does not have it. */
void *mc_protocol(EFI_HANDLE handle, EFI_GUID *guid);

/* The only interface of a protocol in the system, or the first one; NULL if there is none. */
void *mc_protocol_anywhere(EFI_GUID *guid);

/* The handles that have a protocol, in pool memory. If there are none, *ret_nb is 0 and the result
 * NULL. */
EFI_HANDLE *mc_handles(EFI_GUID *guid, UINTN *ret_nb);

/* The TPL now. */
EFI_TPL mc_current_tpl(void);

/* UEFI's functions take GUIDs that are not const. */
extern EFI_GUID mc_block_io_guid, mc_block_io2_guid, mc_erase_block_guid, mc_disk_io_guid,
    mc_file_system_guid, mc_device_path_guid, mc_loaded_image_guid, mc_loaded_image_path_guid,
    mc_driver_binding_guid, mc_component_name2_guid, mc_driver_diagnostics2_guid, mc_file_info_guid,
    mc_file_system_info_guid, mc_shell_guid, mc_shell_parameters_guid, mc_esp_guid,
    mc_graphics_guid, mc_before_exit_guid;

/* Ours: the control protocol (control.h), and the vendor node of our disks' device paths. */
extern EFI_GUID mc_control_guid, mc_disk_guid;

#endif
