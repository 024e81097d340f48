/* The zlib encoder: raw deflate.
 *
 * May call zlib (built from the distribution's source package, drivers/codec/codec.mk). Invariant:
 * the library gets no memory but the encoder's own.
 */
#include "encoder.h"

#include <stdalign.h>
#include <stdint.h>

#include <zlib.h>

/* qcow2 allows writers a window of 4 KiB. The other parameters are those of QEMU. */
#define WINDOW_BITS  (-12)
#define MEMORY_LEVEL 9

/* The memory that deflate takes with these parameters: window, chains, hash, pending bytes, state.
 */
#define ARENA_SIZE (400u << 10)

struct zlib_encoder {
    struct q2_encoder encoder; /* first: the encoder's address is this struct's */
    z_stream stream;
    size_t arena_used;
    alignas(16) uint8_t arena[ARENA_SIZE];
};

static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
    struct zlib_encoder *zlib = opaque;
    size_t length = ((size_t)items * size + 15) & ~(size_t)15;
    uint8_t *memory = zlib->arena + zlib->arena_used;

    if (length > sizeof(zlib->arena) - zlib->arena_used)
        return NULL;
    zlib->arena_used += length;
    return memory;
}

static void release(voidpf opaque, voidpf address)
{
    (void)opaque;
    (void)address;
}

static size_t encode(struct q2_encoder *encoder, const void *input, size_t cluster_size,
                     void *output, size_t room)
{
    z_stream *stream = &((struct zlib_encoder *)encoder)->stream;

    if (deflateReset(stream) != Z_OK)
        return 0;
    stream->next_in = (z_const Bytef *)input;
    stream->avail_in = (uInt)cluster_size;
    stream->next_out = output;
    stream->avail_out = (uInt)room;
    return deflate(stream, Z_FINISH) == Z_STREAM_END ? room - stream->avail_out : 0;
}

size_t q2_encoder_zlib_size(size_t cluster_size)
{
    (void)cluster_size;
    return sizeof(struct zlib_encoder);
}

struct q2_encoder *q2_encoder_zlib_init(void *memory, size_t cluster_size)
{
    struct zlib_encoder *zlib = memory;

    (void)cluster_size;
    zlib->encoder.encode = encode;
    zlib->arena_used = 0;
    zlib->stream = (z_stream){.zalloc = allocate, .zfree = release, .opaque = zlib};
    if (deflateInit2(&zlib->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    return &zlib->encoder;
}
