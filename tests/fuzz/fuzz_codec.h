/* What the two codec fuzzers share: choose a cluster size, decode, judge.
 *
 * The input is one byte for the cluster size and then the stream. Both buffers end where their
 * memory ends, so that AddressSanitizer sees a byte too far.
 */
#ifndef METALCOW_TESTS_FUZZ_CODEC_H
#define METALCOW_TESTS_FUZZ_CODEC_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "q2_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NB_CLUSTER_SIZES 13

/* A buffer of exactly that cluster size, the same one each time: large ones are slow to make. */
static inline uint8_t *fuzz_codec_output(size_t cluster_choice, size_t which)
{
    static uint8_t *outputs[NB_CLUSTER_SIZES][2];
    uint8_t **output = &outputs[cluster_choice][which];

    if (*output == NULL)
        *output = calloc((size_t)512 << cluster_choice, 1);
    return *output;
}

/* Decoding is a function of the input: twice the same status, and twice the same cluster, though
 * the two buffers differ before.
 */
static inline void fuzz_codec_run(struct q2_codec *codec, const uint8_t *data, size_t size)
{
    size_t choice = data[0] % NB_CLUSTER_SIZES, cluster_size = (size_t)512 << choice;
    uint8_t *first = fuzz_codec_output(choice, 0), *second = fuzz_codec_output(choice, 1);
    size_t stream_length = size - 1;
    uint8_t *stream = malloc(stream_length);
    enum q2_status status;

    memcpy(stream, data + 1, stream_length);
    status = codec->ops->decode(codec, stream, stream_length, first, cluster_size);
    if (status != Q2_OK && status != Q2_ERR_BAD_COMPRESSED)
        abort();
    second[data[0]] ^= 0xff;
    if (codec->ops->decode(codec, stream, stream_length, second, cluster_size) != status)
        abort();
    if (memcmp(stream, data + 1, stream_length) != 0)
        abort();
    if (status == Q2_OK && memcmp(first, second, cluster_size) != 0)
        abort();
    free(stream);
}

#endif
