/* The codec: turns the bytes of one compressed cluster into the cluster.  (qcow2: "Compressed
 * Clusters Descriptor", header field compression_type)
 *
 * Implemented by drivers/codec/zlib.c and drivers/codec/zstd.c on the distribution's libraries, in
 * memory that the implementer was given when it was made; no call allocates. Both the input and
 * what the library makes of it are untrusted.
 */
#ifndef Q2_CODEC_H
#define Q2_CODEC_H

#include <stddef.h>

#include "q2_status.h"

struct q2_codec;

struct q2_codec_ops {
    /* Decode one cluster.
     *
     * input, input_length  the bytes that the descriptor spans: the stream, then anything (the
     *                      descriptor counts sectors of 512 bytes, so there is slack after it);
     *                      1 byte to 2 MiB + 1 KiB
     * output, cluster_size 512 bytes to 2 MiB; undefined after an error. Neither overlaps input.
     *
     * Q2_OK                  the stream ended after giving exactly cluster_size bytes
     * Q2_ERR_BAD_COMPRESSED  the stream is malformed, ends early, goes on past input_length, gives
     *                        fewer or more than cluster_size bytes, or asks for a window larger
     *                        than the specification allows (zlib 4 KiB raw deflate is what writers
     *                        use, up to 32 KiB is read; zstd: not above the cluster size, 128 KiB
     *                        at the least)
     */
    enum q2_status (*decode)(struct q2_codec *codec, const void *input, size_t input_length,
                             void *output, size_t cluster_size);
};

struct q2_codec {
    const struct q2_codec_ops *ops;
};

#endif
