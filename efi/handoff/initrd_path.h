/* The device path under which a Linux kernel looks for its initrd, and the protocol there.
 * (Linux, Documentation/admin-guide/efi-stub.rst; UEFI 2.10, 13.2 "Load File 2 Protocol")
 */
#ifndef METALCOW_EFI_HANDOFF_INITRD_PATH_H
#define METALCOW_EFI_HANDOFF_INITRD_PATH_H

#include <efi.h>

/* EFI_LOAD_FILE2_PROTOCOL; gnu-efi does not declare it. */
struct mc_load_file2 {
    EFI_STATUS(EFIAPI *LoadFile)
    (struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath, BOOLEAN BootPolicy, UINTN *BufferSize,
     VOID *Buffer);
};

extern EFI_GUID mc_load_file2_guid;

/* A vendor media node with LINUX_EFI_INITRD_MEDIA_GUID, and the end. */
struct mc_initrd_path {
    VENDOR_DEVICE_PATH vendor;
    EFI_DEVICE_PATH end;
};

extern struct mc_initrd_path mc_initrd_path;

/* The handle and the protocol that serve the path now; NULL: there is none. */
struct mc_load_file2 *mc_initrd_find(EFI_HANDLE *ret_handle);

/* Answer a caller of LoadFile() with theirs || padding || ours.
 *
 * their_size    bytes of the first part; 0: there is none
 * our_size      bytes of ours, which may be NULL if they are 0
 * BufferSize    as in LoadFile(); the size that is needed on return
 * EFI_SUCCESS          the padding and ours are stored; theirs is the caller's to store
 * EFI_BUFFER_TOO_SMALL Buffer is NULL or too small; nothing is stored
 */
EFI_STATUS mc_initrd_answer(UINT64 their_size, const UINT8 *ours, UINTN our_size, UINTN *BufferSize,
                            UINT8 *Buffer);

#endif
