/* Zero detection. */
#ifndef METALCOW_ZEROS_H
#define METALCOW_ZEROS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Whether length bytes are all zero: the first 16 are, and each equals the byte 16 after it.
 * memcmp() compares as fast as memory is read. */
static inline bool is_zero(const uint8_t *bytes, size_t length)
{
    size_t head = length < 16 ? length : 16;

    for (size_t i = 0; i < head; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return memcmp(bytes, bytes + head, length - head) == 0;
}

#endif
