/* Reads random pieces of an image and compares them with a raw file that holds the same disk.
 *
 *   piece_reader IMAGE FORMAT RAW SEED COUNT [SNAPSHOT]
 *
 * FORMAT is qcow2 or raw. Prints nothing and exits with 0 if every piece is equal; says what is not
 * and exits with 1. It makes thousands of small reads in one process.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "drivers/posix/opener.h"
#include "drivers/posix/source.h"
#include "q2_disk.h"

/* Large enough that q2_disk_read() goes over several clusters of 64 KiB. */
#define MAX_PIECE ((size_t)512 << 10)

static struct q2_source_posix image_file, raw_file;
static struct q2_opener_posix opener;
static struct q2_codec_zlib zlib;
static struct q2_codec_zstd zstd;
static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void die(const char *what, enum q2_status status)
{
    printf("%s: %s\n", what, q2_status_text(status));
    exit(1);
}

static struct q2_disk *open_all(char **argv, const char *snapshot)
{
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    struct q2_disk_options options = {
        .format = strcmp(argv[2], "raw") == 0 ? Q2_FORMAT_RAW : Q2_FORMAT_QCOW2,
        .snapshot = snapshot,
        .zlib = q2_codec_zlib_init(&zlib),
        .zstd = q2_codec_zstd_init(&zstd),
    };
    struct q2_fault fault = {0};
    struct q2_disk *disk;
    enum q2_status status = q2_source_posix_open(&image_file, argv[1], 0);

    if (status != Q2_OK)
        die(argv[1], status);
    status = q2_source_posix_open(&raw_file, argv[3], 0);
    if (status != Q2_OK)
        die(argv[3], status);
    q2_opener_posix_init(&opener);
    status = q2_disk_open(workspace, &image_file.source, &opener.opener, &options, &fault, &disk);
    if (status != Q2_OK)
        die(argv[1], status);
    return disk;
}

/* Lengths of every order of magnitude, most of them small. */
static size_t random_length(uint64_t left)
{
    size_t limit = (size_t)1 << (random_next() % 20);
    size_t length = 1 + random_next() % limit;

    if (length > MAX_PIECE)
        length = MAX_PIECE;
    return length < left ? length : (size_t)left;
}

static bool check_piece(struct q2_disk *disk, uint64_t offset, size_t length)
{
    /* A block of the exact size, so that a byte too many is an error of its own. */
    uint8_t *got = malloc(length), *want = malloc(length);
    enum q2_status status = q2_disk_read(disk, offset, got, length);
    bool ret = status == Q2_OK;

    if (!ret)
        printf("%zu bytes at %" PRIu64 ": %s\n", length, offset, q2_status_text(status));
    else if (raw_file.source.ops->read_at(&raw_file.source, offset, want, length) != Q2_OK)
        die("the raw file", Q2_ERR_IO);
    else if (memcmp(got, want, length) != 0) {
        size_t i = 0;
        while (got[i] == want[i])
            i++;
        printf("%zu bytes at %" PRIu64 ": byte %zu is 0x%02x, should be 0x%02x\n", length, offset,
               i, got[i], want[i]);
        ret = false;
    }
    free(got);
    free(want);
    return ret;
}

/* Nothing past the end can be read, whatever the sum of offset and length is. */
static bool check_end(struct q2_disk *disk)
{
    uint64_t size = q2_disk_size(disk);
    uint8_t byte[2];
    bool ret = q2_disk_read(disk, size, byte, 1) == Q2_ERR_RANGE &&
               q2_disk_read(disk, size - 1, byte, 2) == Q2_ERR_RANGE &&
               q2_disk_read(disk, UINT64_MAX, byte, 2) == Q2_ERR_RANGE;

    if (!ret)
        puts("a read past the end was not refused");
    return ret;
}

int main(int argc, char **argv)
{
    struct q2_disk *disk;
    unsigned long nb_pieces;
    uint64_t size;
    bool good = true;

    if (argc < 6) {
        puts("usage: piece_reader IMAGE FORMAT RAW SEED COUNT [SNAPSHOT]");
        return 1;
    }
    random_state = strtoull(argv[4], NULL, 0) * 2 + 1;
    nb_pieces = strtoul(argv[5], NULL, 0);
    disk = open_all(argv, argc > 6 ? argv[6] : NULL);
    size = q2_disk_size(disk);
    if (size == 0 || size > raw_file.source.size)
        die("the sizes do not fit", Q2_ERR_RANGE);
    for (unsigned long i = 0; i < nb_pieces && good; i++) {
        uint64_t offset = random_next() % size;

        good = check_piece(disk, offset, random_length(size - offset));
    }
    good = good && check_end(disk);
    q2_disk_close(disk);
    free(disk); /* the disk lives at the start of its workspace */
    return good ? 0 : 1;
}
