/* CPU time and peak memory of a piece of a process.
 *
 * May call the C library. One line of JSON per measurement, on stdout.
 */
#ifndef METALCOW_TOOLS_BENCH_METER_H
#define METALCOW_TOOLS_BENCH_METER_H

#include <stdint.h>
#include <sys/resource.h>

struct meter {
    struct rusage start;
};

/* Let the clock run, of this process. */
void meter_start(struct meter *meter);

/* Stop it and print what was used since.
 *
 * nb_bytes  that were read
 * peak      the process's peak resident memory in KiB is printed too, minus held_kib: what the
 *           caller knows to be there for another reason (the engine's workspace)
 */
void meter_print(const struct meter *meter, uint64_t nb_bytes, uint64_t held_kib);

/* CPU seconds of this process so far, to the nanosecond. */
double meter_now(void);

/* Print a sum of meter_now() differences, in the same form. */
void meter_print_sum(double seconds, uint64_t nb_bytes, uint64_t held_kib);

/* Run a command, its output thrown away, and print what it used; nb_bytes as above. Returns its
 * exit status. The command's peak memory is only right if the caller itself is small: a process
 * begins with the peak of whoever starts it. */
int meter_run(char **command, uint64_t nb_bytes);

#endif
