/* Statuses of ours and of UEFI, both ways: two tables.
 *
 * Calls nothing. Invariant: every status of ours has a row.
 */
#include "status.h"

/* One row per status. q2_efi_block_from_status() narrows it to the codes of Block I/O. */
static const EFI_STATUS from_status[] = {
    [Q2_OK] = EFI_SUCCESS,
    [Q2_ERR_ARGUMENT] = EFI_INVALID_PARAMETER,
    [Q2_ERR_RANGE] = EFI_INVALID_PARAMETER,
    [Q2_ERR_READ_ONLY] = EFI_WRITE_PROTECTED,
    [Q2_ERR_NO_SNAPSHOT] = EFI_NOT_FOUND,
    [Q2_ERR_DATA_FILE_UNEXPECTED] = EFI_INVALID_PARAMETER,
    [Q2_ERR_BACKING_FILE_UNEXPECTED] = EFI_INVALID_PARAMETER,
    [Q2_ERR_NOT_OPEN] = EFI_NOT_READY,
    [Q2_ERR_BAD_MAGIC] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_HEADER] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_EXTENSION] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_L1] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_L2] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_REFCOUNT] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_SNAPSHOT] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_BITMAP] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_COMPRESSED] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_BAD_NAME] = EFI_INVALID_PARAMETER,
    [Q2_ERR_TRUNCATED] = EFI_END_OF_FILE,
    [Q2_ERR_CHAIN_LOOP] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_VERSION] = EFI_INCOMPATIBLE_VERSION,
    [Q2_ERR_FEATURE] = EFI_UNSUPPORTED,
    [Q2_ERR_UNSUPPORTED] = EFI_UNSUPPORTED,
    [Q2_ERR_LIMIT] = EFI_OUT_OF_RESOURCES,
    [Q2_ERR_ENCRYPTED] = EFI_SECURITY_VIOLATION,
    [Q2_ERR_CORRUPT] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_NAME_DENIED] = EFI_ACCESS_DENIED,
    [Q2_ERR_DENIED] = EFI_ACCESS_DENIED,
    [Q2_ERR_NOT_A_FILE] = EFI_UNSUPPORTED,
    [Q2_ERR_EXISTS] = EFI_ACCESS_DENIED,
    [Q2_ERR_DATA_FILE_REQUIRED] = EFI_NOT_FOUND,
    [Q2_ERR_BACKING_FORMAT] = EFI_UNSUPPORTED,
    [Q2_ERR_IO] = EFI_DEVICE_ERROR,
    [Q2_ERR_NOT_FOUND] = EFI_NOT_FOUND,
    [Q2_ERR_NO_SPACE] = EFI_VOLUME_FULL,
    [Q2_ERR_NO_MEDIA] = EFI_NO_MEDIA,
    [Q2_ERR_MEDIA_CHANGED] = EFI_MEDIA_CHANGED,
    [Q2_ERR_BUSY] = EFI_ACCESS_DENIED,
    [Q2_ERR_BAD_VOLUME] = EFI_VOLUME_CORRUPTED,
    [Q2_ERR_UNTRUSTED] = EFI_SECURITY_VIOLATION,
};
_Static_assert(sizeof(from_status) / sizeof(from_status[0]) == Q2_NB_STATUS, "one row per status");

/* One row per error code of UEFI that means more to us than Q2_ERR_IO. The index is the code
 * without the error bit. */
#define NB_EFI_ERRORS 36u
#define INDEX(code)   ((code) & ~EFI_ERROR_MASK)
static const enum q2_status from_efi[NB_EFI_ERRORS] = {
    [INDEX(EFI_INVALID_PARAMETER)] = Q2_ERR_ARGUMENT,
    [INDEX(EFI_UNSUPPORTED)] = Q2_ERR_UNSUPPORTED,
    [INDEX(EFI_WRITE_PROTECTED)] = Q2_ERR_READ_ONLY,
    [INDEX(EFI_OUT_OF_RESOURCES)] = Q2_ERR_LIMIT,
    [INDEX(EFI_VOLUME_CORRUPTED)] = Q2_ERR_BAD_VOLUME,
    [INDEX(EFI_VOLUME_FULL)] = Q2_ERR_NO_SPACE,
    [INDEX(EFI_NO_MEDIA)] = Q2_ERR_NO_MEDIA,
    [INDEX(EFI_MEDIA_CHANGED)] = Q2_ERR_MEDIA_CHANGED,
    [INDEX(EFI_NOT_FOUND)] = Q2_ERR_NOT_FOUND,
    [INDEX(EFI_ACCESS_DENIED)] = Q2_ERR_DENIED,
    [INDEX(EFI_SECURITY_VIOLATION)] = Q2_ERR_UNTRUSTED,
};

EFI_STATUS q2_efi_from_status(enum q2_status status)
{
    return (unsigned int)status < Q2_NB_STATUS ? from_status[status] : EFI_DEVICE_ERROR;
}

EFI_STATUS q2_efi_block_from_status(enum q2_status status)
{
    EFI_STATUS efi_status = q2_efi_from_status(status);

    if (efi_status == EFI_SUCCESS || efi_status == EFI_WRITE_PROTECTED ||
        efi_status == EFI_NO_MEDIA || efi_status == EFI_MEDIA_CHANGED ||
        efi_status == EFI_INVALID_PARAMETER)
        return efi_status;
    return EFI_DEVICE_ERROR;
}

enum q2_status q2_status_from_efi(EFI_STATUS efi_status)
{
    EFI_STATUS index = INDEX(efi_status);

    if (efi_status == EFI_SUCCESS)
        return Q2_OK;
    if ((efi_status & EFI_ERROR_MASK) == 0 || index >= NB_EFI_ERRORS || from_efi[index] == Q2_OK)
        return Q2_ERR_IO;
    return from_efi[index];
}

enum q2_status q2_status_from_efi_load(EFI_STATUS efi_status)
{
    return efi_status == EFI_ACCESS_DENIED ? Q2_ERR_UNTRUSTED : q2_status_from_efi(efi_status);
}
