/* Every status of every function of Block I/O, Block I/O 2 and Erase Block, for every combination
 * of wrong arguments.  (UEFI 2.10, 13.9, 13.10 and 13.12: "Status Codes Returned")
 *
 * The functions are rows of one table, and so are the rules: what is wrong, for which functions,
 * and the status that it gives. The first rule that holds decides. A request that is refused
 * reaches no file, changes no medium, writes no buffer, and signals nobody.
 */
#include "block_rig.h"

#define LAST_BLOCK (DISK_SIZE / 512 - 1)

enum kind {
    READ = 1 << 0,
    WRITE = 1 << 1,
    ERASE = 1 << 2,
    FLUSH = 1 << 3,
    RESET = 1 << 4,
    BUFFERED = READ | WRITE,
    RANGED = READ | WRITE | ERASE,
};

/* The ways to hand over a token. */
enum token_kind {
    NO_ARGUMENT, /* Block I/O: there is none */
    NO_TOKEN,
    NO_EVENT,
    EVENT,
};

static const struct function {
    const char *name;
    enum kind kind;
    enum token_kind token;
} functions[] = {
    {"ReadBlocks", READ, NO_ARGUMENT},
    {"WriteBlocks", WRITE, NO_ARGUMENT},
    {"FlushBlocks", FLUSH, NO_ARGUMENT},
    {"Reset", RESET, NO_ARGUMENT},
    {"ReadBlocksEx, no token", READ, NO_TOKEN},
    {"ReadBlocksEx, no event", READ, NO_EVENT},
    {"ReadBlocksEx, event", READ, EVENT},
    {"WriteBlocksEx, no token", WRITE, NO_TOKEN},
    {"WriteBlocksEx, no event", WRITE, NO_EVENT},
    {"WriteBlocksEx, event", WRITE, EVENT},
    {"FlushBlocksEx, no token", FLUSH, NO_TOKEN},
    {"FlushBlocksEx, no event", FLUSH, NO_EVENT},
    {"FlushBlocksEx, event", FLUSH, EVENT},
    {"Reset of Block I/O 2", RESET, NO_TOKEN},
    {"EraseBlocks, no token", ERASE, NO_TOKEN},
    {"EraseBlocks, no event", ERASE, NO_EVENT},
    {"EraseBlocks, event", ERASE, EVENT},
};
#define NB_FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

/* What a request is made of: each value alone and with every other. */
struct arguments {
    bool no_media, other_media, read_only, busy;
    enum {
        BUFFER_RIGHT,
        BUFFER_NULL,
        BUFFER_MISALIGNED,
        NB_BUFFERS
    } buffer;
    UINTN size;
    EFI_LBA lba;
    EFI_TPL tpl;
};
static const UINTN sizes[] = {512,       0, 1, 511, 513, 1024, DISK_SIZE + 512, UINT64_MAX - 511,
                              UINT64_MAX};
static const EFI_LBA lbas[] = {0, LAST_BLOCK, LAST_BLOCK + 1, UINT64_MAX};
static const EFI_TPL tpls[] = {TPL_APPLICATION, TPL_CALLBACK, TPL_NOTIFY};
#define NB(array) (sizeof(array) / sizeof((array)[0]))

static bool is_without_media(const struct arguments *a)
{
    return a->no_media;
}

static bool is_of_other_media(const struct arguments *a)
{
    return a->other_media;
}

static bool is_read_only(const struct arguments *a)
{
    return a->read_only;
}

static bool has_no_buffer(const struct arguments *a)
{
    return a->buffer == BUFFER_NULL;
}

static bool has_part_of_a_block(const struct arguments *a)
{
    return a->size % 512 != 0;
}

/* In units of blocks, so that nothing wraps. */
static bool is_outside(const struct arguments *a)
{
    return a->size != 0 && (a->lba > LAST_BLOCK || a->size / 512 > LAST_BLOCK + 1 - a->lba);
}

static bool is_misaligned(const struct arguments *a)
{
    return a->size != 0 && a->buffer == BUFFER_MISALIGNED;
}

/* What a request needs that has something to do: the disk for itself, at a TPL where the firmware
 * below may be called. */
static bool cannot_start(const struct arguments *a)
{
    return a->tpl > TPL_CALLBACK || a->busy;
}

static const struct rule {
    bool (*holds)(const struct arguments *a);
    unsigned kinds;
    EFI_STATUS status;
} rules[] = {
    {is_without_media, RANGED | FLUSH, EFI_NO_MEDIA},
    {is_of_other_media, RANGED, EFI_MEDIA_CHANGED},
    {is_read_only, WRITE | ERASE, EFI_WRITE_PROTECTED},
    {has_no_buffer, BUFFERED, EFI_INVALID_PARAMETER},
    {has_part_of_a_block, BUFFERED, EFI_BAD_BUFFER_SIZE},
    {has_part_of_a_block, ERASE, EFI_INVALID_PARAMETER}, /* 13.12 has no EFI_BAD_BUFFER_SIZE */
    {is_outside, RANGED, EFI_INVALID_PARAMETER},
    {is_misaligned, BUFFERED, EFI_INVALID_PARAMETER},
};

/* A request of no bytes has nothing to do, so it needs the disk for the token's event only. Reset
 * has nothing to wait for on a disk without a queue. */
static EFI_STATUS expected(const struct function *function, const struct arguments *a)
{
    bool has_work = function->kind == FLUSH || ((function->kind & RANGED) != 0 && a->size != 0);

    for (size_t i = 0; i < NB(rules); i++) {
        if ((rules[i].kinds & function->kind) != 0 && rules[i].holds(a))
            return rules[i].status;
    }
    if (function->kind != RESET && (has_work || function->token == EVENT) && cannot_start(a))
        return EFI_DEVICE_ERROR;
    return EFI_SUCCESS;
}

static EFI_STATUS call(struct rig *rig, const struct function *function, const struct arguments *a,
                       void *buffer, EFI_BLOCK_IO2_TOKEN *token)
{
    UINT32 id = a->other_media ? MEDIA_ID + 1 : MEDIA_ID;
    EFI_BLOCK_IO_PROTOCOL *one = &rig->block_io.protocol;
    EFI_BLOCK_IO2_PROTOCOL *two = &rig->block_io2.protocol;
    struct q2_efi_erase_block_protocol *erase = &rig->erase_block.protocol;
    bool is_one = function->token == NO_ARGUMENT;

    switch (function->kind) {
    case READ:
        return is_one ? one->ReadBlocks(one, id, a->lba, a->size, buffer)
                      : two->ReadBlocksEx(two, id, a->lba, token, a->size, buffer);
    case WRITE:
        return is_one ? one->WriteBlocks(one, id, a->lba, a->size, buffer)
                      : two->WriteBlocksEx(two, id, a->lba, token, a->size, buffer);
    case FLUSH:
        return is_one ? one->FlushBlocks(one) : two->FlushBlocksEx(two, token);
    case RESET:
        return is_one ? one->Reset(one, TRUE) : two->Reset(two, TRUE);
    case ERASE:
        return erase->EraseBlocks(erase, id, a->lba, (void *)token, a->size);
    case BUFFERED:
    case RANGED:
    default:
        return EFI_UNSUPPORTED;
    }
}

static void check(struct rig *rig, const struct function *function, const struct arguments *a)
{
    static alignas(16) uint8_t bytes[1024 + 16];
    EFI_BLOCK_IO_MEDIA media;
    unsigned nb_signals = 0;
    EFI_BLOCK_IO2_TOKEN token = {.TransactionStatus = EFI_NOT_READY};
    EFI_STATUS status = expected(function, a), result;
    void *buffer = a->buffer == BUFFER_MISALIGNED ? bytes + 1 : bytes;

    token.Event = function->token == EVENT ? &nb_signals : NULL;
    rig->block_io.media.MediaPresent = !a->no_media;
    rig->block_io.media.ReadOnly = a->read_only;
    rig->block_io.busy = a->busy;
    media = rig->block_io.media;
    rig->pattern.nb_calls = rig->pattern.nb_flushes = 0;
    memset(bytes, 0x77, sizeof(bytes));
    tpl = a->tpl;
    result = call(rig, function, a, a->buffer == BUFFER_NULL ? NULL : buffer,
                  function->token >= NO_EVENT ? &token : NULL);
    T_CHECK_U64(tpl, a->tpl);
    tpl = TPL_APPLICATION;
    rig->block_io.busy = false;
    T_CHECK_U64(result, status);
    T_CHECK_U64(nb_signals, status == EFI_SUCCESS && function->token == EVENT ? 1 : 0);
    T_CHECK_U64(token.TransactionStatus, nb_signals > 0 ? EFI_SUCCESS : EFI_NOT_READY);
    T_CHECK(memcmp(&media, &rig->block_io.media, sizeof(media)) == 0);
    if (status != EFI_SUCCESS || a->size == 0 || (function->kind & (FLUSH | RESET)) != 0)
        T_CHECK(bytes[0] == 0x77 && bytes[512] == 0x77 && rig->pattern.nb_calls == 0);
    T_CHECK(rig->pattern.nb_flushes == 0 || (status == EFI_SUCCESS && function->kind == FLUSH));
    T_CHECK(function->kind != READ || status != EFI_SUCCESS || a->size == 0 ||
            *(uint8_t *)buffer != 0x77);
}

/* The other values of one function and medium. */
static void check_arguments(struct rig *rig, const struct function *function, struct arguments *a)
{
    char row[120];

    for (size_t size = 0; size < NB(sizes); size++) {
        for (size_t lba = 0; lba < NB(lbas); lba++) {
            for (size_t i = 0; i < NB(tpls) * NB_BUFFERS; i++) {
                a->size = sizes[size];
                a->lba = lbas[lba];
                a->tpl = tpls[i / NB_BUFFERS];
                a->buffer = (unsigned)(i % NB_BUFFERS);
                (void)snprintf(row, sizeof(row),
                               "%s: media %d%d%d busy %d size %jx lba %jx tpl %u buffer %u",
                               function->name, a->no_media, a->other_media, a->read_only, a->busy,
                               (uintmax_t)a->size, (uintmax_t)a->lba, (unsigned)a->tpl, a->buffer);
                t_row(row);
                check(rig, function, a);
            }
        }
    }
}

static void test_every_status_of_every_function(void)
{
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 16, true);
    memset(rig.pattern.written, 0x55, DISK_SIZE);
    for (size_t function = 0; function < NB_FUNCTIONS; function++) {
        for (unsigned bits = 0; bits < 16; bits++) {
            struct arguments a = {.no_media = bits & 1,
                                  .other_media = bits & 2,
                                  .read_only = bits & 4,
                                  .busy = bits & 8};
            check_arguments(&rig, &functions[function], &a);
        }
    }
    rig_close(&rig);
}

/* Requests at the end of disks of every size up to the largest, by every function with a range. */
static void test_ranges_at_the_end_of_each_medium(void)
{
    static const struct {
        const char *name;
        EFI_LBA last, lba;
        UINTN size;
        bool fits;
    } rows[] = {
        {"one block, all of it", 0, 0, 512, true},
        {"one block, two wanted", 0, 0, 1024, false},
        {"one block, the next", 0, 1, 512, false},
        {"the last block", 63, 63, 512, true},
        {"one block after the last", 63, 63, 1024, false},
        {"the first block after", 63, 64, 512, false},
        {"LBA + count wraps", 63, UINT64_MAX, 1024, false},
        {"largest size", 63, 0, UINT64_MAX - 511, false},
        {"largest LBA, largest size", 63, UINT64_MAX, UINT64_MAX - 511, false},
        {"largest disk, last block", UINT64_MAX, UINT64_MAX, 512, true},
        {"largest disk, after it", UINT64_MAX, UINT64_MAX, 1024, false},
    };
    static const enum q2_block_kind kinds[] = {Q2_BLOCK_READ, Q2_BLOCK_WRITE, Q2_BLOCK_ERASE};
    static alignas(16) uint8_t buffer[16];

    for (size_t i = 0; i < NB(rows) * NB(kinds); i++) {
        const EFI_BLOCK_IO_MEDIA media = {
            .MediaPresent = TRUE, .BlockSize = 512, .LastBlock = rows[i / NB(kinds)].last};
        const struct q2_block_request request = {.kind = kinds[i % NB(kinds)],
                                                 .LBA = rows[i / NB(kinds)].lba,
                                                 .BufferSize = rows[i / NB(kinds)].size,
                                                 .Buffer = buffer};
        t_row(rows[i / NB(kinds)].name);
        T_CHECK_U64(q2_block_request_check(&media, &request),
                    rows[i / NB(kinds)].fits ? EFI_SUCCESS : EFI_INVALID_PARAMETER);
    }
}

int main(void)
{
    T_RUN(test_every_status_of_every_function);
    T_RUN(test_ranges_at_the_end_of_each_medium);
    return t_done();
}
