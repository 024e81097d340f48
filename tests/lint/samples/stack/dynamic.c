/* Refused: sample_dynamic: frame grows at run time. */
#include <stddef.h>

void sample_use(void *buffer);
void sample_dynamic(size_t length);

void sample_dynamic(size_t length)
{
    char buffer[length];

    sample_use(buffer);
}
