/* The fuzzer that writes.
 *
 *   test_fuzz_write [--seed N] [--ops N] [--episode N] [--seconds N] [--keep FILE]
 *
 * A run is a row of episodes. Each makes an image with random geometry and does random operations
 * on it: writes, zeros, discards, compressed clusters, flushes, snapshots, resizes, preallocation,
 * checks and repairs, with failing calls, power cuts and damaged metadata in between. A model
 * judges all of it (run.h). What an episode does depends on the seed and the episode's number only.
 *
 * Episodes run in a child, so that a crash is a finding like any other. One that fails is run again
 * without some of its operations, as long as it fails, and is printed then. With --episode that one
 * runs alone, and tells what it does; with --keep the image that was damaged last is written to a
 * file.
 */
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/t.h"

#define SHORT_OPS     40000u
#define BATCH         200u /* episodes of one child */
#define CPU_SECONDS   20   /* that one operation may take; a hang takes more */
#define FIRST_EPISODE 0u
#define EXIT_WRONG    3

/* What the child tells its parent. */
struct shared {
    uint64_t nb_ops;
    uint32_t episode, op; /* at work */
    char why[600];
};

struct options {
    uint64_t seed, nb_ops;
    uint32_t episode;
    bool one;
    unsigned seconds;
};

static struct shared *shared;
static const char *keep_file; /* of --keep */

/* --- one episode ----------------------------------------------------------------------------- */

static void limit_time(void)
{
    struct itimerval limit = {.it_value = {.tv_sec = CPU_SECONDS}};

    (void)setitimer(ITIMER_PROF, &limit, NULL);
}

static uint64_t seed_of(uint64_t seed, uint32_t episode, uint32_t op)
{
    uint64_t value = seed * 0x100000001b3ull + episode;

    value = crash_random(&value) + op;
    return crash_random(&value);
}

/* left_out: operations that are not done, EPISODE_OPS of them; NULL: all are. */
static bool run_episode(struct run *r, uint64_t seed, uint32_t episode, const bool *left_out)
{
    shared->episode = episode;
    shared->op = 0;
    r->why[0] = '\0';
    limit_time();
    r->seed = seed_of(seed, episode, 0);
    if (!run_make(r))
        return false;
    for (uint32_t i = 1; i < EPISODE_OPS; i++) {
        if (left_out && left_out[i])
            continue;
        shared->op = i;
        limit_time();
        r->seed = seed_of(seed, episode, i);
        if (r->trace)
            printf("%u: ", i);
        if (!step_run(r))
            return false;
        shared->nb_ops++;
    }
    return step_close(r) && judge_snaps(r);
}

/* --- children -------------------------------------------------------------------------------- */

/* Run episodes in a child. Returns true if all went well. */
static bool run_child(uint64_t seed, uint32_t first, uint32_t nb, const bool *left_out, bool trace)
{
    static struct run r;
    int status = 0;
    pid_t child;

    (void)fflush(stdout);
    shared->why[0] = '\0';
    child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        if (!trace && left_out && !freopen("/dev/null", "w", stderr))
            _exit(2);
        run_start(&r);
        r.trace = trace;
        r.keep = keep_file;
        for (uint32_t i = 0; i < nb; i++) {
            if (run_episode(&r, seed, first + i, left_out))
                continue;
            (void)snprintf(shared->why, sizeof(shared->why), "%s", r.why);
            (void)fflush(stdout);
            _exit(EXIT_WRONG);
        }
        run_free(&r);
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0)
        ;
    if (status != 0 && shared->why[0] == '\0')
        (void)snprintf(shared->why, sizeof(shared->why), "the program ended with status 0x%x",
                       (unsigned)status);
    return status == 0;
}

/* Does it still fail, without these operations? */
static bool fails_without(const struct options *o, uint32_t episode, const bool *left_out)
{
    return !run_child(o->seed, episode, 1, left_out, false);
}

/* Leave out what the failure does not need: the end first, then ever smaller parts. */
static void minimise(const struct options *o, uint32_t episode, bool *left_out)
{
    for (uint32_t i = shared->op + 1; i < EPISODE_OPS; i++)
        left_out[i] = true;
    for (uint32_t part = EPISODE_OPS / 2; part > 0; part /= 2) {
        for (uint32_t at = 1; at < EPISODE_OPS; at += part) {
            bool kept[EPISODE_OPS];
            uint32_t nb = at + part < EPISODE_OPS ? part : EPISODE_OPS - at;

            memcpy(kept, left_out, sizeof(kept));
            memset(left_out + at, true, nb);
            if (memcmp(kept, left_out, sizeof(kept)) != 0 && !fails_without(o, episode, left_out))
                memcpy(left_out, kept, sizeof(kept));
        }
    }
}

static void report(const struct options *o)
{
    static bool left_out[EPISODE_OPS];
    uint32_t episode = shared->episode;

    printf("# seed %llu, episode %u, operation %u: %s\n", (unsigned long long)o->seed, episode,
           shared->op, shared->why);
    memset(left_out, 0, sizeof(left_out));
    minimise(o, episode, left_out);
    printf("# the operations that it needs:\n");
    (void)run_child(o->seed, episode, 1, left_out, true);
    printf("# %s\n", shared->why);
    printf("# run it again: test_fuzz_write --seed %llu --episode %u\n",
           (unsigned long long)o->seed, episode);
}

/* --- the program ----------------------------------------------------------------------------- */

static struct options read_options(int argc, char **argv)
{
    struct options o = {.seed = 1, .nb_ops = SHORT_OPS};

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 0);

        if (strcmp(argv[i], "--seed") == 0) {
            o.seed = value;
        } else if (strcmp(argv[i], "--ops") == 0) {
            o.nb_ops = value;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            o.seconds = (unsigned)value;
        } else if (strcmp(argv[i], "--keep") == 0) {
            keep_file = argv[i + 1];
        } else if (strcmp(argv[i], "--episode") == 0) {
            o.episode = (uint32_t)value;
            o.one = true;
        } else {
            argc = 0;
        }
    }
    if (argc % 2 == 0) {
        (void)fprintf(stderr, "usage: test_fuzz_write [--seed N] [--ops N] [--episode N] "
                              "[--seconds N] [--keep FILE]\n");
        exit(2);
    }
    return o;
}

static bool run_all(const struct options *o)
{
    time_t end = time(NULL) + (time_t)o->seconds;
    uint32_t episode = FIRST_EPISODE;

    while (shared->nb_ops < o->nb_ops && (o->seconds == 0 || time(NULL) < end)) {
        uint64_t left = (o->nb_ops - shared->nb_ops) / EPISODE_OPS + 1;
        uint32_t nb = left < BATCH ? (uint32_t)left : BATCH;

        if (!run_child(o->seed, episode, nb, NULL, false)) {
            uint64_t nb_ops = shared->nb_ops;
            report(o);
            shared->nb_ops = nb_ops;
            return false;
        }
        episode += nb;
    }
    return true;
}

/* An episode that found a fault which no unit test shows: the size of the L1 table is damaged, so
 * that it reaches over a snapshot's L2 table and hides from the repair what that one names. */
static bool run_found(const struct options *o)
{
    return run_child(3, 136, 1, NULL, false) || (report(o), false);
}

int main(int argc, char **argv)
{
    const struct options o = read_options(argc, argv);
    bool ok;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (o.one) {
        ok = run_child(o.seed, o.episode, 1, NULL, true);
        printf("# %s\n", shared->why);
    } else {
        ok = run_all(&o) && run_found(&o);
    }
    printf("# seed %llu: %llu operations\n", (unsigned long long)o.seed,
           (unsigned long long)shared->nb_ops);
    (void)t_check(ok, __FILE__, __LINE__, "an operation was wrong");
    t_case_end("test_fuzz_write_random_operations");
    return t_done();
}
