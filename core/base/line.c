/* Text under construction.
 *
 * Bottom of status.c, report.c and the firmware programs. Invariant: nothing is written after the
 * buffer's size, and there is a NUL after what was.
 */
#include "q2_line.h"

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

    for (; *string != '\0'; string++) {
        uint8_t c = (uint8_t)*string;
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            q2_line_put_char(line, (char)c);
        } else {
            q2_line_put(line, "\\x");
            q2_line_put_char(line, digits[c >> 4]);
            q2_line_put_char(line, digits[c & 15]);
        }
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
