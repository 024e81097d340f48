/* Words, UTF-8 and UCS-2, paths.
 *
 * May call nothing but q2_line.h and core/base/. Invariant: nothing is written past the size that
 * the caller gave.
 */
#include "text.h"

#include "core/base/utf8.h"

void mc_put_size(struct q2_line *text, uint64_t bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    size_t unit = 0;
    uint64_t tenth;

    while (unit < 6 && bytes >> (10 * unit) >= 1024)
        unit++;
    q2_line_put_number(text, bytes >> (10 * unit), 10);
    tenth = unit == 0 ? 0 : (bytes >> (10 * (unit - 1))) % 1024 * 10 / 1024;
    if (tenth > 0) {
        q2_line_put_char(text, '.');
        q2_line_put_number(text, tenth, 10);
    }
    q2_line_put(text, units[unit]);
}

void mc_put_bar(struct q2_line *text, uint64_t done, uint64_t total)
{
    const uint64_t width = 20;
    uint64_t percent = total <= UINT64_MAX / 100 ? done * 100 / total : done / (total / 100);

    if (percent > 99)
        percent = done == total ? 100 : 99;
    q2_line_put_char(text, '[');
    for (uint64_t i = 1; i <= width; i++)
        q2_line_put_char(text, i * 100 <= percent * width ? '#' : '.');
    q2_line_put(text, percent < 10 ? "]   " : percent < 100 ? "]  " : "] ");
    q2_line_put_number(text, percent, 10);
    q2_line_put(text, " %");
}

bool mc_text_copy(char *to, size_t size, const char *from)
{
    struct q2_line text = q2_line_start(to, size);

    q2_line_put(&text, from);
    return text.length < size;
}

bool mc_number_parse(const char *word, uint32_t *ret_number)
{
    uint64_t number = 0;

    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9')
            return false;
        number = number * 10 + (uint64_t)(*word - '0');
        if (number > UINT32_MAX)
            return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

bool mc_utf8_to_ucs2(const char *utf8, uint16_t *ret_ucs2, size_t capacity)
{
    size_t left = q2_text_length(utf8);
    size_t n = 0;

    while (left > 0) {
        uint32_t c;
        size_t used = q2_utf8_decode(utf8, left, &c);
        if (used == 0 || c > 0xffff || n + 1 >= capacity)
            return false;
        ret_ucs2[n++] = (uint16_t)c;
        utf8 += used;
        left -= used;
    }
    if (n >= capacity)
        return false;
    ret_ucs2[n] = 0;
    return true;
}

bool mc_ucs2_to_utf8(const uint16_t *ucs2, char *ret_utf8, size_t size)
{
    struct q2_line text = q2_line_start(ret_utf8, size);
    char bytes[4];
    size_t n;

    for (; *ucs2 != 0; ucs2++) {
        uint16_t c = *ucs2;
        if (c >= 0xd800 && c <= 0xdfff)
            return false;
        n = q2_utf8_encode(c, bytes);
        for (size_t i = 0; i < n; i++)
            q2_line_put_char(&text, bytes[i]);
    }
    return text.length < size;
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

/* Take the last component off a path of length bytes; false if there is none. */
static bool drop_component(const char *path, size_t *length)
{
    size_t n = *length;

    if (n == 0)
        return false;
    while (path[n - 1] != '/')
        n--;
    *length = n - 1;
    return true;
}

bool mc_path_clean(const char *path, char *ret_path, size_t size)
{
    size_t n = 0;

    while (*path != '\0') {
        size_t length = 0;
        while (is_separator(*path))
            path++;
        while (path[length] != '\0' && !is_separator(path[length]))
            length++;
        if (length == 2 && path[0] == '.' && path[1] == '.') {
            if (!drop_component(ret_path, &n))
                return false;
        } else if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (length + 1 >= size - n)
                return false;
            ret_path[n++] = '/';
            for (size_t i = 0; i < length; i++)
                ret_path[n++] = path[i];
        }
        path += length;
    }
    if (n == 0)
        ret_path[n++] = '/';
    ret_path[n] = '\0';
    return true;
}
