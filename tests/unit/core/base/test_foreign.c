/* core/base/foreign.c: which row the first bytes of a file fit. */
#include "q2_foreign.h"

#include <stdlib.h>

#include "tests/support/t.h"

#define ROW(offset, bytes, length, name) {offset, bytes, length, name},

static const struct {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *name;
} rows[] = {Q2_FOREIGN_FORMATS(ROW)};

/* Every row is found in a file that ends with its bytes, and not in one that is a byte shorter; the
 * sanitizer sees a look past the end. */
static void test_foreign_find_each_row(void)
{
    for (size_t i = 0; i < Q2_NB_FOREIGN; i++) {
        size_t end = rows[i].offset + rows[i].length;
        uint8_t *whole = calloc(1, end), *cut = calloc(1, end - 1);

        t_row(rows[i].name);
        memcpy(whole + rows[i].offset, rows[i].bytes, rows[i].length);
        memcpy(cut, whole, end - 1);
        T_CHECK(end <= Q2_FOREIGN_SIZE);
        T_CHECK_U64(q2_foreign_find(whole, end), i);
        T_CHECK_U64(q2_foreign_find(cut, end - 1), Q2_NB_FOREIGN);
        whole[end - 1] ^= 1;
        T_CHECK_U64(q2_foreign_find(whole, end), Q2_NB_FOREIGN);
        free(whole);
        free(cut);
    }
}

/* qcow2 itself, a raw disk, nothing at all. */
static void test_foreign_find_of_what_is_read(void)
{
    static const uint8_t qcow2[Q2_FOREIGN_SIZE] = "QFI\xfb\0\0\0\3", raw[Q2_FOREIGN_SIZE];

    T_CHECK_U64(q2_foreign_find(qcow2, sizeof(qcow2)), Q2_NB_FOREIGN);
    T_CHECK_U64(q2_foreign_find(raw, sizeof(raw)), Q2_NB_FOREIGN);
    T_CHECK_U64(q2_foreign_find(raw, 0), Q2_NB_FOREIGN);
}

int main(void)
{
    T_RUN(test_foreign_find_each_row);
    T_RUN(test_foreign_find_of_what_is_read);
    return t_done();
}
