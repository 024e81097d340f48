/* The zlib codec: q2_codec_ops.decode by zlib's inflate.
 *
 * May call zlib (built from the distribution's source package, drivers/codec/codec.mk) and nothing
 * else. Invariant: one call of inflate decodes one cluster. It reads only the input and writes only
 * the output. The only other memory is the arena.
 */
#include "zlib.h"

#include <zlib.h>
/* Internal headers, for the size of inflate's state. */
#include <zutil.h>
#include <inftrees.h>
#include <inflate.h>

/* Writers use a window of 4 KiB (-12); 32 KiB (-15) reads every raw deflate stream. The window
 * costs nothing here, because matches are copied from the output.
 */
#define RAW_DEFLATE_WINDOW_BITS (-15)

_Static_assert(sizeof(struct inflate_state) <= Q2_CODEC_ZLIB_ARENA_SIZE,
               "inflate's state fits into the arena");
_Static_assert(sizeof(struct q2_codec_zlib) <= Q2_CODEC_ZLIB_ARENA_SIZE + 32, "no hidden growth");

/* Give inflate memory for its state only. It asks for a window too when it stops before the
 * stream's end; that is refused, because such a cluster is refused anyway.
 */
static voidpf arena_alloc(voidpf opaque, uInt items, uInt size)
{
    struct q2_codec_zlib *zlib = opaque;
    size_t length = (size_t)items * size;

    if (zlib->arena_used != 0 || length > sizeof(zlib->arena))
        return Z_NULL;
    zlib->arena_used = length;
    return zlib->arena;
}

static void arena_free(voidpf opaque, voidpf address)
{
    (void)opaque;
    (void)address;
}

static enum q2_status zlib_decode(struct q2_codec *codec, const void *input, size_t input_length,
                                  void *output, size_t cluster_size)
{
    struct q2_codec_zlib *zlib = (struct q2_codec_zlib *)codec;
    z_stream stream = {
        .next_in = (z_const Bytef *)input,
        .avail_in = (uInt)input_length,
        .next_out = output,
        .avail_out = (uInt)cluster_size,
        .zalloc = arena_alloc,
        .zfree = arena_free,
        .opaque = zlib,
    };

    zlib->arena_used = 0;
    if (inflateInit2(&stream, RAW_DEFLATE_WINDOW_BITS) != Z_OK)
        return Q2_ERR_BAD_COMPRESSED;
    /* The stream must end exactly where the cluster is full. */
    if (inflate(&stream, Z_FINISH) != Z_STREAM_END || stream.avail_out != 0)
        return Q2_ERR_BAD_COMPRESSED;
    return Q2_OK;
}

static const struct q2_codec_ops zlib_ops = {
    .decode = zlib_decode,
};

struct q2_codec *q2_codec_zlib_init(struct q2_codec_zlib *memory)
{
    memory->codec.ops = &zlib_ops;
    memory->arena_used = 0;
    return &memory->codec;
}
