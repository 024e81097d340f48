/* Streams for the codec tests, made by the encoders of the same source packages.
 *
 * For tests on the host. An encoder gives the length of the stream and aborts the test
 * program when the room is too small or the library reports an error: its input is ours.
 */
#ifndef METALCOW_TESTS_CODEC_ENCODE_H
#define METALCOW_TESTS_CODEC_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that every encoder here is content with. */
#define CODEC_ENCODE_ROOM(length) ((length) + (length) / 8 + 1024)

/* How a stream is to be written. Fields that a library does not have are ignored by it. */
struct codec_encoding {
    const char *name;
    int level;
    int window_bits;      /* zlib: -15..-9 raw, 9..15 with zlib's header; zstd: 0 or windowLog */
    int strategy;         /* zlib: Z_FIXED and so on */
    bool checksum;        /* zstd: checksum after the frame */
    bool no_content_size; /* zstd: written as a stream of unknown length */
    size_t chunk;         /* zstd: flush after so many bytes, which makes blocks; 0: never */
};

size_t codec_encode_zlib(const struct codec_encoding *encoding, const void *content, size_t length,
                         void *stream, size_t room);
size_t codec_encode_zstd(const struct codec_encoding *encoding, const void *content, size_t length,
                         void *stream, size_t room);

#endif
