/* One character of UTF-8.  (Unicode, "Well-Formed UTF-8 Byte Sequences")
 *
 * May call nothing. Invariant: never looks past the length given.
 */
#ifndef Q2_CORE_UTF8_H
#define Q2_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decode the first character of a text.
 *
 * text, length  untrusted; length 0 gives 0
 * ret_c         the code point
 * returns       its length in bytes, 1..4, or 0: not UTF-8 (overlong, surrogate, cut, too large)
 */
static inline size_t q2_utf8_decode(const char *text, size_t length, uint32_t *ret_c)
{
    static const uint32_t first_of_length[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = length > 0 ? (uint8_t)text[0] : 0xff;
    size_t n = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? lead : lead & (0x7fu >> n);

    if (n == 0 || n > length || lead > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)text[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | ((uint8_t)text[i] & 0x3f);
    }
    if (c < first_of_length[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_c = c;
    return n;
}

/* The same for the first character of a NUL-terminated text; its end gives 0. */
static inline size_t q2_utf8_decode_text(const char *text, uint32_t *ret_c)
{
    size_t length = 0;

    while (length < 4 && text[length] != '\0')
        length++;
    return q2_utf8_decode(text, length, ret_c);
}

/* Encode one character.
 *
 * c         a code point, no surrogate, at most 0x10ffff
 * ret_text  gets 1..4 bytes
 * returns   how many */
static inline size_t q2_utf8_encode(uint32_t c, char ret_text[static 4])
{
    static const uint8_t lead_of_length[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    for (size_t i = n; i-- > 1; c >>= 6)
        ret_text[i] = (char)(0x80 | (c & 0x3f));
    ret_text[0] = (char)(lead_of_length[n] | c);
    return n;
}

#endif
