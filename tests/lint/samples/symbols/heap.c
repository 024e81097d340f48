/* Refused: undefined: malloc. */
#include <stddef.h>

void *malloc(size_t size);

void *sample_heap(size_t size)
{
    return malloc(size);
}
