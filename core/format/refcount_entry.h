/* Refcounts and refcount table entries as stored.  (qcow2: "Host cluster management")
 *
 * Pure functions on bytes.
 */
#ifndef Q2_CORE_FORMAT_REFCOUNT_ENTRY_H
#define Q2_CORE_FORMAT_REFCOUNT_ENTRY_H

#include <stddef.h>
#include <stdint.h>

/* The bits of a refcount table entry that hold the block's offset; the others are reserved. */
#define Q2_REFCOUNT_TABLE_OFFSET 0xfffffffffffffe00ull

/* Read refcount number index of a refcount block in memory.
 *
 * block  the block's bytes up to and including that refcount
 * order  0..6: a refcount has 1 << order bits
 */
uint64_t q2_refcount_decode(const uint8_t *block, uint64_t index, uint32_t order);

/* Set refcount number index of a block in memory.
 *
 * block  the block's bytes up to and including that refcount
 * value  fits the width: value < 2^(1 << order)
 */
void q2_refcount_encode(uint8_t *block, uint64_t index, uint32_t order, uint64_t value);

/* The bytes that hold refcount index of a block: one for the narrow widths, else all of it. */
static inline uint64_t q2_refcount_bytes_offset(uint64_t index, uint32_t order)
{
    return order < 3 ? index >> (3 - order) : index << (order - 3);
}

static inline size_t q2_refcount_bytes_length(uint32_t order)
{
    return order < 3 ? 1 : (size_t)1 << (order - 3);
}

#endif
