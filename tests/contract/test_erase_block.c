/* Erase Block: the order of its checks, and what every kind of image reads as afterwards.
 *
 * A model of the disk's bytes is kept beside each image; a range is erased, and the whole disk must
 * read as the model, with the range as zeros, now and after the image was opened again.
 */
#include "block_rig.h"

#include "q2_create.h"
#include "tests/support/fake_opener.h"
#include "tests/support/workspace.h"

/* A size of an odd number is EFI_INVALID_PARAMETER here: EraseBlocks has no EFI_BAD_BUFFER_SIZE. */
static const EFI_STATUS mistake_status[NB_MISTAKES] = {
    EFI_NO_MEDIA, EFI_MEDIA_CHANGED,     EFI_WRITE_PROTECTED,   EFI_SUCCESS,
    EFI_SUCCESS,  EFI_INVALID_PARAMETER, EFI_INVALID_PARAMETER, EFI_SUCCESS,
};

static EFI_STATUS erase(struct q2_erase_block *erase_block, UINT32 MediaId, EFI_LBA LBA, UINTN Size,
                        struct q2_efi_erase_block_token *token)
{
    return erase_block->protocol.EraseBlocks(&erase_block->protocol, MediaId, LBA, token, Size);
}

static void check_mistakes(struct rig *rig, unsigned mistakes)
{
    const unsigned no_mistakes = NULL_BUFFER | MISALIGNED;
    unsigned relevant = mistakes & ~no_mistakes, nb_signals = 0;
    EFI_STATUS status = relevant ? mistake_status[__builtin_ctz(relevant)] : EFI_SUCCESS;
    const struct q2_block_request request = mistaken_request(rig, mistakes, Q2_BLOCK_ERASE);
    struct q2_efi_erase_block_token token = {&nb_signals, EFI_NOT_READY};
    char row[32];

    (void)snprintf(row, sizeof(row), "mistakes %02x", mistakes);
    t_row(row);
    T_CHECK_U64(erase(&rig->erase_block, request.MediaId, request.LBA, request.BufferSize, NULL),
                status);
    T_CHECK_U64(erase(&rig->erase_block, request.MediaId, request.LBA, request.BufferSize, &token),
                status);
    T_CHECK_U64(nb_signals, status == EFI_SUCCESS ? 1 : 0);
    T_CHECK_U64(token.TransactionStatus, status == EFI_SUCCESS ? EFI_SUCCESS : EFI_NOT_READY);
}

static void test_any_mistakes_first_one_decides(void)
{
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 16, true);
    for (unsigned mistakes = 0; mistakes < 1u << NB_MISTAKES; mistakes++)
        check_mistakes(&rig, mistakes);
    rig_close(&rig);
}

static void test_failure_ends_in_the_token(void)
{
    unsigned nb_signals = 0;
    struct q2_efi_erase_block_token token = {&nb_signals, EFI_NOT_READY};
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    rig.pattern.status = Q2_ERR_IO;
    T_CHECK_U64(erase(&rig.erase_block, MEDIA_ID, 0, 512, NULL), EFI_DEVICE_ERROR);
    T_CHECK_U64(erase(&rig.erase_block, MEDIA_ID, 0, 512, &token), EFI_SUCCESS);
    T_CHECK_U64(nb_signals, 1);
    T_CHECK_U64(token.TransactionStatus, EFI_DEVICE_ERROR);
    rig_close(&rig);
}

static void test_erase_tells_the_owner_and_keeps_to_its_tpl(void)
{
    struct rig rig;

    rig_open_as(&rig, DISK_SIZE, 512, 1, true);
    T_CHECK_U64(erase(&rig.erase_block, MEDIA_ID, 0, 512, NULL), EFI_SUCCESS);
    T_CHECK_U64(rig.nb_written, 1);
    tpl = TPL_NOTIFY;
    T_CHECK_U64(erase(&rig.erase_block, MEDIA_ID, 0, 512, NULL), EFI_DEVICE_ERROR);
    T_CHECK_U64(tpl, TPL_NOTIFY);
    tpl = TPL_APPLICATION;
    rig_close(&rig);
}

#define IMAGE_SIZE   (768u * 1024)
#define IMAGE_ROOM   (16u * 1024 * 1024)
#define PART_ALL     512u /* blocks: what is written before; the rest is left to the backing file */
#define IMAGE_BLOCKS (IMAGE_SIZE / 512)

/* Kinds of images: everything that decides by what way a range becomes zeros. */
static const struct kind {
    const char *name;
    struct q2_create_options options; /* virtual_size 0: a raw image */
    uint32_t granule;                 /* blocks */
    bool shrinks;                     /* whole clusters are free for others afterwards */
} kinds[] = {
    {"raw", {0}, 1, false},
    {"version 2", {IMAGE_SIZE, .version = 2, .cluster_bits = 12}, 8, true},
    {"version 2, backing file",
     {IMAGE_SIZE, .version = 2, .cluster_bits = 12, .backing_file = "base.raw",
      .backing_format = "raw"},
     8,
     false},
    {"version 3", {IMAGE_SIZE, .cluster_bits = 16}, 128, true},
    {"version 3, small clusters", {IMAGE_SIZE, .cluster_bits = 9}, 1, true},
    {"version 3, backing file",
     {IMAGE_SIZE, .cluster_bits = 14, .backing_file = "base.raw", .backing_format = "raw"},
     32,
     true},
    {"extended L2", {IMAGE_SIZE, .cluster_bits = 16, .extended_l2 = true}, 4, true},
    {"extended L2, backing file",
     {IMAGE_SIZE, .cluster_bits = 16, .extended_l2 = true, .backing_file = "base.raw",
      .backing_format = "raw"},
     4,
     true},
    {"data file",
     {IMAGE_SIZE, .cluster_bits = 14, .external_data = true, .data_file = "d.raw"},
     32,
     false},
    {"raw data file",
     {IMAGE_SIZE, .cluster_bits = 14, .external_data = true, .raw_external_data = true,
      .data_file = "d.raw"},
     32,
     false},
    {"clusters larger than the disk", {IMAGE_SIZE, .cluster_bits = 21}, IMAGE_BLOCKS, true},
};

/* One image, its files, its protocols and the bytes it must have. */
struct bench {
    const struct kind *kind;
    uint8_t *memory, *data_memory, *base;
    struct fake_source image, data, backing;
    struct fake_opener opener;
    void *workspace;
    struct q2_disk *disk;
    struct q2_block_io block_io;
    struct q2_erase_block erase_block;
    uint8_t *model, *buffer;
};

static void bench_open(struct bench *bench)
{
    const struct q2_disk_options options = {
        .writable = true,
        .format = bench->kind->options.virtual_size ? Q2_FORMAT_QCOW2 : Q2_FORMAT_RAW};
    const struct q2_block_io_options block_options = {.block_size = 512, .media_id = MEDIA_ID};
    struct q2_fault fault;

    T_CHECK_U64(q2_disk_open(bench->workspace, &bench->image.source, &bench->opener.opener,
                             &options, &fault, &bench->disk),
                Q2_OK);
    T_CHECK_U64(q2_block_io_init(&bench->block_io, bench->disk, &services, &block_options), Q2_OK);
    q2_erase_block_init(&bench->erase_block, &bench->block_io);
}

static void bench_start(struct bench *bench, const struct kind *kind)
{
    struct q2_fault fault;
    bool raw = kind->options.virtual_size == 0;

    *bench = (struct bench){.kind = kind};
    bench->memory = calloc(1, IMAGE_ROOM);
    bench->data_memory = calloc(1, IMAGE_ROOM);
    bench->base = malloc(IMAGE_SIZE);
    bench->model = calloc(1, IMAGE_SIZE);
    bench->buffer = malloc(IMAGE_SIZE);
    bench->workspace = workspace_take();
    memset(bench->base, 0xbb, IMAGE_SIZE);
    if (kind->options.backing_file)
        memcpy(bench->model, bench->base, IMAGE_SIZE);
    fake_source_init_writable(&bench->image, "img/top", bench->memory, raw ? IMAGE_SIZE : 0,
                              IMAGE_ROOM);
    fake_source_init_writable(&bench->data, "img/d.raw", bench->data_memory,
                              kind->options.raw_external_data ? IMAGE_SIZE : 0, IMAGE_ROOM);
    fake_source_init(&bench->backing, "img/base.raw", bench->base, IMAGE_SIZE);
    fake_opener_init(&bench->opener);
    fake_opener_add(&bench->opener, "img/base.raw", &bench->backing);
    fake_opener_add(&bench->opener, "img/d.raw", &bench->data);
    tpl = TPL_APPLICATION;
    tpl_errors = 0;
    watched = NULL;
    if (!raw)
        T_CHECK_U64(q2_create(bench->workspace, &bench->image.source, &kind->options, &fault),
                    Q2_OK);
    bench_open(bench);
}

static void bench_end(struct bench *bench)
{
    T_CHECK_U64(tpl_errors, 0);
    q2_disk_close(bench->disk);
    free(bench->memory);
    free(bench->data_memory);
    free(bench->base);
    free(bench->model);
    free(bench->buffer);
    workspace_give(bench->workspace);
}

static void bench_fill(struct bench *bench, EFI_LBA lba, uint64_t nb_blocks, uint8_t value)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &bench->block_io.protocol;

    memset(bench->buffer, value, nb_blocks * 512);
    memset(bench->model + lba * 512, value, nb_blocks * 512);
    T_CHECK_U64(protocol->WriteBlocks(protocol, MEDIA_ID, lba, nb_blocks * 512, bench->buffer),
                EFI_SUCCESS);
}

static void bench_check(struct bench *bench)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &bench->block_io.protocol;

    memset(bench->buffer, 0x11, IMAGE_SIZE);
    T_CHECK_U64(protocol->ReadBlocks(protocol, MEDIA_ID, 0, IMAGE_SIZE, bench->buffer),
                EFI_SUCCESS);
    for (uint64_t block = 0; block < IMAGE_BLOCKS; block++) {
        if (memcmp(bench->buffer + block * 512, bench->model + block * 512, 512) != 0) {
            T_CHECK_U64(block, UINT64_MAX); /* the first block that differs */
            return;
        }
    }
}

static void bench_reopen(struct bench *bench)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &bench->block_io.protocol;

    T_CHECK_U64(protocol->FlushBlocks(protocol), EFI_SUCCESS);
    q2_disk_close(bench->disk);
    bench_open(bench);
}

static void bench_erase(struct bench *bench, EFI_LBA lba, uint64_t nb_blocks)
{
    memset(bench->model + lba * 512, 0, nb_blocks * 512);
    T_CHECK_U64(erase(&bench->erase_block, MEDIA_ID, lba, nb_blocks * 512, NULL), EFI_SUCCESS);
    bench_check(bench);
}

/* Ranges: granules and parts of them, at both ends of the disk, over written and other blocks. */
static void check_ranges(const struct kind *kind)
{
    static const struct {
        EFI_LBA lba;
        uint64_t nb;
    } ranges[] = {
        {1, 1},   {0, 1},     {127, 2},   {128, 128}, {130, 3},    {250, 12},
        {3, 500}, {510, 300}, {1000, 17}, {1535, 1},  {1407, 129}, {0, IMAGE_BLOCKS},
    };
    struct bench bench;

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        char row[80];
        (void)snprintf(row, sizeof(row), "%s, %u blocks at %u", kind->name, (unsigned)ranges[i].nb,
                       (unsigned)ranges[i].lba);
        t_row(row);
        bench_start(&bench, kind);
        T_CHECK_U64(bench.erase_block.protocol.EraseLengthGranularity, kind->granule);
        bench_fill(&bench, 0, PART_ALL, 0xaa);
        bench_fill(&bench, IMAGE_BLOCKS - 2, 2, 0xcc);
        bench_erase(&bench, ranges[i].lba, ranges[i].nb);
        bench_reopen(&bench);
        bench_check(&bench);
        bench_fill(&bench, ranges[i].lba, 1, 0xee); /* can be written again */
        bench_check(&bench);
        bench_end(&bench);
    }
}

static void test_erased_blocks_read_as_zeros_and_no_others(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        check_ranges(&kinds[i]);
}

/* Erase and write again, many times: where clusters are given back the file stays as long as it
 * was. */
static void test_erased_clusters_are_used_again(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct bench bench;
        uint64_t size;
        if (!kinds[i].shrinks)
            continue;
        t_row(kinds[i].name);
        bench_start(&bench, &kinds[i]);
        bench_fill(&bench, 0, PART_ALL, 0xaa);
        bench_reopen(&bench);
        size = bench.image.source.size;
        for (unsigned round = 0; round < 5; round++) {
            bench_erase(&bench, 0, IMAGE_BLOCKS);
            bench_reopen(&bench);
            bench_fill(&bench, 0, PART_ALL, 0xdd);
            bench_reopen(&bench);
        }
        T_CHECK_U64(bench.image.source.size, size);
        bench_end(&bench);
    }
}

/* Erasing what reads as zeros already costs no cluster and no write of data. */
static void test_erasing_an_empty_disk_writes_nothing(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct bench bench;
        if (!kinds[i].options.virtual_size || kinds[i].options.backing_file ||
            kinds[i].options.external_data)
            continue;
        t_row(kinds[i].name);
        bench_start(&bench, &kinds[i]);
        bench_reopen(&bench);
        fake_source_reset(&bench.image);
        bench_erase(&bench, 0, IMAGE_BLOCKS);
        bench_erase(&bench, 3, 9);
        bench_reopen(&bench);
        T_CHECK_U64(bench.image.nb_grows, 0);
        T_CHECK_U64(bench.image.nb_writes, 0);
        bench_end(&bench);
    }
}

int main(void)
{
    T_RUN(test_any_mistakes_first_one_decides);
    T_RUN(test_failure_ends_in_the_token);
    T_RUN(test_erase_tells_the_owner_and_keeps_to_its_tpl);
    T_RUN(test_erased_blocks_read_as_zeros_and_no_others);
    T_RUN(test_erased_clusters_are_used_again);
    T_RUN(test_erasing_an_empty_disk_writes_nothing);
    return t_done();
}
