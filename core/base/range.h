/* Arithmetic on untrusted numbers: ranges are checked by subtracting, never after adding.
 *
 * Bottom of the data path; may call nothing.
 */
#ifndef Q2_CORE_RANGE_H
#define Q2_CORE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Is [offset, offset + length) inside [0, limit)? Right for every value of all three. */
static inline bool q2_range_fits(uint64_t offset, uint64_t length, uint64_t limit)
{
    return offset <= limit && length <= limit - offset;
}

/* Do [a, a + a_length) and [b, b + b_length) share a byte? Neither range may wrap. */
static inline bool q2_ranges_overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
    return a_length > 0 && b_length > 0 && a < b + b_length && b < a + a_length;
}

static inline uint64_t q2_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t q2_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* value / 2^bits, rounded up; right for every value. bits < 64. */
static inline uint64_t q2_shift_up(uint64_t value, uint32_t bits)
{
    return (value >> bits) + ((value & ((1ull << bits) - 1)) != 0);
}

/* Is value 1, 2, 4, 8, ...? */
static inline bool q2_is_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* log2 of a power of two. */
static inline uint32_t q2_log2(uint32_t value)
{
    uint32_t bits = 0;

    while (value >> bits > 1)
        bits++;
    return bits;
}

/* Is value a multiple of 2^bits? bits < 64. */
static inline bool q2_is_aligned(uint64_t value, uint32_t bits)
{
    return (value & ((1ull << bits) - 1)) == 0;
}

#endif
