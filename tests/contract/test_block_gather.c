/* Queued reads that go on from each other become one long read (block_gather.h).
 *
 * Whatever comes in between: each accepted token is signalled once, after its bytes are there, and
 * nothing is held when the timer does not run.
 */
#include "block_rig.h"

#define READ_SIZE (64u * 1024)
#define BLOCKS    (READ_SIZE / 512)
#define NB_READS  64u
#define RANGE     (NB_READS * READ_SIZE)
#define IN_ONE    (Q2_BLOCK_GATHER_ALL / READ_SIZE)

static EFI_EVENT_NOTIFY timer_notify;
static void *timer_context;
static bool timer_runs, no_timer;
static unsigned nb_timers;

static EFI_STATUS EFIAPI create_event(UINT32 type, EFI_TPL notify_tpl, EFI_EVENT_NOTIFY notify,
                                      VOID *context, EFI_EVENT *event)
{
    T_CHECK_U64(type, EVT_TIMER | EVT_NOTIFY_SIGNAL);
    T_CHECK_U64(notify_tpl, TPL_CALLBACK);
    timer_notify = notify;
    timer_context = context;
    nb_timers++;
    *event = &nb_timers;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    T_CHECK(event == &nb_timers);
    nb_timers--;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_timer(EFI_EVENT event, EFI_TIMER_DELAY type, UINT64 time)
{
    T_CHECK(event == &nb_timers);
    T_CHECK((time > 0) == (type == TimerRelative)); /* 0: EDK2 signals at once */
    if (no_timer && type == TimerRelative)
        return EFI_INVALID_PARAMETER;
    timer_runs = type == TimerRelative;
    return EFI_SUCCESS;
}

static void tick(void)
{
    if (!timer_runs)
        return;
    timer_runs = false;
    tpl = TPL_CALLBACK;
    timer_notify(&nb_timers, timer_context);
    T_CHECK_U64(tpl, TPL_CALLBACK);
    tpl = TPL_APPLICATION;
}

/* No read comes between two ticks. */
static void wait_ticks(void)
{
    tick();
    tick();
}

/* A rig, a buffer as long as its disk, and a token for each piece of it. */
struct reads {
    struct rig rig;
    uint8_t *buffer;
    EFI_BLOCK_IO2_TOKEN tokens[NB_READS];
    unsigned nb_signals[NB_READS];
};

static void begin(struct reads *reads)
{
    services.CreateEvent = create_event;
    services.CloseEvent = close_event;
    services.SetTimer = set_timer;
    timer_runs = no_timer = false;
    *reads = (struct reads){.buffer = aligned_alloc(16, RANGE)};
    rig_open_as(&reads->rig, RANGE, 512, 8, true);
    reads->rig.pattern.status = Q2_OK;
    memset(reads->buffer, 0, RANGE);
    T_CHECK_U64(q2_block_io_gather(&reads->rig.block_io), EFI_SUCCESS);
    for (unsigned i = 0; i < NB_READS; i++)
        reads->tokens[i].Event = &reads->nb_signals[i];
}

static void end(struct reads *reads)
{
    T_CHECK_U64(reads->rig.block_io.gather.nb_held, 0);
    T_CHECK(!timer_runs);
    q2_block_gather_close(&reads->rig.block_io.gather);
    T_CHECK_U64(nb_timers, 0);
    free(reads->buffer);
    rig_close(&reads->rig);
}

/* Read piece i of the disk to piece `to` of the buffer. */
static void queue(struct reads *reads, unsigned i, unsigned to)
{
    EFI_BLOCK_IO2_PROTOCOL *protocol = &reads->rig.block_io2.protocol;

    reads->tokens[i].TransactionStatus = EFI_NOT_READY;
    T_CHECK_U64(protocol->ReadBlocksEx(protocol, MEDIA_ID, i * BLOCKS, &reads->tokens[i], READ_SIZE,
                                       reads->buffer + (size_t)to * READ_SIZE),
                EFI_SUCCESS);
}

static void queue_some(struct reads *reads, unsigned first, unsigned nb)
{
    for (unsigned i = first; i < first + nb; i++)
        queue(reads, i, i);
}

/* Pieces [first, first + nb) have been signalled once with a status. */
static void check_ended(struct reads *reads, unsigned first, unsigned nb, EFI_STATUS status)
{
    for (unsigned i = first; i < first + nb; i++) {
        bool right = true;
        T_CHECK_U64(reads->nb_signals[i], 1);
        T_CHECK_U64(reads->tokens[i].TransactionStatus, status);
        for (uint64_t at = (uint64_t)i * READ_SIZE; at < (i + 1ull) * READ_SIZE; at++)
            right = right && reads->buffer[at] == pattern_at(at);
        T_CHECK(right || status != EFI_SUCCESS);
    }
}

static void check_held(struct reads *reads, unsigned first, unsigned nb)
{
    for (unsigned i = first; i < first + nb; i++)
        T_CHECK_U64(reads->nb_signals[i], 0);
    T_CHECK_U64(reads->rig.block_io.gather.nb_held, nb);
    T_CHECK(timer_runs == (nb > 0));
}

static void test_reads_in_sequence_become_one(void)
{
    struct reads reads;

    begin(&reads);
    queue_some(&reads, 0, Q2_BLOCK_GATHER_NEEDED);
    check_ended(&reads, 0, Q2_BLOCK_GATHER_NEEDED, EFI_SUCCESS);
    reads.rig.pattern.nb_calls = 0;
    for (unsigned i = Q2_BLOCK_GATHER_NEEDED; i < NB_READS; i += IN_ONE - i % IN_ONE) {
        unsigned nb = IN_ONE - i % IN_ONE;
        queue_some(&reads, i, nb - 1);
        check_held(&reads, i, nb - 1);
        queue(&reads, i + nb - 1, i + nb - 1);
        check_ended(&reads, i, nb, EFI_SUCCESS);
    }
    /* One more where the bytes of a window end. */
    T_CHECK(reads.rig.pattern.nb_calls <= NB_READS / IN_ONE + 1);
    end(&reads);
}

static void test_ticks_end_what_is_held(void)
{
    struct reads reads;

    begin(&reads);
    queue_some(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 2);
    tick();
    queue(&reads, Q2_BLOCK_GATHER_NEEDED + 2, Q2_BLOCK_GATHER_NEEDED + 2);
    tick(); /* it goes on: nobody waits */
    check_held(&reads, Q2_BLOCK_GATHER_NEEDED, 3);
    tick();
    check_ended(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 3, EFI_SUCCESS);
    /* Twice as many are needed now. */
    queue_some(&reads, 20, 2 * Q2_BLOCK_GATHER_NEEDED);
    check_ended(&reads, 20, 2 * Q2_BLOCK_GATHER_NEEDED, EFI_SUCCESS);
    queue(&reads, 20 + 2 * Q2_BLOCK_GATHER_NEEDED, 60);
    check_held(&reads, 20 + 2 * Q2_BLOCK_GATHER_NEEDED, 1);
    wait_ticks();
    end(&reads);
}

/* A tick while somebody has the disk leaves what is held to the one who comes next. */
static void test_tick_inside_a_request_ends_nothing(void)
{
    struct reads reads;
    EFI_TPL old;

    begin(&reads);
    queue_some(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 3);
    T_CHECK(q2_block_io_acquire(&reads.rig.block_io, &old));
    T_CHECK(!q2_block_io_drain(&reads.rig.block_io));
    tick();
    T_CHECK(q2_block_io_is_busy(&reads.rig.block_io));
    T_CHECK_U64(reads.rig.block_io.gather.nb_held, 3);
    tpl = TPL_CALLBACK;
    q2_block_io_release(&reads.rig.block_io, old);
    T_CHECK(q2_block_io_drain(&reads.rig.block_io));
    check_ended(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 3, EFI_SUCCESS);
    end(&reads);
}

/* What comes while three reads are held, and how many are held after it. */
static const struct {
    const char *name;
    enum {
        SYNC_READ,
        WRITE,
        ERASE,
        FLUSH,
        FLUSH_EX,
        RESET,
        DRAIN,
        JUMP,
        OTHER_MEMORY
    } what;
    unsigned nb_held;
} rows[] = {
    {"ReadBlocks", SYNC_READ, 0},
    {"WriteBlocks", WRITE, 0},
    {"EraseBlocks", ERASE, 0},
    {"FlushBlocks", FLUSH, 0},
    {"FlushBlocksEx", FLUSH_EX, 0},
    {"Reset", RESET, 0},
    {"drain", DRAIN, 0},
    {"a read elsewhere", JUMP, 0},
    {"the next read goes elsewhere in memory", OTHER_MEMORY, 1},
};

static void call(struct reads *reads, size_t row)
{
    static alignas(16) uint8_t other[512];
    EFI_BLOCK_IO_PROTOCOL *one = &reads->rig.block_io.protocol;
    EFI_BLOCK_IO2_PROTOCOL *two = &reads->rig.block_io2.protocol;
    struct q2_efi_erase_block_protocol *erase = &reads->rig.erase_block.protocol;
    EFI_STATUS status = EFI_SUCCESS;

    switch (rows[row].what) {
    case SYNC_READ:
        status = one->ReadBlocks(one, MEDIA_ID, 0, 512, other);
        break;
    case WRITE:
        status = one->WriteBlocks(one, MEDIA_ID, 0, 512, other);
        break;
    case ERASE:
        status = erase->EraseBlocks(erase, MEDIA_ID, 0, NULL, 512);
        break;
    case FLUSH:
        status = one->FlushBlocks(one);
        break;
    case FLUSH_EX:
        status = two->FlushBlocksEx(two, NULL);
        break;
    case RESET:
        status = one->Reset(one, FALSE);
        break;
    case DRAIN:
        T_CHECK(q2_block_io_drain(&reads->rig.block_io));
        break;
    case JUMP:
        queue(reads, 50, 50);
        break;
    case OTHER_MEMORY:
    default:
        queue(reads, Q2_BLOCK_GATHER_NEEDED + 3, 60);
        break;
    }
    T_CHECK_U64(status, EFI_SUCCESS);
}

static void test_other_requests_end_what_is_held_first(void)
{
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct reads reads;
        t_row(rows[row].name);
        begin(&reads);
        queue_some(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 3);
        check_held(&reads, Q2_BLOCK_GATHER_NEEDED, 3);
        call(&reads, row);
        check_ended(&reads, 0, Q2_BLOCK_GATHER_NEEDED + 3, EFI_SUCCESS);
        T_CHECK_U64(reads.rig.block_io.gather.nb_held, rows[row].nb_held);
        wait_ticks();
        end(&reads);
    }
    t_row("");
}

/* A caller that would wait for a tick is not made to. */
static void test_callers_that_are_not_held_up(void)
{
    struct reads reads;

    begin(&reads);
    tpl = TPL_CALLBACK;
    queue_some(&reads, 0, NB_READS);
    tpl = TPL_APPLICATION;
    check_ended(&reads, 0, NB_READS, EFI_SUCCESS);
    for (unsigned i = 0; i < NB_READS; i++) { /* one token, again and again */
        EFI_BLOCK_IO2_PROTOCOL *two = &reads.rig.block_io2.protocol;
        T_CHECK_U64(two->ReadBlocksEx(two, MEDIA_ID, i * BLOCKS, &reads.tokens[0], READ_SIZE,
                                      reads.buffer + (size_t)i * READ_SIZE),
                    EFI_SUCCESS);
        T_CHECK_U64(reads.nb_signals[0], i + 2);
    }
    for (unsigned i = 0; i < NB_READS; i++) { /* not in sequence */
        unsigned piece = i * 7 % NB_READS;
        reads.nb_signals[piece] = 0;
        queue(&reads, piece, piece);
        T_CHECK_U64(reads.nb_signals[piece], 1);
    }
    memset(reads.nb_signals, 0, sizeof(reads.nb_signals));
    no_timer = true;
    queue_some(&reads, 0, NB_READS);
    check_ended(&reads, 0, NB_READS, EFI_SUCCESS);
    end(&reads);
}

/* A caller with few tokens, each with its own part of the buffer, that it uses in turns. */
struct few {
    struct reads reads;
    unsigned nb_tokens, nb_ticks;
};

static void use_token(struct few *few, unsigned piece)
{
    EFI_BLOCK_IO2_PROTOCOL *two = &few->reads.rig.block_io2.protocol;
    unsigned token = piece % few->nb_tokens;

    few->reads.nb_signals[token] = 0;
    T_CHECK_U64(two->ReadBlocksEx(two, MEDIA_ID, piece * BLOCKS, &few->reads.tokens[token],
                                  READ_SIZE, few->reads.buffer + (size_t)token * READ_SIZE),
                EFI_SUCCESS);
}

/* Wait as WaitForEvent() does. */
static void wait_for(struct few *few, unsigned piece)
{
    unsigned token = piece % few->nb_tokens;
    const uint8_t *buffer = few->reads.buffer + (size_t)token * READ_SIZE;

    if (few->reads.nb_signals[token] == 0) {
        few->nb_ticks++;
        wait_ticks();
    }
    T_CHECK_U64(few->reads.nb_signals[token], 1);
    for (size_t i = 0; i < READ_SIZE; i += READ_SIZE - 1)
        T_CHECK_U64(buffer[i], pattern_at((uint64_t)piece * READ_SIZE + i));
}

/* Read the disk with so many requests on their way. Returns how many reads were held. */
static unsigned read_with(struct few *few, unsigned depth)
{
    unsigned first = 0, nb_held = 0;

    for (unsigned next = 0; next < NB_READS; next++) {
        if (next - first == depth)
            wait_for(few, first++);
        use_token(few, next);
        nb_held += few->reads.nb_signals[next % few->nb_tokens] == 0;
    }
    while (first < NB_READS)
        wait_for(few, first++);
    return nb_held;
}

/* They wait for nothing that could have been read, once their number is known. */
static void test_callers_with_few_tokens(void)
{
    for (unsigned nb = 2; nb <= Q2_BLOCK_GATHER_TOKENS; nb++) {
        struct few few = {.nb_tokens = nb};
        begin(&few.reads);
        (void)read_with(&few, nb);
        T_CHECK(few.nb_ticks <= 1);
        few.nb_ticks = 0;
        for (unsigned pass = 0; pass < 3; pass++)
            T_CHECK(read_with(&few, nb) >= (NB_READS - Q2_BLOCK_GATHER_FEW_NEEDED) / 2 - 1);
        T_CHECK(few.nb_ticks <= 1);
        end(&few.reads);
    }
}

/* Who has two and waits for each is hardly held up. */
static void test_a_caller_that_waits_for_each_of_two_tokens(void)
{
    struct few few = {.nb_tokens = 2};

    begin(&few.reads);
    for (unsigned pass = 0; pass < 20; pass++)
        (void)read_with(&few, 1);
    T_CHECK_U64(few.nb_ticks, 1);
    end(&few.reads);
}

/* Held after the first long read: these bytes are not in the engine's windows. */
#define FAR (2 * IN_ONE)

static void check_failure(enum q2_status failure, EFI_STATUS status)
{
    struct reads reads;

    begin(&reads);
    queue_some(&reads, 0, FAR + 3);
    reads.rig.pattern.status = failure;
    wait_ticks();
    check_ended(&reads, FAR, 3, status);
    T_CHECK(reads.rig.block_io.media.MediaPresent == (status != EFI_NO_MEDIA));
    reads.rig.pattern.status = Q2_OK;
    end(&reads);
}

/* Of a long read that fails, each part is read by itself, to its own place. */
static unsigned nb_bad_calls;

static enum q2_status read_after_bad_calls(struct q2_source *source, uint64_t offset, void *buffer,
                                           size_t length)
{
    if (nb_bad_calls == 0)
        return pattern_read_at(source, offset, buffer, length);
    nb_bad_calls--;
    memset(buffer, 0, length);
    return Q2_ERR_IO;
}

static void test_parts_of_a_failed_read_are_read_to_their_places(void)
{
    struct q2_source_ops ops = pattern_ops;
    struct reads reads;

    begin(&reads);
    ops.read_at = read_after_bad_calls;
    reads.rig.pattern.source.ops = &ops;
    queue_some(&reads, 0, FAR + 4);
    nb_bad_calls = 1;
    wait_ticks();
    T_CHECK_U64(nb_bad_calls, 0);
    check_ended(&reads, FAR, 4, EFI_SUCCESS);
    reads.rig.pattern.source.ops = &pattern_ops;
    end(&reads);
}

/* Writes that go on from each other are written, and not held as if they were reads. */
static void test_writes_in_sequence_are_not_held(void)
{
    struct reads reads;

    begin(&reads);
    memset(reads.buffer, 0x77, RANGE);
    for (unsigned i = 0; i < NB_READS; i++) {
        EFI_BLOCK_IO2_PROTOCOL *two = &reads.rig.block_io2.protocol;
        T_CHECK_U64(two->WriteBlocksEx(two, MEDIA_ID, i * BLOCKS, &reads.tokens[i], READ_SIZE,
                                       reads.buffer + (size_t)i * READ_SIZE),
                    EFI_SUCCESS);
        T_CHECK_U64(reads.nb_signals[i], 1);
    }
    T_CHECK(memcmp(reads.rig.pattern.written, reads.buffer, RANGE) == 0);
    end(&reads);
}

static void test_failures_are_told_to_each_token(void)
{
    struct reads reads;

    check_failure(Q2_ERR_IO, EFI_DEVICE_ERROR);
    check_failure(Q2_ERR_NO_MEDIA, EFI_NO_MEDIA);
    /* The medium goes while they are held. */
    begin(&reads);
    queue_some(&reads, 0, FAR + 3);
    reads.rig.pattern.nb_calls = 0;
    q2_block_io_lose_medium(&reads.rig.block_io);
    wait_ticks();
    check_ended(&reads, FAR, 3, EFI_NO_MEDIA);
    T_CHECK_U64(reads.rig.pattern.nb_calls, 0);
    end(&reads);
}

/* Reads of all lengths, ticks and other requests in a random order: each token is signalled once,
 * and its bytes are right. */
static void test_any_order(void)
{
    uint64_t random = 0x9e3779b97f4a7c15ull;
    struct reads reads;

    begin(&reads);
    for (unsigned round = 0; round < 300; round++) {
        unsigned nb = 1 + (unsigned)(random % NB_READS), first;
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        first = (unsigned)((random >> 33) % (NB_READS - nb + 1));
        memset(reads.nb_signals, 0, sizeof(reads.nb_signals));
        queue_some(&reads, first, nb);
        if (random >> 62 == 0)
            call(&reads, (random >> 40) % 7);
        wait_ticks();
        check_ended(&reads, first, nb, EFI_SUCCESS);
    }
    end(&reads);
}

int main(void)
{
    T_RUN(test_reads_in_sequence_become_one);
    T_RUN(test_ticks_end_what_is_held);
    T_RUN(test_tick_inside_a_request_ends_nothing);
    T_RUN(test_other_requests_end_what_is_held_first);
    T_RUN(test_callers_that_are_not_held_up);
    T_RUN(test_callers_with_few_tokens);
    T_RUN(test_a_caller_that_waits_for_each_of_two_tokens);
    T_RUN(test_parts_of_a_failed_read_are_read_to_their_places);
    T_RUN(test_writes_in_sequence_are_not_held);
    T_RUN(test_failures_are_told_to_each_token);
    T_RUN(test_any_order);
    return t_done();
}
