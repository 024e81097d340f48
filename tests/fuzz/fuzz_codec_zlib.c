/* Any bytes as the compressed cluster of a zlib image. */
#include "drivers/codec/zlib.h"
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct q2_codec_zlib memory;

    if (size >= 2)
        fuzz_codec_run(q2_codec_zlib_init(&memory), data, size);
    return 0;
}
