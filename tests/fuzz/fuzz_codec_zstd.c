/* Any bytes as the compressed cluster of a zstd image. */
#include "drivers/codec/zstd.h"
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct q2_codec_zstd memory;

    if (size >= 2)
        fuzz_codec_run(q2_codec_zstd_init(&memory), data, size);
    return 0;
}
