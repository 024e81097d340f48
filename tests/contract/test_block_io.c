/* Block I/O on a real disk: the order of the checks, geometry, TPL, re-entrancy, a medium that
 * goes.
 */
#include "block_rig.h"

#include "drivers/memory/source.h"
#include "q2_create.h"

static const EFI_STATUS mistake_status[NB_MISTAKES] = {
    EFI_NO_MEDIA, EFI_MEDIA_CHANGED,   EFI_WRITE_PROTECTED,   EFI_INVALID_PARAMETER,
    EFI_SUCCESS,  EFI_BAD_BUFFER_SIZE, EFI_INVALID_PARAMETER, EFI_INVALID_PARAMETER,
};

static EFI_STATUS check_with(unsigned mistakes)
{
    static alignas(16) uint8_t buffer[1024];
    const EFI_BLOCK_IO_MEDIA media = {.MediaId = MEDIA_ID,
                                      .MediaPresent = !(mistakes & NO_MEDIA),
                                      .ReadOnly = (mistakes & WRITE_TO_READ_ONLY) != 0,
                                      .BlockSize = 512,
                                      .IoAlign = 16,
                                      .LastBlock = 63};
    struct q2_block_request request = {.MediaId = MEDIA_ID, .LBA = 62, .BufferSize = 1024};

    request.kind = (mistakes & WRITE_TO_READ_ONLY) ? Q2_BLOCK_WRITE : Q2_BLOCK_READ;
    request.MediaId += (mistakes & OTHER_MEDIA) ? 1 : 0;
    request.LBA += (mistakes & PAST_END) ? 2 : 0;
    request.BufferSize = (mistakes & ODD_SIZE) ? 1023 : 1024;
    request.BufferSize = (mistakes & NO_SIZE) ? 0 : request.BufferSize;
    request.Buffer = (mistakes & MISALIGNED) ? buffer + 8 : buffer;
    request.Buffer = (mistakes & NULL_BUFFER) ? NULL : request.Buffer;
    return q2_block_request_check(&media, &request);
}

/* All 255 sets of mistakes: of each, the first in the design's order decides. */
static void test_request_check_any_mistakes_first_one_decides(void)
{
    T_CHECK_U64(check_with(0), EFI_SUCCESS);
    for (unsigned mistakes = 1; mistakes < 1u << NB_MISTAKES; mistakes++) {
        char row[32];
        (void)snprintf(row, sizeof(row), "mistakes %02x", mistakes);
        t_row(row);
        T_CHECK_U64(check_with(mistakes), mistake_status[__builtin_ctz(mistakes)]);
    }
}

static void test_request_check_range_at_its_borders(void)
{
    static const struct {
        const char *name;
        EFI_LBA last, lba;
        UINTN size;
        EFI_STATUS status;
    } rows[] = {
        {"whole disk", 63, 0, 64 * 512, EFI_SUCCESS},
        {"one block more", 63, 0, 65 * 512, EFI_INVALID_PARAMETER},
        {"last block", 63, 63, 512, EFI_SUCCESS},
        {"two blocks at the last", 63, 63, 1024, EFI_INVALID_PARAMETER},
        {"first block after", 63, 64, 512, EFI_INVALID_PARAMETER},
        {"highest LBA", 63, UINT64_MAX, 512, EFI_INVALID_PARAMETER},
        {"highest LBA, nothing", 63, UINT64_MAX, 0, EFI_SUCCESS},
        {"LBA + count wraps", 63, UINT64_MAX, 1024, EFI_INVALID_PARAMETER},
        {"largest size", 63, 0, UINT64_MAX - 511, EFI_INVALID_PARAMETER},
        {"largest disk, first block", UINT64_MAX, 0, 512, EFI_SUCCESS},
        {"largest disk, last block", UINT64_MAX, UINT64_MAX, 512, EFI_SUCCESS},
        {"largest disk, after it", UINT64_MAX, UINT64_MAX, 1024, EFI_INVALID_PARAMETER},
        {"one block, all of it", 0, 0, 512, EFI_SUCCESS},
        {"one block, two wanted", 0, 0, 1024, EFI_INVALID_PARAMETER},
    };
    static alignas(16) uint8_t buffer[16];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const EFI_BLOCK_IO_MEDIA media = {
            .MediaPresent = TRUE, .BlockSize = 512, .LastBlock = rows[i].last};
        const struct q2_block_request request = {
            .LBA = rows[i].lba, .BufferSize = rows[i].size, .Buffer = buffer};
        t_row(rows[i].name);
        T_CHECK_U64(q2_block_request_check(&media, &request), rows[i].status);
    }
}

static void test_request_check_alignment_of_each_io_align(void)
{
    static alignas(16) uint8_t buffer[1024];

    for (UINT32 align = 0; align <= 16; align = align ? align * 2 : 1) {
        const EFI_BLOCK_IO_MEDIA media = {
            .MediaPresent = TRUE, .BlockSize = 512, .IoAlign = align, .LastBlock = 63};
        for (unsigned shift = 0; shift < 16; shift++) {
            const struct q2_block_request request = {.BufferSize = 512, .Buffer = buffer + shift};
            bool fits = align < 2 || shift % align == 0;
            T_CHECK_U64(q2_block_request_check(&media, &request),
                        fits ? EFI_SUCCESS : EFI_INVALID_PARAMETER);
        }
    }
}

static void test_init_size_and_block_size_last_block(void)
{
    static const struct {
        const char *name;
        uint64_t size;
        uint32_t block_size;
        enum q2_status status;
        uint64_t last;
    } rows[] = {
        {"empty", 0, 512, Q2_ERR_LIMIT, 0},
        {"a byte less than a block", 511, 512, Q2_ERR_LIMIT, 0},
        {"one block", 512, 512, Q2_OK, 0},
        {"one block and a part", 1023, 512, Q2_OK, 0},
        {"two blocks", 1024, 512, Q2_OK, 1},
        {"partial last sector", DISK_SIZE + 1, 512, Q2_OK, 63},
        {"4096: less than a block", 4095, 4096, Q2_ERR_LIMIT, 0},
        {"4096: one block and a part", 8191, 4096, Q2_OK, 0},
        {"a very large disk", INT64_MAX, 512, Q2_OK, (uint64_t)INT64_MAX / 512 - 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        t_row(rows[i].name);
        rig_open(&rig, rows[i].size, rows[i].block_size, 1);
        T_CHECK_U64(rig.init_status, rows[i].status);
        if (rig.init_status == Q2_OK)
            T_CHECK_U64(rig.block_io.media.LastBlock, rows[i].last);
        rig_close(&rig);
    }
}

static void test_init_media_says_what_the_disk_is(void)
{
    struct rig rig;
    const EFI_BLOCK_IO_MEDIA *media = &rig.block_io.media;

    rig_open(&rig, DISK_SIZE, 512, 64);
    T_CHECK(rig.block_io.protocol.Media == media);
    T_CHECK_U64(rig.block_io.protocol.Revision, EFI_BLOCK_IO_PROTOCOL_REVISION3);
    T_CHECK_U64(media->MediaId, MEDIA_ID);
    T_CHECK(media->MediaPresent && media->ReadOnly);
    T_CHECK(!media->WriteCaching && !media->LogicalPartition && !media->RemovableMedia);
    T_CHECK_U64(media->IoAlign, 64);
    T_CHECK_U64(media->LowestAlignedLba, 0);
    T_CHECK_U64(media->LogicalBlocksPerPhysicalBlock, 1);
    T_CHECK_U64(media->OptimalTransferLengthGranularity, 0);
    rig_close(&rig);

    rig_open(&rig, DISK_SIZE, 512, 0);
    T_CHECK_U64(media->IoAlign, Q2_BLOCK_IO_ALIGN);
    rig_close(&rig);
}

/* Clusters and subclusters of an image, in blocks of the disk. */
static void test_init_media_tells_clusters_and_subclusters(void)
{
    static const struct {
        const char *name;
        uint32_t cluster_bits, block_size;
        bool extended_l2;
        uint32_t physical, granularity;
    } rows[] = {
        {"64 KiB", 16, 512, false, 128, 128},
        {"64 KiB, subclusters", 16, 512, true, 4, 128},
        {"16 KiB, subclusters of a block", 14, 512, true, 1, 32},
        {"2 MiB", 21, 512, false, 4096, 4096},
        {"512 bytes", 9, 512, false, 1, 1},
        {"512 bytes, larger blocks", 9, 4096, false, 1, 1},
        {"64 KiB, larger blocks", 16, 4096, false, 16, 16},
        {"64 KiB, subclusters below a block", 16, 4096, true, 1, 16},
    };
    static uint8_t bytes[16u << 20];
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct q2_create_options create = {.virtual_size = 1u << 20,
                                                 .cluster_bits = rows[i].cluster_bits,
                                                 .extended_l2 = rows[i].extended_l2};
        const struct q2_block_io_options options = {.block_size = rows[i].block_size};
        const struct q2_disk_options disk_options = {.format = Q2_FORMAT_QCOW2};
        struct q2_opener opener = {.ops = NULL};
        struct q2_source_memory source;
        struct q2_block_io block_io;
        struct q2_disk *disk;
        struct q2_fault fault;
        t_row(rows[i].name);
        q2_source_memory_init(&source, bytes, 0, sizeof(bytes), true, "image");
        T_CHECK_U64(q2_create(workspace, &source.source, &create, &fault), Q2_OK);
        T_CHECK_U64(q2_disk_open(workspace, &source.source, &opener, &disk_options, &fault, &disk),
                    Q2_OK);
        T_CHECK_U64(q2_block_io_init(&block_io, disk, &services, &options), Q2_OK);
        T_CHECK_U64(block_io.media.LogicalBlocksPerPhysicalBlock, rows[i].physical);
        T_CHECK_U64(block_io.media.OptimalTransferLengthGranularity, rows[i].granularity);
        T_CHECK_U64(block_io.media.LowestAlignedLba, 0);
        q2_disk_close(disk);
    }
    free(workspace);
}

/* A medium that goes is told of after the request, until somebody has told those above. */
static void test_turned_is_signalled_until_told(void)
{
    static unsigned turned;
    static uint8_t buffer[512];
    struct rig rig;
    EFI_TPL before = tpl;

    rig_open(&rig, DISK_SIZE, 512, 1);
    rig.block_io.turned = &turned;
    turned = 0;
    T_CHECK(!q2_block_io_has_turned(&rig.block_io));
    rig.pattern.status = Q2_ERR_NO_MEDIA;
    T_CHECK_U64(rig.block_io.protocol.ReadBlocks(&rig.block_io.protocol, MEDIA_ID, 0, 512, buffer),
                EFI_NO_MEDIA);
    T_CHECK_U64(turned, 1);
    T_CHECK(q2_block_io_has_turned(&rig.block_io));
    q2_block_io_tell(&rig.block_io);
    T_CHECK(!q2_block_io_has_turned(&rig.block_io));
    T_CHECK_U64(rig.block_io.protocol.ReadBlocks(&rig.block_io.protocol, MEDIA_ID, 0, 512, buffer),
                EFI_NO_MEDIA);
    T_CHECK_U64(turned, 1);
    T_CHECK_U64(tpl, before);
    T_CHECK_U64(tpl_errors, 0);
    rig_close(&rig);
}

static bool is_pattern(const uint8_t *bytes, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; i < length; i++) {
        if (bytes[i] != pattern_at(offset + i))
            return false;
    }
    return true;
}

/* Each block alone, then all of them at once. */
static void check_reads(uint32_t block_size)
{
    static alignas(16) uint8_t buffer[DISK_SIZE];
    struct rig rig;

    rig_open(&rig, DISK_SIZE + 100, block_size, 1);
    for (uint32_t i = 0; i < DISK_SIZE / block_size; i++) {
        T_CHECK_U64(rig_read(&rig, i, block_size, buffer), EFI_SUCCESS);
        T_CHECK(is_pattern(buffer, (uint64_t)i * block_size, block_size));
    }
    T_CHECK_U64(rig_read(&rig, 0, DISK_SIZE, buffer), EFI_SUCCESS);
    T_CHECK(is_pattern(buffer, 0, DISK_SIZE));
    T_CHECK_U64(rig.block_io.nb_writes, 0);
    T_CHECK_U64(rig.nb_written, 0);
    rig_close(&rig);
}

static void test_read_blocks_gives_the_guests_bytes(void)
{
    t_row("512");
    check_reads(512);
    t_row("4096");
    check_reads(4096);
}

static void test_read_blocks_refused_request_reaches_no_source(void)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open(&rig, DISK_SIZE, 512, 1);
    rig.pattern.nb_calls = 0;
    T_CHECK_U64(rig_read(&rig, 64, 512, buffer), EFI_INVALID_PARAMETER);
    T_CHECK_U64(rig_read(&rig, 0, 0, buffer), EFI_SUCCESS);
    T_CHECK_U64(rig_read(&rig, 0, 511, buffer), EFI_BAD_BUFFER_SIZE);
    T_CHECK_U64(rig.pattern.nb_calls, 0);
    rig_close(&rig);
}

/* U4: what a request at each TPL is told. */
static const struct {
    const char *name;
    EFI_TPL tpl;
    EFI_STATUS status;
} tpl_rows[] = {{"application", TPL_APPLICATION, EFI_SUCCESS},
                {"callback", TPL_CALLBACK, EFI_SUCCESS},
                {"notify", TPL_NOTIFY, EFI_DEVICE_ERROR},
                {"high level", TPL_HIGH_LEVEL, EFI_DEVICE_ERROR}};
#define NB_TPL_ROWS (sizeof(tpl_rows) / sizeof(tpl_rows[0]))

/* U4: allowed up to TPL_CALLBACK; the source is always called there. Offset 0 is read each time
 * with a fresh disk, so that no cache hides the call. */
static void test_read_blocks_at_each_tpl(void)
{
    static alignas(16) uint8_t buffer[512];

    for (size_t i = 0; i < NB_TPL_ROWS; i++) {
        struct rig rig;
        t_row(tpl_rows[i].name);
        rig_open(&rig, DISK_SIZE, 512, 1);
        rig.pattern.nb_calls = 0;
        tpl = tpl_rows[i].tpl;
        T_CHECK_U64(rig_read(&rig, 0, 512, buffer), tpl_rows[i].status);
        T_CHECK_U64(tpl, tpl_rows[i].tpl);
        T_CHECK((rig.pattern.nb_calls > 0) == (tpl_rows[i].status == EFI_SUCCESS));
        if (rig.pattern.nb_calls > 0)
            T_CHECK_U64(rig.pattern.tpl, TPL_CALLBACK);
        tpl = TPL_APPLICATION;
        rig_close(&rig);
    }
}

/* U5: a second request during one is refused, and the first one is unharmed. */
static void test_read_blocks_during_a_read_is_refused(void)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open(&rig, DISK_SIZE, 512, 1);
    rig.pattern.reenter = &rig.block_io.protocol;
    T_CHECK_U64(rig_read(&rig, 1, 512, buffer), EFI_SUCCESS);
    T_CHECK(!rig.pattern.reenter);
    T_CHECK_U64(rig.pattern.reenter_status, EFI_DEVICE_ERROR);
    T_CHECK(is_pattern(buffer, 512, 512));
    T_CHECK_U64(rig_read(&rig, 2, 512, buffer), EFI_SUCCESS);
    rig_close(&rig);
}

/* A failing read is an error each time; a later one that works is none. */
static void test_read_blocks_io_error_is_not_latched(void)
{
    static const enum q2_status rows[] = {Q2_ERR_IO, Q2_ERR_TRUNCATED, Q2_ERR_BAD_L2, Q2_OK};
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open(&rig, DISK_SIZE, 512, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(q2_status_name(rows[i]));
        rig.pattern.status = rows[i];
        T_CHECK_U64(rig_read(&rig, 0, 512, buffer),
                    rows[i] == Q2_OK ? EFI_SUCCESS : EFI_DEVICE_ERROR);
        T_CHECK(rig.block_io.media.MediaPresent);
    }
    rig_close(&rig);
}

/* U6, U7: gone is gone, even if the volume answers again; the source is not asked any more. */
static void check_medium_goes(enum q2_status below, EFI_STATUS status)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;
    EFI_BLOCK_IO_PROTOCOL *protocol = &rig.block_io.protocol;

    rig_open(&rig, DISK_SIZE, 512, 1);
    T_CHECK_U64(protocol->FlushBlocks(protocol), EFI_SUCCESS);
    T_CHECK_U64(protocol->Reset(protocol, TRUE), EFI_SUCCESS);
    rig.pattern.status = below;
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), status);
    T_CHECK(!rig.block_io.media.MediaPresent);
    rig.pattern.status = Q2_OK;
    rig.pattern.nb_calls = 0;
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_NO_MEDIA);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, 0, 512, buffer), EFI_NO_MEDIA);
    T_CHECK_U64(protocol->FlushBlocks(protocol), EFI_NO_MEDIA);
    T_CHECK_U64(protocol->Reset(protocol, TRUE), EFI_SUCCESS);
    T_CHECK_U64(rig.pattern.nb_calls, 0);
    rig_close(&rig);
}

static void test_read_blocks_medium_gone_is_latched(void)
{
    t_row("no media");
    check_medium_goes(Q2_ERR_NO_MEDIA, EFI_NO_MEDIA);
    t_row("media changed");
    check_medium_goes(Q2_ERR_MEDIA_CHANGED, EFI_MEDIA_CHANGED);
}

static void test_write_blocks_on_read_only_disk_is_refused(void)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;
    EFI_BLOCK_IO_PROTOCOL *protocol = &rig.block_io.protocol;

    rig_open(&rig, DISK_SIZE, 512, 1);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, 0, 512, buffer), EFI_WRITE_PROTECTED);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, 99, 1, NULL), EFI_WRITE_PROTECTED);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, 0, 0, buffer), EFI_WRITE_PROTECTED);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID + 1, 0, 0, NULL), EFI_MEDIA_CHANGED);
    rig_close(&rig);
}

static EFI_STATUS rig_write(struct rig *rig, EFI_LBA LBA, UINTN BufferSize, VOID *Buffer)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &rig->block_io.protocol;

    return protocol->WriteBlocks(protocol, MEDIA_ID, LBA, BufferSize, Buffer);
}

static EFI_STATUS rig_flush(struct rig *rig)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &rig->block_io.protocol;

    return protocol->FlushBlocks(protocol);
}

static void test_write_blocks_reach_the_disk_at_their_place(void)
{
    static alignas(16) uint8_t buffer[2048];
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK(!rig.block_io.media.ReadOnly && !rig.block_io.media.WriteCaching);
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = (uint8_t)(i / 512 + 3);
    T_CHECK_U64(rig_write(&rig, 5, 2048, buffer), EFI_SUCCESS);
    T_CHECK_U64(rig_write(&rig, 63, 512, buffer), EFI_SUCCESS);
    T_CHECK(memcmp(rig.pattern.written + 5 * 512, buffer, 2048) == 0);
    T_CHECK(memcmp(rig.pattern.written + 63 * 512, buffer, 512) == 0);
    T_CHECK_U64(rig.pattern.written[4 * 512 + 511], 0);
    T_CHECK_U64(rig.pattern.written[9 * 512], 0);
    T_CHECK_U64(rig.nb_written, 1); /* the first one; then attention must be asked for */
    T_CHECK_U64(rig.block_io.nb_writes, 2);
    rig.block_io.attention = true;
    T_CHECK_U64(rig_flush(&rig), EFI_SUCCESS);
    T_CHECK_U64(rig.nb_written, 2); /* a flush writes metadata */
    T_CHECK_U64(rig.block_io.nb_writes, 3);
    T_CHECK(!rig.block_io.attention && rig.pattern.nb_flushes > 0);
    T_CHECK_U64(rig.pattern.tpl, TPL_CALLBACK);
    rig_close(&rig);
}

/* What is refused, and nothing at all, neither reach the disk nor signal. */
static void test_write_blocks_refused_request_reaches_no_source(void)
{
    static alignas(16) uint8_t buffer[1024];
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    rig.pattern.nb_calls = 0;
    T_CHECK_U64(rig_write(&rig, 64, 512, buffer), EFI_INVALID_PARAMETER);
    T_CHECK_U64(rig_write(&rig, 63, 1024, buffer), EFI_INVALID_PARAMETER);
    T_CHECK_U64(rig_write(&rig, 0, 511, buffer), EFI_BAD_BUFFER_SIZE);
    T_CHECK_U64(rig_write(&rig, 0, 512, NULL), EFI_INVALID_PARAMETER);
    T_CHECK_U64(rig_write(&rig, 0, 512, buffer + 1), EFI_INVALID_PARAMETER);
    T_CHECK_U64(rig_write(&rig, 0, 0, buffer), EFI_SUCCESS);
    T_CHECK_U64(rig.pattern.nb_calls + rig.nb_written, 0);
    rig_close(&rig);
}

/* U4 for writes and flushes. */
static void test_write_and_flush_blocks_at_each_tpl(void)
{
    static alignas(16) uint8_t buffer[512];

    for (size_t i = 0; i < NB_TPL_ROWS; i++) {
        struct rig rig;
        t_row(tpl_rows[i].name);
        rig_open_as(&rig, DISK_SIZE, 512, 1, true);
        rig.pattern.nb_calls = 0;
        tpl = tpl_rows[i].tpl;
        T_CHECK_U64(rig_write(&rig, 0, 512, buffer), tpl_rows[i].status);
        T_CHECK_U64(rig_flush(&rig), tpl_rows[i].status);
        T_CHECK_U64(tpl, tpl_rows[i].tpl);
        T_CHECK((rig.pattern.nb_calls > 0) == (tpl_rows[i].status == EFI_SUCCESS));
        T_CHECK((rig.pattern.nb_flushes > 0) == (tpl_rows[i].status == EFI_SUCCESS));
        tpl = TPL_APPLICATION;
        rig_close(&rig);
    }
}

/* U5: a write that comes during a write is refused, and the first one is whole. */
static void test_write_blocks_during_a_write_is_refused(void)
{
    static alignas(16) uint8_t buffer[512] = {1, 2, 3};
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    rig.pattern.reenter = &rig.block_io.protocol;
    T_CHECK_U64(rig_write(&rig, 1, 512, buffer), EFI_SUCCESS);
    T_CHECK_U64(rig.pattern.reenter_status, EFI_DEVICE_ERROR);
    T_CHECK(memcmp(rig.pattern.written + 512, buffer, 512) == 0);
    T_CHECK_U64(rig.pattern.written[0], 0);
    rig_close(&rig);
}

/* W4, W5: a data write that fails is an error of its request alone. */
static void test_write_blocks_failed_data_write_is_not_latched(void)
{
    static const enum q2_status rows[] = {Q2_ERR_IO, Q2_ERR_NO_SPACE, Q2_OK};
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(q2_status_name(rows[i]));
        rig.pattern.status = rows[i];
        T_CHECK_U64(rig_write(&rig, 0, 512, buffer),
                    rows[i] == Q2_OK ? EFI_SUCCESS : EFI_DEVICE_ERROR);
        T_CHECK(rig.block_io.media.MediaPresent && !rig.block_io.media.ReadOnly);
    }
    rig_close(&rig);
}

/* O10: after a failed flush the medium is read-only, every flush says so, and reads go on. */
/* The owner is asked for room, unless its notification could not come, and a write for which there
 * is still none is not tried again. */
static void test_write_blocks_that_get_no_room_are_tried_once(void)
{
    static const EFI_TPL tpls[] = {TPL_APPLICATION, TPL_CALLBACK};
    static alignas(16) uint8_t buffer[512];

    for (size_t i = 0; i < 2; i++) {
        EFI_BLOCK_IO_PROTOCOL *protocol;
        struct rig rig;

        rig_open_as(&rig, DISK_SIZE, 512, 1, true);
        protocol = &rig.block_io.protocol;
        rig.pattern.status = Q2_ERR_NO_SPACE;
        rig.pattern.nb_calls = 0;
        tpl = tpls[i];
        T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, 0, 512, buffer), EFI_DEVICE_ERROR);
        T_CHECK_U64(tpl, tpls[i]);
        tpl = TPL_APPLICATION;
        T_CHECK_U64(rig.pattern.nb_calls, 1);
        T_CHECK_U64(rig.nb_written, i == 0 ? 2 : 1); /* once for the write itself */
        rig_close(&rig);
    }
}

static void test_flush_blocks_failure_turns_the_medium_read_only(void)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK_U64(rig_write(&rig, 0, 512, buffer), EFI_SUCCESS);
    rig.pattern.flush_status = Q2_ERR_IO;
    T_CHECK_U64(rig_flush(&rig), EFI_DEVICE_ERROR);
    rig.pattern.flush_status = Q2_OK;
    T_CHECK(rig.block_io.media.MediaPresent && rig.block_io.media.ReadOnly);
    T_CHECK_U64(rig_flush(&rig), EFI_DEVICE_ERROR);
    T_CHECK_U64(rig_write(&rig, 0, 512, buffer), EFI_WRITE_PROTECTED);
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_SUCCESS);
    rig_close(&rig);
}

/* U6, U7 while writing and while flushing. */
static void check_medium_goes_from_writer(enum q2_status below, EFI_STATUS status, bool flush)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK_U64(rig_write(&rig, 0, 512, buffer), EFI_SUCCESS);
    rig.pattern.status = below;
    rig.pattern.flush_status = below;
    if (flush) /* FlushBlocks has no EFI_MEDIA_CHANGED */
        T_CHECK_U64(rig_flush(&rig), status == EFI_NO_MEDIA ? status : EFI_DEVICE_ERROR);
    else
        T_CHECK_U64(rig_write(&rig, 0, 512, buffer), status);
    T_CHECK(!rig.block_io.media.MediaPresent);
    rig.pattern.status = Q2_OK;
    rig.pattern.flush_status = Q2_OK;
    rig.pattern.nb_calls = 0;
    rig.pattern.nb_flushes = 0;
    T_CHECK_U64(rig_write(&rig, 0, 512, buffer), EFI_NO_MEDIA);
    T_CHECK_U64(rig_flush(&rig), EFI_NO_MEDIA);
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_NO_MEDIA);
    T_CHECK_U64(rig.pattern.nb_calls + rig.pattern.nb_flushes, 0);
    rig_close(&rig);
}

static void test_write_blocks_medium_gone_is_latched(void)
{
    t_row("no media");
    check_medium_goes_from_writer(Q2_ERR_NO_MEDIA, EFI_NO_MEDIA, false);
    check_medium_goes_from_writer(Q2_ERR_NO_MEDIA, EFI_NO_MEDIA, true);
    t_row("media changed");
    check_medium_goes_from_writer(Q2_ERR_MEDIA_CHANGED, EFI_MEDIA_CHANGED, false);
    check_medium_goes_from_writer(Q2_ERR_MEDIA_CHANGED, EFI_MEDIA_CHANGED, true);
}

/* Outside of a request: the disk is ours until it is released, at TPL_CALLBACK. */
static void test_acquire_keeps_requests_out(void)
{
    static alignas(16) uint8_t buffer[512];
    struct rig rig;
    EFI_TPL old, other;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK(q2_block_io_acquire(&rig.block_io, &old));
    T_CHECK_U64(tpl, TPL_CALLBACK);
    T_CHECK(!q2_block_io_acquire(&rig.block_io, &other));
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_DEVICE_ERROR);
    q2_block_io_release(&rig.block_io, old);
    T_CHECK_U64(tpl, TPL_APPLICATION);
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_SUCCESS);
    q2_block_io_lose_medium(&rig.block_io);
    T_CHECK_U64(rig_read(&rig, 0, 512, buffer), EFI_NO_MEDIA);
    rig_close(&rig);
}

int main(void)
{
    T_RUN(test_request_check_any_mistakes_first_one_decides);
    T_RUN(test_request_check_range_at_its_borders);
    T_RUN(test_request_check_alignment_of_each_io_align);
    T_RUN(test_init_size_and_block_size_last_block);
    T_RUN(test_init_media_says_what_the_disk_is);
    T_RUN(test_init_media_tells_clusters_and_subclusters);
    T_RUN(test_turned_is_signalled_until_told);
    T_RUN(test_read_blocks_gives_the_guests_bytes);
    T_RUN(test_read_blocks_refused_request_reaches_no_source);
    T_RUN(test_read_blocks_at_each_tpl);
    T_RUN(test_read_blocks_during_a_read_is_refused);
    T_RUN(test_read_blocks_io_error_is_not_latched);
    T_RUN(test_read_blocks_medium_gone_is_latched);
    T_RUN(test_write_blocks_on_read_only_disk_is_refused);
    T_RUN(test_write_blocks_reach_the_disk_at_their_place);
    T_RUN(test_write_blocks_refused_request_reaches_no_source);
    T_RUN(test_write_and_flush_blocks_at_each_tpl);
    T_RUN(test_write_blocks_during_a_write_is_refused);
    T_RUN(test_write_blocks_failed_data_write_is_not_latched);
    T_RUN(test_write_blocks_that_get_no_room_are_tried_once);
    T_RUN(test_flush_blocks_failure_turns_the_medium_read_only);
    T_RUN(test_write_blocks_medium_gone_is_latched);
    T_RUN(test_acquire_keeps_requests_out);
    return t_done();
}
