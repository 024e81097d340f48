/* CPU time and peak memory.
 *
 * May call the C library. Invariant: nothing that is measured happens between the last line of
 * meter_start() and the first of meter_print().
 */
#include "meter.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print(double user, double sys, uint64_t nb_bytes, uint64_t peak_kib)
{
    printf("{\"user\": %.6f, \"sys\": %.6f, \"bytes\": %" PRIu64 ", \"peak_kib\": %" PRIu64 "}\n",
           user, sys, nb_bytes, peak_kib);
}

void meter_start(struct meter *meter)
{
    (void)getrusage(RUSAGE_SELF, &meter->start);
}

/* The peak of this program alone: rusage's begins with that of whoever called exec. */
static uint64_t own_peak_kib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t peak = 0;

    while (status && fgets(line, sizeof(line), status))
        (void)sscanf(line, "VmHWM: %" SCNu64, &peak);
    if (status)
        (void)fclose(status);
    return peak;
}

void meter_print(const struct meter *meter, uint64_t nb_bytes, uint64_t held_kib)
{
    struct rusage end;
    uint64_t peak = own_peak_kib();

    (void)getrusage(RUSAGE_SELF, &end);
    print(seconds(end.ru_utime) - seconds(meter->start.ru_utime),
          seconds(end.ru_stime) - seconds(meter->start.ru_stime), nb_bytes,
          peak > held_kib ? peak - held_kib : 0);
}

double meter_now(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void meter_print_sum(double sum, uint64_t nb_bytes, uint64_t held_kib)
{
    uint64_t peak = own_peak_kib();

    /* The clock does not tell user and system apart. */
    print(sum, 0, nb_bytes, peak > held_kib ? peak - held_kib : 0);
}

int meter_run(char **command, uint64_t nb_bytes)
{
    struct rusage used;
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, STDOUT_FILENO);
        (void)execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        return 127;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 1;
    print(seconds(used.ru_utime), seconds(used.ru_stime), nb_bytes, (uint64_t)used.ru_maxrss);
    return 0;
}
