/* efi/config/passphrase.c: a file's first line, and a passphrase that is typed. */
#include "efi/config/passphrase.h"
#include "tests/support/t.h"

static struct mc_passphrase passphrase;

static void set(const char *bytes, size_t length)
{
    memset(&passphrase, 0xa5, sizeof(passphrase));
    memcpy(passphrase.bytes, bytes, length);
    passphrase.length = length;
}

static void check_is(const char *bytes, size_t length)
{
    if (T_CHECK_U64(passphrase.length, length))
        T_CHECK(memcmp(passphrase.bytes, bytes, length) == 0);
}

#define TEXT(s) s, sizeof(s) - 1

static void test_take_line_takes_the_first_line_as_it_is(void)
{
    static const struct {
        const char *name, *file;
        size_t file_length;
        const char *line;
        size_t line_length;
    } rows[] = {
        {"no line end", TEXT("secret"), TEXT("secret")},
        {"LF", TEXT("secret\n"), TEXT("secret")},
        {"CRLF", TEXT("secret\r\n"), TEXT("secret")},
        {"more lines", TEXT("secret\nother\n"), TEXT("secret")},
        {"blanks belong to it", TEXT(" a b \t\n"), TEXT(" a b \t")},
        {"CR without LF belongs to it", TEXT("secret\r"), TEXT("secret\r")},
        {"CR inside", TEXT("a\rb\n"), TEXT("a\rb")},
        {"two CR", TEXT("a\r\r\n"), TEXT("a\r")},
        {"NUL inside", TEXT("a\0b\n"), TEXT("a\0b")},
        {"byte order mark", TEXT("\xef\xbb\xbfsecret\r\n"), TEXT("secret")},
        {"half a byte order mark", TEXT("\xef\xbb\n"), TEXT("\xef\xbb")},
        {"empty file", TEXT(""), TEXT("")},
        {"empty line", TEXT("\nother"), TEXT("")},
        {"empty line, CRLF", TEXT("\r\nother"), TEXT("")},
        {"mark alone", TEXT("\xef\xbb\xbf"), TEXT("")},
        {"mark and CRLF", TEXT("\xef\xbb\xbf\r\n"), TEXT("")},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        set(rows[i].file, rows[i].file_length);
        T_CHECK(mc_passphrase_take_line(&passphrase));
        check_is(rows[i].line, rows[i].line_length);
    }
}

/* As many bytes as room for a file, of which a line has so many. */
static bool take_line_of(size_t line_length, size_t file_length)
{
    memset(&passphrase, 'x', sizeof(passphrase));
    passphrase.length = file_length;
    if (line_length < file_length)
        passphrase.bytes[line_length] = '\n';
    return mc_passphrase_take_line(&passphrase);
}

static void test_take_line_over_the_limit_is_refused(void)
{
    size_t room = sizeof(passphrase.bytes);

    T_CHECK(take_line_of(Q2_MAX_PASSPHRASE_LENGTH, room));
    T_CHECK_U64(passphrase.length, Q2_MAX_PASSPHRASE_LENGTH);
    T_CHECK(take_line_of(Q2_MAX_PASSPHRASE_LENGTH, Q2_MAX_PASSPHRASE_LENGTH));
    T_CHECK(!take_line_of(Q2_MAX_PASSPHRASE_LENGTH + 1, room));
    T_CHECK(!take_line_of(room, room));
}

/* The longest line with everything around it that is taken off still fits the room. */
static void test_take_line_longest_with_mark_and_crlf_fits(void)
{
    size_t length = Q2_MAX_PASSPHRASE_LENGTH + MC_PASSPHRASE_DECORATION;

    memset(&passphrase, 'x', sizeof(passphrase));
    memcpy(passphrase.bytes, "\xef\xbb\xbf", 3);
    memcpy(passphrase.bytes + length - 2, "\r\n", 2);
    passphrase.length = length;
    T_CHECK(mc_passphrase_take_line(&passphrase));
    T_CHECK_U64(passphrase.length, Q2_MAX_PASSPHRASE_LENGTH);
}

static void type_unit(uint16_t unit, const char *echo)
{
    const char *got = NULL;

    T_CHECK_U64(mc_passphrase_type(&passphrase, 0, unit, &got), MC_TYPING_GOES_ON);
    T_CHECK_STR(got, echo);
}

static void test_type_characters_become_utf8(void)
{
    static const uint16_t units[] = {'a', ' ', '~', 0xa0, 0xfc, 0x7ff, 0x800, 0x20ac, 0xffff};

    set("", 0);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        type_unit(units[i], "*");
    check_is(TEXT("a ~\xc2\xa0\xc3\xbc\xdf\xbf\xe0\xa0\x80\xe2\x82\xac\xef\xbf\xbf"));
}

static void test_type_what_is_no_character_does_nothing(void)
{
    static const uint16_t units[] = {0, 1, '\t', '\n', 0x1f, 0x7f, 0x80, 0x9f, 0xd800, 0xdfff};
    const char *echo = NULL;

    set("ab", 2);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        type_unit(units[i], "");
    /* Cursor up */
    T_CHECK_U64(mc_passphrase_type(&passphrase, 1, 0, &echo), MC_TYPING_GOES_ON);
    T_CHECK_STR(echo, "");
    check_is("ab", 2);
}

/* Nothing of a character that was taken off stays in memory. */
static void backspace(size_t left, size_t taken)
{
    type_unit(0x08, "\b \b");
    T_CHECK_U64(passphrase.length, left);
    for (size_t i = left; i < left + taken; i++)
        T_CHECK_U64(passphrase.bytes[i], 0);
}

static void test_type_backspace_takes_a_whole_character_off(void)
{
    set("", 0);
    type_unit('a', "*");
    type_unit(0xfc, "*");
    type_unit(0x20ac, "*");
    backspace(3, 3);
    check_is(TEXT("a\xc3\xbc"));
    backspace(1, 2);
    check_is(TEXT("a"));
    backspace(0, 1);
    type_unit(0x08, "");
    check_is("", 0);
}

static void test_type_over_the_limit_is_not_taken(void)
{
    memset(&passphrase, 'x', sizeof(passphrase));
    passphrase.length = Q2_MAX_PASSPHRASE_LENGTH - 2;
    type_unit(0x20ac, "");
    type_unit('a', "*");
    type_unit(0xfc, "");
    type_unit('b', "*");
    type_unit('c', "");
    T_CHECK_U64(passphrase.length, Q2_MAX_PASSPHRASE_LENGTH);
    T_CHECK(memcmp(passphrase.bytes + Q2_MAX_PASSPHRASE_LENGTH - 2, "ab", 2) == 0);
}

static void test_type_enter_and_escape_end_it(void)
{
    const char *echo = NULL;

    set("ab", 2);
    T_CHECK_U64(mc_passphrase_type(&passphrase, 0, 0x0d, &echo), MC_TYPING_DONE);
    T_CHECK_STR(echo, "");
    T_CHECK_U64(mc_passphrase_type(&passphrase, 0x17, 0, &echo), MC_TYPING_GIVEN_UP);
    T_CHECK_STR(echo, "");
    check_is("ab", 2);
}

static void test_wipe_leaves_nothing(void)
{
    static const struct mc_passphrase zeros;

    set("secret", 6);
    mc_passphrase_wipe(&passphrase);
    T_CHECK(memcmp(&passphrase, &zeros, sizeof(zeros)) == 0);
}

int main(void)
{
    T_RUN(test_take_line_takes_the_first_line_as_it_is);
    T_RUN(test_take_line_over_the_limit_is_refused);
    T_RUN(test_take_line_longest_with_mark_and_crlf_fits);
    T_RUN(test_type_characters_become_utf8);
    T_RUN(test_type_what_is_no_character_does_nothing);
    T_RUN(test_type_backspace_takes_a_whole_character_off);
    T_RUN(test_type_over_the_limit_is_not_taken);
    T_RUN(test_type_enter_and_escape_end_it);
    T_RUN(test_wipe_leaves_nothing);
    return t_done();
}
