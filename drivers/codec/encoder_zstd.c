/* The zstd encoder.
 *
 * May call zstd (built from the distribution's source package, drivers/codec/codec.mk). Invariant:
 * the library gets no memory but the encoder's own.
 */
#include "encoder.h"

#include <stdint.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

struct zstd_encoder {
    struct q2_encoder encoder; /* first: the encoder's address is this struct's */
    ZSTD_CCtx *context;
};

#define HEAD_SIZE ((sizeof(struct zstd_encoder) + 15) & ~(size_t)15)

static size_t encode(struct q2_encoder *encoder, const void *input, size_t cluster_size,
                     void *output, size_t room)
{
    struct zstd_encoder *zstd = (struct zstd_encoder *)encoder;
    size_t length = ZSTD_compress2(zstd->context, output, room, input, cluster_size);

    return ZSTD_isError(length) ? 0 : length;
}

/* The library's estimate for encoding in one call, which needs no buffers for streams. */
static size_t context_size(size_t cluster_size)
{
    return ZSTD_estimateCCtxSize_usingCParams(
        ZSTD_getCParams(ZSTD_CLEVEL_DEFAULT, cluster_size, 0));
}

size_t q2_encoder_zstd_size(size_t cluster_size)
{
    return HEAD_SIZE + ((context_size(cluster_size) + 15) & ~(size_t)15);
}

struct q2_encoder *q2_encoder_zstd_init(void *memory, size_t cluster_size)
{
    struct zstd_encoder *zstd = memory;

    zstd->encoder.encode = encode;
    zstd->context = ZSTD_initStaticCCtx((uint8_t *)memory + HEAD_SIZE,
                                        (context_size(cluster_size) + 15) & ~(size_t)15);
    return zstd->context ? &zstd->encoder : NULL;
}
