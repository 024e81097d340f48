/* The record as EFI variables.
 *
 * Invariant: either all parts of one record are there, or none.
 */
#include "variable.h"

#include "efi/base/firmware.h"
#include "q2_handoff.h"

/* Q2_HANDOFF_VARIABLE_GUID as the firmware takes it. */
static EFI_GUID vendor = {
    0x6d657461, 0x6c63, 0x4f77, {0x8a, 0x1d, 0x4c, 0x5e, 0x9b, 0x7f, 0x2d, 0x31}};

#define NAME        Q2_HANDOFF_VARIABLE_NAME
#define NAME_LENGTH (sizeof(NAME) - 1)

/* length 0: remove it. */
static EFI_STATUS set_part(unsigned int part, const uint8_t *bytes, size_t length)
{
    CHAR16 name[NAME_LENGTH + 3];
    size_t at = 0;

    for (; at < NAME_LENGTH; at++)
        name[at] = (CHAR16)(unsigned char)NAME[at];
    if (part >= 10)
        name[at++] = (CHAR16)('0' + part / 10);
    name[at++] = (CHAR16)('0' + part % 10);
    name[at] = 0;
    return mc_firmware.SystemTable->RuntimeServices->SetVariable(
        name, &vendor, EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS, length,
        (VOID *)(uintptr_t)bytes);
}

void mc_variable_withdraw(void)
{
    for (unsigned int part = 0; part < Q2_HANDOFF_MAX_VARIABLES; part++)
        (void)set_part(part, NULL, 0); /* EFI_NOT_FOUND: there was no such part */
}

bool mc_variable_publish(const uint8_t *record, size_t length)
{
    mc_variable_withdraw();
    if (length > (size_t)Q2_HANDOFF_VARIABLE_SIZE * Q2_HANDOFF_MAX_VARIABLES)
        return false;
    for (unsigned int part = 0; length > 0; part++) {
        size_t step = length < Q2_HANDOFF_VARIABLE_SIZE ? length : Q2_HANDOFF_VARIABLE_SIZE;
        if (EFI_ERROR(set_part(part, record, step))) {
            mc_variable_withdraw();
            return false;
        }
        record += step;
        length -= step;
    }
    return true;
}
