/* The entry that was chosen last, as an EFI variable.  (UEFI 2.10, 8.2)
 *
 * Calls runtime services' variables. Invariant: what is read fits and ends with a NUL.
 */
#include "last_entry.h"

#include "efi/base/firmware.h"
#include "efi/base/text.h"

static EFI_GUID vendor = {
    0x2c9d41b6, 0x7e05, 0x4a1f, {0x93, 0x6e, 0x1b, 0xd0, 0x58, 0xc4, 0xa7, 0x2e}};

static CHAR16 name[] = {'M', 'e', 't', 'a', 'l', 'c', 'o', 'w', 'L',
                        'a', 's', 't', 'E', 'n', 't', 'r', 'y', 0};

void mc_last_entry_get(char ret_id[MC_MAX_TEXT_LENGTH + 1])
{
    EFI_RUNTIME_SERVICES *services = mc_firmware.SystemTable->RuntimeServices;
    UINTN size = MC_MAX_TEXT_LENGTH;

    __builtin_memset(ret_id, 0, MC_MAX_TEXT_LENGTH + 1);
    if (EFI_ERROR(services->GetVariable(name, &vendor, NULL, &size, ret_id)))
        ret_id[0] = '\0';
}

void mc_last_entry_set(const char *id)
{
    EFI_RUNTIME_SERVICES *services = mc_firmware.SystemTable->RuntimeServices;
    char last[MC_MAX_TEXT_LENGTH + 1];

    mc_last_entry_get(last);
    if (q2_text_equal(last, id))
        return;
    /* A full or protected store: the choice is not remembered, and the boot goes on. */
    (void)services->SetVariable(name, &vendor,
                                EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS,
                                q2_text_length(id), (VOID *)(uintptr_t)id);
}
