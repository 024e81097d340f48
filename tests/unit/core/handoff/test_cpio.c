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

/* The fields of a member in the form that the kernel unpacks ("newc"), of 8 digits each. */
enum field {
    NUMBER,
    MODE,
    OWNER,
    GROUP,
    NB_LINKS,
    TIME,
    LENGTH,
    NAME_SIZE = 11,
    CHECKSUM,
};

static size_t field(const uint8_t *member, size_t index)
{
    char digits[9] = "";

    memcpy(digits, member + 6 + 8 * index, 8);
    return strtoul(digits, NULL, 16);
}

/* Whatever member it is: root's, of one link, of no time and no device. */
static void check_common(const uint8_t *member)
{
    T_CHECK(memcmp(member, "070701", 6) == 0);
    T_CHECK_U64(field(member, OWNER), 0);
    T_CHECK_U64(field(member, GROUP), 0);
    T_CHECK_U64(field(member, NB_LINKS), 1);
    T_CHECK_U64(field(member, NAME_SIZE), strlen((const char *)member + 110) + 1);
    for (size_t i = TIME; i <= CHECKSUM; i++)
        T_CHECK(field(member, i) == 0 || i == LENGTH || i == NAME_SIZE);
}

/* Go from member to member by what their fields say. */
static void test_cpio_members_lead_to_the_end(void)
{
    static const struct q2_handoff_cpio parts = {"program", 7, "record", 6};
    size_t size = q2_handoff_cpio_size(7, 6), at = 0, nb = 0, nb_parts = 0;
    uint8_t *buffer = malloc(size);
    const char *name = "";

    T_CHECK_U64(q2_handoff_cpio_make(&parts, buffer, size), Q2_OK);
    while (at + 110 < size && strcmp(name, "TRAILER!!!") != 0) {
        const uint8_t *member = buffer + at;

        name = (const char *)member + 110;
        t_row(name);
        check_common(member);
        at = (at + 110 + field(member, NAME_SIZE) + 3) & ~(size_t)3;
        if (strcmp(name, Q2_HANDOFF_PROGRAM_PATH) == 0) {
            T_CHECK_U64(field(member, MODE), 0100755);
            T_CHECK(field(member, LENGTH) == 7 && memcmp(buffer + at, "program", 7) == 0);
            nb_parts++;
        }
        if (strcmp(name, Q2_HANDOFF_RECORD_PATH) == 0) {
            T_CHECK_U64(field(member, MODE), 0100644);
            T_CHECK(field(member, LENGTH) == 6 && memcmp(buffer + at, "record", 6) == 0);
            nb_parts++;
        }
        T_CHECK(field(member, NUMBER) == ++nb || strcmp(name, "TRAILER!!!") == 0);
        at = (at + field(member, LENGTH) + 3) & ~(size_t)3;
    }
    T_CHECK_STR(name, "TRAILER!!!");
    T_CHECK(size - at < 512);
    T_CHECK_U64(nb_parts, 2);
    free(buffer);
}

static void test_cpio_too_long_parts_are_refused(void)
{
    T_CHECK_U64(q2_handoff_cpio_size(Q2_HANDOFF_MAX_CPIO_PARTS, 1), 0);
    T_CHECK_U64(q2_handoff_cpio_size(SIZE_MAX, 0), 0);
    T_CHECK_U64(q2_handoff_cpio_size(1, SIZE_MAX), 0);
    T_CHECK(q2_handoff_cpio_size(Q2_HANDOFF_MAX_CPIO_PARTS, 0) > Q2_HANDOFF_MAX_CPIO_PARTS);
    T_CHECK(q2_handoff_cpio_size(Q2_HANDOFF_MAX_CPIO_PARTS - 1, 1) > Q2_HANDOFF_MAX_CPIO_PARTS);
}

int main(void)
{
    T_RUN(test_cpio_size_is_what_is_written);
    T_RUN(test_cpio_members_lead_to_the_end);
    T_RUN(test_cpio_too_long_parts_are_refused);
    return t_done();
}
