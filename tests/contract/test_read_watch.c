/* When the owner of a disk is told of reads (drivers/efi/read_watch.h). */
#include "drivers/efi/read_watch.h"

#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct q2_read_watch watch;
static uint64_t at; /* where the last read ended */

/* How often the owner is told of nb reads that go on from each other. */
static unsigned int run(uint64_t nb, uint64_t length)
{
    unsigned int nb_told = 0;

    for (uint64_t i = 0; i < nb; i++) {
        nb_told += q2_read_watch_note(&watch, at, length) ? 1 : 0;
        at += length;
    }
    return nb_told;
}

static unsigned int jump(uint64_t nb, uint64_t length)
{
    unsigned int nb_told = 0;

    for (uint64_t i = 0; i < nb; i++) {
        at += 64 * MIB;
        nb_told += run(1, length);
    }
    return nb_told;
}

static void begin(void)
{
    watch = (struct q2_read_watch){.nb_bytes = 0};
    at = 7 * MIB;
}

static void test_reads_that_jump_are_told_after_each_mib(void)
{
    begin();
    T_CHECK_U64(jump(255, 4 * KIB), 0);
    T_CHECK_U64(jump(1, 4 * KIB), 1);
    T_CHECK_U64(jump(256 * 9, 4 * KIB), 9);
    T_CHECK_U64(jump(10, MIB), 10);
    T_CHECK_U64(jump(10, 5 * MIB), 10);
    T_CHECK_U64(watch.nb_bytes, 70 * MIB);
}

/* After 1 MiB, 8 MiB more, 64 MiB more, and so on. */
static void test_a_run_is_told_ever_less_often(void)
{
    begin();
    for (uint64_t step = MIB, sum = 0; step <= Q2_READ_WATCH_MOST; step *= 8) {
        sum += step;
        T_CHECK_U64(run(step / (64 * KIB) - 1, 64 * KIB), 0);
        T_CHECK_U64(run(1, 64 * KIB), 1);
        T_CHECK_U64(watch.nb_bytes, sum);
    }
    T_CHECK_U64(run(10 * Q2_READ_WATCH_MOST / MIB * 16, 64 * KIB), 10);
}

/* A loader goes on to the next file, which may be stored right after the last one. */
static void test_the_end_of_a_run_is_seen(void)
{
    begin();
    T_CHECK_U64(run(100, MIB), 3);
    T_CHECK_U64(run(1, 12 * KIB), 1); /* the rest of a file: what came since is more than a MiB */
    T_CHECK_U64(run(3, 256 * KIB), 0);
    T_CHECK_U64(run(1, 256 * KIB), 1);

    begin();
    T_CHECK_U64(run(9, MIB), 2);
    T_CHECK_U64(run(3, MIB), 0);
    at += 512;
    T_CHECK_U64(run(1, MIB), 1);
    at -= 2 * MIB;
    T_CHECK_U64(run(1, MIB), 1);
}

/* One long read is told once, and nothing is not told. */
static void test_long_reads(void)
{
    begin();
    T_CHECK_U64(run(1, 40 * MIB), 1);
    T_CHECK_U64(watch.nb_untold, 0);
    T_CHECK_U64(run(1, 0), 0);

    begin();
    at = 0;
    T_CHECK_U64(run(2, 0), 0);
}

int main(void)
{
    T_RUN(test_reads_that_jump_are_told_after_each_mib);
    T_RUN(test_a_run_is_told_ever_less_often);
    T_RUN(test_the_end_of_a_run_is_seen);
    T_RUN(test_long_reads);
    return t_done();
}
