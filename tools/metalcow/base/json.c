/* A JSON writer.
 *
 * May call stdio and core/base/utf8.h. Invariant: whatever bytes come in, the output is valid JSON
 * in ASCII.
 */
#include "json.h"

#include <inttypes.h>
#include <stddef.h>

#include "core/base/utf8.h"

static void put_point(FILE *out, uint32_t point)
{
    if (point == '"' || point == '\\') {
        fprintf(out, "\\%c", (char)point);
    } else if (point >= 0x20 && point < 0x7f) {
        fputc((int)point, out);
    } else if (point < 0x10000) {
        fprintf(out, "\\u%04" PRIX32, point);
    } else {
        point -= 0x10000;
        fprintf(out, "\\u%04" PRIX32 "\\u%04" PRIX32, 0xd800 + (point >> 10),
                0xdc00 + (point & 0x3ff));
    }
}

void json_quote(FILE *out, const char *text)
{
    fputc('"', out);
    while (*text != '\0') {
        uint32_t point;
        size_t length = q2_utf8_decode_text(text, &point);

        put_point(out, length > 0 ? point : 0xfffd);
        text += length > 0 ? length : 1;
    }
    fputc('"', out);
}

static void begin_value(struct json *json, const char *key)
{
    if (json->has_values[json->depth])
        fputc(',', json->out);
    if (json->depth > 0)
        fprintf(json->out, "\n%*s", (int)(json->depth * 4), "");
    json->has_values[json->depth] = true;
    if (key) {
        json_quote(json->out, key);
        fputs(": ", json->out);
    }
}

static void open_level(struct json *json, const char *key, char opener, char closer)
{
    begin_value(json, key);
    fputc(opener, json->out);
    if (json->depth < JSON_MAX_DEPTH)
        json->depth++;
    json->has_values[json->depth] = false;
    json->closers[json->depth] = closer;
}

void json_object(struct json *json, const char *key)
{
    open_level(json, key, '{', '}');
}

void json_list(struct json *json, const char *key)
{
    open_level(json, key, '[', ']');
}

void json_end(struct json *json)
{
    char closer = json->closers[json->depth];

    json->depth--;
    fprintf(json->out, "\n%*s%c", (int)(json->depth * 4), "", closer);
    if (json->depth == 0)
        fputc('\n', json->out);
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin_value(json, key);
    json_quote(json->out, text);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->out);
}
