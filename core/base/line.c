/* Text under construction.
 *
 * Bottom of status.c, report.c and the firmware programs. Invariant: nothing is written after the
 * buffer's size, and there is a NUL after what was.
 */
#include "q2_line.h"

#include <stdbool.h>

#include "utf8.h"

static bool is_printable(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } others[] = {
        {0, 0x1f},        {'\\', '\\'},     {0x7f, 0x9f},     {0xad, 0xad},
        {0x61c, 0x61c},   {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0xfdd0, 0xfdef}, {0xfeff, 0xfeff}, {0xfff0, 0xffff}, {0xe0000, 0x10ffff},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (c >= others[i].first && c <= others[i].last)
            return false;
    }
    return true;
}

size_t q2_printable_length(const char *text)
{
    uint32_t c = 0;
    size_t length = q2_utf8_decode_text(text, &c);

    return length > 0 && is_printable(c) ? length : 0;
}

struct q2_line q2_line_start(char *buffer, size_t size)
{
    buffer[0] = '\0';
    return (struct q2_line){.buffer = buffer, .size = size};
}

void q2_line_put_char(struct q2_line *line, char c)
{
    if (line->length + 1 < line->size) {
        line->buffer[line->length] = c;
        line->buffer[line->length + 1] = '\0';
    }
    line->length++;
}

void q2_line_put(struct q2_line *line, const char *string)
{
    for (; *string != '\0'; string++)
        q2_line_put_char(line, *string);
}

void q2_line_put_escaped(struct q2_line *line, const char *string)
{
    static const char digits[] = "0123456789abcdef";

    while (*string != '\0') {
        size_t length = q2_printable_length(string);
        if (length == 0) {
            uint8_t c = (uint8_t)*string++;
            q2_line_put(line, "\\x");
            q2_line_put_char(line, digits[c >> 4]);
            q2_line_put_char(line, digits[c & 15]);
        }
        for (; length > 0; length--)
            q2_line_put_char(line, *string++);
    }
}

void q2_line_put_number(struct q2_line *line, uint64_t value, uint32_t base)
{
    char digits[24];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0)
        q2_line_put_char(line, digits[--n]);
}
