/* The four functions that the engine needs from outside; the platform provides them (libc on the
 * host, efi/memory.c in firmware). Declared here because <string.h> is no freestanding header.
 */
#ifndef Q2_CORE_MEMORY_H
#define Q2_CORE_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

#endif
