/* Refcounts as stored.
 *
 * May call nothing. Invariant: only the bytes that hold the refcount are read, and only its own
 * bits are changed.
 */
#include "refcount_entry.h"

uint64_t q2_refcount_decode(const uint8_t *block, uint64_t index, uint32_t order)
{
    uint64_t value = 0;

    if (order < 3) {
        /* Several in a byte, the first in the lowest bits. */
        uint32_t per_byte = 8u >> order;
        uint32_t shift = (uint32_t)(index % per_byte) << order;
        return (uint32_t)block[index / per_byte] >> shift & ((1u << (1u << order)) - 1);
    }
    for (uint32_t i = 0; i < 1u << (order - 3); i++)
        value = value << 8 | block[(index << (order - 3)) + i];
    return value;
}

void q2_refcount_encode(uint8_t *block, uint64_t index, uint32_t order, uint64_t value)
{
    if (order < 3) {
        uint32_t per_byte = 8u >> order;
        uint32_t shift = (uint32_t)(index % per_byte) << order;
        uint32_t mask = ((1u << (1u << order)) - 1) << shift;
        uint8_t *byte = &block[index / per_byte];

        *byte = (uint8_t)((*byte & ~mask) | (uint32_t)value << shift);
        return;
    }
    for (uint32_t i = 1u << (order - 3); i > 0; i--) {
        block[(index << (order - 3)) + i - 1] = (uint8_t)value;
        value >>= 8;
    }
}
