/* Refused: bytes of room. */
#include <stdint.h>

uint32_t sample_frame_pointer(uint32_t n);

uint32_t sample_frame_pointer(uint32_t n)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += i;
    return sum;
}
