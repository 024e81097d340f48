/* Refused: undefined: __udivti3. */
#include <stdint.h>

uint64_t sample_division(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((unsigned __int128)a * b / c);
}
