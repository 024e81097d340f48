/* core/handoff/cpio.c: what is counted is what is written; the archive is unpacked by cpio in
 * tests/guests/test_cpio.py.
 */
#include "q2_handoff_cpio.h"

#include <stdint.h>
#include <stdlib.h>

#include "tests/support/t.h"

static void test_cpio_size_is_what_is_written(void)
{
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 511, 512, 513, 70001};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t size = q2_handoff_cpio_size(lengths[i], 3 * lengths[i]);
        uint8_t *program = calloc(1, lengths[i] + 1), *record = calloc(3, lengths[i] + 1);
        uint8_t *buffer = malloc(size); /* exactly: the sanitizer sees a byte after it */
        struct q2_handoff_cpio parts = {program, lengths[i], record, 3 * lengths[i]};

        memset(program, 'P', lengths[i]);
        memset(buffer, 0xee, size);
        T_CHECK_U64(size % 512, 0);
        T_CHECK_U64(q2_handoff_cpio_make(&parts, buffer, size), Q2_OK);
        T_CHECK(memcmp(buffer, "070701", 6) == 0);
        T_CHECK(buffer[size - 1] == 0);
        T_CHECK_U64(q2_handoff_cpio_make(&parts, buffer, size - 1), Q2_ERR_LIMIT);
        free(buffer);
        free(program);
        free(record);
    }
}

static void test_cpio_too_long_parts_are_refused(void)
{
    T_CHECK_U64(q2_handoff_cpio_size(Q2_HANDOFF_MAX_CPIO_PARTS, 1), 0);
    T_CHECK_U64(q2_handoff_cpio_size(SIZE_MAX, 0), 0);
    T_CHECK_U64(q2_handoff_cpio_size(1, SIZE_MAX), 0);
    T_CHECK(q2_handoff_cpio_size(Q2_HANDOFF_MAX_CPIO_PARTS - 1, 1) > Q2_HANDOFF_MAX_CPIO_PARTS);
}

int main(void)
{
    T_RUN(test_cpio_size_is_what_is_written);
    T_RUN(test_cpio_too_long_parts_are_refused);
    return t_done();
}
