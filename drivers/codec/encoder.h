/* The encoder: turns one cluster into the stream that is stored for it.  (qcow2: "Compressed
 * Clusters Descriptor")
 *
 * Host only: the engine stores streams and never makes them. encoder_zlib.c and encoder_zstd.c
 * implement it by the distribution's libraries. An encoder belongs to one thread. It is stored in
 * memory that the caller gives, and allocates nothing.
 */
#ifndef Q2_DRIVERS_ENCODER_H
#define Q2_DRIVERS_ENCODER_H

#include <stddef.h>

struct q2_encoder {
    /* Encode one cluster.
     *
     * input, cluster_size  512 bytes to 2 MiB; the same size in every call
     * room                 bytes at output, >= 1
     *
     * Returns the stream's length, 1..room; 0 if it does not fit. The same input always gives the
     * same stream. */
    size_t (*encode)(struct q2_encoder *encoder, const void *input, size_t cluster_size,
                     void *output, size_t room);
};

/* Bytes that an encoder for clusters of this size needs. */
size_t q2_encoder_zlib_size(size_t cluster_size);
size_t q2_encoder_zstd_size(size_t cluster_size);

/* Make an encoder in memory of that size, aligned for any type. Raw deflate with a window of 4 KiB,
 * and zstd, both at their default levels, as QEMU. NULL if the library refuses. */
struct q2_encoder *q2_encoder_zlib_init(void *memory, size_t cluster_size);
struct q2_encoder *q2_encoder_zstd_init(void *memory, size_t cluster_size);

#endif
