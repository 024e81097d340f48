/* The source contract against the firmware's sources, with mocked protocols, and what the contract
 * does not say: which protocol is called, what a lost medium does, statuses. */
#include "drivers/efi/status.h"
#include "drivers/efi/disk_io.h"
#include "drivers/efi/file.h"
#include "efi_mock.h"
#include "source_suite.h"

static uint8_t bytes[2][SUITE_MAX_SIZE];
static struct mock_disk disks[2];
static struct q2_source_efi_disk_io disk_ios[2];
static struct mock_file mock_files[2];
static struct q2_source_efi_file files[2];

static void fill(unsigned slot, uint32_t seed)
{
    for (uint64_t i = 0; i < SUITE_MAX_SIZE; i++)
        bytes[slot][i] = suite_pattern(seed, i);
}

static struct q2_source *open_disk(unsigned slot, uint32_t seed, bool writable, UINT32 BlockSize,
                                   UINT32 IoAlign)
{
    fill(slot, seed);
    mock_disk_init(&disks[slot], bytes[slot], BlockSize, (SUITE_SIZE + BlockSize - 1) / BlockSize,
                   IoAlign, !writable);
    if (q2_source_efi_disk_io_init(&disk_ios[slot], &disks[slot].DiskIo, &disks[slot].BlockIo,
                                   "fs0:") != Q2_OK)
        return NULL;
    return &disk_ios[slot].source;
}

static struct q2_source *open_512(unsigned slot, uint32_t seed, bool writable)
{
    return open_disk(slot, seed, writable, 512, 0);
}

static struct q2_source *open_512_aligned(unsigned slot, uint32_t seed, bool writable)
{
    return open_disk(slot, seed, writable, 512, 4);
}

static struct q2_source *open_2048(unsigned slot, uint32_t seed, bool writable)
{
    return open_disk(slot, seed, writable, 2048, 1);
}

static struct q2_source *open_4096_aligned(unsigned slot, uint32_t seed, bool writable)
{
    return open_disk(slot, seed, writable, 4096, 4096);
}

/* Firmware without Disk I/O. */
static struct q2_source *without_disk_io(unsigned slot, struct q2_source *source)
{
    if (source &&
        q2_source_efi_disk_io_init(&disk_ios[slot], NULL, &disks[slot].BlockIo, "fs0:") != Q2_OK)
        return NULL;
    return source;
}

static struct q2_source *open_512_alone(unsigned slot, uint32_t seed, bool writable)
{
    return without_disk_io(slot, open_disk(slot, seed, writable, 512, 0));
}

static struct q2_source *open_2048_alone(unsigned slot, uint32_t seed, bool writable)
{
    return without_disk_io(slot, open_disk(slot, seed, writable, 2048, 64));
}

static struct q2_source *open_4096_alone(unsigned slot, uint32_t seed, bool writable)
{
    return without_disk_io(slot, open_disk(slot, seed, writable, 4096, 4096));
}

/* No call may ever break the rules of Block I/O. */
static void close_disk(unsigned slot)
{
    T_CHECK_U64(disks[slot].nb_misuses, 0);
}

static struct q2_source *open_file(unsigned slot, uint32_t seed, bool writable)
{
    struct q2_efi_file file = {.File = &mock_files[slot].File,
                               .path = "/img/a.qcow2",
                               .identity = {1, slot},
                               .writable = writable};

    fill(slot, seed);
    mock_file_init(&mock_files[slot], bytes[slot], SUITE_SIZE);
    return q2_source_efi_file_init(&files[slot], &file) == Q2_OK ? &files[slot].source : NULL;
}

static void close_file(unsigned slot)
{
    (void)slot;
}

static const struct source_fixture fixtures[] = {
    {"efi_disk_io_512", open_512, close_disk, 512, false},
    {"efi_disk_io_512_aligned", open_512_aligned, close_disk, 512, false},
    {"efi_disk_io_2048", open_2048, close_disk, 2048, false},
    {"efi_disk_io_4096_aligned", open_4096_aligned, close_disk, 4096, false},
    {"efi_block_io_512", open_512_alone, close_disk, 512, false},
    {"efi_block_io_2048", open_2048_alone, close_disk, 2048, false},
    {"efi_block_io_4096_aligned", open_4096_alone, close_disk, 4096, false},
    {"efi_file", open_file, close_file, 1, false},
};

static uint8_t buffer[16384] __attribute__((aligned(4096)));

static void test_disk_io_whole_blocks_go_through_block_io(void)
{
    static const struct {
        const char *row;
        uint64_t offset;
        size_t length, misalign;
        bool direct;
    } rows[] = {
        {"whole blocks", 512, 1024, 0, true},
        {"one block", 0, 512, 0, true},
        {"aligned as far as asked", 512, 512, 8, true},
        {"offset inside a block", 513, 512, 0, false},
        {"length no block", 512, 511, 0, false},
        {"buffer misaligned", 512, 512, 2, false},
    };
    struct q2_source *source = open_disk(0, 1, true, 512, 8);

    T_CHECK_U64(source->io_align, 8);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        disks[0].nb_block_calls = disks[0].nb_disk_calls = 0;
        T_CHECK_U64(
            source->ops->read_at(source, rows[i].offset, buffer + rows[i].misalign, rows[i].length),
            Q2_OK);
        T_CHECK_U64(disks[0].nb_block_calls, rows[i].direct ? 1 : 0);
        T_CHECK_U64(disks[0].nb_disk_calls, rows[i].direct ? 0 : 1);
        T_CHECK_U64(source->ops->write_at(source, rows[i].offset, buffer + rows[i].misalign,
                                          rows[i].length),
                    Q2_OK);
        T_CHECK_U64(disks[0].nb_block_calls, rows[i].direct ? 2 : 0);
        T_CHECK_U64(disks[0].nb_disk_calls, rows[i].direct ? 0 : 2);
    }
    T_CHECK_U64(disks[0].nb_misuses, 0);
}

/* Blocks of three sectors: there is no address of a block without dividing, so Disk I/O does it. */
static void test_disk_io_odd_blocks_go_through_disk_io(void)
{
    struct q2_source *source = open_disk(0, 1, true, 1536, 0);

    T_CHECK_U64(source->ops->read_at(source, 2048, buffer, 2048), Q2_OK);
    T_CHECK_U64(disks[0].nb_block_calls, 0);
    T_CHECK_U64(disks[0].nb_disk_calls, 1);
    T_CHECK(memcmp(buffer, bytes[0] + 2048, 2048) == 0);
    T_CHECK_U64(source->ops->write_at(source, 2048, buffer, 2048), Q2_OK);
    T_CHECK_U64(disks[0].nb_disk_calls, 2);
}

/* What was opened for reading stays so, whatever the medium says later. */
static void test_disk_io_read_only_source_asks_the_device_nothing(void)
{
    struct q2_source *source = open_disk(0, 1, false, 512, 0);

    disks[0].Media.ReadOnly = FALSE;
    T_CHECK_U64(source->ops->write_at(source, 0, buffer, 512), Q2_ERR_READ_ONLY);
    T_CHECK_U64(source->ops->write_at(source, 510, buffer, 5), Q2_ERR_READ_ONLY);
    T_CHECK_U64(disks[0].nb_block_calls + disks[0].nb_disk_calls, 0);
}

static void test_disk_io_describes_its_medium(void)
{
    static const struct {
        UINT32 IoAlign, align;
    } rows[] = {{0, 1}, {1, 1}, {2, 2}, {4, 4}, {3, 4}, {4096, 4096}, {0xffffffff, 1u << 31}};
    struct q2_source_efi_disk_io source;

    mock_disk_init(&disks[0], bytes[0], 512, 100, 0, FALSE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        disks[0].Media.IoAlign = rows[i].IoAlign;
        T_CHECK_U64(q2_source_efi_disk_io_init(&source, &disks[0].DiskIo, &disks[0].BlockIo, "v"),
                    Q2_OK);
        T_CHECK_U64(source.source.io_align, rows[i].align);
        T_CHECK_U64(source.source.size, 51200);
        T_CHECK_STR(source.source.path, "v");
    }
    disks[0].Media.BlockSize = 0;
    T_CHECK_U64(q2_source_efi_disk_io_init(&source, &disks[0].DiskIo, &disks[0].BlockIo, "v"),
                Q2_ERR_UNSUPPORTED);
    disks[0].Media.BlockSize = 512;
    disks[0].Media.LastBlock = UINT64_MAX / 512;
    T_CHECK_U64(q2_source_efi_disk_io_init(&source, &disks[0].DiskIo, &disks[0].BlockIo, "v"),
                Q2_ERR_UNSUPPORTED);
    disks[0].Media.LastBlock = UINT64_MAX / 512 - 1;
    T_CHECK_U64(q2_source_efi_disk_io_init(&source, &disks[0].DiskIo, &disks[0].BlockIo, "v"),
                Q2_OK);
    disks[0].Media.MediaPresent = FALSE;
    T_CHECK_U64(q2_source_efi_disk_io_init(&source, &disks[0].DiskIo, &disks[0].BlockIo, "v"),
                Q2_ERR_NO_MEDIA);
}

/* A request of each kind: whole blocks, and parts of two blocks. */
#define NB_REQUESTS 5u

static enum q2_status request(struct q2_source *source, unsigned kind)
{
    switch (kind) {
    case 0:
        return source->ops->read_at(source, 0, buffer, 512);
    case 1:
        return source->ops->read_at(source, 510, buffer, 5);
    case 2:
        return source->ops->write_at(source, 0, buffer, 512);
    case 3:
        return source->ops->write_at(source, 510, buffer, 5);
    default:
        return source->ops->flush(source);
    }
}

static unsigned nb_asked(void)
{
    return disks[0].nb_block_calls + disks[0].nb_disk_calls + disks[0].nb_flushes;
}

/* Every way to lose a medium, and then to get one back: the source stays dead, and not one byte
 * reaches the other medium. What Media says already is not tried. */
static void lose_before(struct q2_source *source, unsigned first, void (*how)(struct mock_disk *),
                        bool shows, enum q2_status want)
{
    unsigned nb_calls = nb_asked();

    how(&disks[0]);
    if (shows)
        T_CHECK_U64(q2_source_efi_disk_io_medium(q2_source_efi_disk_io_of(source)), want);
    T_CHECK_U64(request(source, first), want);
    T_CHECK_U64(nb_asked() - nb_calls, shows ? 0 : 1);
    disks[0].fail = EFI_SUCCESS;
    disks[0].Media.MediaPresent = TRUE;
    disks[0].Media.MediaId = 7;
    nb_calls = nb_asked();
    for (unsigned kind = 0; kind < NB_REQUESTS; kind++)
        T_CHECK_U64(request(source, kind), want);
    T_CHECK_U64(q2_source_efi_disk_io_medium(q2_source_efi_disk_io_of(source)), want);
    T_CHECK_U64(nb_asked(), nb_calls);
}

static void lose(const char *row, void (*how)(struct mock_disk *), bool shows, enum q2_status want)
{
    t_row(row);
    for (unsigned first = 0; first < NB_REQUESTS; first++) {
        lose_before(open_disk(0, 1, true, 512, 0), first, how, shows, want);
        lose_before(without_disk_io(0, open_disk(0, 1, true, 512, 0)), first, how, shows, want);
    }
}

static void pull(struct mock_disk *disk)
{
    disk->Media.MediaPresent = FALSE;
}

static void swap(struct mock_disk *disk)
{
    disk->Media.MediaId++;
}

static void pull_inside_transfer(struct mock_disk *disk)
{
    disk->lose_medium = TRUE;
}

static void say_no_media(struct mock_disk *disk)
{
    disk->fail = EFI_NO_MEDIA;
}

static void say_media_changed(struct mock_disk *disk)
{
    disk->fail = EFI_MEDIA_CHANGED;
}

static void test_disk_io_medium_that_was_gone_stays_gone(void)
{
    lose("pulled", pull, true, Q2_ERR_NO_MEDIA);
    lose("swapped", swap, true, Q2_ERR_MEDIA_CHANGED);
    lose("pulled inside a transfer", pull_inside_transfer, false, Q2_ERR_NO_MEDIA);
    lose("firmware says no medium", say_no_media, false, Q2_ERR_NO_MEDIA);
    lose("firmware says changed", say_media_changed, false, Q2_ERR_MEDIA_CHANGED);
}

static void test_disk_io_device_errors_are_io_errors_and_pass(void)
{
    static const EFI_STATUS codes[] = {EFI_DEVICE_ERROR,      EFI_TIMEOUT,
                                       EFI_INVALID_PARAMETER, EFI_BAD_BUFFER_SIZE,
                                       EFI_VOLUME_CORRUPTED,  4};
    struct q2_source *source = open_disk(0, 1, true, 512, 0);

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        disks[0].fail = codes[i];
        T_CHECK_U64(source->ops->read_at(source, 0, buffer, 512), Q2_ERR_IO);
        T_CHECK_U64(source->ops->read_at(source, 1, buffer, 512), Q2_ERR_IO);
        T_CHECK_U64(source->ops->write_at(source, 0, buffer, 512), Q2_ERR_IO);
        T_CHECK_U64(source->ops->write_at(source, 1, buffer, 512), Q2_ERR_IO);
        T_CHECK_U64(source->ops->flush(source), Q2_ERR_IO);
    }
    disks[0].fail = EFI_SUCCESS;
    T_CHECK_U64(source->ops->read_at(source, 0, buffer, 512), Q2_OK);
    T_CHECK_U64(source->ops->flush(source), Q2_OK);
}

static void test_disk_io_write_protected_later_is_read_only(void)
{
    struct q2_source *source = open_disk(0, 1, true, 512, 0);

    disks[0].Media.ReadOnly = TRUE;
    T_CHECK_U64(source->ops->write_at(source, 0, buffer, 512), Q2_ERR_READ_ONLY);
    T_CHECK_U64(source->ops->write_at(source, 1, buffer, 512), Q2_ERR_READ_ONLY);
}

static void test_disk_io_flush_reaches_the_device_if_it_can_be_written(void)
{
    struct q2_source *source = open_disk(0, 1, true, 512, 0);

    T_CHECK_U64(source->ops->flush(source), Q2_OK);
    T_CHECK_U64(disks[0].nb_flushes, 1);
    source = open_disk(0, 1, false, 512, 0);
    T_CHECK_U64(source->ops->flush(source), Q2_OK);
    T_CHECK_U64(disks[0].nb_flushes, 0);
}

/* HAZARDS.md, W6, every shorter length. */
static void test_efi_file_short_transfers_are_errors(void)
{
    struct q2_source *source = open_file(0, 1, true);

    for (uint64_t shorter = 1; shorter <= 513; shorter++) {
        mock_files[0].shorter = shorter;
        T_CHECK_U64(source->ops->read_at(source, 100, buffer, 513), Q2_ERR_IO);
        T_CHECK_U64(source->ops->write_at(source, 100, buffer, 513), Q2_ERR_IO);
    }
    mock_files[0].shorter = 0;
    T_CHECK_U64(source->ops->read_at(source, 100, buffer, 513), Q2_OK);
}

static void test_efi_file_cut_underneath_is_an_error(void)
{
    struct q2_source *source = open_file(0, 1, false);

    mock_files[0].size = SUITE_SIZE - 1;
    T_CHECK_U64(source->ops->read_at(source, SUITE_SIZE - 2, buffer, 2), Q2_ERR_IO);
    T_CHECK_U64(source->ops->read_at(source, SUITE_SIZE - 1, buffer, 1), Q2_ERR_IO);
    T_CHECK_U64(source->ops->read_at(source, SUITE_SIZE - 2, buffer, 1), Q2_OK);
}

static void test_efi_file_failures_have_their_status(void)
{
    static const struct {
        EFI_STATUS code;
        enum q2_status status;
        bool latched;
    } rows[] = {
        {EFI_DEVICE_ERROR, Q2_ERR_IO, false},
        {EFI_VOLUME_CORRUPTED, Q2_ERR_IO, false},
        {EFI_WRITE_PROTECTED, Q2_ERR_READ_ONLY, false},
        {EFI_VOLUME_FULL, Q2_ERR_NO_SPACE, false},
        {EFI_NO_MEDIA, Q2_ERR_NO_MEDIA, true},
        {EFI_MEDIA_CHANGED, Q2_ERR_MEDIA_CHANGED, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_source *source = open_file(0, 1, true);
        mock_files[0].fail = rows[i].code;
        T_CHECK_U64(source->ops->write_at(source, 0, buffer, 512), rows[i].status);
        T_CHECK_U64(source->ops->flush(source), rows[i].status);
        T_CHECK_U64(source->ops->read_at(source, 0, buffer, 512), rows[i].status);
        mock_files[0].fail = EFI_SUCCESS;
        T_CHECK_U64(source->ops->read_at(source, 0, buffer, 512),
                    rows[i].latched ? rows[i].status : Q2_OK);
        T_CHECK_U64(source->ops->flush(source), rows[i].latched ? rows[i].status : Q2_OK);
        mock_files[0].fail_seek = EFI_DEVICE_ERROR;
        T_CHECK_U64(source->ops->read_at(source, 0, buffer, 512),
                    rows[i].latched ? rows[i].status : Q2_ERR_IO);
    }
}

static void test_efi_file_directory_and_failing_seek_are_refused(void)
{
    struct q2_source_efi_file source;
    struct q2_efi_file file = {.File = &mock_files[0].File, .path = "/img"};

    mock_file_init(&mock_files[0], bytes[0], 0);
    mock_files[0].is_directory = TRUE;
    T_CHECK_U64(q2_source_efi_file_init(&source, &file), Q2_ERR_NOT_A_FILE);
    mock_files[0].is_directory = FALSE;
    mock_files[0].fail_seek = EFI_DEVICE_ERROR;
    T_CHECK_U64(q2_source_efi_file_init(&source, &file), Q2_ERR_IO);
    mock_files[0].fail_seek = EFI_NO_MEDIA;
    T_CHECK_U64(q2_source_efi_file_init(&source, &file), Q2_ERR_NO_MEDIA);
}

/* Without Disk I/O whole blocks go to the device at once, and parts of blocks through the buffer. A
 * write reads the blocks around its bytes first. */
static void test_block_io_alone_asks_for_no_more_than_it_must(void)
{
    static const struct {
        const char *name;
        uint64_t offset;
        size_t length, misalign;
        unsigned nb_reads, nb_writes; /* calls of the device for a read, and for a write */
    } rows[] = {
        {"whole blocks", 0, 8192, 0, 1, 1},
        {"whole blocks and a byte", 0, 8193, 0, 2, 3},
        {"a byte and whole blocks", 511, 8193, 7, 2, 3},
        {"a part of a block", 513, 510, 0, 1, 2},
        {"as much as the buffer has room for", 1, 4095, 0, 1, 2},
        {"a byte more", 1, 4096, 0, 2, 4},
        {"whole blocks, buffer misaligned", 0, 8192, 4, 2, 4},
    };
    struct q2_source *source = without_disk_io(0, open_disk(0, 1, true, 512, 8));

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *at = buffer + rows[i].misalign;
        t_row(rows[i].name);
        disks[0].nb_block_calls = 0;
        T_CHECK_U64(source->ops->read_at(source, rows[i].offset, at, rows[i].length), Q2_OK);
        T_CHECK_U64(disks[0].nb_block_calls, rows[i].nb_reads);
        disks[0].nb_block_calls = 0;
        T_CHECK_U64(source->ops->write_at(source, rows[i].offset, at, rows[i].length), Q2_OK);
        T_CHECK_U64(disks[0].nb_block_calls, rows[i].nb_writes);
    }
    T_CHECK_U64(disks[0].nb_misuses, 0);
}

/* Without Disk I/O blocks must fit the buffer that stands for it. */
static void test_disk_io_missing_needs_usual_blocks(void)
{
    static const struct {
        UINT32 block_size, align;
        enum q2_status status;
    } rows[] = {
        {512, 0, Q2_OK},
        {4096, 4096, Q2_OK},
        {520, 0, Q2_ERR_UNSUPPORTED},
        {8192, 0, Q2_ERR_UNSUPPORTED},
        {512, 8192, Q2_ERR_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mock_disk_init(&disks[0], bytes[0], rows[i].block_size, 1, rows[i].align, false);
        T_CHECK_U64(q2_source_efi_disk_io_init(&disk_ios[0], NULL, &disks[0].BlockIo, "fs0:"),
                    rows[i].status);
    }
}

static void test_statuses_from_efi_have_their_meaning(void)
{
    static const struct {
        EFI_STATUS code;
        enum q2_status status;
    } rows[] = {
        {EFI_SUCCESS, Q2_OK},
        {EFI_DEVICE_ERROR, Q2_ERR_IO},
        {EFI_NO_MEDIA, Q2_ERR_NO_MEDIA},
        {EFI_MEDIA_CHANGED, Q2_ERR_MEDIA_CHANGED},
        {EFI_WRITE_PROTECTED, Q2_ERR_READ_ONLY},
        {EFI_VOLUME_FULL, Q2_ERR_NO_SPACE},
        {EFI_NOT_FOUND, Q2_ERR_NOT_FOUND},
        {EFI_ACCESS_DENIED, Q2_ERR_DENIED},
        {EFI_SECURITY_VIOLATION, Q2_ERR_UNTRUSTED},
        {EFI_OUT_OF_RESOURCES, Q2_ERR_LIMIT},
        {EFI_UNSUPPORTED, Q2_ERR_UNSUPPORTED},
        {EFI_VOLUME_CORRUPTED, Q2_ERR_BAD_VOLUME},
        {EFI_LOAD_ERROR, Q2_ERR_IO},
        {EFI_WARN_BUFFER_TOO_SMALL, Q2_ERR_IO},
        {EFI_ERROR_MASK | 35, Q2_ERR_IO},
        {EFI_ERROR_MASK | 36, Q2_ERR_IO},
        {EFI_ERROR_MASK | 0xffff, Q2_ERR_IO},
        {EFI_ERROR_MASK, Q2_ERR_IO},
        {(EFI_STATUS)-1, Q2_ERR_IO},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        T_CHECK_U64(q2_status_from_efi(rows[i].code), rows[i].status);
    T_CHECK_U64(q2_status_from_efi_load(EFI_ACCESS_DENIED), Q2_ERR_UNTRUSTED);
    T_CHECK_U64(q2_status_from_efi_load(EFI_SECURITY_VIOLATION), Q2_ERR_UNTRUSTED);
    T_CHECK_U64(q2_status_from_efi_load(EFI_NOT_FOUND), Q2_ERR_NOT_FOUND);
    T_CHECK_U64(q2_status_from_efi_load(EFI_SUCCESS), Q2_OK);
}

static void test_statuses_to_efi_are_errors_and_come_back(void)
{
    static const enum q2_status both_ways[] = {
        Q2_OK,
        Q2_ERR_ARGUMENT,
        Q2_ERR_READ_ONLY,
        Q2_ERR_IO,
        Q2_ERR_NO_SPACE,
        Q2_ERR_NO_MEDIA,
        Q2_ERR_MEDIA_CHANGED,
        Q2_ERR_NOT_FOUND,
        Q2_ERR_DENIED,
        Q2_ERR_LIMIT,
        Q2_ERR_UNSUPPORTED,
        Q2_ERR_BAD_VOLUME,
        Q2_ERR_UNTRUSTED,
    };

    for (unsigned status = 1; status < Q2_NB_STATUS; status++) {
        EFI_STATUS block = q2_efi_block_from_status((enum q2_status)status);
        T_CHECK((q2_efi_from_status((enum q2_status)status) & EFI_ERROR_MASK) != 0);
        T_CHECK(block == EFI_DEVICE_ERROR || block == EFI_NO_MEDIA || block == EFI_MEDIA_CHANGED ||
                block == EFI_WRITE_PROTECTED || block == EFI_INVALID_PARAMETER);
    }
    for (size_t i = 0; i < sizeof(both_ways) / sizeof(both_ways[0]); i++)
        T_CHECK_U64(q2_status_from_efi(q2_efi_from_status(both_ways[i])), both_ways[i]);
    T_CHECK_U64(q2_efi_from_status(Q2_NB_STATUS), EFI_DEVICE_ERROR);
    T_CHECK_U64(q2_efi_block_from_status(Q2_OK), EFI_SUCCESS);
    T_CHECK_U64(q2_efi_block_from_status(Q2_ERR_NO_SPACE), EFI_DEVICE_ERROR);
    T_CHECK_U64(q2_efi_block_from_status(Q2_ERR_BAD_L2), EFI_DEVICE_ERROR);
    T_CHECK_U64(q2_efi_block_from_status(Q2_ERR_MEDIA_CHANGED), EFI_MEDIA_CHANGED);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++)
        source_suite_run(&fixtures[i]);
    T_RUN(test_disk_io_whole_blocks_go_through_block_io);
    T_RUN(test_disk_io_odd_blocks_go_through_disk_io);
    T_RUN(test_disk_io_read_only_source_asks_the_device_nothing);
    T_RUN(test_disk_io_describes_its_medium);
    T_RUN(test_disk_io_medium_that_was_gone_stays_gone);
    T_RUN(test_disk_io_device_errors_are_io_errors_and_pass);
    T_RUN(test_disk_io_write_protected_later_is_read_only);
    T_RUN(test_disk_io_flush_reaches_the_device_if_it_can_be_written);
    T_RUN(test_efi_file_short_transfers_are_errors);
    T_RUN(test_efi_file_cut_underneath_is_an_error);
    T_RUN(test_efi_file_failures_have_their_status);
    T_RUN(test_efi_file_directory_and_failing_seek_are_refused);
    T_RUN(test_block_io_alone_asks_for_no_more_than_it_must);
    T_RUN(test_disk_io_missing_needs_usual_blocks);
    T_RUN(test_statuses_from_efi_have_their_meaning);
    T_RUN(test_statuses_to_efi_are_errors_and_come_back);
    return t_done();
}
