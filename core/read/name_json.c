/* Names of files in QEMU's form "json:{...}".
 *
 * May call core/base/. Invariant: the text is walked once, from front to back; at most two objects
 * are open at a time.
 */
#include "name_json.h"

#include <stdbool.h>
#include <stdint.h>

#include "core/base/text.h"
#include "core/base/utf8.h"

#define MAX_DEPTH 2u
#define WORD_SIZE 32u /* of keys and of values other than the file name */

/* A place for decoded bytes; what does not fit makes it bad. */
struct output {
    char *bytes;
    size_t size, length;
    bool bad;
};

struct json {
    const char *at;
    char *filename;
    size_t filename_size;
    bool has_filename, has_format, bad, unsupported;
    enum q2_unsaid_format format;
};

static void put_byte(struct output *to, uint32_t byte)
{
    if (byte == 0 || to->length + 1 >= to->size)
        to->bad = true;
    else
        to->bytes[to->length++] = (char)byte;
}

static void put_point(struct output *to, uint32_t point)
{
    char text[4];
    size_t n = q2_utf8_encode(point, text);

    for (size_t i = 0; i < n; i++)
        put_byte(to, (uint8_t)text[i]);
}

static void skip_space(struct json *json)
{
    while (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r')
        json->at++;
}

static bool take(struct json *json, char c)
{
    skip_space(json);
    if (*json->at != c)
        return false;
    json->at++;
    return true;
}

/* Four hexadecimal digits; UINT32_MAX if they are none. */
static uint32_t take_unit(struct json *json)
{
    uint32_t unit = 0;

    for (unsigned i = 0; i < 4; i++) {
        char c = *json->at;

        if (c >= '0' && c <= '9')
            unit = unit << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            unit = unit << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return UINT32_MAX;
        json->at++;
    }
    return unit;
}

/* The point of "\uXXXX", of two of them for what is beyond the basic plane. */
static void take_point(struct json *json, struct output *to)
{
    uint32_t high = take_unit(json), low;

    if (high >= 0xd800 && high < 0xdc00 && json->at[0] == '\\' && json->at[1] == 'u') {
        json->at += 2;
        low = take_unit(json);
        if (low < 0xdc00 || low > 0xdfff)
            to->bad = true;
        else
            put_point(to, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    } else if (high > 0xffff || (high >= 0xd800 && high <= 0xdfff)) {
        to->bad = true;
    } else {
        put_point(to, high);
    }
}

static void take_escape(struct json *json, struct output *to)
{
    static const char letters[] = "\"\\/'bfnrt", bytes[] = "\"\\/'\b\f\n\r\t";
    char c = *json->at;

    if (c == '\0') {
        to->bad = true;
        return;
    }
    json->at++;
    if (c == 'u') {
        take_point(json, to);
        return;
    }
    for (size_t i = 0; i < sizeof(letters) - 1; i++) {
        if (letters[i] == c) {
            put_byte(to, (uint8_t)bytes[i]);
            return;
        }
    }
    to->bad = true;
}

/* A string with its quotes, decoded; false, and json->bad, if it is none or does not fit. */
static bool take_string(struct json *json, char *ret_bytes, size_t size)
{
    struct output to = {.bytes = ret_bytes, .size = size};

    if (!take(json, '"'))
        json->bad = true;
    while (!json->bad && !to.bad && *json->at != '"') {
        if (*json->at == '\0') {
            json->bad = true;
        } else if (*json->at == '\\') {
            json->at++;
            take_escape(json, &to);
        } else {
            put_byte(&to, (uint8_t)*json->at++);
        }
    }
    json->bad |= to.bad;
    if (json->bad)
        return false;
    json->at++;
    ret_bytes[to.length] = '\0';
    return true;
}

static void set_driver(struct json *json, const char *driver)
{
    if (q2_text_equal(driver, "qcow2") || q2_text_equal(driver, "raw")) {
        json->format = driver[0] == 'q' ? Q2_UNSAID_QCOW2 : Q2_UNSAID_RAW;
        json->has_format = true;
    } else if (!q2_text_equal(driver, "file") && !q2_text_equal(driver, "host_device")) {
        json->unsupported = true;
    }
}

static void set_file_driver(struct json *json, const char *driver)
{
    if (!q2_text_equal(driver, "file") && !q2_text_equal(driver, "host_device"))
        json->unsupported = true;
}

static void set_nothing(struct json *json, const char *value)
{
    (void)json, (void)value;
}

/* Keys of the outer object and of "file", with the name's prefix taken off. */
static const struct {
    const char *key;
    bool in_file;
    void (*set)(struct json *json, const char *value);
} keys[] = {
    {"driver", false, set_driver},       {"driver", true, set_file_driver},
    {"read-only", false, set_nothing},   {"read-only", true, set_nothing},
    {"node-name", false, set_nothing},   {"node-name", true, set_nothing},
    {"discard", false, set_nothing},     {"discard", true, set_nothing},
    {"locking", true, set_nothing},      {"aio", true, set_nothing},
    {"force-share", false, set_nothing}, {"auto-read-only", true, set_nothing},
};

/* "true", "false", a number: a word without quotes. */
static void take_word(struct json *json, char *ret_word)
{
    struct output to = {.bytes = ret_word, .size = WORD_SIZE};

    while ((*json->at >= 'a' && *json->at <= 'z') || (*json->at >= '0' && *json->at <= '9'))
        put_byte(&to, (uint8_t)*json->at++);
    json->bad |= to.bad || to.length == 0;
    if (!json->bad)
        ret_word[to.length] = '\0';
}

static void take_value(struct json *json, const char *key, bool in_file)
{
    char word[WORD_SIZE];

    if (q2_text_equal(key, "filename")) {
        json->bad |= json->has_filename;
        json->has_filename = take_string(json, json->filename, json->filename_size);
        return;
    }
    skip_space(json);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i].in_file != in_file || !q2_text_equal(keys[i].key, key))
            continue;
        if (*json->at == '"')
            (void)take_string(json, word, sizeof(word));
        else
            take_word(json, word);
        if (!json->bad)
            keys[i].set(json, word);
        return;
    }
    json->unsupported = true;
}

static bool strip(const char **key, const char *prefix)
{
    const char *at = *key;

    for (; *prefix != '\0'; prefix++, at++) {
        if (*at != *prefix)
            return false;
    }
    *key = at;
    return true;
}

/* One member. Returns whether it opens the object "file". */
static bool take_member(struct json *json, bool in_file)
{
    char word[WORD_SIZE];
    const char *key = word;

    if (!take_string(json, word, sizeof(word)) || !take(json, ':')) {
        json->bad = true;
        return false;
    }
    if (!in_file && q2_text_equal(key, "file") && take(json, '{'))
        return true;
    if (!in_file && strip(&key, "file."))
        take_value(json, key, true);
    else
        take_value(json, key, in_file);
    return false;
}

/* The members of all objects, up to the brace that ends the first one. Where no object begins,
 * nothing is taken, and text that is left is bad. */
static void take_objects(struct json *json)
{
    unsigned depth = take(json, '{') ? 1 : 0;
    bool first = true;

    while (depth > 0 && !json->bad && !json->unsupported) {
        if (take(json, '}')) {
            depth--;
            first = false;
            continue;
        }
        if (!first && !take(json, ',')) {
            json->bad = true;
            return;
        }
        first = take_member(json, depth == MAX_DEPTH);
        depth += first;
    }
    skip_space(json);
    if (!json->unsupported)
        json->bad |= *json->at != '\0';
}

enum q2_status q2_name_json(const char *text, char *ret_filename, size_t size,
                            enum q2_unsaid_format *ret_format)
{
    struct json json = {.at = text, .filename = ret_filename, .filename_size = size};

    take_objects(&json);
    if (json.unsupported)
        return Q2_ERR_UNSUPPORTED;
    if (json.bad || !json.has_filename)
        return Q2_ERR_BAD_NAME;
    *ret_format = json.has_format ? json.format : Q2_UNSAID_REFUSED;
    return Q2_OK;
}
