/* Text under construction, UTF-8 and UCS-2, paths.
 *
 * Bottom of the firmware programs; may call nothing but the decoder of utf8.h. Invariant: nothing
 * is written past the size that the caller gave.
 */
#include "text.h"

#include "utf8.h"

static void put_char(struct mc_text *text, char c)
{
    if (text->length + 1 < text->size) {
        text->buffer[text->length] = c;
        text->buffer[text->length + 1] = '\0';
    }
    text->length++;
}

void mc_text_init(struct mc_text *text, char *buffer, size_t size)
{
    *text = (struct mc_text){.buffer = buffer, .size = size};
    buffer[0] = '\0';
}

void mc_text_put(struct mc_text *text, const char *string)
{
    for (; *string != '\0'; string++)
        put_char(text, *string);
}

static void put_digits(struct mc_text *text, uint64_t value, uint32_t base)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0)
        put_char(text, digits[--n]);
}

void mc_text_put_number(struct mc_text *text, uint64_t value)
{
    put_digits(text, value, 10);
}

void mc_text_put_hex(struct mc_text *text, uint64_t value)
{
    mc_text_put(text, "0x");
    put_digits(text, value, 16);
}

void mc_text_put_escaped(struct mc_text *text, const char *string)
{
    static const char digits[] = "0123456789abcdef";

    for (; *string != '\0'; string++) {
        uint8_t c = (uint8_t)*string;
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            put_char(text, *string);
        } else {
            mc_text_put(text, "\\x");
            put_char(text, digits[c >> 4]);
            put_char(text, digits[c & 15]);
        }
    }
}

void mc_text_put_size(struct mc_text *text, uint64_t bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    size_t unit = 0;
    uint64_t tenth;

    while (unit < 6 && bytes >> (10 * unit) >= 1024)
        unit++;
    mc_text_put_number(text, bytes >> (10 * unit));
    tenth = unit == 0 ? 0 : (bytes >> (10 * (unit - 1))) % 1024 * 10 / 1024;
    if (tenth > 0) {
        put_char(text, '.');
        mc_text_put_number(text, tenth);
    }
    mc_text_put(text, units[unit]);
}

bool mc_text_equal(const char *a, const char *b)
{
    for (; *a != '\0' && *a == *b; a++)
        b++;
    return *a == *b;
}

size_t mc_text_length(const char *string)
{
    size_t length = 0;

    while (string[length] != '\0')
        length++;
    return length;
}

bool mc_text_copy(char *to, size_t size, const char *from)
{
    struct mc_text text;

    mc_text_init(&text, to, size);
    mc_text_put(&text, from);
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
    size_t left = mc_text_length(utf8);
    size_t n = 0;

    while (left > 0) {
        uint32_t c;
        size_t used = mc_utf8_decode(utf8, left, &c);
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
    struct mc_text text;

    mc_text_init(&text, ret_utf8, size);
    for (; *ucs2 != 0; ucs2++) {
        uint16_t c = *ucs2;
        if (c >= 0xd800 && c <= 0xdfff)
            return false;
        if (c < 0x80) {
            put_char(&text, (char)c);
        } else if (c < 0x800) {
            put_char(&text, (char)(0xc0 | c >> 6));
            put_char(&text, (char)(0x80 | (c & 0x3f)));
        } else {
            put_char(&text, (char)(0xe0 | c >> 12));
            put_char(&text, (char)(0x80 | (c >> 6 & 0x3f)));
            put_char(&text, (char)(0x80 | (c & 0x3f)));
        }
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
