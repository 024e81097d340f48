/* Unit tests of tools/metalcow/base/json.c. */
#include "tools/metalcow/base/json.h"

#include <stdlib.h>

#include "tests/support/t.h"

/* Names out of images can be any bytes. */
static const struct {
    const char *row, *text, *json;
} texts[] = {
    {"empty", "", "\"\""},
    {"plain", "base.qcow2", "\"base.qcow2\""},
    {"quote and backslash", "a\"b\\c", "\"a\\\"b\\\\c\""},
    {"control bytes", "\n\x1b[31m\x7f", "\"\\u000A\\u001B[31m\\u007F\""},
    {"two bytes", "\xc3\xa9", "\"\\u00E9\""},
    {"three bytes", "\xe2\x82\xac", "\"\\u20AC\""},
    {"four bytes", "\xf0\x9f\x98\x80", "\"\\uD83D\\uDE00\""},
    {"last code point", "\xf4\x8f\xbf\xbf", "\"\\uDBFF\\uDFFF\""},
    {"continuation alone", "\x80z", "\"\\uFFFDz\""},
    {"cut short", "a\xe2\x82", "\"a\\uFFFD\\uFFFD\""},
    {"cut by a letter", "\xc3z", "\"\\uFFFDz\""},
    {"too long a form", "\xc0\x80", "\"\\uFFFD\\uFFFD\""},
    {"surrogate", "\xed\xa0\x80", "\"\\uFFFD\\uFFFD\\uFFFD\""},
    {"past the last code point", "\xf4\x90\x80\x80", "\"\\uFFFD\\uFFFD\\uFFFD\\uFFFD\""},
    {"never a lead byte", "\xff", "\"\\uFFFD\""},
};

static void test_json_quote_any_bytes_become_valid_ascii_json(void)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *written = NULL;
        size_t length;
        FILE *out = open_memstream(&written, &length);

        t_row(texts[i].row);
        if (!T_CHECK(out != NULL))
            return;
        json_quote(out, texts[i].text);
        T_CHECK(fclose(out) == 0);
        T_CHECK_STR(written, texts[i].json);
        free(written);
    }
}

static void test_json_nested_values_are_separated_and_indented(void)
{
    static const char want[] = "{\n"
                               "    \"list\": [\n"
                               "        1,\n"
                               "        \"b\"\n"
                               "    ],\n"
                               "    \"empty\": [\n"
                               "    ],\n"
                               "    \"is\": true,\n"
                               "    \"n\": 18446744073709551615\n"
                               "}\n";
    char *written = NULL;
    size_t length;
    struct json json = {.out = open_memstream(&written, &length)};

    if (!T_CHECK(json.out != NULL))
        return;
    json_object(&json, NULL);
    json_list(&json, "list");
    json_number(&json, NULL, 1);
    json_text(&json, NULL, "b");
    json_end(&json);
    json_list(&json, "empty");
    json_end(&json);
    json_bool(&json, "is", true);
    json_number(&json, "n", UINT64_MAX);
    json_end(&json);
    T_CHECK(fclose(json.out) == 0);
    T_CHECK_STR(written, want);
    free(written);
}

int main(void)
{
    T_RUN(test_json_quote_any_bytes_become_valid_ascii_json);
    T_RUN(test_json_nested_values_are_separated_and_indented);
    return t_done();
}
