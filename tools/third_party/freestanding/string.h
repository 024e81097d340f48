/* <string.h> for third-party code in firmware: the four functions that each firmware program
 * defines.
 *
 * Included instead of libc's header by zlib and zstd only (drivers/codec/codec.mk). Going through
 * the builtins lets the compiler expand short copies, which -ffreestanding alone would forbid.
 */
#ifndef METALCOW_FREESTANDING_STRING_H
#define METALCOW_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *left, const void *right, size_t length);

#define memcpy(to, from, length)    __builtin_memcpy((to), (from), (length))
#define memmove(to, from, length)   __builtin_memmove((to), (from), (length))
#define memset(to, value, length)   __builtin_memset((to), (value), (length))
#define memcmp(left, right, length) __builtin_memcmp((left), (right), (length))

#endif
