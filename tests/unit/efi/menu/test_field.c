/* efi/menu/field.c: a line that is typed. */
#include "efi/menu/field.h"

#include "tests/support/t.h"

static struct mc_field field;

static bool scan(uint16_t scan_code)
{
    return mc_field_key(&field, (struct mc_key){.scan_code = scan_code});
}

static bool type(uint16_t unit)
{
    return mc_field_key(&field, (struct mc_key){.unit = unit});
}

static void check(const char *text, size_t cursor)
{
    T_CHECK_STR(field.text, text);
    T_CHECK_U64(field.length, strlen(text));
    T_CHECK_U64(field.cursor, cursor);
}

static void test_field_key_types_at_the_cursor(void)
{
    T_CHECK(mc_field_set(&field, "ac"));
    T_CHECK(scan(MC_SCAN_LEFT));
    T_CHECK(type('b'));
    check("abc", 2);
    T_CHECK(scan(MC_SCAN_HOME));
    T_CHECK(type(0xe4));   /* two bytes */
    T_CHECK(type(0x20ac)); /* three */
    check("\xc3\xa4\xe2\x82\xac"
          "abc",
          5);
    T_CHECK(scan(MC_SCAN_END));
    check("\xc3\xa4\xe2\x82\xac"
          "abc",
          8);
}

static void test_field_key_moves_over_whole_characters(void)
{
    T_CHECK(mc_field_set(&field, "\xc3\xa4\xe2\x82\xac"));
    check("\xc3\xa4\xe2\x82\xac", 5);
    T_CHECK(scan(MC_SCAN_LEFT));
    T_CHECK_U64(field.cursor, 2);
    T_CHECK(scan(MC_SCAN_LEFT));
    T_CHECK_U64(field.cursor, 0);
    T_CHECK(!scan(MC_SCAN_LEFT));
    T_CHECK(scan(MC_SCAN_RIGHT));
    T_CHECK_U64(field.cursor, 2);
    T_CHECK(scan(MC_SCAN_RIGHT));
    T_CHECK(!scan(MC_SCAN_RIGHT));
    T_CHECK_U64(field.cursor, 5);
}

static void test_field_key_takes_characters_off(void)
{
    T_CHECK(mc_field_set(&field, "a\xc3\xa4z"));
    T_CHECK(scan(MC_SCAN_LEFT));
    T_CHECK(type(MC_UNIT_BACKSPACE));
    check("az", 1);
    T_CHECK(scan(MC_SCAN_DELETE));
    check("a", 1);
    T_CHECK(scan(MC_SCAN_DELETE)); /* at the end: what a terminal sends for Backspace */
    check("", 0);
    T_CHECK(!scan(MC_SCAN_DELETE));
    T_CHECK(!type(MC_UNIT_BACKSPACE));
    check("", 0);
}

static void test_field_key_what_is_no_character_does_nothing(void)
{
    static const uint16_t units[] = {0, 1, '\t', '\n', 0x1b, 0x7f, 0x9b, 0xd800, 0xdfff};

    T_CHECK(mc_field_set(&field, "x"));
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        T_CHECK(!type(units[i]));
    T_CHECK(!scan(MC_SCAN_UP));
    T_CHECK(!scan(MC_SCAN_ESCAPE));
    check("x", 1);
}

static void test_field_full_line_takes_no_more(void)
{
    static char text[MC_FIELD_SIZE + 1];

    memset(text, 'x', MC_FIELD_SIZE);
    T_CHECK(!mc_field_set(&field, text));
    check("", 0);
    text[MC_FIELD_SIZE - 2] = '\0';
    T_CHECK(mc_field_set(&field, text));
    T_CHECK(!type(0xe4));
    T_CHECK(type('y'));
    T_CHECK(!type('y'));
    T_CHECK_U64(field.length, MC_FIELD_SIZE - 1);
    T_CHECK(type(MC_UNIT_BACKSPACE));
    check(text, MC_FIELD_SIZE - 2);
}

static void test_field_characters_counts_no_continuation(void)
{
    T_CHECK_U64(mc_field_characters("a\xc3\xa4\xe2\x82\xac", 6), 3);
    T_CHECK_U64(mc_field_characters("a\xc3\xa4\xe2\x82\xac", 1), 1);
    T_CHECK_U64(mc_field_characters("", 0), 0);
}

int main(void)
{
    T_RUN(test_field_key_types_at_the_cursor);
    T_RUN(test_field_key_moves_over_whole_characters);
    T_RUN(test_field_key_takes_characters_off);
    T_RUN(test_field_key_what_is_no_character_does_nothing);
    T_RUN(test_field_full_line_takes_no_more);
    T_RUN(test_field_characters_counts_no_continuation);
    return t_done();
}
