/* Lists of a folder of the firmware's file system, whose records are made here. */
#include "efi/place/file_system.h"

#include "efi/base/firmware.h"
#include "tests/support/efi_pool.h"
#include "tests/support/t.h"

#define RECORD_BYTES (sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16))

static const CHAR16 *const *records; /* names of files; NULL after the last */

static EFI_STATUS EFIAPI read_record(EFI_FILE_PROTOCOL *This, UINTN *size, VOID *buffer)
{
    EFI_FILE_INFO *info = buffer;
    size_t n = 0;

    (void)This;
    if (*records == NULL) {
        *size = 0;
        return EFI_SUCCESS;
    }
    if (!T_CHECK(*size >= RECORD_BYTES))
        return EFI_BUFFER_TOO_SMALL;
    memset(info, 0, RECORD_BYTES);
    for (; (*records)[n] != 0; n++)
        info->FileName[n] = (*records)[n];
    records++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_file(EFI_FILE_PROTOCOL *This)
{
    (void)This;
    return EFI_SUCCESS;
}

static EFI_FILE_PROTOCOL file;

static EFI_STATUS EFIAPI open_file(EFI_FILE_PROTOCOL *This, EFI_FILE_PROTOCOL **NewHandle,
                                   CHAR16 *FileName, UINT64 OpenMode, UINT64 Attributes)
{
    (void)This;
    (void)FileName;
    (void)OpenMode;
    (void)Attributes;
    *NewHandle = &file;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI open_volume(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *This,
                                     EFI_FILE_PROTOCOL **Root)
{
    (void)This;
    *Root = &file;
    return EFI_SUCCESS;
}

static char seen[200];

static enum q2_status visit(struct q2_place_visitor *visitor, const char *name,
                            struct q2_fault *fault)
{
    (void)visitor;
    (void)fault;
    (void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s\n", name);
    return Q2_OK;
}

static void begin(void)
{
    static EFI_BOOT_SERVICES services = {
        .AllocatePool = allocate_pool, .FreePool = free_pool, .SetMem = set_mem};
    static EFI_SYSTEM_TABLE table = {.BootServices = &services};

    file = (EFI_FILE_PROTOCOL){.Open = open_file, .Close = close_file, .Read = read_record};
    seen[0] = '\0';
    mc_firmware_init(NULL, &table);
}

/* A name with a character past U+FFFF, which other systems can make, ends no list. It is shown
 * with characters that no file on FAT has, so that it stands for no other file. */
static void test_list_shows_a_name_that_firmware_cannot_say(void)
{
    static const CHAR16 disc[] = {0xd83d, 0xdcc0, '.', 'c', 'o', 'n', 'f', 0};
    static const CHAR16 broken[] = {'b', 0xdcc0, 0};
    static const CHAR16 umlaut[] = {0xfc, '.', 'c', 'o', 'n', 'f', 0};
    static const CHAR16 *const names[] = {disc, broken, umlaut, NULL};
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL volume = {.OpenVolume = open_volume};
    struct q2_place_visitor visitor = {.visit = visit};
    struct q2_fault fault;

    begin();
    records = names;
    T_CHECK_U64(mc_file_system_list(&volume, "/folder", &visitor, &fault), Q2_OK);
    T_CHECK_STR(seen, "??.conf\nb?\n\xc3\xbc.conf\n");
}

int main(void)
{
    T_RUN(test_list_shows_a_name_that_firmware_cannot_say);
    return t_done();
}
