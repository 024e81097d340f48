/* Text under construction, for people: counts what would be written, keeps what fits.
 *
 * Implemented by core/base/line.c. Beside the data path: reports of the engine and everything that
 * the firmware programs say. Calls nothing, and no function fails. The buffer is the caller's and
 * always ends with a NUL.
 */
#ifndef Q2_LINE_H
#define Q2_LINE_H

#include <stddef.h>
#include <stdint.h>

struct q2_line {
    char *buffer;
    size_t size;   /* of buffer, >= 1 */
    size_t length; /* of the whole text, without the NUL, as if the buffer were large enough */
};

/* An empty text in a buffer of size bytes, >= 1. */
struct q2_line q2_line_start(char *buffer, size_t size);

/* Trusted text, as it is: one byte, a NUL-terminated string. */
void q2_line_put_char(struct q2_line *line, char c);
void q2_line_put(struct q2_line *line, const char *string);

/* Does an untrusted text begin with a character that can be shown as it is? Returns its length in
 * bytes, or 0: the end, no UTF-8, a backslash, a control character, or one that turns the direction
 * of a line, which makes a name look like another one. */
size_t q2_printable_length(const char *text);

/* Untrusted bytes: UTF-8 that can be shown stays as it is. All else comes as \xNN, so that no image
 * can send control sequences to a console. */
void q2_line_put_escaped(struct q2_line *line, const char *string);

/* A number without a prefix.
 *
 * base  10 or 16
 */
void q2_line_put_number(struct q2_line *line, uint64_t value, uint32_t base);

#endif
