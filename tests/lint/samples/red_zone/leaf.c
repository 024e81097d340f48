/* Refused: (%rsp). */
#include <stdint.h>

uint32_t sample_leaf(const uint8_t *bytes);

uint32_t sample_leaf(const uint8_t *bytes)
{
    volatile uint32_t sums[4] = {0};

    for (unsigned i = 0; i < 16; i++)
        sums[i & 3] += bytes[i];
    return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}
