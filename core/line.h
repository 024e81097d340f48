/* Text under construction, for people: counts what would be written, keeps what fits.
 *
 * Beside the data path; status.c and report.c call it, it calls nothing.
 */
#ifndef Q2_CORE_LINE_H
#define Q2_CORE_LINE_H

#include <stddef.h>
#include <stdint.h>

struct q2_line {
    char *buffer;
    size_t size;   /* of buffer, >= 1 */
    size_t length; /* of the whole text, without the NUL, as if the buffer were large enough */
};

void q2_line_put_char(struct q2_line *line, char c);
void q2_line_put(struct q2_line *line, const char *string);

/* Untrusted bytes: whatever is not printable ASCII, and the backslash, comes as \xNN, so that no
 * image can send control sequences to a console. */
void q2_line_put_escaped(struct q2_line *line, const char *string);

/* base  10 or 16; no prefix */
void q2_line_put_number(struct q2_line *line, uint64_t value, uint32_t base);

/* Put the NUL where the text ends, or where the buffer does; returns the length. */
size_t q2_line_end(struct q2_line *line);

#endif
