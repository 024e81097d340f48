/* Wiping secrets: a memset() that no optimiser removes.
 *
 * May call memset. Invariant: when q2_wipe() returns, the bytes are zero in memory.
 */
#ifndef METALCOW_DRIVERS_WIPE_H
#define METALCOW_DRIVERS_WIPE_H

#include <stddef.h>

static inline void q2_wipe(void *secret, size_t length)
{
    __builtin_memset(secret, 0, length);
    /* The compiler must assume that this reads the memory, so the zeros have to be there. */
    __asm__ volatile("" : : "r"(secret) : "memory");
}

#endif
