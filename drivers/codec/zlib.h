/* The zlib codec: raw deflate, as qcow2's compression type 0 stores it.
 *
 * Binds include/q2_codec.h to zlib's inflate. A program that opens disks makes it and gives it to
 * the engine as a struct q2_codec.
 */
#ifndef METALCOW_DRIVERS_CODEC_ZLIB_H
#define METALCOW_DRIVERS_CODEC_ZLIB_H

#include <stdalign.h>
#include <stdint.h>

#include "q2_codec.h"

/* Only the state of inflate is stored here. Its window is the output itself. */
#define Q2_CODEC_ZLIB_ARENA_SIZE (8u << 10)

/* All memory of the codec. Holds nothing between two calls, so it may be moved or shared by disks
 * as long as their calls do not overlap.
 */
struct q2_codec_zlib {
    struct q2_codec codec; /* first: the codec's address is this struct's */
    size_t arena_used;
    alignas(16) uint8_t arena[Q2_CODEC_ZLIB_ARENA_SIZE];
};

/* Make a codec in memory, which must live as long as the codec is used; never fails. */
struct q2_codec *q2_codec_zlib_init(struct q2_codec_zlib *memory);

#endif
