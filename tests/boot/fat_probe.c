/* fat_probe.efi: many FAT volumes at once, for test_boot_fat.py, from the UEFI shell.
 *
 *   fat_probe odd START   each volume with the file \ODD.TXT: attach the image that it names to
 *                         read it, and compare the disk with the firmware's own copy of the file.
 *                         The image is a qcow2 file whose guest data is stored in a row from byte
 *                         START
 *   fat_probe grow        each volume with the file \CUT.TXT: attach the image that it names to
 *                         write it, write to every 64th KiB, flush, read back, detach
 *
 * The text file has three lines: what to call the volume, the image's path for us, and its path for
 * the firmware. A line "fat_probe: ok NAME" or "fat_probe: failed NAME: WHY" comes for each volume,
 * and "fat_probe: N volumes" at the end.
 */
#include "efi/app/arguments.h"
#include "efi/base/console.h"
#include "efi/base/control.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

#define PIECE     8192u
#define ODD_STEP  (128u * 1024)
#define GROW_STEP (64u * 1024)
#define ROOM      (1024u * 1024)

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable);

static _Alignas(4096) UINT8 ours[PIECE], theirs[PIECE];

/* One volume under test. */
struct subject {
    EFI_HANDLE handle;
    EFI_FILE_PROTOCOL *root;
    char text[1024];
    const char *name, *path, *firmware_path; /* parts of text */
    struct mc_control *control;
    EFI_BLOCK_IO_PROTOCOL *disk;
    UINT32 number;
    CHAR8 message[MC_MESSAGE_SIZE];
};

static void say_result(const struct subject *subject, const char *why)
{
    mc_print(why ? "fat_probe: failed " : "fat_probe: ok ");
    mc_print(subject->name);
    if (why) {
        mc_print(": ");
        mc_print(why);
    }
    mc_print("\n");
}

/* Cut the text into its three lines. */
static bool take_lines(struct subject *subject)
{
    const char **lines[] = {&subject->name, &subject->path, &subject->firmware_path};
    char *at = subject->text;

    for (size_t i = 0; i < 3; i++) {
        *lines[i] = at;
        while (*at != '\n' && *at != '\0')
            at++;
        if (*at == '\0')
            return false;
        *at++ = '\0';
    }
    return true;
}

/* Open a volume and read its text file. False: it has none. */
static bool open_subject(EFI_HANDLE handle, const CHAR16 *note, struct subject *subject)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem = mc_protocol(handle, &mc_file_system_guid);
    EFI_FILE_PROTOCOL *file;
    UINTN size = sizeof(subject->text) - 1;
    EFI_STATUS status;

    *subject = (struct subject){.handle = handle};
    if (EFI_ERROR(FileSystem->OpenVolume(FileSystem, &subject->root)))
        return false;
    status =
        subject->root->Open(subject->root, &file, (CHAR16 *)(uintptr_t)note, EFI_FILE_MODE_READ, 0);
    if (!EFI_ERROR(status)) {
        status = file->Read(file, &size, subject->text);
        (void)file->Close(file);
    }
    if (!EFI_ERROR(status) && take_lines(subject))
        return true;
    (void)subject->root->Close(subject->root);
    return false;
}

static bool attach(struct subject *subject, const struct mc_disk_spec *options)
{
    static struct mc_disk_record record;

    subject->control = mc_protocol_anywhere(&mc_control_guid);
    if (!subject->control ||
        EFI_ERROR(subject->control->Attach(subject->control, subject->handle, options,
                                           subject->message, &subject->number)) ||
        EFI_ERROR(subject->control->Get(subject->control, 0, &record)))
        return false;
    subject->disk = mc_protocol(record.handle, &mc_block_io_guid);
    return subject->disk != NULL;
}

static bool read_disk(const struct subject *subject, uint64_t offset)
{
    EFI_BLOCK_IO_PROTOCOL *disk = subject->disk;

    return !EFI_ERROR(disk->ReadBlocks(disk, disk->Media->MediaId, offset / 512, PIECE, ours));
}

static bool read_file(EFI_FILE_PROTOCOL *file, uint64_t offset)
{
    UINTN size = PIECE;

    return !EFI_ERROR(file->SetPosition(file, offset)) &&
           !EFI_ERROR(file->Read(file, &size, theirs)) && size == PIECE;
}

static EFI_FILE_PROTOCOL *open_by_firmware(const struct subject *subject)
{
    CHAR16 *name = mc_to_ucs2(subject->firmware_path);
    EFI_FILE_PROTOCOL *file = NULL;

    if (!name || EFI_ERROR(subject->root->Open(subject->root, &file, name, EFI_FILE_MODE_READ, 0)))
        file = NULL;
    mc_free(name);
    return file;
}

/* Compare the disk with the file at many places, forwards. NULL: equal everywhere. */
static const char *compare(const struct subject *subject, EFI_FILE_PROTOCOL *file, uint64_t start)
{
    uint64_t size = (subject->disk->Media->LastBlock + 1) * 512;

    for (uint64_t at = 0; at + PIECE <= size; at += ODD_STEP) {
        if (at + ODD_STEP + PIECE > size)
            at = size - PIECE; /* the end is the last place */
        if (!read_disk(subject, at))
            return "the disk is not read";
        if (!read_file(file, start + at))
            return "the firmware does not read the file";
        if (__builtin_memcmp(ours, theirs, PIECE) != 0)
            return "the disk and the firmware's file differ";
    }
    return NULL;
}

static const char *check_odd(struct subject *subject, uint64_t start)
{
    const struct mc_disk_spec options = {.image = subject->path, .mode = MC_MODE_READ_ONLY};
    EFI_FILE_PROTOCOL *file = open_by_firmware(subject);
    const char *why = file ? NULL : "the firmware does not open the file";

    if (!why && !attach(subject, &options))
        why = (const char *)subject->message;
    if (!why)
        why = compare(subject, file, start);
    if (file)
        (void)file->Close(file);
    return why;
}

/* What is written at an offset. */
static void make_pattern(uint64_t offset, UINT8 *buffer)
{
    for (size_t i = 0; i < PIECE / 8; i++)
        ((uint64_t *)(void *)buffer)[i] = 0x67726f77ull << 32 | (offset + i);
}

static const char *write_and_read(const struct subject *subject)
{
    EFI_BLOCK_IO_PROTOCOL *disk = subject->disk;
    uint64_t size = (disk->Media->LastBlock + 1) * 512;

    for (uint64_t at = 0; at + PIECE <= size; at += GROW_STEP) {
        make_pattern(at, ours);
        if (EFI_ERROR(disk->WriteBlocks(disk, disk->Media->MediaId, at / 512, PIECE, ours)))
            return "a write fails";
    }
    if (EFI_ERROR(disk->FlushBlocks(disk)))
        return "the flush fails";
    for (uint64_t at = 0; at + PIECE <= size; at += GROW_STEP) {
        make_pattern(at, theirs);
        if (!read_disk(subject, at) || __builtin_memcmp(ours, theirs, PIECE) != 0)
            return "what was written is not read";
    }
    return NULL;
}

static const char *check_grow(struct subject *subject, uint64_t unused)
{
    const struct mc_disk_spec options = {
        .image = subject->path, .mode = MC_MODE_READ_WRITE, .room = ROOM};

    (void)unused;
    if (!attach(subject, &options))
        return (const char *)subject->message;
    return write_and_read(subject);
}

/* Run a check on every volume that has the note. */
static EFI_STATUS for_each(const CHAR16 *note, const char *(*check)(struct subject *, uint64_t),
                           uint64_t argument)
{
    static struct subject subject;
    char line[80];
    struct q2_line text = q2_line_start(line, sizeof(line));
    UINTN nb, nb_found = 0;
    EFI_HANDLE *handles = mc_handles(&mc_file_system_guid, &nb);

    for (UINTN i = 0; i < nb; i++) {
        const char *why;
        if (!open_subject(handles[i], note, &subject))
            continue;
        nb_found++;
        why = check(&subject, argument);
        if (subject.disk &&
            EFI_ERROR(subject.control->Detach(subject.control, subject.number, subject.message)) &&
            !why)
            why = (const char *)subject.message;
        say_result(&subject, why);
        (void)subject.root->Close(subject.root);
    }
    mc_free(handles);
    q2_line_put(&text, "fat_probe: ");
    q2_line_put_number(&text, nb_found, 10);
    q2_line_put(&text, " volumes\n");
    mc_print(line);
    return EFI_SUCCESS;
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable)
{
    static struct mc_arguments arguments;
    static struct q2_fault fault;
    uint32_t start = 0;

    mc_firmware_init(ImageHandle, SystemTable);
    if (mc_arguments_get(&arguments, &fault) != Q2_OK || arguments.nb == 0)
        return EFI_INVALID_PARAMETER;
    if (q2_text_equal(arguments.words[0], "odd") && arguments.nb == 2 &&
        mc_number_parse(arguments.words[1], &start))
        return for_each(u"ODD.TXT", check_odd, start);
    if (q2_text_equal(arguments.words[0], "grow"))
        return for_each(u"CUT.TXT", check_grow, 0);
    return EFI_INVALID_PARAMETER;
}
