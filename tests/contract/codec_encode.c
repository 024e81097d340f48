/* Streams for the codec tests: see codec_encode.h. */
#include "codec_encode.h"

#include <stdio.h>
#include <stdlib.h>

#include <zlib.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

static void require(bool ok, const char *what)
{
    if (!ok) {
        printf("not ok - codec_encode: %s\n0 passed, 1 failed\n", what);
        exit(1);
    }
}

static voidpf zlib_alloc(voidpf opaque, uInt items, uInt size)
{
    (void)opaque;
    return calloc(items, size);
}

static void zlib_free(voidpf opaque, voidpf address)
{
    (void)opaque;
    free(address);
}

size_t codec_encode_zlib(const struct codec_encoding *encoding, const void *content, size_t length,
                         void *stream, size_t room)
{
    z_stream z = {
        .next_in = (z_const Bytef *)content,
        .avail_in = (uInt)length,
        .next_out = stream,
        .avail_out = (uInt)room,
        .zalloc = zlib_alloc,
        .zfree = zlib_free,
    };

    require(deflateInit2(&z, encoding->level, Z_DEFLATED, encoding->window_bits, 9,
                         encoding->strategy) == Z_OK,
            "deflateInit2");
    require(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
    (void)deflateEnd(&z);
    return room - z.avail_out;
}

static void *zstd_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return malloc(size);
}

static void zstd_free(void *opaque, void *address)
{
    (void)opaque;
    free(address);
}

static void zstd_set(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value)
{
    require(!ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)), "a zstd parameter");
}

/* Feed the content, flushing after each chunk; returns the length of the frame. */
static size_t zstd_stream(ZSTD_CCtx *context, const struct codec_encoding *encoding,
                          ZSTD_inBuffer in, ZSTD_outBuffer out)
{
    size_t length = in.size, chunk = encoding->chunk ? encoding->chunk : length;
    bool chunked = encoding->chunk != 0 || encoding->no_content_size;

    for (in.size = 0; chunked && in.pos < length;) {
        in.size = length - in.pos < chunk ? length : in.pos + chunk;
        require(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush) == 0, "ZSTD_e_flush");
    }
    in.size = length;
    require(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end) == 0, "ZSTD_e_end");
    return out.pos;
}

size_t codec_encode_zstd(const struct codec_encoding *encoding, const void *content, size_t length,
                         void *stream, size_t room)
{
    ZSTD_customMem memory = {.customAlloc = zstd_alloc, .customFree = zstd_free};
    ZSTD_CCtx *context = ZSTD_createCCtx_advanced(memory);

    require(context != NULL, "ZSTD_createCCtx_advanced");
    zstd_set(context, ZSTD_c_compressionLevel, encoding->level);
    /* High levels clear tables of 64 MiB for each stream, unless they are told smaller ones. */
    zstd_set(context, ZSTD_c_hashLog, 17);
    zstd_set(context, ZSTD_c_chainLog, 17);
    zstd_set(context, ZSTD_c_checksumFlag, encoding->checksum);
    zstd_set(context, ZSTD_c_contentSizeFlag, !encoding->no_content_size);
    if (encoding->window_bits != 0)
        zstd_set(context, ZSTD_c_windowLog, encoding->window_bits);
    if (!encoding->no_content_size)
        require(!ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, length)), "the pledged size");
    length = zstd_stream(context, encoding, (ZSTD_inBuffer){.src = content, .size = length},
                         (ZSTD_outBuffer){.dst = stream, .size = room});
    (void)ZSTD_freeCCtx(context);
    return length;
}
