/* The zstd codec against the codec contract, and what only Zstandard frames can have. */
#include "drivers/codec/zstd.h"
#include "codec_suite.h"

static const struct codec_encoding encodings[] = {
    {.name = "as QEMU writes", .level = 0},
    {.name = "no content size", .level = 3, .window_bits = 17, .no_content_size = true},
    {.name = "checksum", .level = 1, .checksum = true},
    {.name = "many blocks", .level = 1, .chunk = 300},
    {.name = "negative level", .level = -5},
    {.name = "level 12", .level = 12, .window_bits = 17, .no_content_size = true, .checksum = true},
};

/* ---- frames in a row ---- */

static uint8_t parts[1 << 20];
static size_t parts_length;

static void parts_start(void)
{
    parts_length = 0;
}

static void part_bytes(const void *bytes, size_t length)
{
    memcpy(parts + parts_length, bytes, length);
    parts_length += length;
}

static void part_frame(const struct codec_encoding *encoding, const uint8_t *content, size_t length)
{
    parts_length += codec_encode_zstd(encoding, content, length, parts + parts_length,
                                      sizeof(parts) - parts_length);
}

static void part_skippable(uint32_t length)
{
    uint8_t head[8] = {0x5e, 0x2a, 0x4d, 0x18};

    for (size_t i = 0; i < 4; i++)
        head[4 + i] = (uint8_t)(length >> 8 * i);
    part_bytes(head, sizeof(head));
    memset(parts + parts_length, 0xee, length);
    parts_length += length;
}

static void expect(const char *row, size_t cluster_size, const void *content, enum q2_status want)
{
    t_row(row);
    T_CHECK_U64(decode_watched(parts, parts_length, cluster_size, content), want);
}

static void test_decode_frames_in_a_row_fill_the_cluster(void)
{
    uint8_t *content = content_make(3, 4096);

    for (size_t e = 0; e < sizeof(encodings) / sizeof(encodings[0]); e++) {
        parts_start();
        part_frame(&encodings[e], content, 1000);
        part_skippable(5);
        part_frame(&encodings[e], NULL, 0);
        part_frame(&encodings[e], content + 1000, 3096);
        expect("two frames, an empty one and a skippable one", 4096, content, Q2_OK);
        expect("too few bytes", 8192, NULL, Q2_ERR_BAD_COMPRESSED);
        expect("too many bytes", 2048, NULL, Q2_ERR_BAD_COMPRESSED);
        part_bytes("garbage", 7);
        expect("garbage after a full cluster", 4096, content, Q2_OK);
    }
    free(content);
}

static void test_decode_skippable_frame_larger_than_the_cluster_is_skipped(void)
{
    uint8_t *content = content_make(1, 512);

    parts_start();
    part_skippable(5000);
    part_frame(&encodings[0], content, 512);
    expect("skippable frame of 5000", 512, content, Q2_OK);
    free(content);
}

static void test_decode_frames_cut_anywhere_are_refused(void)
{
    uint8_t *content = content_make(1, 512);

    parts_start();
    part_skippable(9);
    part_frame(&encodings[2], content, 256);
    part_frame(&encodings[1], content + 256, 256);
    while (parts_length-- > 0)
        expect("frames, cut", 512, NULL, Q2_ERR_BAD_COMPRESSED);
    free(content);
}

static void test_decode_no_content_is_refused(void)
{
    parts_start();
    part_skippable(512);
    expect("skippable frame only", 512, NULL, Q2_ERR_BAD_COMPRESSED);
    for (size_t i = 0; i < 1000; i++)
        part_skippable(0);
    expect("1000 skippable frames", 512, NULL, Q2_ERR_BAD_COMPRESSED);
    parts_start();
    for (size_t i = 0; i < 1000; i++)
        part_frame(&encodings[0], NULL, 0);
    expect("1000 empty frames", 512, NULL, Q2_ERR_BAD_COMPRESSED);
    parts_start();
    part_bytes("\x50\x2a\x4d\x18\xff\xff\xff\xff", 8);
    expect("skippable frame of 4 GiB", 512, NULL, Q2_ERR_BAD_COMPRESSED);
    part_bytes("\0\0\0\0\0\0\0\0", 8);
    expect("skippable frame of 4 GiB, some of it there", 512, NULL, Q2_ERR_BAD_COMPRESSED);
}

/* ---- the window ---- */

static void test_decode_window_above_the_limit_is_refused(void)
{
    static const struct {
        size_t cluster_size;
        int window_bits;
        enum q2_status want;
    } rows[] = {
        {512, 17, Q2_OK},
        {512, 18, Q2_ERR_BAD_COMPRESSED},
        {64 << 10, 10, Q2_OK},
        {64 << 10, 17, Q2_OK},
        {64 << 10, 18, Q2_ERR_BAD_COMPRESSED},
        {64 << 10, 27, Q2_ERR_BAD_COMPRESSED},
        {128 << 10, 17, Q2_OK},
        {128 << 10, 18, Q2_ERR_BAD_COMPRESSED},
        {256 << 10, 18, Q2_OK},
        {256 << 10, 19, Q2_ERR_BAD_COMPRESSED},
        {2 << 20, 21, Q2_OK},
        {2 << 20, 22, Q2_ERR_BAD_COMPRESSED},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct codec_encoding encoding = {
            .level = 1, .window_bits = rows[i].window_bits, .no_content_size = true};
        uint8_t *content = content_make(1, rows[i].cluster_size);
        char row[64];

        (void)snprintf(row, sizeof(row), "window 2^%d, cluster of %zu", rows[i].window_bits,
                       rows[i].cluster_size);
        parts_start();
        part_frame(&encoding, content, rows[i].cluster_size);
        expect(row, rows[i].cluster_size, content, rows[i].want);
        free(content);
    }
}

/* ---- headers that are stored ----
 *
 * Frame header: magic (4), descriptor (1), [window (1)], [dictionary id], [content size]. Block
 * header, 3 bytes, little endian: last (bit 0), type (1, 2), size (3..): 0 raw, 1 run, 2
 * compressed.
 */

struct hand_made {
    const char *name;
    const char *bytes;
    size_t length;
    enum q2_status want; /* read as a cluster of 512 bytes 'a' */
};

#define HAND_MADE(name, bytes, want)                                                               \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, want                                                       \
    }
#define MAGIC      "\x28\xb5\x2f\xfd"
#define RUN_OF_512 "\x03\x10\x00"

static const struct hand_made hand_made[] = {
    HAND_MADE("run of 512, content size 512", MAGIC "\x60\x00\x01" RUN_OF_512 "a", Q2_OK),
    HAND_MADE("run of 512, no content size", MAGIC "\x00\x00" RUN_OF_512 "a", Q2_OK),
    HAND_MADE("content size 511", MAGIC "\x60\xff\x00" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("content size 513", MAGIC "\x60\x01\x01" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("content size 2^64 - 2",
              MAGIC "\xc0\x00\xfe\xff\xff\xff\xff\xff\xff\xff" RUN_OF_512 "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("single segment of 2^63", MAGIC "\xe0\x00\x00\x00\x00\x00\x00\x00\x80" RUN_OF_512 "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("window of 3.75 TiB", MAGIC "\x00\xff" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("run of 513",
              MAGIC "\x00\x00\x0b\x10\x00"
                    "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("run of 511",
              MAGIC "\x00\x00\xfb\x0f\x00"
                    "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("run of 2 MiB - 1",
              MAGIC "\x00\x00\xfb\xff\xff"
                    "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("no last block",
              MAGIC "\x00\x00\x02\x10\x00"
                    "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("empty last block",
              MAGIC "\x00\x00\x02\x10\x00"
                    "a\x01\x00\x00",
              Q2_OK),
    HAND_MADE("block type 3",
              MAGIC "\x00\x00\x07\x10\x00"
                    "a",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("raw block past the input",
              MAGIC "\x00\x00\x01\x10\x00"
                    "aaaa",
              Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("reserved bit", MAGIC "\x08\x00" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("dictionary 7", MAGIC "\x01\x00\x07" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("wrong checksum", MAGIC "\x04\x00" RUN_OF_512 "abcde", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("checksum cut", MAGIC "\x04\x00" RUN_OF_512 "abc", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("format of 2015", "\x27\xb5\x2f\xfd\x00\x00" RUN_OF_512 "a", Q2_ERR_BAD_COMPRESSED),
    HAND_MADE("magic only", MAGIC, Q2_ERR_BAD_COMPRESSED),
};

static void test_decode_hand_made_frames_are_judged(void)
{
    uint8_t content[512];

    memset(content, 'a', sizeof(content));
    for (size_t i = 0; i < sizeof(hand_made) / sizeof(hand_made[0]); i++) {
        parts_start();
        part_bytes(hand_made[i].bytes, hand_made[i].length);
        expect(hand_made[i].name, sizeof(content), content, hand_made[i].want);
    }
}

/* With a checksum, a stream with any bit flipped may only be refused or give the right cluster:
 * the latter for the descriptor's unused bit and for window bits that do not matter.
 */
static void test_decode_bit_flips_under_a_checksum_never_give_a_wrong_cluster(void)
{
    uint8_t *content = content_make(1, 512);

    parts_start();
    part_frame(&encodings[2], content, 512);
    t_row("bit flip");
    for (size_t bit = 0; bit < parts_length * 8; bit += bit < BITS_OF_HEADS ? 1 : 5) {
        bool is_checksum_flag = bit == 4 * 8 + 2;

        parts[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)decode_watched(parts, parts_length, 512, is_checksum_flag ? NULL : content);
        parts[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(content);
}

static const struct codec_case own_cases[] = {
    CODEC_CASE(test_decode_frames_in_a_row_fill_the_cluster),
    CODEC_CASE(test_decode_skippable_frame_larger_than_the_cluster_is_skipped),
    CODEC_CASE(test_decode_frames_cut_anywhere_are_refused),
    CODEC_CASE(test_decode_no_content_is_refused),
    CODEC_CASE(test_decode_window_above_the_limit_is_refused),
    CODEC_CASE(test_decode_hand_made_frames_are_judged),
    CODEC_CASE(test_decode_bit_flips_under_a_checksum_never_give_a_wrong_cluster),
};

int main(void)
{
    static struct q2_codec_zstd memory;
    struct codec_under_test codec = {
        .name = "zstd",
        .codec = q2_codec_zstd_init(&memory),
        .encode = codec_encode_zstd,
        .encodings = encodings,
        .nb_encodings = sizeof(encodings) / sizeof(encodings[0]),
    };

    return codec_suite_run(&codec, own_cases, sizeof(own_cases) / sizeof(own_cases[0]));
}
