/* Block I/O 2 on a real disk: every status of every function, with and without an event; what is
 * signalled, how often and when.
 */
#include "block_rig.h"

static const EFI_STATUS mistake_status[NB_MISTAKES] = {
    EFI_NO_MEDIA, EFI_MEDIA_CHANGED,   EFI_WRITE_PROTECTED,   EFI_INVALID_PARAMETER,
    EFI_SUCCESS,  EFI_BAD_BUFFER_SIZE, EFI_INVALID_PARAMETER, EFI_INVALID_PARAMETER,
};

/* The ways to call: no token, a token without an event, a token with one. */
enum token_kind {
    NO_TOKEN,
    NO_EVENT,
    EVENT,
    NB_TOKEN_KINDS
};

struct call {
    unsigned nb_signals;
    EFI_BLOCK_IO2_TOKEN token;
    EFI_BLOCK_IO2_TOKEN *argument;
    EFI_STATUS status;
};

static void call_start(struct call *call, enum token_kind kind)
{
    *call = (struct call){.nb_signals = 0};
    call->token.TransactionStatus = EFI_NOT_READY;
    call->token.Event = kind == EVENT ? &call->nb_signals : NULL;
    call->argument = kind == NO_TOKEN ? NULL : &call->token;
    watched = &call->token;
    watched_status = EFI_NOT_STARTED;
}

static void call_request(struct rig *rig, struct call *call, const struct q2_block_request *request)
{
    EFI_BLOCK_IO2_PROTOCOL *protocol = &rig->block_io2.protocol;

    switch (request->kind) {
    case Q2_BLOCK_READ:
        call->status = protocol->ReadBlocksEx(protocol, request->MediaId, request->LBA,
                                              call->argument, request->BufferSize, request->Buffer);
        break;
    case Q2_BLOCK_WRITE:
        call->status =
            protocol->WriteBlocksEx(protocol, request->MediaId, request->LBA, call->argument,
                                    request->BufferSize, request->Buffer);
        break;
    case Q2_BLOCK_FLUSH:
    case Q2_BLOCK_ERASE:
    case Q2_NB_BLOCK_KINDS:
    default:
        call->status = protocol->FlushBlocksEx(protocol, call->argument);
        break;
    }
}

/* The call itself said what is wrong: nobody else hears of it. */
static void check_refused(const struct call *call, EFI_STATUS status)
{
    T_CHECK_U64(call->status, status);
    T_CHECK_U64(call->nb_signals, 0);
    T_CHECK_U64(call->token.TransactionStatus, EFI_NOT_READY);
}

/* It was served and ended so. */
static void check_served(const struct call *call, EFI_STATUS status)
{
    if (!call->token.Event) {
        T_CHECK_U64(call->status, status);
        T_CHECK_U64(call->nb_signals, 0);
        return;
    }
    T_CHECK_U64(call->status, EFI_SUCCESS);
    T_CHECK_U64(call->nb_signals, 1);
    T_CHECK_U64(call->token.TransactionStatus, status);
    T_CHECK_U64(watched_status, status);
}

static void check_mistakes(struct rig *rig, unsigned mistakes, enum q2_block_kind kind)
{
    unsigned relevant = kind == Q2_BLOCK_READ ? mistakes & ~(unsigned)WRITE_TO_READ_ONLY : mistakes;
    EFI_STATUS status = relevant ? mistake_status[__builtin_ctz(relevant)] : EFI_SUCCESS;
    char row[48];

    for (enum token_kind token = 0; token < NB_TOKEN_KINDS; token++) {
        const struct q2_block_request request = mistaken_request(rig, mistakes, kind);
        struct call call;
        (void)snprintf(row, sizeof(row), "kind %u mistakes %02x token %u", kind, mistakes, token);
        t_row(row);
        call_start(&call, token);
        call_request(rig, &call, &request);
        if (status == EFI_SUCCESS)
            check_served(&call, status);
        else
            check_refused(&call, status);
    }
}

/* All sets of mistakes, for reads and writes and every kind of token. */
static void test_any_mistakes_first_one_decides(void)
{
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 16, true);
    for (unsigned mistakes = 0; mistakes < 1u << NB_MISTAKES; mistakes++) {
        check_mistakes(&rig, mistakes, Q2_BLOCK_READ);
        check_mistakes(&rig, mistakes, Q2_BLOCK_WRITE);
    }
    rig_close(&rig);
}

static void test_media_is_the_one_of_block_io(void)
{
    struct rig rig;

    rig_open(&rig, DISK_SIZE, 512, 1);
    T_CHECK(rig.block_io2.protocol.Media == rig.block_io.protocol.Media);
    rig_close(&rig);
}

/* Bytes come and go at their places; a write is read back by the other protocol. */
static void check_transfers(enum token_kind token)
{
    static alignas(16) uint8_t buffer[1024];
    struct q2_block_request request = {Q2_BLOCK_READ, MEDIA_ID, 3, 1024, buffer};
    struct rig rig;
    struct call call;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    call_start(&call, token);
    call_request(&rig, &call, &request);
    check_served(&call, EFI_SUCCESS);
    for (size_t i = 0; i < sizeof(buffer); i++)
        T_CHECK_U64(buffer[i], pattern_at(3 * 512 + i));
    memset(buffer, 0x5a, sizeof(buffer));
    request.kind = Q2_BLOCK_WRITE;
    request.LBA = 7;
    call_start(&call, token);
    call_request(&rig, &call, &request);
    check_served(&call, EFI_SUCCESS);
    T_CHECK(memcmp(rig.pattern.written + 7 * 512, buffer, 1024) == 0);
    T_CHECK_U64(rig.pattern.written[7 * 512 - 1], 0);
    T_CHECK_U64(rig.pattern.written[9 * 512], 0);
    T_CHECK_U64(rig.nb_written, 1);
    request.kind = Q2_BLOCK_FLUSH;
    call_start(&call, token);
    call_request(&rig, &call, &request);
    check_served(&call, EFI_SUCCESS);
    T_CHECK_U64(rig.pattern.nb_flushes, 1);
    rig_close(&rig);
}

static void test_requests_reach_the_disk(void)
{
    t_row("no token");
    check_transfers(NO_TOKEN);
    t_row("no event");
    check_transfers(NO_EVENT);
    t_row("event");
    check_transfers(EVENT);
}

/* What the engine fails with, and what the three functions say then. */
static const struct {
    const char *name;
    enum q2_status below;
    EFI_STATUS transfer, flush;
} failures[] = {
    {"io", Q2_ERR_IO, EFI_DEVICE_ERROR, EFI_DEVICE_ERROR},
    {"space", Q2_ERR_NO_SPACE, EFI_DEVICE_ERROR, EFI_DEVICE_ERROR},
    {"truncated", Q2_ERR_TRUNCATED, EFI_DEVICE_ERROR, EFI_DEVICE_ERROR},
    {"no media", Q2_ERR_NO_MEDIA, EFI_NO_MEDIA, EFI_NO_MEDIA},
    {"media changed", Q2_ERR_MEDIA_CHANGED, EFI_MEDIA_CHANGED, EFI_DEVICE_ERROR},
};

static void check_failure(size_t row, enum q2_block_kind kind, enum token_kind token)
{
    static alignas(16) uint8_t buffer[512];
    const struct q2_block_request request = {kind, MEDIA_ID, 0, 512, buffer};
    const struct q2_block_request write = {Q2_BLOCK_WRITE, MEDIA_ID, 0, 512, buffer};
    bool gone = failures[row].transfer != EFI_DEVICE_ERROR;
    struct rig rig;
    struct call call;

    t_row(failures[row].name);
    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    call_start(&call, NO_TOKEN);
    call_request(&rig, &call, &write);
    check_served(&call, EFI_SUCCESS);
    rig.pattern.status = rig.pattern.flush_status = failures[row].below;
    call_start(&call, token);
    call_request(&rig, &call, &request);
    check_served(&call, kind == Q2_BLOCK_FLUSH ? failures[row].flush : failures[row].transfer);
    T_CHECK_U64(rig.block_io.media.MediaPresent, !gone);
    rig.pattern.status = rig.pattern.flush_status = Q2_OK;
    if (gone) { /* for good, and then the call itself says it */
        call_start(&call, token);
        call_request(&rig, &call, &request);
        check_refused(&call, EFI_NO_MEDIA);
        T_CHECK_U64(rig.block_io2.protocol.Reset(&rig.block_io2.protocol, TRUE), EFI_SUCCESS);
    }
    rig_close(&rig);
}

static void test_failures_of_the_disk_end_in_the_token(void)
{
    for (size_t row = 0; row < sizeof(failures) / sizeof(failures[0]); row++) {
        for (enum token_kind token = 0; token < NB_TOKEN_KINDS; token++) {
            check_failure(row, Q2_BLOCK_READ, token);
            check_failure(row, Q2_BLOCK_WRITE, token);
            check_failure(row, Q2_BLOCK_FLUSH, token);
        }
    }
}

/* Up to TPL_CALLBACK; above, the call is refused and the token stays what it was. */
static void check_level(EFI_TPL at, enum q2_block_kind kind, enum token_kind token)
{
    static alignas(16) uint8_t buffer[512];
    const struct q2_block_request request = {kind, MEDIA_ID, 0, 512, buffer};
    struct rig rig;
    struct call call;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    tpl = at;
    call_start(&call, token);
    call_request(&rig, &call, &request);
    T_CHECK_U64(tpl, at);
    tpl = TPL_APPLICATION;
    if (at <= TPL_CALLBACK)
        check_served(&call, EFI_SUCCESS);
    else
        check_refused(&call, EFI_DEVICE_ERROR);
    rig_close(&rig);
}

static void test_requests_at_each_tpl(void)
{
    static const EFI_TPL levels[] = {TPL_APPLICATION, TPL_CALLBACK, TPL_NOTIFY, TPL_HIGH_LEVEL};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        for (enum token_kind token = 0; token < NB_TOKEN_KINDS; token++) {
            check_level(levels[i], Q2_BLOCK_READ, token);
            check_level(levels[i], Q2_BLOCK_WRITE, token);
            check_level(levels[i], Q2_BLOCK_FLUSH, token);
        }
    }
}

/* Somebody holds the disk (as a request inside it does): refused, and the token is left alone. */
static void test_requests_to_a_busy_disk_are_refused(void)
{
    static alignas(16) uint8_t buffer[512];
    static const enum q2_block_kind kinds[] = {Q2_BLOCK_READ, Q2_BLOCK_WRITE, Q2_BLOCK_FLUSH};
    struct rig rig;
    struct call call;
    EFI_TPL old;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK(q2_block_io_acquire(&rig.block_io, &old));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct q2_block_request request = {kinds[i], MEDIA_ID, 0, 512, buffer};
        call_start(&call, EVENT);
        call_request(&rig, &call, &request);
        check_refused(&call, EFI_DEVICE_ERROR);
    }
    q2_block_io_release(&rig.block_io, old);
    rig_close(&rig);
}

/* FlushBlocksEx has one condition of its own; Reset works without a medium too. */
static void test_flush_and_reset_without_a_medium(void)
{
    const struct q2_block_request flush = {.kind = Q2_BLOCK_FLUSH};
    struct rig rig;
    struct call call;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK_U64(rig.block_io2.protocol.Reset(&rig.block_io2.protocol, FALSE), EFI_SUCCESS);
    T_CHECK_U64(rig.block_io2.protocol.Reset(&rig.block_io2.protocol, TRUE), EFI_SUCCESS);
    q2_block_io_lose_medium(&rig.block_io);
    for (enum token_kind token = 0; token < NB_TOKEN_KINDS; token++) {
        call_start(&call, token);
        call_request(&rig, &call, &flush);
        check_refused(&call, EFI_NO_MEDIA);
    }
    T_CHECK_U64(rig.block_io2.protocol.Reset(&rig.block_io2.protocol, FALSE), EFI_SUCCESS);
    rig_close(&rig);
}

/* A disk that cannot be written has nothing to flush. */
static void test_flush_of_a_read_only_disk_succeeds(void)
{
    const struct q2_block_request flush = {.kind = Q2_BLOCK_FLUSH};
    struct rig rig;
    struct call call;

    rig_open(&rig, DISK_SIZE, 512, 1);
    call_start(&call, EVENT);
    call_request(&rig, &call, &flush);
    check_served(&call, EFI_SUCCESS);
    rig_close(&rig);
}

int main(void)
{
    T_RUN(test_any_mistakes_first_one_decides);
    T_RUN(test_media_is_the_one_of_block_io);
    T_RUN(test_requests_reach_the_disk);
    T_RUN(test_failures_of_the_disk_end_in_the_token);
    T_RUN(test_requests_at_each_tpl);
    T_RUN(test_requests_to_a_busy_disk_are_refused);
    T_RUN(test_flush_and_reset_without_a_medium);
    T_RUN(test_flush_of_a_read_only_disk_succeeds);
    return t_done();
}
