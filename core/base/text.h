/* The string functions that the engine needs.
 *
 * Bottom of the data path; may call nothing.
 */
#ifndef Q2_CORE_TEXT_H
#define Q2_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

static inline bool q2_text_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static inline size_t q2_text_length(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0')
        length++;
    return length;
}

#endif
