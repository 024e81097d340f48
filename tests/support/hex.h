/* Test vectors are written in hex, as they are published. */
#ifndef METALCOW_TESTS_HEX_H
#define METALCOW_TESTS_HEX_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline uint8_t hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *found = strchr(digits, c);

    if (c == '\0' || found == NULL) {
        printf("# a test vector holds '%c'\n", c);
        abort();
    }
    return (uint8_t)(found - digits);
}

/* Decode hex into bytes; returns how many there are, at most capacity. */
static inline size_t hex_decode(const char *hex, uint8_t *bytes, size_t capacity)
{
    size_t n = strlen(hex) / 2;

    if (strlen(hex) % 2 != 0 || n > capacity) {
        printf("# a test vector has the wrong length: %s\n", hex);
        abort();
    }
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return n;
}

#endif
