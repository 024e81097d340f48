/* A JSON writer: values in the order they are written, indented as qemu-img indents. */
#ifndef METALCOW_JSON_H
#define METALCOW_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 8u

/* Zero but for out before the first value. key is NULL for the outermost value and in lists. */
struct json {
    FILE *out;
    unsigned depth;
    bool has_values[JSON_MAX_DEPTH + 1];
    char closers[JSON_MAX_DEPTH + 1];
};

void json_object(struct json *json, const char *key);
void json_list(struct json *json, const char *key);
/* End the innermost object or list; a line feed follows the outermost. */
void json_end(struct json *json);
/* text: any bytes; what is not UTF-8 becomes U+FFFD, what is not ASCII is escaped. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);

/* Write text as a JSON string with its quotes. */
void json_quote(FILE *out, const char *text);

#endif
