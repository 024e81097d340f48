/* Any bytes as an image: open it, list it, map it, read it; check it if it is small.
 *
 * The input is a head of 8 bytes and the image's bytes:
 *
 *   0     flags: 1 metadata only, 2 any name, 4 unnamed backing is raw, 8 snapshot "1",
 *         16 data file given, 32 backing file given, 64 check, 128 no codecs
 *   1     the file is at least 2^(n % 40) bytes long, zeros after the input
 *   2     n: the opener's files are the input from n * 256 on; 0: the whole image
 *   3     unused
 *   4..7  where to read
 */
#include "fuzz_disk.h"

#include "q2_check.h"

#define HEAD       8
#define MAX_STEPS  64
#define MAX_LENGTH 8192
/* A check's work is the product of both tables' lengths: small clusters only. */
#define MAX_CHECK_BITS 10
/* A request may read each slice that it needs, in each layer, but not more. */
#define MAX_READS (Q2_MAX_LAYERS * (65536u / 64 + 65536u / 512) * 2 + 4096)

static struct fuzz_file image;
static struct fuzz_opener opener;

static void judge_extent(const struct q2_disk *disk, const struct q2_extent *e, uint64_t offset,
                         uint64_t max_length)
{
    require(e->guest_offset == offset && e->length >= 1 && e->length <= max_length);
    require(e->length <= q2_disk_size(disk) - offset);
    require(e->kind <= Q2_EXTENT_COMPRESSED && e->layer < q2_disk_nb_layers(disk));
    require(e->host_offset < 1ull << 62);
    require(e->has_host_offset || e->host_offset == 0);
    if (e->kind == Q2_EXTENT_DATA || e->kind == Q2_EXTENT_COMPRESSED)
        require(e->has_host_offset);
    if (e->kind == Q2_EXTENT_COMPRESSED)
        require(e->stream_length >= 1 && e->stream_length <= 8192 * 512);
}

/* From offset on, until the end, an error, or enough. */
static void map_from(struct q2_disk *disk, uint64_t offset, uint64_t max_length)
{
    uint64_t size = q2_disk_size(disk);

    for (int i = 0; i < MAX_STEPS && offset < size; i++) {
        struct q2_extent e;
        enum q2_status status;

        image.nb_reads = 0;
        status = q2_disk_map(disk, offset, max_length, &e);
        require(image.nb_reads <= MAX_READS);
        if (status != Q2_OK) {
            judge_fault(q2_disk_fault(disk), status);
            return;
        }
        judge_extent(disk, &e, offset, max_length);
        offset += e.length;
    }
}

/* What reads whole reads in two parts, the same bytes. */
static void read_at(struct q2_disk *disk, uint64_t offset, size_t length)
{
    static uint8_t whole[MAX_LENGTH], part[MAX_LENGTH];
    uint64_t size = q2_disk_size(disk);
    size_t cut;
    enum q2_status status;

    if (offset >= size)
        offset %= size + (size == 0);
    if (length > size - offset)
        length = (size_t)(size - offset);
    cut = length / 3;
    status = q2_disk_read(disk, offset, whole, length);
    if (status != Q2_OK) {
        judge_fault(q2_disk_fault(disk), status);
        return;
    }
    require(q2_disk_read(disk, offset + cut, part + cut, length - cut) == Q2_OK);
    require(q2_disk_read(disk, offset, part, cut) == Q2_OK);
    require(memcmp(whole, part, length) == 0);
}

static void list(struct q2_disk *disk)
{
    static struct q2_snapshot snapshot;
    static struct q2_bitmap bitmap;
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < 8 && status == Q2_OK; i++) {
        status = q2_disk_snapshot(disk, i, &snapshot);
        require(status != Q2_OK || (memchr(snapshot.id, 0, sizeof(snapshot.id)) &&
                                    memchr(snapshot.name, 0, sizeof(snapshot.name))));
    }
    if (status != Q2_OK) /* the eighth may be there too */
        judge_fault(q2_disk_fault(disk), status);
    status = Q2_OK;
    for (uint32_t i = 0; i < 8 && status == Q2_OK; i++) {
        status = q2_disk_bitmap(disk, i, &bitmap);
        require(status != Q2_OK || memchr(bitmap.name, 0, sizeof(bitmap.name)));
    }
}

static void describe(struct q2_disk *disk)
{
    for (uint32_t i = 0; i < q2_disk_nb_layers(disk); i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(disk, i, &info);
        require((info.header == NULL) == (info.format == Q2_FORMAT_RAW));
        require(strlen(info.backing_file) <= Q2_MAX_NAME_LENGTH);
        require(strlen(info.data_file) <= Q2_MAX_NAME_LENGTH);
        require(info.virtual_size <= 1ull << 62);
    }
}

static void check(struct q2_disk *disk)
{
    struct q2_layer_info info;
    struct q2_check_result result;
    enum q2_status status;

    q2_disk_layer_info(disk, 0, &info);
    if (image.source.size > 65536 || !info.header || info.header->cluster_bits > MAX_CHECK_BITS)
        return;
    status = q2_disk_check(disk, NULL, &result);
    if (status != Q2_OK)
        judge_fault(q2_disk_fault(disk), status);
    else
        require(result.compressed_clusters <= result.allocated_clusters);
}

static void use(struct q2_disk *disk, const uint8_t *data, size_t size)
{
    uint64_t where = fuzz_number(data, size, 4);

    require(q2_disk_fault(disk)->status == Q2_OK);
    describe(disk);
    map_from(disk, 0, UINT64_MAX);
    map_from(disk, where % (q2_disk_size(disk) + 1), 1 + where % 100000);
    read_at(disk, 0, MAX_LENGTH);
    read_at(disk, where, 1 + where % MAX_LENGTH);
    read_at(disk, where >> 32, 600);
    list(disk);
    if (data[0] & 64)
        check(disk);
    read_at(disk, 0, 1000);
}

static struct q2_disk_options options_of(uint8_t flags)
{
    static const struct q2_given_file given = {.path = "given backing"};

    return (struct q2_disk_options){
        .metadata_only = (flags & 1) != 0,
        .names = flags & 2 ? Q2_NAMES_ANY : Q2_NAMES_BELOW,
        .backing_format = (flags & 4) != 0 ? Q2_UNSAID_RAW : Q2_UNSAID_REFUSED,
        .snapshot = flags & 8 ? "1" : NULL,
        .data_file = flags & 16 ? "given data" : NULL,
        .backing_files = &given,
        .nb_backing_files = flags & 32 ? 1 : 0,
        .zlib = flags & 128 ? NULL : &fuzz_codec,
        .zstd = flags & 128 ? NULL : &fuzz_codec,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct q2_disk_options options;
    struct q2_disk *disk = NULL;
    struct q2_fault fault;
    enum q2_status status;
    size_t second;

    if (size < HEAD)
        return 0;
    options = options_of(data[0]);
    second = data[2] * 256u;
    if (second > size - HEAD)
        second = size - HEAD;
    fuzz_file_init(&image, "img/top", data + HEAD, size - HEAD, 1ull << data[1] % 40, 1);
    memset(&opener, 0, sizeof(opener));
    opener.opener.ops = &fuzz_opener_ops;
    opener.bytes = data + HEAD + second;
    opener.held = size - HEAD - second;
    status = q2_disk_open(fuzz_workspace(), &image.source, &opener.opener, &options, &fault, &disk);
    if (status == Q2_OK) {
        use(disk, data, size);
        q2_disk_close(disk);
    } else {
        require(disk == NULL);
        judge_fault(&fault, status);
    }
    require(opener.nb_open == 0);
    return 0;
}
