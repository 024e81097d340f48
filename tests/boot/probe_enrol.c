/* Making a machine without keys verify with a key of one's own: one variable of Secure Boot.
 *
 * The test brings what SetVariable() takes, with its signature.  (UEFI 2.10, 8.2.2 and 32.3)
 */
#include "probe.h"

#include "efi/app/arguments.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

#define MAX_SIZE   8192u
#define TIME_BASED 0x20u /* EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS */

static EFI_GUID database_guid = {
    0xd719b2cb, 0x3d3a, 0x4596, {0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}};
static EFI_GUID global_guid = EFI_GLOBAL_VARIABLE;

/* The whole file; false: it is not there, or larger. */
static bool read_file(const struct mc_location *file, uint8_t *bytes, UINTN *size)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *volume = mc_protocol(file->volume, &mc_file_system_guid);
    EFI_FILE_PROTOCOL *root, *open;
    uint16_t name[100];
    EFI_STATUS status;

    if (!volume || !mc_utf8_to_ucs2(file->path, name, sizeof(name) / sizeof(name[0])) ||
        EFI_ERROR(volume->OpenVolume(volume, &root)))
        return false;
    for (size_t i = 0; name[i]; i++)
        name[i] = name[i] == '/' ? '\\' : name[i];
    status = root->Open(root, &open, (CHAR16 *)name, EFI_FILE_MODE_READ, 0);
    if (!EFI_ERROR(status)) {
        status = open->Read(open, size, bytes);
        (void)open->Close(open);
    }
    (void)root->Close(root);
    return !EFI_ERROR(status);
}

/* probe enrol FILE VARIABLE */
EFI_STATUS probe_enrol(const char *operand)
{
    static uint8_t bytes[MAX_SIZE];
    struct mc_location file;
    struct q2_fault fault;
    const char *variable = probe_word(2);
    uint16_t name[8];
    UINTN size = sizeof(bytes);
    EFI_STATUS status;

    if (mc_locate(operand, &fault, &file) != Q2_OK || !mc_utf8_to_ucs2(variable, name, 8) ||
        !read_file(&file, bytes, &size))
        return probe_say("enrol", "failed: no file", 0);
    mc_free(file.path);
    status = mc_firmware.SystemTable->RuntimeServices->SetVariable(
        (CHAR16 *)name, q2_text_equal(variable, "db") ? &database_guid : &global_guid,
        EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS |
            TIME_BASED,
        size, bytes);
    return EFI_ERROR(status) ? probe_say("enrol", "failed: status", status & 0xff)
                             : probe_say("enrol", "ok, bytes", size);
}
