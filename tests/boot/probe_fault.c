/* Wrong calls on purpose: they show that a debug firmware tells of them (debug_control.py).
 *
 * Nothing else runs them, because a release firmware goes on with what they have spoilt.
 */
#include "probe.h"

#include "efi/base/firmware.h"
#include "efi/base/text.h"

/* Pages that are free already. */
static void free_twice(EFI_BOOT_SERVICES *services)
{
    EFI_PHYSICAL_ADDRESS address = 0;

    if (!EFI_ERROR(services->AllocatePages(AllocateAnyPages, EfiBootServicesData, 8, &address))) {
        (void)services->FreePages(address, 8);
        (void)services->FreePages(address, 8);
    }
}

/* The byte after a pool allocation is written. */
static void overrun(EFI_BOOT_SERVICES *services)
{
    const UINTN size = 64;
    VOID *pool;

    if (!EFI_ERROR(services->AllocatePool(EfiBootServicesData, size, &pool))) {
        volatile UINT8 *bytes = pool;
        bytes[size] ^= 0xffu;
        (void)services->FreePool(pool);
    }
}

/* A TPL is restored that is above the present one. */
static void raise_by_restoring(EFI_BOOT_SERVICES *services)
{
    services->RestoreTPL(TPL_NOTIFY);
}

/* Pages are read after they were given back. */
static void read_freed(EFI_BOOT_SERVICES *services)
{
    EFI_PHYSICAL_ADDRESS address = 0;

    if (!EFI_ERROR(services->AllocatePages(AllocateAnyPages, EfiBootServicesData, 8, &address))) {
        (void)services->FreePages(address, 8);
        (void)*(volatile UINT8 *)(UINTN)address;
    }
}

static void read_null(EFI_BOOT_SERVICES *services)
{
    const volatile UINT8 *volatile nothing = NULL;

    (void)services;
    (void)*nothing;
}

EFI_STATUS probe_fault(const char *operand)
{
    static const struct {
        const char *name;
        void (*run)(EFI_BOOT_SERVICES *services);
    } faults[] = {{"free-twice", free_twice},
                  {"overrun", overrun},
                  {"tpl", raise_by_restoring},
                  {"read-freed", read_freed},
                  {"read-null", read_null}};

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (q2_text_equal(operand, faults[i].name))
            faults[i].run(mc_firmware.BootServices);
    }
    return probe_say("fault", "failed: the firmware went on", 0);
}
