/* core/base/line.c: text under construction. */
#include "q2_line.h"

#include "tests/support/t.h"

static void test_line_put_cut_counts_the_whole(void)
{
    char buffer[5];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    q2_line_put(&text, "abc");
    T_CHECK_STR(buffer, "abc");
    q2_line_put_number(&text, 1234, 10);
    T_CHECK_STR(buffer, "abc1");
    T_CHECK_U64(text.length, 7);
    text = q2_line_start(buffer, 1);
    q2_line_put(&text, "x");
    T_CHECK_STR(buffer, "");
}

static void test_line_put_numbers(void)
{
    char buffer[80];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    q2_line_put_number(&text, 0, 10);
    q2_line_put(&text, " ");
    q2_line_put_number(&text, UINT64_MAX, 10);
    q2_line_put(&text, " ");
    q2_line_put_number(&text, 0xfe50018, 16);
    T_CHECK_STR(buffer, "0 18446744073709551615 fe50018");
}

static void test_line_put_escaped_nothing_unprintable_comes_out(void)
{
    char buffer[40];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    q2_line_put_escaped(&text, "a\x1b[2J\\\n\xc2\x9b\xff~");
    T_CHECK_STR(buffer, "a\\x1b[2J\\x5c\\x0a\\xc2\\x9b\\xff~");
}

/* Letters of any language stay; what is no UTF-8 or turns the line's direction does not. */
static void test_line_put_escaped_keeps_letters(void)
{
    char buffer[60];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    q2_line_put_escaped(&text, "B\xc3\xa4r \xe2\x82\xac \xe2\x80\xae \xc3");
    T_CHECK_STR(buffer, "B\xc3\xa4r \xe2\x82\xac \\xe2\\x80\\xae \\xc3");
}

int main(void)
{
    T_RUN(test_line_put_cut_counts_the_whole);
    T_RUN(test_line_put_numbers);
    T_RUN(test_line_put_escaped_nothing_unprintable_comes_out);
    T_RUN(test_line_put_escaped_keeps_letters);
    return t_done();
}
