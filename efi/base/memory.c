/* The four memory functions of freestanding C, for the firmware programs.
 *
 * May call nothing. 64-bit loads and stores, four at a time: `rep movsb` is 8x slower under
 * emulation (DESIGN.md, 13.3), and vector registers are not ours to use. Compiled with
 * -fno-tree-loop-distribute-patterns, or the loops below would become calls of themselves.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

/* Any address, any type: x86-64 and aarch64 load and store unaligned words in normal memory. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;
#define WORD sizeof(word)

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    for (; length >= 4 * WORD; length -= 4 * WORD, t += 4 * WORD, f += 4 * WORD) {
        word *tw = (word *)(void *)t;
        const word *fw = (const word *)(const void *)f;
        uint64_t a = fw[0], b = fw[1], c = fw[2], d = fw[3];
        tw[0] = a;
        tw[1] = b;
        tw[2] = c;
        tw[3] = d;
    }
    for (; length >= WORD; length -= WORD, t += WORD, f += WORD)
        *(word *)(void *)t = *(const word *)(const void *)f;
    for (; length > 0; length--)
        *t++ = *f++;
    return to;
}

static void copy_backward(uint8_t *to, const uint8_t *from, size_t length)
{
    for (; length % WORD != 0; length--)
        to[length - 1] = from[length - 1];
    for (; length > 0; length -= WORD)
        *(word *)(void *)(to + length - WORD) = *(const word *)(const void *)(from + length - WORD);
}

void *memmove(void *to, const void *from, size_t length)
{
    uintptr_t distance = (uintptr_t)to - (uintptr_t)from;

    /* Forward is right unless `to` is inside [from, from + length): each word is loaded before
     * anything at or after it is stored. memcpy() loads four words before it stores them, which
     * keeps that. */
    if (distance >= length)
        return memcpy(to, from, length);
    copy_backward(to, from, length);
    return to;
}

void *memset(void *to, int value, size_t length)
{
    uint8_t *t = to;
    uint64_t pattern = (uint8_t)value * 0x0101010101010101ull;

    for (; length >= 4 * WORD; length -= 4 * WORD, t += 4 * WORD) {
        word *tw = (word *)(void *)t;
        tw[0] = pattern;
        tw[1] = pattern;
        tw[2] = pattern;
        tw[3] = pattern;
    }
    for (; length >= WORD; length -= WORD, t += WORD)
        *(word *)(void *)t = pattern;
    for (; length > 0; length--)
        *t++ = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
    const uint8_t *x = a, *y = b;

    for (; length >= 4 * WORD; length -= 4 * WORD, x += 4 * WORD, y += 4 * WORD) {
        const word *xw = (const word *)(const void *)x, *yw = (const word *)(const void *)y;
        if (((xw[0] ^ yw[0]) | (xw[1] ^ yw[1]) | (xw[2] ^ yw[2]) | (xw[3] ^ yw[3])) != 0)
            break;
    }
    for (; length >= WORD; length -= WORD, x += WORD, y += WORD) {
        if (*(const word *)(const void *)x != *(const word *)(const void *)y)
            break;
    }
    for (; length > 0; length--, x++, y++) {
        if (*x != *y)
            return *x < *y ? -1 : 1;
    }
    return 0;
}
