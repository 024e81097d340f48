/* The four functions that the engine needs from outside; the platform provides them (libc on the
 * host, efi/base/memory.c in firmware). Declared here because <string.h> is no freestanding header.
 */
#ifndef Q2_CORE_MEMORY_H
#define Q2_CORE_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

/* A freestanding compiler takes them for functions like any other and calls one to load eight
 * bytes; by these names it knows what they do, and calls them where that is best. */
#define memcpy(to, from, length)  __builtin_memcpy(to, from, length)
#define memmove(to, from, length) __builtin_memmove(to, from, length)
#define memset(to, value, length) __builtin_memset(to, value, length)
#define memcmp(a, b, length)      __builtin_memcmp(a, b, length)

#endif
