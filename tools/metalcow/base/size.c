/* Sizes as people type them. Pure functions. */
#include "size.h"

#include <stddef.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* UINT64_MAX and true in *too_large if it does not fit. */
static void append_digit(uint64_t *value, unsigned base, unsigned digit, bool *too_large)
{
    if (*value > (UINT64_MAX - digit) / base)
        *too_large = true;
    *value = *too_large ? UINT64_MAX : *value * base + digit;
}

static enum size_verdict judge(uint64_t value, bool too_large, uint64_t *ret_size)
{
    if (too_large)
        return SIZE_TOO_LARGE;
    *ret_size = value;
    return SIZE_GOOD;
}

static enum size_verdict parse_hexadecimal(const char *text, uint64_t *ret_size)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    bool too_large = false;

    if (*text == '\0')
        return SIZE_BAD;
    for (; *text != '\0'; text++) {
        char lower = (char)(*text >= 'A' && *text <= 'F' ? *text - 'A' + 'a' : *text);
        const char *found = strchr(digits, lower);

        if (!found)
            return SIZE_BAD;
        append_digit(&value, 16, (unsigned)(found - digits), &too_large);
    }
    return judge(value, too_large, ret_size);
}

/* Bits to shift for a suffix; false if it is none. */
static bool parse_suffix(const char *text, unsigned *ret_shift)
{
    static const char suffixes[] = "bkmgtpe";
    const char *found;

    *ret_shift = 0;
    if (*text == '\0')
        return true;
    if (text[1] != '\0')
        return false;
    found = strchr(suffixes, *text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text);
    if (!found)
        return false;
    *ret_shift = (unsigned)(found - suffixes) * 10;
    return true;
}

/* The digits after the point, as a fraction of 2^32, rounded down. Digits after the ninth are
 * ignored. */
static uint64_t parse_fraction(const char **text)
{
    uint64_t value = 0, scale = 1;

    for (; is_digit(**text); (*text)++) {
        if (scale < 1000000000) {
            value = value * 10 + (uint64_t)(**text - '0');
            scale *= 10;
        }
    }
    return (value << 32) / scale;
}

/* (fraction / 2^32) << shift; shift <= 60. */
static uint64_t scale_fraction(uint64_t fraction, unsigned shift)
{
    return shift >= 32 ? fraction << (shift - 32) : fraction >> (32 - shift);
}

/* The text after its blanks and one plus sign. */
static const char *skip_start(const char *text)
{
    text += strspn(text, " \t");
    return *text == '+' ? text + 1 : text;
}

enum size_verdict size_judge(const char *text, uint64_t *ret_size)
{
    uint64_t whole = 0, fraction = 0;
    bool too_large = false;
    unsigned shift;

    text = skip_start(text);
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return parse_hexadecimal(text + 2, ret_size);
    if (!is_digit(*text))
        return SIZE_BAD;
    for (; is_digit(*text); text++)
        append_digit(&whole, 10, (unsigned)(*text - '0'), &too_large);
    if (text[0] == '.' && is_digit(text[1])) {
        text++;
        fraction = parse_fraction(&text);
    }
    if (!parse_suffix(text, &shift) || (fraction != 0 && shift == 0))
        return SIZE_BAD;
    too_large = too_large || whole > UINT64_MAX >> shift;
    return judge((whole << shift) + scale_fraction(fraction, shift), too_large, ret_size);
}

bool size_parse(const char *text, uint64_t *ret_size)
{
    return size_judge(text, ret_size) == SIZE_GOOD;
}
