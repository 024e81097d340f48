/* The smallest test harness that serves: one line per case, a total at the end.
 *
 *   static void test_range_fits_length_past_limit_is_refused(void) { T_CHECK(!range_fits(...)); }
 *   int main(void) { T_RUN(test_range_fits_length_past_limit_is_refused); return t_done(); }
 *
 * A case fails when any T_CHECK in it fails; the first failure is printed with file, line and the
 * row set by t_row(), and the case goes on so that a table reports every bad row. With T_STOP in
 * the environment a program ends after the first case that fails, and its exit status is 1.
 */
#ifndef METALCOW_TESTS_T_H
#define METALCOW_TESTS_T_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weak: all files of a program have them together, so a check in tests/support/ counts as well. */
__attribute__((weak)) unsigned t_passed, t_failed, t_case_failures;
__attribute__((weak)) const char *t_row_name = "";

/* Name the table row that the next checks belong to; "" for none. */
static inline void t_row(const char *name)
{
    t_row_name = name;
}

static inline bool t_check(bool ok, const char *file, int line, const char *text)
{
    if (!ok) {
        t_case_failures++;
        printf("# %s:%d: [%s] %s\n", file, line, t_row_name, text);
    }
    return ok;
}

static inline bool t_check_u64(uint64_t got, uint64_t want, const char *file, int line,
                               const char *text)
{
    if (got != want) {
        t_case_failures++;
        printf("# %s:%d: [%s] %s: got %" PRIu64 " (0x%" PRIx64 "), want %" PRIu64 " (0x%" PRIx64
               ")\n",
               file, line, t_row_name, text, got, got, want, want);
    }
    return got == want;
}

static inline bool t_check_str(const char *got, const char *want, const char *file, int line,
                               const char *text)
{
    bool ok = strcmp(got, want) == 0;
    if (!ok) {
        t_case_failures++;
        printf("# %s:%d: [%s] %s:\n#   got  \"%s\"\n#   want \"%s\"\n", file, line, t_row_name,
               text, got, want);
    }
    return ok;
}

static inline void t_case_end(const char *name)
{
    if (t_case_failures == 0) {
        t_passed++;
        printf("ok - %s\n", name);
    } else {
        t_failed++;
        printf("not ok - %s: %u check(s) failed\n", name, t_case_failures);
    }
    t_case_failures = 0;
    t_row_name = "";
    (void)fflush(stdout);
    if (t_failed != 0 && getenv("T_STOP") != NULL) {
        exit(1);
    }
}

static inline int t_done(void)
{
    printf("%u passed, %u failed\n", t_passed, t_failed);
    return t_failed == 0 && t_passed > 0 ? 0 : 1;
}

#define T_CHECK(expr) t_check((expr), __FILE__, __LINE__, #expr)
#define T_CHECK_U64(got, want)                                                                     \
    t_check_u64((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__, #got)
#define T_CHECK_STR(got, want) t_check_str((got), (want), __FILE__, __LINE__, #got)
#define T_RUN(test)                                                                                \
    do {                                                                                           \
        test();                                                                                    \
        t_case_end(#test);                                                                         \
    } while (0)

#endif
