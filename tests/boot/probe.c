/* probe.efi: what the boot tests ask of a running firmware, from the shell.
 *
 *   probe connect      disconnect and connect every disk of ours, read its volumes; TPL before and
 *                      after, and a timer event that still comes (HAZARDS.md, U1)
 *   probe levels       read at each TPL: served up to TPL_CALLBACK (HAZARDS.md, U4)
 *   probe reentry      a timer reads at TPL_CALLBACK while the program reads (HAZARDS.md, U5)
 *   probe cycles FILE  attach and detach an image many times; memory and handles stay
 *                      (HAZARDS.md, U16)
 *   probe queue        Block I/O 2, Disk I/O 2, Erase Block: hostile calls, queued reads, erasing
 *   probe named        connect the second of two disks of a volume by its path alone
 *   probe diagnose     Driver Diagnostics 2 of a volume and of one disk
 *   probe rounds FILE NUMBER  load the driver, connect, disconnect, unload it, so many times
 *   probe enrol FILE VARIABLE  set a variable of Secure Boot
 *   probe tpm          say where the log of TPM events is
 *   probe fault WHICH  a wrong call on purpose (probe_fault.c)
 *   probe detach LBA   write and detach a disk whose timer ticks in the middle of that
 *
 * Each prints "probe: NAME ok ..." or "probe: NAME failed: WHY".
 */
#include "probe.h"

#include "efi/app/arguments.h"
#include "efi/base/console.h"
#include "efi/base/control.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

#define NB_CYCLES 50u

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable);

EFI_STATUS probe_say(const char *name, const char *what, uint64_t number)
{
    char line[200];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, "probe: ");
    q2_line_put(&text, name);
    q2_line_put(&text, " ");
    q2_line_put(&text, what);
    q2_line_put(&text, " ");
    q2_line_put_number(&text, number, 10);
    q2_line_put(&text, "\n");
    mc_print(line);
    return EFI_SUCCESS;
}

/* The first disk of ours, not one of its partitions. */
EFI_HANDLE probe_find_disk(EFI_BLOCK_IO_PROTOCOL **ret_block_io)
{
    UINTN nb;
    EFI_HANDLE *handles = mc_handles(&mc_block_io_guid, &nb);
    EFI_HANDLE found = NULL;

    for (UINTN i = 0; i < nb && !found; i++) {
        EFI_BLOCK_IO_PROTOCOL *block_io = mc_protocol(handles[i], &mc_block_io_guid);
        EFI_DEVICE_PATH *path = mc_protocol(handles[i], &mc_device_path_guid);
        if (path && !block_io->Media->LogicalPartition && mc_device_path_depth(path) > 0) {
            *ret_block_io = block_io;
            found = handles[i];
        }
    }
    mc_free(handles);
    return found;
}

/* Does a timer event come? It needs TPL_APPLICATION and interrupts. */
static bool event_comes(void)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_EVENT event;
    UINTN index;
    bool came;

    if (EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &event)))
        return false;
    came = !EFI_ERROR(services->SetTimer(event, TimerRelative, 1000000)) &&
           !EFI_ERROR(services->WaitForEvent(1, &event, &index));
    (void)services->CloseEvent(event);
    return came;
}

/* Read the root folders of all volumes on the disk: the firmware's FAT driver on top of us. */
static uint64_t read_folders(EFI_HANDLE disk)
{
    const EFI_DEVICE_PATH *device = mc_protocol(disk, &mc_device_path_guid);
    static UINT8 record[1024];
    uint64_t nb_files = 0;
    UINTN nb;
    EFI_HANDLE *handles = mc_handles(&mc_file_system_guid, &nb);

    for (UINTN i = 0; i < nb; i++) {
        EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *volume = mc_protocol(handles[i], &mc_file_system_guid);
        EFI_FILE_PROTOCOL *root;
        UINTN size;
        if (!mc_device_path_below(device, mc_protocol(handles[i], &mc_device_path_guid)) ||
            EFI_ERROR(volume->OpenVolume(volume, &root)))
            continue;
        do {
            size = sizeof(record);
            nb_files += !EFI_ERROR(root->Read(root, &size, record)) && size > 0 ? 1 : 0;
        } while (size > 0 && nb_files < 1000);
        (void)root->Close(root);
    }
    mc_free(handles);
    return nb_files;
}

static EFI_STATUS probe_connect(const char *operand)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_HANDLE disk = probe_find_disk(&block_io);
    EFI_TPL before = mc_current_tpl();
    uint64_t nb_files;

    (void)operand;
    if (!disk)
        return probe_say("connect", "failed: no disk", 0);
    (void)services->DisconnectController(disk, NULL, NULL);
    (void)services->ConnectController(disk, NULL, NULL, TRUE);
    nb_files = read_folders(disk);
    if (mc_current_tpl() != before)
        return probe_say("connect", "failed: TPL", mc_current_tpl());
    if (nb_files == 0)
        return probe_say("connect", "failed: files read", nb_files);
    return event_comes() ? probe_say("connect", "ok, TPL", before)
                         : probe_say("connect", "failed: event", 0);
}

static EFI_STATUS probe_levels(const char *operand)
{
    static const struct {
        EFI_TPL tpl;
        EFI_STATUS status;
    } rows[] = {{TPL_APPLICATION, EFI_SUCCESS},
                {TPL_CALLBACK, EFI_SUCCESS},
                {TPL_NOTIFY, EFI_DEVICE_ERROR},
                {TPL_HIGH_LEVEL, EFI_DEVICE_ERROR}};
    static _Alignas(4096) UINT8 sector[512];
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_BLOCK_IO_PROTOCOL *block_io;

    (void)operand;
    if (!probe_find_disk(&block_io))
        return probe_say("levels", "failed: no disk", 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EFI_TPL old = services->RaiseTPL(rows[i].tpl);
        EFI_STATUS status =
            block_io->ReadBlocks(block_io, block_io->Media->MediaId, 0, sizeof(sector), sector);
        EFI_TPL after = mc_current_tpl();
        services->RestoreTPL(old);
        if (status != rows[i].status)
            return probe_say("levels", "failed: status at TPL", rows[i].tpl);
        if (after != rows[i].tpl)
            return probe_say("levels", "failed: TPL left at", after);
    }
    return probe_say("levels", "ok", 0);
}

/* Two readers of one disk: the program, and a timer that interrupts it. */
struct readers {
    EFI_BLOCK_IO_PROTOCOL *block_io;
    uint64_t seed;
    uint64_t nb_served, nb_refused, nb_wrong;
    UINT8 *expected; /* the disk's first MiB, read before */
};
#define READERS_SIZE (1024u * 1024)

/* Read sectors at random; what is served must be right. */
static void read_some(struct readers *readers, UINT8 *buffer)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = readers->block_io;
    uint64_t lba, length;
    EFI_STATUS status;

    readers->seed = readers->seed * 6364136223846793005ull + 1442695040888963407ull;
    length = 512 * (1 + (readers->seed >> 40) % 16);
    lba = (readers->seed >> 33) % ((READERS_SIZE - length) / 512);
    status = block_io->ReadBlocks(block_io, block_io->Media->MediaId, lba, length, buffer);
    if (status == EFI_DEVICE_ERROR)
        readers->nb_refused++;
    else if (EFI_ERROR(status) ||
             __builtin_memcmp(buffer, readers->expected + lba * 512, length) != 0)
        readers->nb_wrong++;
    else
        readers->nb_served++;
}

static VOID EFIAPI timer_reads(EFI_EVENT event, VOID *context)
{
    static _Alignas(4096) UINT8 buffer[16 * 512];

    (void)event;
    read_some(context, buffer);
}

static EFI_STATUS probe_reentry(const char *operand)
{
    static _Alignas(4096) UINT8 buffer[16 * 512];
    static struct readers timer, program;
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_EVENT event;

    (void)operand;
    program = (struct readers){.seed = 1, .expected = mc_alloc_pages(READERS_SIZE)};
    if (!probe_find_disk(&program.block_io) || !program.expected ||
        EFI_ERROR(program.block_io->ReadBlocks(program.block_io, program.block_io->Media->MediaId,
                                               0, READERS_SIZE, program.expected)))
        return probe_say("reentry", "failed: no disk", 0);
    timer = program;
    timer.seed = 2;
    if (EFI_ERROR(services->CreateEvent(EVT_TIMER | EVT_NOTIFY_SIGNAL, TPL_CALLBACK, timer_reads,
                                        &timer, &event)) ||
        EFI_ERROR(services->SetTimer(event, TimerPeriodic, 10000)))
        return probe_say("reentry", "failed: timer", 0);
    /* A busy host gives few timer events; the bound is for one that gives none. */
    for (unsigned int i = 0; i < 2000000 && timer.nb_served < 100; i++)
        read_some(&program, buffer);
    (void)services->CloseEvent(event);
    mc_free_pages(program.expected, READERS_SIZE);
    if (program.nb_wrong + timer.nb_wrong > 0)
        return probe_say("reentry", "failed: wrong bytes", program.nb_wrong + timer.nb_wrong);
    if (program.nb_refused > 0 || timer.nb_served < 100)
        return probe_say("reentry", "failed: timer was served", timer.nb_served);
    return probe_say("reentry", "ok, timer was served", timer.nb_served);
}

static uint64_t free_pages(void)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    static UINT8 map[65536];
    UINTN size = sizeof(map), key, descriptor_size;
    UINT32 version;
    uint64_t nb = 0;

    if (EFI_ERROR(services->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)(void *)map, &key,
                                         &descriptor_size, &version)))
        return 0;
    for (UINTN at = 0; at < size; at += descriptor_size) {
        const EFI_MEMORY_DESCRIPTOR *area = (const void *)(map + at);
        nb += area->Type == EfiConventionalMemory ? area->NumberOfPages : 0;
    }
    return nb;
}

static uint64_t count_handles(void)
{
    EFI_HANDLE *handles = NULL;
    UINTN nb = 0;

    (void)mc_firmware.BootServices->LocateHandleBuffer(AllHandles, NULL, NULL, &nb, &handles);
    mc_free(handles);
    return nb;
}

void probe_take_state(struct probe_state *ret_state)
{
    *ret_state = (struct probe_state){.nb_handles = count_handles(), .free_pages = free_pages()};
}

/* One cycle, the disk connected in between: partitions and file systems come and go with it. */
static bool cycle(struct mc_control *control, EFI_HANDLE volume, const char *path)
{
    const struct mc_disk_spec options = {.image = path};
    static struct mc_disk_record record;
    static CHAR8 message[MC_MESSAGE_SIZE];
    UINT32 number;

    if (EFI_ERROR(control->Attach(control, volume, &options, message, &number))) {
        mc_say((const char *)message);
        return false;
    }
    if (!EFI_ERROR(control->Get(control, 0, &record)))
        (void)mc_firmware.BootServices->ConnectController(record.handle, NULL, NULL, TRUE);
    return !EFI_ERROR(control->Detach(control, number, message));
}

static EFI_STATUS probe_cycles(const char *operand)
{
    struct mc_control *control = mc_protocol_anywhere(&mc_control_guid);
    struct mc_location location;
    struct q2_fault fault;
    uint64_t pages, handles;

    if (!control || mc_locate(operand, &fault, &location) != Q2_OK)
        return probe_say("cycles", "failed: no driver or file", 0);
    /* The firmware's own pools grow during the first few. */
    for (unsigned int i = 0; i < 10; i++)
        (void)cycle(control, location.volume, location.path);
    pages = free_pages();
    handles = count_handles();
    for (unsigned int i = 0; i < NB_CYCLES; i++) {
        if (!cycle(control, location.volume, location.path))
            return probe_say("cycles", "failed: cycle", i);
    }
    mc_free(location.path);
    if (count_handles() != handles)
        return probe_say("cycles", "failed: handles", count_handles() - handles);
    /* Room for the firmware's pools: 50 cycles that leak two pages each lose more than 64. */
    if (free_pages() + 64 < pages)
        return probe_say("cycles", "failed: pages lost", pages - free_pages());
    return probe_say("cycles", "ok, pages lost", pages > free_pages() ? pages - free_pages() : 0);
}

/* Words after the probe's name. */
static struct mc_arguments arguments;

uint64_t probe_number(size_t index)
{
    uint32_t value = 0;

    if (index < arguments.nb)
        (void)mc_number_parse(arguments.words[index], &value);
    return value;
}

const char *probe_word(size_t index)
{
    return index < arguments.nb ? arguments.words[index] : "";
}

#define SECTOR 512u

/* What a sector holds: its own number, in every word. The tests on the host know it too. */
static void make_pattern(uint64_t lba, uint64_t nb, UINT8 *buffer)
{
    for (uint64_t i = 0; i < nb * (SECTOR / 8); i++)
        ((uint64_t *)(void *)buffer)[i] = 0x6d657461ull << 32 | (lba + i / (SECTOR / 8));
}

#define MAX_SECTORS 2048u
static _Alignas(4096) UINT8 sectors[MAX_SECTORS * SECTOR], other_sectors[MAX_SECTORS * SECTOR];

static EFI_STATUS write_pattern(EFI_BLOCK_IO_PROTOCOL *block_io, uint64_t lba, uint64_t nb)
{
    make_pattern(lba, nb, sectors);
    return block_io->WriteBlocks(block_io, block_io->Media->MediaId, lba, nb * SECTOR, sectors);
}

static bool has_pattern(EFI_BLOCK_IO_PROTOCOL *block_io, uint64_t lba, uint64_t nb)
{
    make_pattern(lba, nb, sectors);
    return !EFI_ERROR(block_io->ReadBlocks(block_io, block_io->Media->MediaId, lba, nb * SECTOR,
                                           other_sectors)) &&
           __builtin_memcmp(sectors, other_sectors, nb * SECTOR) == 0;
}

static EFI_STATUS probe_write(const char *operand)
{
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_STATUS status;

    (void)operand;
    if (!probe_find_disk(&block_io) || probe_number(2) > MAX_SECTORS)
        return probe_say("write", "failed: no disk", 0);
    status = write_pattern(block_io, probe_number(1), probe_number(2));
    return EFI_ERROR(status) ? probe_say("write", "failed: status", status & 0xff)
                             : probe_say("write", "ok", 0);
}

static EFI_STATUS probe_read(const char *operand)
{
    EFI_BLOCK_IO_PROTOCOL *block_io;

    (void)operand;
    if (!probe_find_disk(&block_io) || probe_number(2) > MAX_SECTORS)
        return probe_say("read", "failed: no disk", 0);
    return has_pattern(block_io, probe_number(1), probe_number(2))
               ? probe_say("read", "ok", 0)
               : probe_say("read", "failed: other bytes", 0);
}

static EFI_STATUS probe_flush(const char *operand)
{
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_STATUS status;

    (void)operand;
    if (!probe_find_disk(&block_io))
        return probe_say("flush", "failed: no disk", 0);
    status = block_io->FlushBlocks(block_io);
    return EFI_ERROR(status) ? probe_say("flush", "failed: status", status & 0xff)
                             : probe_say("flush", "ok", 0);
}

static EFI_STATUS probe_fill(const char *operand)
{
    EFI_BLOCK_IO_PROTOCOL *block_io;
    uint64_t nb = 0;

    (void)operand;
    if (!probe_find_disk(&block_io))
        return probe_say("fill", "failed: no disk", 0);
    while (nb + MAX_SECTORS <= block_io->Media->LastBlock + 1 &&
           !EFI_ERROR(write_pattern(block_io, nb, MAX_SECTORS)))
        nb += MAX_SECTORS;
    for (uint64_t lba = 0; lba < nb; lba += MAX_SECTORS) {
        if (!has_pattern(block_io, lba, MAX_SECTORS))
            return probe_say("fill", "failed: other bytes at", lba);
    }
    if (nb > 0 && EFI_ERROR(write_pattern(block_io, 0, MAX_SECTORS)))
        return probe_say("fill", "failed: no write in place", 0);
    if (EFI_ERROR(block_io->FlushBlocks(block_io)))
        return probe_say("fill", "failed: flush", 0);
    return probe_say("fill", "ok, MiB", nb / MAX_SECTORS);
}

static EFI_STATUS probe_touch(const char *operand)
{
    struct mc_location location;
    struct q2_fault fault;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem;
    EFI_FILE_PROTOCOL *root, *file;
    UINTN size = 1;
    CHAR16 *name;

    if (mc_locate(operand, &fault, &location) != Q2_OK)
        return probe_say("touch", "failed: no file", 0);
    FileSystem = mc_protocol(location.volume, &mc_file_system_guid);
    name = mc_to_ucs2(location.path);
    for (CHAR16 *c = name; *c != 0; c++)
        *c = *c == '/' ? '\\' : *c;
    if (EFI_ERROR(FileSystem->OpenVolume(FileSystem, &root)) ||
        EFI_ERROR(root->Open(root, &file, name, EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE, 0)) ||
        EFI_ERROR(file->Write(file, &size, "T")) || EFI_ERROR(file->Close(file)))
        return probe_say("touch", "failed: write", 0);
    return probe_say("touch", "ok", 0);
}

/* The disk may vanish whenever the TPL is low (a stick is pulled): a round is one piece. */
static EFI_STATUS storm_round(uint64_t lba)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_TPL tpl = services->RaiseTPL(TPL_CALLBACK);
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_STATUS status = EFI_NOT_FOUND;

    if (probe_find_disk(&block_io)) {
        status = write_pattern(block_io, lba, 64);
        if (!EFI_ERROR(status))
            status = block_io->FlushBlocks(block_io);
    }
    services->RestoreTPL(tpl);
    return status;
}

static EFI_STATUS probe_storm(const char *operand)
{
    uint64_t first = probe_number(1);

    (void)operand;
    for (uint64_t round = 0; round < 1000; round++) {
        if (EFI_ERROR(storm_round(first + round * 64)))
            return probe_say("storm", "failed: write or flush of round", round);
        (void)probe_say("storm", "round", round);
    }
    return probe_say("storm", "failed: too slow a cut", 0);
}

static EFI_STATUS probe_exit(const char *operand)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_BLOCK_IO_PROTOCOL *block_io;
    static UINT8 map[65536];
    UINTN size, key, descriptor_size;
    UINT32 version;
    EFI_STATUS status = EFI_INVALID_PARAMETER;

    (void)operand;
    if (!probe_find_disk(&block_io) || EFI_ERROR(write_pattern(block_io, probe_number(1), 64)))
        return probe_say("exit", "failed: write", 0);
    /* Twice, as every loader: the first try may change the map. */
    for (unsigned int i = 0; i < 2 && EFI_ERROR(status); i++) {
        size = sizeof(map);
        if (EFI_ERROR(services->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)(void *)map, &key,
                                             &descriptor_size, &version)))
            return probe_say("exit", "failed: map", 0);
        status = services->ExitBootServices(mc_firmware.ImageHandle, key);
    }
    mc_firmware.SystemTable->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    return EFI_SUCCESS;
}

static EFI_STATUS(EFIAPI *close_event)(EFI_EVENT event);

/* Long against the delay after which the driver flushes what was written. */
#define LATE (200u * 1000) /* us */

static EFI_STATUS EFIAPI close_event_late(EFI_EVENT event)
{
    (void)mc_firmware.BootServices->Stall(LATE);
    return close_event(event);
}

/* The last disk written is detached while its timer runs, which ticks before the driver gets to
 * close it. */
static EFI_STATUS probe_detach(const char *operand)
{
    struct mc_control *control = mc_protocol_anywhere(&mc_control_guid);
    static struct mc_disk_record record;
    static CHAR8 message[MC_MESSAGE_SIZE];
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_STATUS status;

    (void)operand;
    if (!control || EFI_ERROR(control->Get(control, 0, &record)) || !probe_find_disk(&block_io))
        return probe_say("detach", "failed: no disk", 0);
    if (EFI_ERROR(write_pattern(block_io, probe_number(1), 64)))
        return probe_say("detach", "failed: write", 0);
    close_event = mc_firmware.BootServices->CloseEvent;
    mc_firmware.BootServices->CloseEvent = close_event_late;
    status = control->Detach(control, record.number, message);
    mc_firmware.BootServices->CloseEvent = close_event;
    return EFI_ERROR(status) ? probe_say("detach", "failed: status", status & 0xff)
                             : probe_say("detach", "ok", 0);
}

static const struct {
    const char *name;
    EFI_STATUS (*run)(const char *operand);
} probes[] = {
    {"connect", probe_connect}, {"levels", probe_levels}, {"reentry", probe_reentry},
    {"cycles", probe_cycles},   {"write", probe_write},   {"read", probe_read},
    {"flush", probe_flush},     {"fill", probe_fill},     {"touch", probe_touch},
    {"storm", probe_storm},     {"exit", probe_exit},     {"detach", probe_detach},
    {"queue", probe_queue},     {"named", probe_named},   {"diagnose", probe_diagnose},
    {"rounds", probe_rounds},   {"tpm", probe_tpm},       {"enrol", probe_enrol},
    {"fault", probe_fault},
};

EFI_STATUS EFIAPI efi_main(EFI_HANDLE ImageHandle, EFI_SYSTEM_TABLE *SystemTable)
{
    static struct q2_fault fault;

    mc_firmware_init(ImageHandle, SystemTable);
    if (mc_arguments_get(&arguments, &fault) != Q2_OK || arguments.nb == 0)
        return probe_say("probe", "failed: arguments", arguments.nb);
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        if (q2_text_equal(arguments.words[0], probes[i].name))
            return probes[i].run(arguments.nb > 1 ? arguments.words[1] : "");
    }
    return probe_say("probe", "failed: no such probe", 0);
}
