/* Read a whole disk through the engine and write it to a file: the tests' own reader, with the
 * sanitizers and with reads that a command would never make.
 *
 *   read_disk IMAGE OUTPUT [PASSPHRASE_FILE]
 *
 * The disk is read once in large pieces, which become OUTPUT, and then again in unaligned pieces of
 * random length (fixed seed), which must agree. Exit status: 0; 1 with the fault on stderr; 2
 * usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "drivers/posix/opener.h"
#include "drivers/posix/source.h"
#include "drivers/crypto/unlocker.h"
#include "q2_disk.h"

#define PIECE (1u << 20)

static struct q2_opener_posix opener;
static struct q2_source_posix image;
static struct q2_unlocker_passphrase unlocker;
static struct q2_codec_zlib zlib;
static struct q2_codec_zstd zstd;
static uint8_t passphrase[512], piece[PIECE + 1];

static int say(const struct q2_fault *fault)
{
    char line[1024];

    (void)q2_fault_format(fault, line, sizeof(line));
    (void)fprintf(stderr, "%s: %s\n", q2_status_name(fault->status), line);
    return 1;
}

/* The file's bytes as they are, the way QEMU's secret objects take them. */
static bool load_passphrase(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file)
        return false;
    unlocker.passphrase = passphrase;
    unlocker.passphrase_length = fread(passphrase, 1, sizeof(passphrase), file);
    return fclose(file) == 0;
}

static bool write_disk(struct q2_disk *disk, uint8_t *content, FILE *output)
{
    uint64_t size = q2_disk_size(disk);

    for (uint64_t at = 0; at < size; at += PIECE) {
        size_t n = (size_t)(size - at < PIECE ? size - at : PIECE);

        if (q2_disk_read(disk, at, content + at, n) != Q2_OK)
            return false;
        if (fwrite(content + at, 1, n, output) != n)
            abort();
    }
    return true;
}

/* The same bytes again, in pieces that start and end inside sectors. */
static bool read_again(struct q2_disk *disk, const uint8_t *content)
{
    uint64_t size = q2_disk_size(disk), at = 0;
    uint32_t state = 20240229;

    while (at < size) {
        size_t n, shift;

        state = state * 1664525u + 1013904223u;
        n = (state >> 8) % 3 == 0 ? (state >> 12) % PIECE + 1 : (state >> 12) % 1500 + 1;
        shift = (size_t)(at % 2); /* the buffer's alignment must not matter */
        if (n > size - at)
            n = (size_t)(size - at);
        if (n > PIECE)
            n = PIECE;
        if (q2_disk_read(disk, at, piece + shift, n - (n == PIECE)) != Q2_OK)
            return false;
        if (memcmp(piece + shift, content + at, n - (n == PIECE)) != 0) {
            (void)fprintf(stderr, "a read at %llu differs\n", (unsigned long long)at);
            exit(1);
        }
        at += n;
    }
    return true;
}

static int read_disk(const struct q2_disk_options *options, FILE *output)
{
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    struct q2_disk *disk;
    struct q2_fault fault;
    uint8_t *content;
    int result = 0;

    q2_opener_posix_init(&opener);
    if (q2_disk_open(workspace, &image.source, &opener.opener, options, &fault, &disk) != Q2_OK)
        return say(&fault);
    content = malloc((size_t)q2_disk_size(disk) + 1);
    if (!content)
        abort();
    if (!write_disk(disk, content, output) || !read_again(disk, content))
        result = say(q2_disk_fault(disk));
    q2_disk_close(disk);
    free(content);
    free(workspace);
    return result;
}

int main(int argc, char **argv)
{
    struct q2_disk_options options = {0};
    FILE *output;
    int result;

    if (argc < 3 || argc > 4)
        return 2;
    options.unlocker = q2_unlocker_passphrase_init(&unlocker);
    options.zlib = q2_codec_zlib_init(&zlib);
    options.zstd = q2_codec_zstd_init(&zstd);
    if (argc == 4 && !load_passphrase(argv[3]))
        return 2;
    if (q2_source_posix_open(&image, argv[1], 0) != Q2_OK)
        return 2;
    output = fopen(argv[2], "wb");
    if (!output)
        return 2;
    result = read_disk(&options, output);
    q2_source_posix_close(&image);
    return fclose(output) == 0 ? result : 2;
}
