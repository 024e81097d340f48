/* A line of text that is typed.
 *
 * May call efi/base/text.c. Invariant: text is UTF-8 of whole characters and ends with a NUL, and
 * the cursor is at the start of a character or at the end.
 */
#include "field.h"

#include "efi/base/text.h"

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0u) == 0x80u;
}

bool mc_field_set(struct mc_field *field, const char *text)
{
    bool fits = mc_text_copy(field->text, sizeof(field->text), text);

    if (!fits)
        field->text[0] = '\0';
    field->length = q2_text_length(field->text);
    field->cursor = field->length;
    return fits;
}

size_t mc_field_characters(const char *text, size_t length)
{
    size_t nb = 0;

    for (size_t i = 0; i < length; i++)
        nb += is_continuation(text[i]) ? 0 : 1;
    return nb;
}

static size_t before(const struct mc_field *field, size_t at)
{
    while (at > 0 && is_continuation(field->text[--at]))
        continue;
    return at;
}

static size_t after(const struct mc_field *field, size_t at)
{
    if (at < field->length)
        at++;
    while (at < field->length && is_continuation(field->text[at]))
        at++;
    return at;
}

/* Take the bytes from start to end out; the cursor is where they were. */
static bool cut(struct mc_field *field, size_t start, size_t end)
{
    __builtin_memmove(field->text + start, field->text + end, field->length + 1 - end);
    field->length -= end - start;
    field->cursor = start;
    return end > start;
}

static bool is_character(uint16_t unit)
{
    return unit >= 0x20 && !(unit >= 0x7f && unit < 0xa0) && !(unit >= 0xd800 && unit <= 0xdfff);
}

static bool insert(struct mc_field *field, uint16_t unit)
{
    const uint16_t ucs2[] = {unit, 0};
    char bytes[4];
    size_t n;

    if (!is_character(unit) || !mc_ucs2_to_utf8(ucs2, bytes, sizeof(bytes)))
        return false;
    n = q2_text_length(bytes);
    if (n >= sizeof(field->text) - field->length)
        return false;
    __builtin_memmove(field->text + field->cursor + n, field->text + field->cursor,
                      field->length + 1 - field->cursor);
    __builtin_memcpy(field->text + field->cursor, bytes, n);
    field->length += n;
    field->cursor += n;
    return true;
}

static bool move(struct mc_field *field, size_t to)
{
    bool moved = to != field->cursor;

    field->cursor = to;
    return moved;
}

static bool scan(struct mc_field *field, uint16_t scan_code)
{
    switch (scan_code) {
    case MC_SCAN_LEFT:
        return move(field, before(field, field->cursor));
    case MC_SCAN_RIGHT:
        return move(field, after(field, field->cursor));
    case MC_SCAN_HOME:
        return move(field, 0);
    case MC_SCAN_END:
        return move(field, field->length);
    case MC_SCAN_DELETE:
        if (field->cursor == field->length)
            return cut(field, before(field, field->cursor), field->cursor);
        return cut(field, field->cursor, after(field, field->cursor));
    default:
        return false;
    }
}

bool mc_field_key(struct mc_field *field, struct mc_key key)
{
    if (key.scan_code != 0)
        return scan(field, key.scan_code);
    if (key.unit == MC_UNIT_BACKSPACE)
        return cut(field, before(field, field->cursor), field->cursor);
    return insert(field, key.unit);
}
