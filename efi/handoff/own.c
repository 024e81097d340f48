/* A LoadFile2 of our own.
 *
 * The firmware calls load_file() when a kernel asks for its initrd. Invariant: while the protocol
 * is installed, the last look found boot parameters of a kernel that will be entered by its stub.
 */
#include "own.h"

#include "boot_params.h"
#include "efi/base/firmware.h"
#include "search.h"

static EFI_STATUS EFIAPI load_file(struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath,
                                   BOOLEAN BootPolicy, UINTN *BufferSize, VOID *Buffer);

static struct {
    struct mc_load_file2 load_file2;
    struct mc_memory_map *map;
    struct mc_payload *payload;
    EFI_HANDLE handle; /* NULL: not installed */
} own = {.load_file2 = {load_file}};

void mc_initrd_own_init(struct mc_memory_map *map, struct mc_payload *payload)
{
    own.map = map;
    own.payload = payload;
}

bool mc_initrd_own_is(const struct mc_load_file2 *load_file2)
{
    return load_file2 == &own.load_file2;
}

/* The kernel that asks: the one that has an initrd, else one that was given none. */
static bool find_kernel(struct mc_boot_params *ret_params)
{
    struct mc_boot_params_search search = {.at = 0};
    struct mc_boot_params params;
    bool found = false;

    if (!mc_memory_map_read(own.map))
        return false;
    while (mc_boot_params_find(own.map, MC_BOOT_ENTRY_HANDOVER, &search, &params)) {
        if (params.initrd_size != 0 && !mc_boot_params_has_initrd(own.map, &params))
            continue;
        *ret_params = params;
        found = true;
        if (params.initrd_size != 0)
            break;
    }
    return found;
}

/* The stub does not fall back to what the boot parameters say once this protocol is there: an error
 * ends the boot. So a loader's initrd that may not be extended is given as it is, and a kernel that
 * was given none gets ours alone, in which it finds no init. */
static EFI_STATUS EFIAPI load_file(struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath,
                                   BOOLEAN BootPolicy, UINTN *BufferSize, VOID *Buffer)
{
    struct mc_boot_params params;
    const uint8_t *ours;
    size_t our_size;
    EFI_STATUS status;

    (void)This;
    if (BootPolicy)
        return EFI_UNSUPPORTED;
    if (!BufferSize || !FilePath)
        return EFI_INVALID_PARAMETER;
    if (!find_kernel(&params))
        return EFI_NOT_FOUND;
    ours = own.payload->get(own.payload, MC_PAYLOAD_FOR_LOADER, &our_size);
    if (!ours)
        our_size = 0;
    status = mc_initrd_answer(params.initrd_size, ours, our_size, BufferSize, Buffer);
    if (!EFI_ERROR(status) && params.initrd_size > 0)
        __builtin_memcpy(Buffer, (const void *)(uintptr_t)params.initrd, params.initrd_size);
    return status;
}

static bool kernel_waits(void)
{
    struct mc_boot_params_search search = {.at = 0};
    struct mc_boot_params params;

    return mc_memory_map_read(own.map) &&
           mc_boot_params_find(own.map, MC_BOOT_ENTRY_HANDOVER, &search, &params) != NULL;
}

static void install(void)
{
    EFI_HANDLE other;

    if (mc_initrd_find(&other)) /* somebody serves the path: wrap.c sees to that */
        return;
    if (EFI_ERROR(mc_firmware.BootServices->InstallMultipleProtocolInterfaces(
            &own.handle, &mc_device_path_guid, &mc_initrd_path, &mc_load_file2_guid,
            &own.load_file2, NULL)))
        own.handle = NULL;
}

void mc_initrd_own_look(void)
{
    bool waits = kernel_waits();

    if (waits && !own.handle)
        install();
    else if (!waits && own.handle)
        mc_initrd_own_stop();
}

void mc_initrd_own_stop(void)
{
    if (!own.handle)
        return;
    if (!EFI_ERROR(mc_firmware.BootServices->UninstallMultipleProtocolInterfaces(
            own.handle, &mc_device_path_guid, &mc_initrd_path, &mc_load_file2_guid, &own.load_file2,
            NULL)))
        own.handle = NULL;
}
