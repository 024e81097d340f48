/* Write the seeds of the codec fuzzers: valid streams, as small as every kind of block allows.
 *
 *   seed_codec zlib|zstd DIR
 *
 * A seed is the byte that chooses the cluster size (fuzz_codec.h) and the stream.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "tests/contract/codec_encode.h"

#define CLUSTER_CHOICE 3 /* 512 << 3 */
#define CLUSTER_SIZE   4096
#define MAX_LENGTH     900 /* streams above it are left out: short seeds are mutated better */

static const struct codec_encoding zlib_encodings[] = {
    {.name = "dynamic", .level = 6, .window_bits = -12},
    {.name = "fixed", .level = 6, .window_bits = -12, .strategy = Z_FIXED},
    {.name = "huffman", .level = 6, .window_bits = -12, .strategy = Z_HUFFMAN_ONLY},
};
static const struct codec_encoding zstd_encodings[] = {
    {.name = "plain", .level = 3},
    {.name = "stream", .level = 3, .window_bits = 17, .no_content_size = true},
    {.name = "checksum", .level = 1, .checksum = true},
    {.name = "blocks", .level = 1, .chunk = 1024},
    {.name = "high", .level = 19},
};
#define NB_ZLIB (sizeof(zlib_encodings) / sizeof(zlib_encodings[0]))
#define NB_ZSTD (sizeof(zstd_encodings) / sizeof(zstd_encodings[0]))

/* Content 0: zeros. 1: repeated words. 2: words with changing letters. 3: few different bytes. */
#define NB_CONTENTS 4

static void content_fill(unsigned kind, uint8_t *to)
{
    static const char words[] = "host cluster, guest cluster; ";
    uint32_t state = 12345;

    for (size_t i = 0; i < CLUSTER_SIZE; i++) {
        uint8_t word = (uint8_t)words[i % (sizeof(words) - 1)];

        state = state * 1103515245u + 12345u;
        to[i] = 0;
        if (kind == 1 || kind == 2)
            to[i] = word;
        if (kind == 2 && state >> 16 << 27 == 0)
            to[i] = (uint8_t)(word + 1 + i / 512);
        if (kind == 3)
            to[i] = (uint8_t)("aaaaaaaaaabbbbbc"[state >> 28]);
    }
}

static bool seed_write(const char *folder, const char *name, unsigned kind, const uint8_t *seed,
                       size_t length)
{
    char path[512];
    FILE *file;
    bool ok;

    (void)snprintf(path, sizeof(path), "%s/%s-%u", folder, name, kind);
    file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    ok = fwrite(seed, 1, length, file) == length;
    return fclose(file) == 0 && ok;
}

int main(int argc, char **argv)
{
    static uint8_t content[CLUSTER_SIZE], seed[1 + CODEC_ENCODE_ROOM(CLUSTER_SIZE)];
    bool is_zlib = argc == 3 && strcmp(argv[1], "zlib") == 0;
    const struct codec_encoding *encodings = is_zlib ? zlib_encodings : zstd_encodings;

    if (argc != 3)
        return 2;
    seed[0] = CLUSTER_CHOICE;
    for (size_t e = 0; e < (is_zlib ? NB_ZLIB : NB_ZSTD); e++) {
        for (unsigned kind = 0; kind < NB_CONTENTS; kind++) {
            size_t length;

            content_fill(kind, content);
            length = (is_zlib ? codec_encode_zlib : codec_encode_zstd)(
                &encodings[e], content, CLUSTER_SIZE, seed + 1, sizeof(seed) - 1);
            if (length <= MAX_LENGTH &&
                !seed_write(argv[2], encodings[e].name, kind, seed, 1 + length))
                return 1;
        }
    }
    return 0;
}
