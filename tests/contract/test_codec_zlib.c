/* The zlib codec against the codec contract, and what only deflate streams can have. */
#include "drivers/codec/zlib.h"
#include "codec_suite.h"

#include <zlib.h>

static const struct codec_encoding encodings[] = {
    {.name = "as QEMU writes", .level = Z_DEFAULT_COMPRESSION, .window_bits = -12},
    {.name = "window 32 KiB", .level = 9, .window_bits = -15},
    {.name = "stored", .level = 0, .window_bits = -12},
    {.name = "fixed codes", .level = 6, .window_bits = -15, .strategy = Z_FIXED},
    {.name = "literals only", .level = 6, .window_bits = -9, .strategy = Z_HUFFMAN_ONLY},
};

static void expect(const char *row, const void *bytes, size_t length, const void *content,
                   enum q2_status want)
{
    t_row(row);
    T_CHECK_U64(decode_watched(bytes, length, 512, content), want);
}

/* Streams written by hand, of a 512-byte cluster unless they break before that. */
static void test_decode_malformed_blocks_are_refused(void)
{
    /* BFINAL and BTYPE 11 (reserved). */
    expect("block type 3", "\x07\0\0\0\0\0\0", 7, NULL, Q2_ERR_BAD_COMPRESSED);
    /* A stored block whose length is not repeated inverted. */
    expect("stored length", "\x01\x05\x00\x05\x00hello", 10, NULL, Q2_ERR_BAD_COMPRESSED);
    /* Fixed codes: a match of length 3, distance 1, before there is any output. */
    expect("distance too far", "\x03\x02\x00\x00\x00", 5, NULL, Q2_ERR_BAD_COMPRESSED);
    /* Dynamic codes with 31 distance codes. */
    expect("too many codes", "\xfd\xff\xff\xff\xff\xff", 6, NULL, Q2_ERR_BAD_COMPRESSED);
}

/* Stored blocks: BFINAL, LEN, ~LEN, then the bytes; no encoder in between. */
static size_t stored_block(uint8_t *to, bool is_final, const uint8_t *content, uint16_t length)
{
    to[0] = is_final;
    to[1] = (uint8_t)length;
    to[2] = (uint8_t)(length >> 8);
    to[3] = (uint8_t)~to[1];
    to[4] = (uint8_t)~to[2];
    memcpy(to + 5, content, length);
    return 5u + length;
}

static void test_decode_full_cluster_without_end_of_stream_is_refused(void)
{
    uint8_t *content = content_make(1, 512), bytes[1200];
    size_t length = stored_block(bytes, false, content, 512);
    size_t ended = length + stored_block(bytes + length, true, content, 0);

    expect("no final block", bytes, length, NULL, Q2_ERR_BAD_COMPRESSED);
    expect("empty final block", bytes, ended, content, Q2_OK);
    expect("final block cut", bytes, ended - 1, NULL, Q2_ERR_BAD_COMPRESSED);
    ended = length + stored_block(bytes + length, true, content, 1);
    expect("one byte too many", bytes, ended, NULL, Q2_ERR_BAD_COMPRESSED);
    free(content);
}

static void test_decode_zlib_header_is_refused(void)
{
    static const struct codec_encoding with_header = {.level = 6, .window_bits = 15};
    uint8_t *content = content_make(1, 512);
    struct stream stream = stream_make(&with_header, content, 512);

    expect("zlib header", stream.bytes, stream.length, NULL, Q2_ERR_BAD_COMPRESSED);
    free(stream.bytes);
    free(content);
}

/* A match 32 KiB back, which a decoder with QEMU's window of 4 KiB could not have. */
static void test_decode_distance_of_32_kib_is_read(void)
{
    static const struct codec_encoding wide = {.level = 9, .window_bits = -15};
    size_t half = (size_t)32 << 10;
    uint8_t *content = content_make(2, 2 * half);
    struct stream stream;

    /* deflate keeps 262 bytes of its window to itself: the longest distance that it writes. */
    memcpy(content + half, content + 262, half - 262);
    stream = stream_make(&wide, content, 2 * half);
    T_CHECK(stream.length < half + half / 16);
    T_CHECK_U64(decode_watched(stream.bytes, stream.length, 2 * half, content), Q2_OK);
    free(stream.bytes);
    free(content);
}

static const struct codec_case own_cases[] = {
    CODEC_CASE(test_decode_malformed_blocks_are_refused),
    CODEC_CASE(test_decode_full_cluster_without_end_of_stream_is_refused),
    CODEC_CASE(test_decode_zlib_header_is_refused),
    CODEC_CASE(test_decode_distance_of_32_kib_is_read),
};

int main(void)
{
    static struct q2_codec_zlib memory;
    struct codec_under_test codec = {
        .name = "zlib",
        .codec = q2_codec_zlib_init(&memory),
        .encode = codec_encode_zlib,
        .encodings = encodings,
        .nb_encodings = sizeof(encodings) / sizeof(encodings[0]),
    };

    return codec_suite_run(&codec, own_cases, sizeof(own_cases) / sizeof(own_cases[0]));
}
