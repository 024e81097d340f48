/* The firmware's memory functions against the host's, at every alignment and overlap. */
#include <stddef.h>

/* The unmodified source under other names, beside the host's functions. */
#define memcpy  mc_memcpy
#define memmove mc_memmove
#define memset  mc_memset
#define memcmp  mc_memcmp
#include "efi/base/memory.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp

#include "tests/support/t.h"

#define SIZE   200u
#define LENGTH 100u

static uint8_t ours[SIZE], theirs[SIZE], from[SIZE];

static void fill(void)
{
    for (unsigned i = 0; i < SIZE; i++) {
        from[i] = (uint8_t)(i * 7 + 3);
        ours[i] = theirs[i] = (uint8_t)(i * 13 + 1);
    }
}

static void test_memcpy_every_length_and_alignment(void)
{
    for (size_t length = 0; length <= LENGTH; length++) {
        for (size_t shift = 0; shift < 64; shift++) {
            size_t a = shift / 8, b = shift % 8;
            fill();
            T_CHECK(mc_memcpy(ours + a, from + b, length) == ours + a);
            memcpy(theirs + a, from + b, length);
            T_CHECK(memcmp(ours, theirs, SIZE) == 0);
        }
    }
}

static void test_memmove_every_overlap(void)
{
    for (size_t length = 0; length <= LENGTH; length++) {
        for (size_t to = 0; to <= SIZE - LENGTH; to += 3) {
            fill();
            T_CHECK(mc_memmove(ours + to, ours + 50, length) == ours + to);
            memmove(theirs + to, theirs + 50, length);
            T_CHECK(memcmp(ours, theirs, SIZE) == 0);
        }
    }
}

static void test_memset_every_length_and_value(void)
{
    for (size_t length = 0; length <= LENGTH; length++) {
        fill();
        T_CHECK(mc_memset(ours + length % 8, (int)length - 5, length) == ours + length % 8);
        memset(theirs + length % 8, (int)length - 5, length);
        T_CHECK(memcmp(ours, theirs, SIZE) == 0);
    }
}

static void test_memcmp_every_place_of_a_difference(void)
{
    for (size_t length = 0; length <= LENGTH; length++) {
        fill();
        memcpy(ours, from, SIZE);
        ours[length] ^= 0x80; /* after the range */
        T_CHECK(mc_memcmp(ours, from, length) == 0);
        for (size_t at = 0; at < length; at++) {
            int sign;
            memcpy(ours, from, SIZE);
            ours[at] ^= 0x80;
            ours[length - 1] = (uint8_t)(from[length - 1] + (at < length - 1 ? 1 : 0x80));
            sign = memcmp(ours, from, length);
            T_CHECK((mc_memcmp(ours, from, length) < 0) == (sign < 0));
            T_CHECK(mc_memcmp(ours, from, length) != 0);
        }
    }
}

int main(void)
{
    T_RUN(test_memcpy_every_length_and_alignment);
    T_RUN(test_memmove_every_overlap);
    T_RUN(test_memset_every_length_and_value);
    T_RUN(test_memcmp_every_place_of_a_difference);
    return t_done();
}
