/* The device path of an initrd.
 *
 * May call LocateDevicePath() and OpenProtocol().
 */
#include "initrd_path.h"

#include "boot_params.h"
#include "efi/base/firmware.h"

EFI_GUID mc_load_file2_guid = {
    0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d}};

/* LINUX_EFI_INITRD_MEDIA_GUID */
struct mc_initrd_path mc_initrd_path = {
    .vendor =
        {.Header = {.Type = MEDIA_DEVICE_PATH,
                    .SubType = MEDIA_VENDOR_DP,
                    .Length = {sizeof(VENDOR_DEVICE_PATH), 0}},
         .Guid = {0x5568e427, 0x68fc, 0x4f3d, {0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68}}},
    .end = {.Type = END_DEVICE_PATH_TYPE,
            .SubType = END_ENTIRE_DEVICE_PATH_SUBTYPE,
            .Length = {END_DEVICE_PATH_LENGTH, 0}},
};

struct mc_load_file2 *mc_initrd_find(EFI_HANDLE *ret_handle)
{
    EFI_DEVICE_PATH *path = &mc_initrd_path.vendor.Header;

    if (EFI_ERROR(
            mc_firmware.BootServices->LocateDevicePath(&mc_load_file2_guid, &path, ret_handle)))
        return NULL;
    return mc_protocol(*ret_handle, &mc_load_file2_guid);
}

EFI_STATUS mc_initrd_answer(UINT64 their_size, const UINT8 *ours, UINTN our_size, UINTN *BufferSize,
                            UINT8 *Buffer)
{
    UINT64 padded = mc_initrd_padded(their_size);

    if (!Buffer || *BufferSize < padded + our_size) {
        *BufferSize = padded + our_size;
        return EFI_BUFFER_TOO_SMALL;
    }
    __builtin_memset(Buffer + their_size, 0, padded - their_size);
    if (our_size > 0)
        __builtin_memcpy(Buffer + padded, ours, our_size);
    *BufferSize = padded + our_size;
    return EFI_SUCCESS;
}
