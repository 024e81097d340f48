/* Block I/O 2 and Erase Block in a running firmware: what probe.c asks of them.
 *
 * Hostile calls are a table of one mistake each, with the status that UEFI names; the contract
 * tests have all combinations.
 */
#include "probe.h"

#include "drivers/efi/erase_block.h"
#include "efi/base/firmware.h"

#define SECTOR     512u
#define READ_SIZE  (64u * 1024)
#define NB_READS   96u
#define RANGE_SIZE (4u * 1024 * 1024)

/* The ways to call: no token, a token without an event, a token with one. */
enum {
    NO_TOKEN,
    NO_EVENT,
    EVENT,
    NB_TOKENS
};

struct target {
    EFI_BLOCK_IO_PROTOCOL *block_io;
    EFI_BLOCK_IO2_PROTOCOL *block_io2;
    struct q2_efi_erase_block_protocol *erase; /* NULL: a disk that is only read */
};

static const char *find_target(struct target *target)
{
    EFI_HANDLE disk = probe_find_disk(&target->block_io);
    EFI_GUID disk_io2 = EFI_DISK_IO2_PROTOCOL_GUID;

    if (!disk)
        return "failed: no disk";
    (void)mc_firmware.BootServices->ConnectController(disk, NULL, NULL, TRUE);
    target->block_io2 = mc_protocol(disk, &mc_block_io2_guid);
    target->erase = mc_protocol(disk, &mc_erase_block_guid);
    if (!target->block_io2 || target->block_io2->Media != target->block_io->Media)
        return "failed: no Block I/O 2 with the disk's Media";
    if (!mc_protocol(disk, &disk_io2))
        return "failed: the firmware added no Disk I/O 2";
    if (!target->erase == !target->block_io->Media->ReadOnly)
        return "failed: Erase Block and ReadOnly contradict each other";
    return NULL;
}

static EFI_STATUS call(const struct target *target, const struct probe_call *call,
                       EFI_BLOCK_IO2_TOKEN *token)
{
    EFI_BLOCK_IO2_PROTOCOL *block_io2 = target->block_io2;

    switch (call->function) {
    case PROBE_READ:
        return block_io2->ReadBlocksEx(block_io2, call->MediaId, call->LBA, token, call->size,
                                       call->buffer);
    case PROBE_WRITE:
        return block_io2->WriteBlocksEx(block_io2, call->MediaId, call->LBA, token, call->size,
                                        call->buffer);
    case PROBE_ERASE:
    default:
        return target->erase->EraseBlocks(target->erase, call->MediaId, call->LBA,
                                          (struct q2_efi_erase_block_token *)(void *)token,
                                          call->size);
    }
}

/* Is a call refused with this status, whatever the token, and the token left alone? */
static bool is_refused(const struct target *target, const struct probe_call *what,
                       EFI_STATUS status)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    EFI_BLOCK_IO2_TOKEN token = {.TransactionStatus = EFI_NOT_READY};
    EFI_EVENT event;
    bool right = true;

    if (EFI_ERROR(services->CreateEvent(0, 0, NULL, NULL, &event)))
        return false;
    for (unsigned int kind = NO_TOKEN; kind < NB_TOKENS && right; kind++) {
        token.Event = kind == EVENT ? event : NULL;
        right = call(target, what, kind == NO_TOKEN ? NULL : &token) == status &&
                services->CheckEvent(event) == EFI_NOT_READY &&
                token.TransactionStatus == EFI_NOT_READY;
    }
    (void)services->CloseEvent(event);
    return right;
}

static uint8_t *buffer; /* pages: RANGE_SIZE */

/* One mistake each; returns the number of the first call that was answered otherwise, or 0. */
static unsigned int hostile_calls(const struct target *target, enum probe_function function)
{
    const EFI_BLOCK_IO_MEDIA *media = target->block_io->Media;
    const EFI_STATUS bad_size =
        function == PROBE_ERASE ? EFI_INVALID_PARAMETER : EFI_BAD_BUFFER_SIZE;
    const struct {
        UINT32 media_id;
        EFI_LBA lba;
        UINTN size;
        VOID *buffer;
        EFI_STATUS status;
    } rows[] = {
        {media->MediaId + 1, 0, SECTOR, buffer, EFI_MEDIA_CHANGED},
        {media->MediaId + 1, media->LastBlock + 1, SECTOR, buffer, EFI_MEDIA_CHANGED},
        {media->MediaId + 1, 0, SECTOR + 1, NULL, EFI_MEDIA_CHANGED},
        {media->MediaId, 0, SECTOR + 1, buffer, bad_size},
        {media->MediaId, media->LastBlock + 1, SECTOR, buffer, EFI_INVALID_PARAMETER},
        {media->MediaId, media->LastBlock, 2 * SECTOR, buffer, EFI_INVALID_PARAMETER},
        {media->MediaId, UINT64_MAX, SECTOR, buffer, EFI_INVALID_PARAMETER},
        {media->MediaId, 0, UINT64_MAX - SECTOR + 1, buffer, EFI_INVALID_PARAMETER},
        {media->MediaId, 0, SECTOR, NULL, EFI_INVALID_PARAMETER},
        {media->MediaId, 0, SECTOR, buffer + 1, EFI_INVALID_PARAMETER},
    };
    size_t nb = sizeof(rows) / sizeof(rows[0]) - (function == PROBE_ERASE ? 2 : 0);

    for (unsigned int i = 0; i < nb; i++) {
        const struct probe_call what = {function, rows[i].media_id, rows[i].lba, rows[i].size,
                                        rows[i].buffer};
        EFI_STATUS status = rows[i].status;
        if (function != PROBE_READ && media->ReadOnly && status != EFI_MEDIA_CHANGED)
            status = EFI_WRITE_PROTECTED;
        if (!is_refused(target, &what, status))
            return i + 1;
    }
    return 0;
}

/* Above TPL_CALLBACK every call is refused, and no TPL changes. */
static bool keeps_to_levels(const struct target *target)
{
    static const EFI_TPL levels[] = {TPL_NOTIFY, TPL_HIGH_LEVEL};
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    const struct probe_call what = {PROBE_READ, target->block_io->Media->MediaId, 0, SECTOR,
                                    buffer};
    EFI_BLOCK_IO2_TOKEN token = {.TransactionStatus = EFI_NOT_READY};
    bool right = true;

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]) && right; i++) {
        EFI_TPL old = services->RaiseTPL(levels[i]);
        right = call(target, &what, &token) == EFI_DEVICE_ERROR && mc_current_tpl() == levels[i] &&
                token.TransactionStatus == EFI_NOT_READY;
        services->RestoreTPL(old);
    }
    return right;
}

/* Many reads at once, at random places; their ends are counted by a notification. */
struct queued {
    EFI_BLOCK_IO2_TOKEN token;
    uint64_t lba;
    unsigned int nb_signals;
    uint8_t *to;
};
static struct queued reads[NB_READS];

static VOID EFIAPI count_signal(EFI_EVENT event, VOID *context)
{
    (void)event;
    ((struct queued *)context)->nb_signals++;
}

/* Where a read begins: at random, or where the last one ended. In sequence so many end before the
 * next begins at 0 again that some are held back when the last one was called (block_gather.h). */
#define IN_SEQUENCE 60u

static uint64_t lba_of(unsigned int i, bool in_sequence, uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return in_sequence ? i % IN_SEQUENCE * (READ_SIZE / SECTOR)
                       : (*seed >> 33) % ((RANGE_SIZE - READ_SIZE) / SECTOR);
}

static bool queue_reads(const struct target *target, uint8_t *to, bool in_sequence,
                        unsigned int *ret_nb_waiting)
{
    uint64_t seed = 7;

    *ret_nb_waiting = 0;
    for (unsigned int i = 0; i < NB_READS; i++) {
        struct queued *read = &reads[i];
        read->lba = lba_of(i, in_sequence, &seed);
        read->to = to + (size_t)i * READ_SIZE;
        read->nb_signals = 0;
        read->token.TransactionStatus = EFI_NOT_READY;
        if (EFI_ERROR(mc_firmware.BootServices->CreateEvent(
                EVT_NOTIFY_SIGNAL, TPL_CALLBACK, count_signal, read, &read->token.Event)) ||
            target->block_io2->ReadBlocksEx(target->block_io2, target->block_io->Media->MediaId,
                                            read->lba, &read->token, READ_SIZE, read->to))
            return false;
        *ret_nb_waiting += read->nb_signals == 0 ? 1 : 0;
    }
    return true;
}

static bool reads_are_right(void)
{
    bool right = true;

    for (unsigned int i = 0; i < NB_READS; i++) {
        (void)mc_firmware.BootServices->CloseEvent(reads[i].token.Event);
        right = right && reads[i].nb_signals == 1 && reads[i].token.TransactionStatus == 0 &&
                __builtin_memcmp(reads[i].to, buffer + reads[i].lba * SECTOR, READ_SIZE) == 0;
    }
    return right;
}

static bool all_signalled(void)
{
    for (unsigned int i = 0; i < NB_READS; i++) {
        if (*(volatile unsigned int *)&reads[i].nb_signals == 0)
            return false;
    }
    return true;
}

/* What the disk may do while reads are on their way: a flush ends after them, and so does Reset. */
static const char *check_queue(const struct target *target, unsigned int *ret_nb_waiting)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = target->block_io;
    uint8_t *to = mc_alloc_pages((size_t)NB_READS * READ_SIZE);
    const char *wrong = NULL;

    if (!to || block_io->ReadBlocks(block_io, block_io->Media->MediaId, 0, RANGE_SIZE, buffer))
        return "failed: read";
    for (unsigned int round = 0; round < 6 && !wrong; round++) {
        if (!queue_reads(target, to, round < 3, ret_nb_waiting))
            return "failed: a read was refused";
        if (round == 0 && *ret_nb_waiting == 0)
            wrong = "failed: reads in sequence are not gathered";
        if (round % 3 == 0 && target->block_io2->FlushBlocksEx(target->block_io2, NULL))
            wrong = "failed: flush";
        if (round % 3 == 1 && target->block_io2->Reset(target->block_io2, FALSE))
            wrong = "failed: reset";
        for (unsigned int i = 0; round % 3 == 2 && i < 2000 && !all_signalled(); i++)
            (void)mc_firmware.BootServices->Stall(10000);
        if (!reads_are_right())
            wrong = "failed: a queued read";
    }
    mc_free_pages(to, (size_t)NB_READS * READ_SIZE);
    return wrong;
}

/* Zeros where it was erased and nowhere else. The disk is written. */
static bool erases(const struct target *target)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = target->block_io;
    UINT32 id = block_io->Media->MediaId;
    const UINTN size = 1024 * SECTOR;
    const struct probe_call what = {PROBE_ERASE, id, 17, 500 * SECTOR, NULL};

    __builtin_memset(buffer, 0xa5, size);
    if (block_io->WriteBlocks(block_io, id, 0, size, buffer) || call(target, &what, NULL) ||
        block_io->ReadBlocks(block_io, id, 0, size, buffer))
        return false;
    for (UINTN i = 0; i < size; i++) {
        bool inside = i / SECTOR >= 17 && i / SECTOR < 517;
        if (buffer[i] != (inside ? 0 : 0xa5))
            return false;
    }
    return true;
}

EFI_STATUS probe_queue(const char *operand)
{
    static const char *const functions[] = {"failed: hostile read", "failed: hostile write",
                                            "failed: hostile erase"};
    struct target target;
    unsigned int nb_waiting = 0, row;
    const char *wrong = find_target(&target);

    (void)operand;
    buffer = mc_alloc_pages(RANGE_SIZE);
    if (!wrong && !buffer)
        wrong = "failed: memory";
    if (wrong)
        return probe_say("queue", wrong, 0);
    for (unsigned int i = PROBE_READ; i <= (target.erase ? PROBE_ERASE : PROBE_WRITE); i++) {
        row = hostile_calls(&target, i);
        if (row != 0)
            return probe_say("queue", functions[i], row);
    }
    if (!keeps_to_levels(&target))
        return probe_say("queue", "failed: TPL", 0);
    wrong = check_queue(&target, &nb_waiting);
    if (!wrong && target.erase && !erases(&target))
        wrong = "failed: erase";
    mc_free_pages(buffer, RANGE_SIZE);
    return wrong ? probe_say("queue", wrong, 0) : probe_say("queue", "ok, waiting", nb_waiting);
}
