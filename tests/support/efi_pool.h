/* Pool memory of boot services, out of the host's heap, for tests with few of them. */
#ifndef METALCOW_TESTS_EFI_POOL_H
#define METALCOW_TESTS_EFI_POOL_H

#include <stdlib.h>
#include <string.h>

#include <efi.h>

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN size, VOID **memory)
{
    (void)type;
    *memory = malloc(size);
    return *memory ? EFI_SUCCESS : EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI free_pool(VOID *memory)
{
    free(memory);
    return EFI_SUCCESS;
}

static VOID EFIAPI set_mem(VOID *memory, UINTN size, UINT8 value)
{
    memset(memory, value, size);
}

#endif
