/* Reads that are queued below: with the real engine, file map and adapters, over a volume whose
 * Block I/O 2 ends its requests when the test says so, in any order.
 *
 * The image is a raw file in extents of 8 KiB that are on the volume in another order.
 */
#include "block_rig.h"

#include "drivers/efi/disk_io.h"
#include "drivers/extents/source.h"
#include "efi_mock.h"

#define FILE_SIZE    (512u * 1024)
#define EXTENT_SIZE  (8u * 1024)
#define NB_EXTENTS   (FILE_SIZE / EXTENT_SIZE)
#define VOLUME_SIZE  (1024u * 1024)
#define MAX_EVENTS   256u
#define MAX_REQUESTS 128u

/* Events: those of the queue have a notification, which comes at once when TPL_NOTIFY is above the
 * TPL, else when it falls. The tests' own are counters. */
struct event {
    EFI_EVENT_NOTIFY notify;
    void *context;
    EFI_TPL level;
    bool pending;
    unsigned nb_signals;
};
static struct event events[MAX_EVENTS];
static unsigned nb_events, nb_open_events, event_limit;

static void dispatch(void)
{
    for (unsigned i = 0; i < nb_events; i++) {
        EFI_TPL old = tpl;
        if (!events[i].pending || events[i].level <= tpl)
            continue;
        events[i].pending = false;
        tpl = events[i].level;
        events[i].notify(&events[i], events[i].context);
        tpl = old;
    }
}

static VOID EFIAPI restore_and_dispatch(EFI_TPL old)
{
    restore_tpl(old);
    dispatch();
}

static EFI_STATUS EFIAPI create_event(UINT32 Type, EFI_TPL level, EFI_EVENT_NOTIFY notify,
                                      VOID *context, EFI_EVENT *ret_event)
{
    T_CHECK_U64(Type, EVT_NOTIFY_SIGNAL);
    if (nb_open_events == event_limit || nb_events == MAX_EVENTS)
        return EFI_OUT_OF_RESOURCES;
    nb_open_events++;
    events[nb_events] = (struct event){.notify = notify, .context = context, .level = level};
    *ret_event = &events[nb_events++];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    T_CHECK(((struct event *)event)->notify != NULL);
    ((struct event *)event)->notify = NULL;
    nb_open_events--;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI signal_any(EFI_EVENT event)
{
    struct event *signalled = event;

    signalled->nb_signals++;
    if (signalled->notify) {
        signalled->pending = true;
        dispatch();
    }
    return EFI_SUCCESS;
}

/* The volume: Block I/O of efi_mock.h, and Block I/O 2 that keeps what it is asked. */
struct asked {
    EFI_BLOCK_IO2_TOKEN *token;
    EFI_LBA lba;
    UINTN size;
    void *buffer;
};
static struct {
    EFI_BLOCK_IO2_PROTOCOL protocol;
    struct mock_disk disk;
    struct asked asked[MAX_REQUESTS];
    unsigned nb_asked, nb_calls;
    unsigned limit;     /* more than so many are refused */
    bool at_once;       /* requests end inside the call */
    bool never;         /* Stall() ends none */
    unsigned nb_stalls; /* each ends the request that waits longest */
} volume;

static void end_request(unsigned index, EFI_STATUS status)
{
    struct asked asked = volume.asked[index];
    EFI_TPL old = tpl;

    volume.asked[index] = volume.asked[--volume.nb_asked];
    if (status == EFI_SUCCESS)
        memcpy(asked.buffer, volume.disk.bytes + asked.lba * 512, asked.size);
    asked.token->TransactionStatus = status;
    tpl = tpl < TPL_NOTIFY ? TPL_NOTIFY : tpl; /* as a timer of the driver below */
    (void)signal_any(asked.token->Event);
    tpl = old;
    dispatch();
}

static EFI_STATUS EFIAPI read_below(EFI_BLOCK_IO2_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                    EFI_BLOCK_IO2_TOKEN *Token, UINTN BufferSize, VOID *Buffer)
{
    (void)This;
    volume.nb_calls++;
    T_CHECK(tpl <= TPL_CALLBACK);
    T_CHECK_U64(MediaId, 7);
    T_CHECK(Token && Token->Event && BufferSize % 512 == 0);
    if (volume.nb_asked >= volume.limit)
        return EFI_OUT_OF_RESOURCES;
    volume.asked[volume.nb_asked++] = (struct asked){Token, LBA, BufferSize, Buffer};
    if (volume.at_once)
        end_request(volume.nb_asked - 1, EFI_SUCCESS);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI stall(UINTN us)
{
    (void)us;
    volume.nb_stalls++;
    if (volume.nb_asked > 0 && !volume.never)
        end_request(0, EFI_SUCCESS);
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES firmware = {.RaiseTPL = raise_tpl,
                                     .RestoreTPL = restore_and_dispatch,
                                     .SignalEvent = signal_any,
                                     .CreateEvent = create_event,
                                     .CloseEvent = close_event,
                                     .Stall = stall};

struct setup {
    uint8_t *bytes, *model;
    struct q2_source_efi_disk_io device;
    struct q2_source_extents file;
    struct q2_file_extent extents[NB_EXTENTS];
    void *workspace;
    struct q2_disk *disk;
    struct q2_block_io block_io;
    struct q2_block_io2 block_io2;
    struct q2_erase_block erase_block;
    struct q2_block_queue queue;
};

/* Neighbours in the file are far from each other on the volume, but for each second pair. */
static uint64_t place(unsigned i)
{
    unsigned pair = i / 2;

    return (uint64_t)((pair * 7 + 3) % (NB_EXTENTS / 2) * 2 + i % 2) * EXTENT_SIZE +
           VOLUME_SIZE / 4;
}

static void make_file(struct setup *setup)
{
    struct q2_extents_file file = {.volume = &setup->device.source,
                                   .extents = setup->extents,
                                   .nb_extents = NB_EXTENTS,
                                   .size = FILE_SIZE,
                                   .path = "/img/a.raw",
                                   .writable = true};

    for (unsigned i = 0; i < NB_EXTENTS; i++) {
        setup->extents[i] = (struct q2_file_extent){.file_offset = (uint64_t)i * EXTENT_SIZE,
                                                    .volume_offset = place(i),
                                                    .length = EXTENT_SIZE};
        memcpy(setup->model + (size_t)i * EXTENT_SIZE, setup->bytes + place(i), EXTENT_SIZE);
    }
    T_CHECK_U64(q2_source_extents_init(&setup->file, &file), Q2_OK);
}

static void setup_start(struct setup *setup)
{
    const struct q2_disk_options options = {.format = Q2_FORMAT_RAW, .writable = true};
    const struct q2_block_io_options block_options = {.block_size = 512, .media_id = MEDIA_ID};
    struct q2_fault fault;

    *setup = (struct setup){.bytes = malloc(VOLUME_SIZE), .model = malloc(FILE_SIZE)};
    nb_events = nb_open_events = 0;
    event_limit = MAX_EVENTS;
    memset(&volume, 0, sizeof(volume));
    tpl = TPL_APPLICATION;
    tpl_errors = 0;
    for (size_t i = 0; i < VOLUME_SIZE; i++)
        setup->bytes[i] = (uint8_t)(i / 512 * 31 + i);
    mock_disk_init(&volume.disk, setup->bytes, 512, VOLUME_SIZE / 512, 1, FALSE);
    volume.protocol.Media = &volume.disk.Media;
    volume.protocol.ReadBlocksEx = read_below;
    volume.limit = MAX_REQUESTS;
    T_CHECK_U64(q2_source_efi_disk_io_init(&setup->device, &volume.disk.DiskIo,
                                           &volume.disk.BlockIo, "volume"),
                Q2_OK);
    setup->device.BlockIo2 = &volume.protocol;
    make_file(setup);
    setup->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    T_CHECK_U64(q2_disk_open(setup->workspace, &setup->file.source, &no_files, &options, &fault,
                             &setup->disk),
                Q2_OK);
    T_CHECK_U64(q2_block_io_init(&setup->block_io, setup->disk, &firmware, &block_options), Q2_OK);
    q2_block_io2_init(&setup->block_io2, &setup->block_io);
    q2_erase_block_init(&setup->erase_block, &setup->block_io);
    T_CHECK_U64(q2_block_queue_open(&setup->queue, &firmware, &setup->block_io.media), EFI_SUCCESS);
    setup->block_io.queue = &setup->queue;
}

static void setup_end(struct setup *setup)
{
    T_CHECK(q2_block_queue_is_idle(&setup->queue));
    T_CHECK_U64(volume.nb_asked, 0);
    q2_block_queue_close(&setup->queue);
    T_CHECK_U64(nb_open_events, 0);
    T_CHECK_U64(tpl_errors, 0);
    T_CHECK_U64(tpl, TPL_APPLICATION);
    T_CHECK_U64(volume.disk.nb_misuses, 0);
    q2_disk_close(setup->disk);
    free(setup->workspace);
    free(setup->bytes);
    free(setup->model);
}

/* One read of a test. */
struct read {
    struct event event;
    EFI_BLOCK_IO2_TOKEN token;
    uint64_t offset;
    size_t size;
    uint8_t *buffer;
};

static void read_start(struct setup *setup, struct read *read, uint64_t offset, size_t size)
{
    EFI_BLOCK_IO2_PROTOCOL *protocol = &setup->block_io2.protocol;

    *read = (struct read){.offset = offset, .size = size};
    read->buffer = aligned_alloc(16, size);
    memset(read->buffer, 0xee, size);
    read->token.Event = &read->event;
    read->token.TransactionStatus = EFI_NOT_READY;
    T_CHECK_U64(
        protocol->ReadBlocksEx(protocol, MEDIA_ID, offset / 512, &read->token, size, read->buffer),
        EFI_SUCCESS);
}

static void read_check_waits(const struct read *read)
{
    T_CHECK_U64(read->event.nb_signals, 0);
    T_CHECK_U64(read->token.TransactionStatus, EFI_NOT_READY);
}

static void read_end(struct setup *setup, struct read *read, EFI_STATUS status)
{
    T_CHECK_U64(read->event.nb_signals, 1);
    T_CHECK_U64(read->token.TransactionStatus, status);
    if (status == EFI_SUCCESS)
        T_CHECK(memcmp(read->buffer, setup->model + read->offset, read->size) == 0);
    free(read->buffer);
}

static void test_read_ends_with_its_last_piece(void)
{
    struct setup setup;
    struct read read;

    setup_start(&setup);
    read_start(&setup, &read, 512, 20 * 1024); /* pieces in three extents, two of them neighbours */
    T_CHECK(volume.nb_asked >= 2);
    while (volume.nb_asked > 0) {
        read_check_waits(&read);
        end_request(volume.nb_asked - 1, EFI_SUCCESS);
    }
    read_end(&setup, &read, EFI_SUCCESS);
    setup_end(&setup);
}

/* Many reads at once, ended in an order of their own; each gets its bytes and one signal. */
static void test_queued_reads_end_in_any_order(void)
{
    static struct read reads[200];
    struct setup setup;
    uint64_t seed = 1;
    unsigned nb_waited = 0;

    setup_start(&setup);
    for (unsigned i = 0; i < 200; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        read_start(&setup, &reads[i], (seed >> 33) % 700 * 512, 512 * (1 + (seed >> 20) % 64));
        nb_waited += reads[i].event.nb_signals == 0;
        while (volume.nb_asked > 40)
            end_request((unsigned)(seed >> 40) % volume.nb_asked, EFI_SUCCESS);
    }
    while (volume.nb_asked > 0)
        end_request((unsigned)(seed >> 45) % volume.nb_asked, EFI_SUCCESS);
    for (unsigned i = 0; i < 200; i++)
        read_end(&setup, &reads[i], EFI_SUCCESS);
    T_CHECK(nb_waited > 100);
    setup_end(&setup);
}

/* When the pool is empty, or the queue below is full, a read ends before its call returns. */
static void test_full_queues_are_no_error(void)
{
    static struct read reads[100];

    for (unsigned limit = 0; limit <= MAX_REQUESTS; limit += 32) {
        struct setup setup;
        unsigned nb_waited = 0;
        setup_start(&setup);
        volume.limit = limit;
        for (unsigned i = 0; i < 100; i++) {
            read_start(&setup, &reads[i], (uint64_t)i * 2048 + 512, 1024);
            nb_waited += reads[i].event.nb_signals == 0;
        }
        T_CHECK_U64(nb_waited, limit < Q2_BLOCK_QUEUE_SLOTS ? limit : Q2_BLOCK_QUEUE_SLOTS);
        while (volume.nb_asked > 0)
            end_request(0, EFI_SUCCESS);
        for (unsigned i = 0; i < 100; i++)
            read_end(&setup, &reads[i], EFI_SUCCESS);
        setup_end(&setup);
    }
}

/* A driver below may end a request inside the call that starts it. */
static void test_requests_that_end_at_once(void)
{
    struct setup setup;
    struct read read;

    setup_start(&setup);
    volume.at_once = true;
    read_start(&setup, &read, 512, 30 * 1024);
    T_CHECK(volume.nb_calls > 1);
    read_end(&setup, &read, EFI_SUCCESS);
    setup_end(&setup);
}

static void test_failure_of_one_piece_is_the_reads(void)
{
    static const struct {
        EFI_STATUS below, status;
        bool gone;
    } rows[] = {{EFI_DEVICE_ERROR, EFI_DEVICE_ERROR, false},
                {EFI_TIMEOUT, EFI_DEVICE_ERROR, false},
                {EFI_NO_MEDIA, EFI_NO_MEDIA, true},
                {EFI_MEDIA_CHANGED, EFI_MEDIA_CHANGED, true}};

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        for (unsigned which = 0; which < 2; which++) {
            struct setup setup;
            struct read read;
            setup_start(&setup);
            read_start(&setup, &read, 512, 30 * 1024);
            end_request(which, rows[row].below);
            while (volume.nb_asked > 0)
                end_request(0, EFI_SUCCESS);
            read_end(&setup, &read, rows[row].status);
            T_CHECK_U64(setup.block_io.media.MediaPresent, !rows[row].gone);
            setup_end(&setup);
        }
    }
}

enum change {
    WRITE,
    ERASE,
    FLUSH,
    FLUSH_EX,
    RESET,
    NB_CHANGES
};

static EFI_STATUS make_change(struct setup *setup, enum change change, void *block)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &setup->block_io.protocol;
    EFI_BLOCK_IO2_PROTOCOL *protocol2 = &setup->block_io2.protocol;

    switch (change) {
    case WRITE:
        return protocol->WriteBlocks(protocol, MEDIA_ID, 0, 512, block);
    case ERASE:
        return setup->erase_block.protocol.EraseBlocks(&setup->erase_block.protocol, MEDIA_ID, 0,
                                                       NULL, 512);
    case FLUSH:
        return protocol->FlushBlocks(protocol);
    case FLUSH_EX:
        return protocol2->FlushBlocksEx(protocol2, NULL);
    case RESET:
    case NB_CHANGES:
    default:
        return protocol2->Reset(protocol2, FALSE);
    }
}

/* What was queued before has ended when a write, erase, flush or reset returns. */
static void test_changes_wait_for_queued_reads(void)
{
    static alignas(16) uint8_t block[512];

    for (enum change change = 0; change < NB_CHANGES; change++) {
        struct setup setup;
        struct read reads[5];
        setup_start(&setup);
        for (unsigned i = 0; i < 5; i++)
            read_start(&setup, &reads[i], (uint64_t)i * 10 * 1024 + 512, 9 * 1024);
        T_CHECK(volume.nb_asked >= 5);
        T_CHECK_U64(make_change(&setup, change, block), EFI_SUCCESS);
        for (unsigned i = 0; i < 5; i++)
            read_end(&setup, &reads[i], EFI_SUCCESS);
        setup_end(&setup);
    }
}

/* Firmware that never ends a request: the change is refused, nothing hangs for good. Above
 * TPL_CALLBACK nobody waits at all. */
static void test_changes_give_up_waiting(void)
{
    static alignas(16) uint8_t block[512];

    for (enum change change = 0; change < NB_CHANGES; change++) {
        struct setup setup;
        struct read read;
        setup_start(&setup);
        read_start(&setup, &read, 512, 1024);
        volume.never = true;
        tpl = TPL_NOTIFY;
        T_CHECK_U64(make_change(&setup, change, block), EFI_DEVICE_ERROR);
        T_CHECK_U64(volume.nb_stalls, 0);
        tpl = TPL_APPLICATION;
        T_CHECK_U64(make_change(&setup, change, block), EFI_DEVICE_ERROR);
        T_CHECK(!q2_block_io_drain(&setup.block_io));
        read_check_waits(&read);
        volume.never = false;
        T_CHECK_U64(make_change(&setup, change, block), EFI_SUCCESS);
        read_end(&setup, &read, EFI_SUCCESS);
        setup_end(&setup);
    }
}

/* Blocking reads go their own way while others are queued. */
static void test_blocking_reads_pass_queued_ones(void)
{
    static alignas(16) uint8_t block[512];
    struct setup setup;
    struct read read;
    EFI_BLOCK_IO_PROTOCOL *protocol = &setup.block_io.protocol;

    setup_start(&setup);
    read_start(&setup, &read, 512, 1024);
    T_CHECK_U64(protocol->ReadBlocks(protocol, MEDIA_ID, 0, 512, block), EFI_SUCCESS);
    T_CHECK(memcmp(block, setup.model, 512) == 0);
    read_check_waits(&read);
    end_request(0, EFI_SUCCESS);
    read_end(&setup, &read, EFI_SUCCESS);
    setup_end(&setup);
}

/* A read over more pieces than a read may have is served at once. */
static void test_read_in_many_pieces_is_served(void)
{
    struct setup setup;
    struct read read;

    setup_start(&setup);
    read_start(&setup, &read, 512, FILE_SIZE - 512);
    T_CHECK_U64(volume.nb_calls, 0);
    read_end(&setup, &read, EFI_SUCCESS);
    setup_end(&setup);
}

/* Small reads in sequence are the windows' business, and so is their first one. The second one in
 * a row that jumps is queued. */
static void test_small_reads_in_sequence_are_served(void)
{
    static const struct {
        uint64_t offset;
        bool queued;
    } reads[] = {
        {0, false},     /* goes on */
        {4096, false},  /* goes on */
        {40960, false}, /* jumps */
        {45056, false}, /* goes on */
        {8192, false},  /* jumps */
        {65536, true},  /* jumps again */
        {16384, true},  /* and again */
        {20480, false}, /* goes on */
        {98304, false}, /* jumps */
        {0, true},      /* jumps again */
    };
    struct setup setup;

    setup_start(&setup);
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        unsigned nb_calls = volume.nb_calls;
        struct read read;
        read_start(&setup, &read, reads[i].offset, 4096);
        T_CHECK_U64(volume.nb_calls > nb_calls, reads[i].queued);
        if (reads[i].queued)
            read_check_waits(&read);
        while (volume.nb_asked > 0)
            end_request(0, EFI_SUCCESS);
        read_end(&setup, &read, EFI_SUCCESS);
    }
    setup_end(&setup);
}

static void test_open_without_events_leaves_none(void)
{
    for (unsigned limit = 0; limit < Q2_BLOCK_QUEUE_SLOTS; limit++) {
        static struct q2_block_queue queue;
        EFI_BLOCK_IO_MEDIA media = {.MediaPresent = TRUE};
        nb_events = nb_open_events = 0;
        event_limit = limit;
        T_CHECK_U64(q2_block_queue_open(&queue, &firmware, &media), EFI_OUT_OF_RESOURCES);
        T_CHECK_U64(nb_open_events, 0);
        T_CHECK(!queue.is_open);
    }
}

int main(void)
{
    T_RUN(test_read_ends_with_its_last_piece);
    T_RUN(test_queued_reads_end_in_any_order);
    T_RUN(test_full_queues_are_no_error);
    T_RUN(test_requests_that_end_at_once);
    T_RUN(test_failure_of_one_piece_is_the_reads);
    T_RUN(test_changes_wait_for_queued_reads);
    T_RUN(test_changes_give_up_waiting);
    T_RUN(test_blocking_reads_pass_queued_ones);
    T_RUN(test_read_in_many_pieces_is_served);
    T_RUN(test_small_reads_in_sequence_are_served);
    T_RUN(test_open_without_events_leaves_none);
    return t_done();
}
