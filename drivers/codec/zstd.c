/* The zstd codec: q2_codec_ops.decode by zstd's one-shot decoder.
 *
 * May call zstd (built from the distribution's source package, drivers/codec/codec.mk) and nothing
 * else. Invariant: a frame is decoded only after its header was found to be within bounds, in one
 * call that reads only the input and writes only the output. The only other memory is the arena.
 */
#include "zstd.h"

#include <stdbool.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <decompress/zstd_decompress_internal.h>

/* A frame may have a window of this size even if the cluster is smaller. Windows cost no memory
 * here, because the output is the window. The limit refuses headers that no cluster needs.
 */
#define WINDOW_SIZE_ALWAYS_ALLOWED (128u << 10)

_Static_assert(sizeof(ZSTD_DCtx) <= Q2_CODEC_ZSTD_ARENA_SIZE, "zstd's context fits into the arena");
_Static_assert(sizeof(struct q2_codec_zstd) <= Q2_CODEC_ZSTD_ARENA_SIZE + 32, "no hidden growth");

/* May a frame with this header be decoded into room bytes of a cluster?
 *
 * A skippable frame has no window and no content. A frame without a content size is bounded by the
 * decoder, which gets no more than room.
 */
static bool header_is_allowed(const void *input, size_t input_length, size_t room,
                              size_t cluster_size)
{
    size_t window_limit =
        cluster_size > WINDOW_SIZE_ALWAYS_ALLOWED ? cluster_size : WINDOW_SIZE_ALWAYS_ALLOWED;
    ZSTD_frameHeader header;

    if (ZSTD_getFrameHeader(&header, input, input_length) != 0)
        return false;
    if (header.frameType == ZSTD_skippableFrame)
        return true;
    return header.windowSize <= window_limit &&
           (header.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN || header.frameContentSize <= room);
}

/* Decode the frame at the start of input into at most room bytes.
 *
 * ret_read     bytes that the frame takes, 1 at the least
 * ret_written  bytes that it gives, 0 for a skippable or empty frame
 */
static bool frame_decode(ZSTD_DCtx *context, const uint8_t *input, size_t input_length,
                         uint8_t *output, size_t room, size_t *ret_read, size_t *ret_written)
{
    /* The decoder refuses bytes after the frame, so it gets the exact length. */
    size_t read = ZSTD_findFrameCompressedSize(input, input_length);
    size_t written;

    if (ZSTD_isError(read) || read == 0)
        return false;
    written = ZSTD_decompressDCtx(context, output, room, input, read);
    if (ZSTD_isError(written))
        return false;
    *ret_read = read;
    *ret_written = written;
    return true;
}

/* Decode frames until the cluster is full; the rest of the input is not looked at. Writers make one
 * frame, but the format says that several frames are one content, and QEMU reads them. Each frame
 * takes input, which bounds the loop.
 */
static enum q2_status zstd_decode(struct q2_codec *codec, const void *input, size_t input_length,
                                  void *output, size_t cluster_size)
{
    struct q2_codec_zstd *zstd = (struct q2_codec_zstd *)codec;
    ZSTD_DCtx *context = ZSTD_initStaticDCtx(zstd->arena, sizeof(zstd->arena));
    const uint8_t *from = input;
    uint8_t *to = output;
    size_t in_left = input_length, room = cluster_size;

    while (room > 0) {
        size_t read, written;

        if (!header_is_allowed(from, in_left, room, cluster_size) ||
            !frame_decode(context, from, in_left, to, room, &read, &written))
            return Q2_ERR_BAD_COMPRESSED;
        from += read;
        in_left -= read;
        to += written;
        room -= written;
    }
    return Q2_OK;
}

static const struct q2_codec_ops zstd_ops = {
    .decode = zstd_decode,
};

struct q2_codec *q2_codec_zstd_init(struct q2_codec_zstd *memory)
{
    memory->codec.ops = &zstd_ops;
    return &memory->codec;
}
