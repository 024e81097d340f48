/* Any bytes as a hand-off record: what the decoder takes must be encoded to the same bytes again.
 *
 * The checksum is made right before decoding, and the length field too, so that the fuzzer gets
 * past them.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"
#include "q2_handoff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct q2_file_extent extents[Q2_HANDOFF_MAX_EXTENTS];
static struct q2_handoff_sample samples[Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES];

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void seal(uint8_t *bytes, size_t size)
{
    struct q2_sha256 hash;

    memcpy(bytes, "MCHNDOFF\2\0\0\0", 12);
    for (size_t i = 0; i < 4; i++)
        bytes[12 + i] = (uint8_t)(size >> (8 * i));
    memset(bytes + 16, 0, 32);
    q2_sha256_init(&hash);
    q2_sha256_add(&hash, bytes, size);
    q2_sha256_end(&hash, bytes + 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct q2_handoff_memory memory = {extents, Q2_HANDOFF_MAX_EXTENTS, samples,
                                                    sizeof(samples) / sizeof(samples[0])};
    static struct q2_handoff handoff;
    const char *what = NULL;
    uint8_t *bytes, *again;
    size_t length = 0;

    if (size < Q2_HANDOFF_HEADER_SIZE || size > Q2_HANDOFF_MAX_SIZE)
        return 0;
    bytes = malloc(size);
    again = malloc(size);
    memcpy(bytes, data, size);
    seal(bytes, size);
    if (q2_handoff_decode(bytes, size, &memory, &handoff, &what) == Q2_OK) {
        require(what == NULL);
        require(q2_handoff_encode(&handoff, again, size, &length, &what) == Q2_OK);
        require(length == size && memcmp(bytes, again, size) == 0);
    } else {
        require(what != NULL);
    }
    free(bytes);
    free(again);
    return 0;
}
