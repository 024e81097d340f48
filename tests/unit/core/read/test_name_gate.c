/* core/read/name_gate.c: names from images (HAZARDS.md, F9). */
#include "core/read/name_gate.h"

#include <stdlib.h>

#include "tests/support/t.h"

struct row {
    const char *row, *name, *referrer, *want; /* want NULL: refused with status */
    enum q2_status below, any;                /* result under each policy */
};

#define OK     Q2_OK
#define BAD    Q2_ERR_BAD_NAME
#define DENIED Q2_ERR_NAME_DENIED
#define A16    "aaaaaaaaaaaaaaaa"
#define A64    A16 A16 A16 A16
#define A255   A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaaaaa"

#define U16                                                                                        \
    "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"                             \
    "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
#define U64  U16 U16 U16 U16
#define U255 U64 U64 U64 U16 U16 U16 "aaaaaaaaaaaaaaa"
#define U256 U64 U64 U64 U64

static const struct row rows[] = {
    {"plain, no folder", "base.raw", "top.qcow2", "base.raw", OK, OK},
    {"plain, in the folder", "base.raw", "img/top.qcow2", "img/base.raw", OK, OK},
    {"plain, absolute folder", "base.raw", "/img/top.qcow2", "/img/base.raw", OK, OK},
    {"plain, in the root", "base.raw", "/top.qcow2", "/base.raw", OK, OK},
    {"below", "sub/base.raw", "img/top.qcow2", "img/sub/base.raw", OK, OK},
    {"dot component", "./base.raw", "img/top.qcow2", "img/./base.raw", OK, OK},
    {"three dots are a name", "...", "a/b", "a/...", OK, OK},
    {"dot and a letter", ".x", "a/b", "a/.x", OK, OK},
    {"dots at the start", "..x", "a/b", "a/..x", OK, OK},
    {"dots at the end", "x..", "a/b", "a/x..", OK, OK},
    {"spaces", "my disk.raw", "a/b", "a/my disk.raw", OK, OK},
    {"trailing separator", "sub/", "a/b", "a/sub/", OK, OK},
    {"component of 255", A255, "a/b", "a/" A255, OK, OK},
    {"component of 255 units of 2 bytes", U255, "a/b", "a/" U255, OK, OK},
    {"component of 255 twice", A255 "/" A255, "a/b", "a/" A255 "/" A255, OK, OK},
    {"file: plain", "file:base.raw", "a/b", "a/base.raw", OK, OK},
    {"UTF-8 of 2 bytes", "\xc3\xa4.raw", "a/b", "a/\xc3\xa4.raw", OK, OK},
    {"UTF-8 of 2 bytes, first printable", "\xc2\xa0", "b", "\xc2\xa0", OK, OK},
    {"UTF-8 of 3 bytes, first", "\xe0\xa0\x80", "b", "\xe0\xa0\x80", OK, OK},
    {"UTF-8 before the surrogates", "\xed\x9f\xbf", "b", "\xed\x9f\xbf", OK, OK},
    {"UTF-8 after the surrogates", "\xee\x80\x80", "b", "\xee\x80\x80", OK, OK},
    {"UTF-8 last of the plane", "\xef\xbf\xbd", "b", "\xef\xbf\xbd", OK, OK},
    {"colon after a separator", "sub/a:b", "a/b", "a/sub/a:b", OK, OK},

    {"absolute", "/etc/passwd", "img/top", "/etc/passwd", DENIED, OK},
    {"absolute after file:", "file:/etc/passwd", "img/top", "/etc/passwd", DENIED, OK},
    {"file with empty host", "file:///etc/passwd", "img/top", "///etc/passwd", DENIED, OK},
    {"parent", "../base.raw", "img/top", "img/../base.raw", DENIED, OK},
    {"parent alone", "..", "img/top", "img/..", DENIED, OK},
    {"parent inside", "a/../b", "img/top", "img/a/../b", DENIED, OK},
    {"parent at the end", "a/..", "img/top", "img/a/..", DENIED, OK},
    {"parent after file:", "file:../x", "img/top", "img/../x", DENIED, OK},
    {"parent after empty components", "a//..//b", "img/top", "img/a//..//b", DENIED, OK},

    {"protocol nbd", "nbd:host:10809", "a/b", NULL, DENIED, DENIED},
    {"the image names something that is not a plain file", "json:{\"driver\":\"file\"}", "a/b",
     NULL, DENIED, DENIED},
    {"protocol with slashes", "https://host/x", "a/b", NULL, DENIED, DENIED},
    {"file: twice", "file:file:x", "a/b", NULL, DENIED, DENIED},
    {"file: in capitals is a protocol", "FILE:x", "a/b", NULL, DENIED, DENIED},
    {"a protocol that ends like file:", "bile:x", "a/b", NULL, DENIED, DENIED},
    {"drive", "C:/x", "a/b", NULL, DENIED, DENIED},
    {"drive-relative", "C:x", "a/b", NULL, DENIED, DENIED},
    {"UEFI mapping", "fs0:x", "a/b", NULL, DENIED, DENIED},
    {"colon first", ":x", "a/b", NULL, DENIED, DENIED},

    {"empty", "", "a/b", NULL, BAD, BAD},
    {"empty after file:", "file:", "a/b", NULL, BAD, BAD},
    {"backslash", "sub\\base.raw", "a/b", NULL, BAD, BAD},
    {"backslash parent", "..\\base.raw", "a/b", NULL, BAD, BAD},
    {"line feed", "a\nb", "a/b", NULL, BAD, BAD},
    {"escape", "\x1b[2J", "a/b", NULL, BAD, BAD},
    {"first control", "\x01", "a/b", NULL, BAD, BAD},
    {"last control", "\x1f", "a/b", NULL, BAD, BAD},
    {"delete", "a\x7f", "a/b", NULL, BAD, BAD},
    {"C1 control", "\xc2\x9b", "a/b", NULL, BAD, BAD},
    {"last C1 control", "\xc2\x9f", "a/b", NULL, BAD, BAD},
    {"overlong slash, 2 bytes", "..\xc0\xaf", "a/b", NULL, BAD, BAD},
    {"overlong slash, 3 bytes", "..\xe0\x80\xaf", "a/b", NULL, BAD, BAD},
    {"overlong, last", "\xe0\x9f\xbf", "a/b", NULL, BAD, BAD},
    {"first surrogate", "\xed\xa0\x80", "a/b", NULL, BAD, BAD},
    {"last surrogate", "\xed\xbf\xbf", "a/b", NULL, BAD, BAD},
    {"not a character", "\xef\xbf\xbe", "a/b", NULL, BAD, BAD},
    {"beyond the plane", "\xf0\x9f\x90\x84", "a/b", NULL, BAD, BAD},
    {"continuation alone", "\x80", "a/b", NULL, BAD, BAD},
    {"Latin-1", "\xe4.raw", "a/b", NULL, BAD, BAD},
    {"cut in 2 bytes", "a\xc3", "a/b", NULL, BAD, BAD},
    {"2 bytes, bad second", "\xc3x", "a/b", NULL, BAD, BAD},
    {"cut in 3 bytes, at 1", "a\xe2", "a/b", NULL, BAD, BAD},
    {"cut in 3 bytes, at 2", "a\xe2\x82", "a/b", NULL, BAD, BAD},
    {"3 bytes, bad third", "\xe2\x82x", "a/b", NULL, BAD, BAD},
    {"byte 0xff", "\xff", "a/b", NULL, BAD, BAD},
    {"component of 256", A255 "a", "a/b", NULL, BAD, BAD},
    {"component of 256 units of 2 bytes", U256, "a/b", NULL, BAD, BAD},
    {"second component of 256", "x/" A255 "a", "a/b", NULL, BAD, BAD},
    {"bad name beats the policy", "/a\nb", "a/b", NULL, BAD, BAD},
};

static void check_row(const struct row *row, enum q2_name_policy policy, enum q2_status want)
{
    char path[Q2_MAX_PATH_LENGTH + 1] = "untouched";

    T_CHECK_U64(q2_name_resolve(row->name, policy, row->referrer, path, sizeof(path)), want);
    T_CHECK_STR(path, want == Q2_OK ? row->want : "untouched");
}

static void test_name_resolve_policy_below(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        check_row(&rows[i], Q2_NAMES_BELOW, rows[i].below);
    }
}

static void test_name_resolve_policy_any(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        check_row(&rows[i], Q2_NAMES_ANY, rows[i].any);
    }
}

static void test_name_resolve_policy_none_denies_every_good_name(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        check_row(&rows[i], Q2_NAMES_NONE, rows[i].any == BAD ? BAD : DENIED);
    }
}

static void test_name_resolve_size_of_the_path(void)
{
    static const struct {
        const char *row, *name, *referrer;
        size_t needed; /* with the NUL */
    } cases[] = {
        {"folder and name", "base", "img/top", 9},
        {"no folder", "base", "top", 5},
        {"absolute", "/base", "img/top", 6},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t size = 0; size <= 12; size++) {
            char path[16] = "untouched";
            enum q2_status status =
                q2_name_resolve(cases[i].name, Q2_NAMES_ANY, cases[i].referrer, path, size);
            t_row(cases[i].row);
            T_CHECK_U64(status, size >= cases[i].needed ? Q2_OK : Q2_ERR_BAD_NAME);
            T_CHECK(status == Q2_OK || strcmp(path, "untouched") == 0);
        }
    }
}

/* The rules of POSIX: what differs from those of UEFI. */
static const struct posix_row {
    const char *row, *name, *referrer, *want;
    enum q2_status below, any;
    enum q2_unsaid_format format;
} posix_rows[] = {
    {"plain", "base", "img/top", "img/base", OK, OK, Q2_UNSAID_REFUSED},
    {"backslash", "a\\b", "img/top", "img/a\\b", OK, OK, Q2_UNSAID_REFUSED},
    {"beyond the plane", "\xf0\x9f\x90\x84", "a/b", "a/\xf0\x9f\x90\x84", OK, OK,
     Q2_UNSAID_REFUSED},
    {"not UTF-8", "\xe4\n", "a/b", "a/\xe4\n", OK, OK, Q2_UNSAID_REFUSED},
    {"absolute", "/x", "a/b", "/x", DENIED, OK, Q2_UNSAID_REFUSED},
    {"parent", "../x", "a/b", "a/../x", DENIED, OK, Q2_UNSAID_REFUSED},
    {"in the root", "base", "/top", "/base", OK, OK, Q2_UNSAID_REFUSED},
    {"file:", "file:x", "a/b", "a/x", OK, OK, Q2_UNSAID_REFUSED},
    {"file: absolute", "file:/x", "a/b", "/x", DENIED, OK, Q2_UNSAID_REFUSED},
    {"protocol", "nbd:x", "a/b", NULL, Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"empty", "", "a/b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json", "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"x\"}}", "a/b",
     "a/x", OK, OK, Q2_UNSAID_QCOW2},
    {"json, dotted", "json: { \"file.filename\" : \"x\" , \"driver\" : \"raw\" } ", "a/b", "a/x",
     OK, OK, Q2_UNSAID_RAW},
    {"json of a file", "json:{\"driver\":\"file\",\"filename\":\"/x\",\"aio\":3}", "a/b", NULL,
     Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"json, absolute", "json:{\"driver\":\"file\",\"filename\":\"/x\"}", "a/b", "/x", DENIED, OK,
     Q2_UNSAID_REFUSED},
    {"json, all white space", "json:\t{\r\n\"filename\" : \"x\"\n}\r\n", "b", "x", OK, OK,
     Q2_UNSAID_REFUSED},
    {"json of a device", "json:{\"driver\":\"host_device\",\"filename\":\"x\"}", "b", "x", OK, OK,
     Q2_UNSAID_REFUSED},
    {"json, raw on a device",
     "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"host_device\",\"filename\":\"x\"}}", "b", "x",
     OK, OK, Q2_UNSAID_RAW},
    {"json, a number that does not matter", "json:{\"read-only\":0,\"filename\":\"x\"}", "b", "x",
     OK, OK, Q2_UNSAID_REFUSED},
    {"json, a file by its name alone", "json:{\"file\":\"x\"}", "b", NULL, Q2_ERR_UNSUPPORTED,
     Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"json, a character of 3 bytes", "json:{\"filename\":\"\\ue000\"}", "b", "\xee\x80\x80", OK, OK,
     Q2_UNSAID_REFUSED},
    {"json, escapes", "json:{\"filename\":\"\\u00e4\\ud83d\\udc04\\n\\/\\\"\"}", "a/b",
     "a/\xc3\xa4\xf0\x9f\x90\x84\n/\"", OK, OK, Q2_UNSAID_REFUSED},
    {"json, each digit and escape", "json:{\"filename\":\"\\u6f6F\\u00EF\\b\\f\\r\\t\\'\\\\\"}",
     "b", "\xe6\xbd\xaf\xc3\xaf\b\f\r\t'\\", OK, OK, Q2_UNSAID_REFUSED},
    {"json, first and last of the surrogates",
     "json:{\"filename\":\"\\ud800\\udc00\\udbff\\udfff\"}", "b",
     "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", OK, OK, Q2_UNSAID_REFUSED},
    {"json, any word", "json:{\"read-only\":az09,\"filename\":\"x\"}", "b", "x", OK, OK,
     Q2_UNSAID_REFUSED},
    {"json, read-only", "json:{\"read-only\":true,\"filename\":\"x\"}", "b", "x", OK, OK,
     Q2_UNSAID_REFUSED},
    {"json, lone surrogate", "json:{\"filename\":\"\\ud83d\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, wrong second surrogate", "json:{\"filename\":\"\\ud83d\\u0041\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, second surrogate too large", "json:{\"filename\":\"\\ud83d\\ue000\"}", "b", NULL, BAD,
     BAD, Q2_UNSAID_REFUSED},
    {"json, first surrogate before another escape", "json:{\"filename\":\"\\ud83d\\n\"}", "b", NULL,
     BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, too few digits", "json:{\"filename\":\"\\u00\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, NUL", "json:{\"filename\":\"a\\u0000\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, no digits", "json:{\"filename\":\"\\u00g0\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, unknown escape", "json:{\"filename\":\"\\x\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, cut in an escape", "json:{\"filename\":\"\\", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, cut", "json:{\"filename\":\"x", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, nothing", "json:", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, no object", "json:[]", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, members of no object", "json:\"filename\":\"x\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, no comma", "json:{\"filename\":\"x\" \"driver\":\"raw\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, no colon", "json:{\"filename\" \"x\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, a key without a value", "json:{\"driver\",\"filename\":\"x\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, no key", "json:{filename:\"x\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, no quote", "json:{\"filename\":x\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, no value", "json:{\"filename\":\"x\",\"read-only\":}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, long value", "json:{\"driver\":\"" A64 "\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, value one byte too long", "json:{\"driver\":\"" A16 A16 "\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, longest value", "json:{\"driver\":\"" A16 "aaaaaaaaaaaaaaa\"}", "b", NULL,
     Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"json, long word", "json:{\"read-only\":" A64 "}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, two names", "json:{\"filename\":\"x\",\"file.filename\":\"y\"}", "b", NULL, BAD, BAD,
     Q2_UNSAID_REFUSED},
    {"json, more after it", "json:{\"filename\":\"x\"}}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, no name", "json:{\"driver\":\"raw\"}", "b", NULL, BAD, BAD, Q2_UNSAID_REFUSED},
    {"json, a driver below", "json:{\"file\":{\"driver\":\"nbd\",\"filename\":\"x\"}}", "b", NULL,
     Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"json, another driver", "json:{\"driver\":\"vmdk\",\"filename\":\"x\"}", "b", NULL,
     Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
    {"json, a part of a file", "json:{\"driver\":\"raw\",\"offset\":512,\"file.filename\":\"x\"}",
     "b", NULL, Q2_ERR_UNSUPPORTED, Q2_ERR_UNSUPPORTED, Q2_UNSAID_REFUSED},
};
#define NB_POSIX_ROWS (sizeof(posix_rows) / sizeof(posix_rows[0]))

static void check_posix(const struct posix_row *row, enum q2_name_policy policy,
                        enum q2_status want)
{
    char path[Q2_MAX_PATH_LENGTH + 1];
    enum q2_unsaid_format format;

    T_CHECK_U64(
        q2_name_resolve_posix(row->name, policy, row->referrer, path, sizeof(path), &format), want);
    if (want != Q2_OK)
        return;
    T_CHECK_STR(path, row->want);
    T_CHECK_U64(format, row->format);
}

static void test_name_resolve_posix(void)
{
    for (size_t i = 0; i < NB_POSIX_ROWS; i++) {
        t_row(posix_rows[i].row);
        check_posix(&posix_rows[i], Q2_NAMES_BELOW, posix_rows[i].below);
        check_posix(&posix_rows[i], Q2_NAMES_ANY, posix_rows[i].any);
        check_posix(&posix_rows[i], Q2_NAMES_NONE, DENIED);
    }
}

static void test_name_resolve_posix_size_of_the_path(void)
{
    static const char *const names[] = {"base", "file:base", "json:{\"filename\":\"base\"}"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (size_t size = 1; size <= 12; size++) {
            enum q2_unsaid_format format;
            char *path = malloc(size); /* so a byte too much is noticed */

            t_row(names[i]);
            T_CHECK_U64(
                q2_name_resolve_posix(names[i], Q2_NAMES_ANY, "img/top", path, size, &format),
                size >= 9 ? OK : BAD);
            T_CHECK_U64(q2_name_resolve_posix(names[i], Q2_NAMES_ANY, "top", path, size, &format),
                        size >= 5 ? OK : BAD);
            free(path);
        }
    }
}

int main(void)
{
    T_RUN(test_name_resolve_posix);
    T_RUN(test_name_resolve_posix_size_of_the_path);
    T_RUN(test_name_resolve_policy_below);
    T_RUN(test_name_resolve_policy_any);
    T_RUN(test_name_resolve_policy_none_denies_every_good_name);
    T_RUN(test_name_resolve_size_of_the_path);
    return t_done();
}
