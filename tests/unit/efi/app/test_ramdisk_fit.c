/* efi/app/ramdisk_fit.c: which disk fits into which memory, and the sentence about it. */
#include "efi/app/ramdisk_fit.h"

#include "tests/support/t.h"

#define MIB (1ull << 20)

static void test_ramdisk_fit_needs_one_piece_and_leaves_some(void)
{
    static const struct {
        const char *name;
        uint64_t total, largest, size;
        bool fits;
    } rows[] = {
        {"nothing free", 0, 0, MIB, false},
        {"just enough", 356 * MIB, 356 * MIB, 100 * MIB, true},
        {"one byte more", 356 * MIB, 356 * MIB, 100 * MIB + 1, false},
        {"all but what is left is taken", 356 * MIB, 100 * MIB, 100 * MIB, true},
        {"no piece is large enough", 4096 * MIB, 99 * MIB, 100 * MIB, false},
        {"larger than all memory", 4096 * MIB, 2048 * MIB, 65536 * MIB, false},
        {"the largest size there is", 4096 * MIB, 2048 * MIB, UINT64_MAX, false},
        {"a map that wrapped", UINT64_MAX, UINT64_MAX, UINT64_MAX, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mc_ramdisk_memory memory = {rows[i].total, rows[i].largest};
        t_row(rows[i].name);
        T_CHECK_U64(mc_ramdisk_fits(&memory, rows[i].size), rows[i].fits);
    }
}

static void test_ramdisk_count_adds_pieces_and_does_not_wrap(void)
{
    struct mc_ramdisk_memory memory = {.total = 0};

    mc_ramdisk_count(&memory, 3);
    mc_ramdisk_count(&memory, 7);
    mc_ramdisk_count(&memory, 0);
    mc_ramdisk_count(&memory, 5);
    T_CHECK_U64(memory.total, 15 * 4096);
    T_CHECK_U64(memory.largest, 7 * 4096);
    mc_ramdisk_count(&memory, UINT64_MAX / 4096);
    T_CHECK_U64(memory.total, UINT64_MAX);
    T_CHECK_U64(memory.largest, UINT64_MAX / 4096 * 4096);
    mc_ramdisk_count(&memory, UINT64_MAX);
    T_CHECK_U64(memory.total, UINT64_MAX);
    T_CHECK_U64(memory.largest, UINT64_MAX);
}

static void test_ramdisk_put_has_both_numbers(void)
{
    struct mc_ramdisk_memory memory = {1024 * MIB, 512 * MIB};
    char line[320];
    struct q2_line text = q2_line_start(line, sizeof(line));

    mc_ramdisk_put(&text, &memory, 88 * MIB);
    T_CHECK_STR(line, "a RAM disk of 88 MiB fits into the 1 GiB of memory that are free");
    text = q2_line_start(line, sizeof(line));
    mc_ramdisk_put(&text, &memory, 600 * MIB);
    T_CHECK_STR(line, "a RAM disk of 600 MiB does not fit into the 1 GiB of memory that are free "
                      "(largest piece 512 MiB), of which 256 MiB are kept for the system; use "
                      "'mode overlay' with 'handoff auto', or a machine with more memory");
}

int main(void)
{
    T_RUN(test_ramdisk_fit_needs_one_piece_and_leaves_some);
    T_RUN(test_ramdisk_count_adds_pieces_and_does_not_wrap);
    T_RUN(test_ramdisk_put_has_both_numbers);
    return t_done();
}
