/* Run-length coding with the contract of a codec. */
#include "fake_codec.h"

#include <string.h>

static enum q2_status fake_decode(struct q2_codec *codec, const void *input, size_t input_length,
                                  void *output, size_t cluster_size)
{
    struct fake_codec *fake = (struct fake_codec *)codec;
    const uint8_t *from = input;
    uint8_t *to = output;
    size_t done = 0;

    fake->nb_calls++;
    fake->last_input_length = input_length;
    for (size_t i = 0; i < input_length; i += 2) {
        if (from[i] == 0)
            return done == cluster_size ? Q2_OK : Q2_ERR_BAD_COMPRESSED;
        if (i + 1 == input_length || from[i] > cluster_size - done)
            return Q2_ERR_BAD_COMPRESSED;
        memset(to + done, from[i + 1], from[i]);
        done += from[i];
    }
    return Q2_ERR_BAD_COMPRESSED;
}

static const struct q2_codec_ops fake_ops = {.decode = fake_decode};

void fake_codec_init(struct fake_codec *fake)
{
    *fake = (struct fake_codec){.codec = {.ops = &fake_ops}};
}

size_t fake_codec_encode(const uint8_t *bytes, size_t size, uint8_t *stream)
{
    size_t length = 0;

    for (size_t i = 0; i < size;) {
        size_t run = 1;
        while (run < 255 && i + run < size && bytes[i + run] == bytes[i])
            run++;
        stream[length++] = (uint8_t)run;
        stream[length++] = bytes[i];
        i += run;
    }
    stream[length++] = 0;
    return length;
}
