/* core/base/status.c: texts of statuses and faults. */
#include "q2_fail.h"
#include "q2_status.h"
#include "tests/support/t.h"

static bool printable(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s < 0x20 || *s > 0x7e)
            return false;
    }
    return true;
}

static void test_status_rows_are_complete_and_distinct(void)
{
    for (unsigned i = 0; i < Q2_NB_STATUS; i++) {
        const char *name = q2_status_name((enum q2_status)i);
        const char *text = q2_status_text((enum q2_status)i);
        t_row(name);
        T_CHECK(strncmp(name, i == 0 ? "Q2_OK" : "Q2_ERR_", i == 0 ? 6 : 7) == 0);
        T_CHECK(text[0] != '\0' && text[strlen(text) - 1] != '.');
        T_CHECK(printable(text) && printable(q2_status_advice((enum q2_status)i)));
        for (unsigned j = 0; j < i; j++) {
            T_CHECK(strcmp(name, q2_status_name((enum q2_status)j)) != 0);
            T_CHECK(strcmp(text, q2_status_text((enum q2_status)j)) != 0);
        }
    }
}

static void test_status_out_of_range_is_unknown(void)
{
    T_CHECK_STR(q2_status_name(Q2_NB_STATUS), "Q2_ERR_?");
    T_CHECK_STR(q2_status_text((enum q2_status)9999), "unknown error");
    T_CHECK_STR(q2_status_advice((enum q2_status) - 1), "");
}

static void check_format(const struct q2_fault *fault, const char *want)
{
    char text[512];
    size_t length = q2_fault_format(fault, text, sizeof(text));

    T_CHECK_STR(text, want);
    T_CHECK_U64(length, strlen(want));
}

static void test_fault_format_parts(void)
{
    struct q2_fault fault;

    t_row("status only");
    T_CHECK(q2_fail(&fault, Q2_ERR_IO, NULL, NULL) == Q2_ERR_IO);
    check_format(&fault, "the file cannot be read or written");
    t_row("file, what, advice");
    T_CHECK(q2_fail(&fault, Q2_ERR_NO_SPACE, "full", "a.raw") == Q2_ERR_NO_SPACE);
    check_format(&fault, "a.raw: full; free some space");
    t_row("offset");
    T_CHECK(q2_fail_at(&fault, Q2_ERR_IO, NULL, "a", 0x50018) == Q2_ERR_IO);
    check_format(&fault, "a: the file cannot be read or written, at offset 0x50018");
    t_row("field and small value");
    T_CHECK(q2_fail_value(&fault, Q2_ERR_IO, "w", "a", "version", 65535) == Q2_ERR_IO);
    check_format(&fault, "a: w (version is 65535)");
    t_row("large value and limit");
    T_CHECK(q2_fail_limit(&fault, Q2_ERR_IO, "w", "a", "size", 65536, UINT64_MAX) == Q2_ERR_IO);
    check_format(&fault, "a: w (size is 0x10000, limit 0xffffffffffffffff)");
    t_row("value 0 and limit 0");
    T_CHECK(q2_fail_limit(&fault, Q2_ERR_IO, "w", "a", "size", 0, 0) == Q2_ERR_IO);
    check_format(&fault, "a: w (size is 0, limit 0)");
    t_row("field alone");
    T_CHECK(q2_fail(&fault, Q2_ERR_IO, "w", "a") == Q2_ERR_IO);
    fault.field = "size";
    check_format(&fault, "a: w (size)");
    t_row("everything");
    T_CHECK(q2_fail_limit(&fault, Q2_ERR_FEATURE, NULL, "a", "bit", 7, 5) == Q2_ERR_FEATURE);
    q2_fault_add_detail(&fault, "turbo", 5);
    fault.has_offset = true;
    fault.offset = 1;
    check_format(&fault, "a: the image has an incompatible feature that is not supported: 'turbo' "
                         "(bit is 7, limit 5), at offset 0x1; convert the image without it");
}

/* HAZARDS.md, F11: no image sends control sequences to a console. */
static void test_fault_format_hostile_text_is_escaped(void)
{
    struct q2_fault fault;

    (void)q2_fail(&fault, Q2_ERR_IO, "w", "\x1b[2J\n\\\x7f\xc3\xbc ~");
    q2_fault_add_detail(&fault, "\r\x9b\x01", 3);
    check_format(&fault, "\\x1b[2J\\x0a\\x5c\\x7f\xc3\xbc ~: w: '\\x0d\\x9b\\x01'");
    for (int c = 1; c < 256; c++) {
        char path[2] = {(char)c, '\0'}, text[64];
        (void)q2_fail(&fault, Q2_ERR_IO, "w", path);
        (void)q2_fault_format(&fault, text, sizeof(text));
        T_CHECK(printable(text));
    }
}

static void test_fault_format_small_buffer_is_cut_and_terminated(void)
{
    struct q2_fault fault;
    char whole[256], text[256];
    size_t length;

    (void)q2_fail_limit(&fault, Q2_ERR_NO_SPACE, "what", "file", "field", 1, 2);
    length = q2_fault_format(&fault, whole, sizeof(whole));
    for (size_t size = 1; size <= length + 2; size++) {
        memset(text, 'x', sizeof(text));
        T_CHECK_U64(q2_fault_format(&fault, text, size), length);
        T_CHECK_U64(strlen(text), size <= length ? size - 1 : length);
        T_CHECK(strncmp(text, whole, strlen(text)) == 0);
        T_CHECK(text[size] == 'x');
    }
}

static void test_fail_long_path_is_cut(void)
{
    struct q2_fault fault;
    char path[1024];

    memset(path, 'p', sizeof(path));
    path[1023] = '\0';
    (void)q2_fail(&fault, Q2_ERR_IO, NULL, path);
    T_CHECK_U64(strlen(fault.file), Q2_FAULT_FILE_SIZE - 1);
}

static void test_fail_forgets_the_fault_before(void)
{
    struct q2_fault fault;

    (void)q2_fail_limit(&fault, Q2_ERR_LIMIT, "old", "old", "old", 1, 2);
    q2_fault_add_detail(&fault, "old", 3);
    fault.has_offset = true;
    (void)q2_fail(&fault, Q2_ERR_IO, NULL, NULL);
    T_CHECK(!fault.has_value && !fault.has_limit && !fault.has_offset && !fault.field);
    T_CHECK(fault.what == NULL && fault.file[0] == '\0' && fault.detail[0] == '\0');
}

static void test_fault_add_detail_long_is_cut(void)
{
    struct q2_fault fault;
    char bytes[200];

    memset(bytes, 'd', sizeof(bytes));
    (void)q2_fail(&fault, Q2_ERR_IO, NULL, NULL);
    q2_fault_add_detail(&fault, bytes, sizeof(bytes));
    T_CHECK_U64(strlen(fault.detail), Q2_FAULT_DETAIL_SIZE - 1);
}

static void test_fail_memory_says_so(void)
{
    struct q2_fault fault;
    char text[100];

    T_CHECK_U64(q2_fail_memory(&fault), Q2_ERR_LIMIT);
    T_CHECK_U64(fault.status, Q2_ERR_LIMIT);
    (void)q2_fault_format(&fault, text, sizeof(text));
    T_CHECK(strncmp(text, "out of memory", 13) == 0);
}

/* What a text advises after a semicolon takes the place of the status's advice. */
static void test_fault_format_advice_of_the_text_wins(void)
{
    struct q2_fault fault;
    char text[200];

    (void)q2_fail(&fault, Q2_ERR_BAD_HEADER, "no key; give one", NULL);
    (void)q2_fault_format(&fault, text, sizeof(text));
    T_CHECK_STR(text, "no key; give one");
    (void)q2_fail(&fault, Q2_ERR_BAD_HEADER, "no key", NULL);
    (void)q2_fault_format(&fault, text, sizeof(text));
    T_CHECK(q2_status_advice(Q2_ERR_BAD_HEADER)[0] != '\0');
    T_CHECK(strncmp(text, "no key; ", 8) == 0 &&
            strcmp(text + 8, q2_status_advice(Q2_ERR_BAD_HEADER)) == 0);
}

int main(void)
{
    T_RUN(test_status_rows_are_complete_and_distinct);
    T_RUN(test_status_out_of_range_is_unknown);
    T_RUN(test_fault_format_parts);
    T_RUN(test_fault_format_hostile_text_is_escaped);
    T_RUN(test_fault_format_small_buffer_is_cut_and_terminated);
    T_RUN(test_fail_long_path_is_cut);
    T_RUN(test_fail_forgets_the_fault_before);
    T_RUN(test_fault_add_detail_long_is_cut);
    T_RUN(test_fail_memory_says_so);
    T_RUN(test_fault_format_advice_of_the_text_wins);
    return t_done();
}
