/* The zstd codec: Zstandard frames, as qcow2's compression type 1 stores them.
 *
 * Binds include/q2_codec.h to zstd's decoder. A program that opens disks makes it and gives it to
 * the engine as a struct q2_codec.
 */
#ifndef METALCOW_DRIVERS_CODEC_ZSTD_H
#define METALCOW_DRIVERS_CODEC_ZSTD_H

#include <stdalign.h>
#include <stdint.h>

#include "q2_codec.h"

/* One decompression context, two thirds of it zstd's buffer for literals. */
#define Q2_CODEC_ZSTD_ARENA_SIZE (96u << 10)

/* All memory of the codec. Holds nothing between two calls, so it may be moved or shared by disks
 * as long as their calls do not overlap.
 */
struct q2_codec_zstd {
    struct q2_codec codec; /* first: the codec's address is this struct's */
    alignas(16) uint8_t arena[Q2_CODEC_ZSTD_ARENA_SIZE];
};

/* Make a codec in memory, which must live as long as the codec is used; never fails. */
struct q2_codec *q2_codec_zstd_init(struct q2_codec_zstd *memory);

#endif
