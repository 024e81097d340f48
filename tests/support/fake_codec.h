/* A codec of the simplest kind, so that tests of the engine need no real one: runs of one byte.
 *
 * A stream is pairs {count, byte}, count 1..255; count 0 ends it. The real codecs have suites of
 * their own in tests/contract/.
 */
#ifndef METALCOW_TESTS_FAKE_CODEC_H
#define METALCOW_TESTS_FAKE_CODEC_H

#include <stdint.h>

#include "q2_codec.h"

struct fake_codec {
    struct q2_codec codec;
    uint64_t nb_calls;
    size_t last_input_length;
};

void fake_codec_init(struct fake_codec *fake);

/* Encode size bytes; the stream's room is 2 * size + 2 bytes. Returns the stream's length. */
size_t fake_codec_encode(const uint8_t *bytes, size_t size, uint8_t *stream);

#endif
