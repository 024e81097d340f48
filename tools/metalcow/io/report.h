/* How io prints sizes, rates and bytes: as qemu-io does. */
#ifndef METALCOW_IO_REPORT_H
#define METALCOW_IO_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "q2_status.h"

/* A size with a unit and up to three decimals: "64 KiB", "1.500 MiB". */
struct io_size {
    char text[64];
};
struct io_size io_size_text(double value);

/* One request that took from begin to now: two lines, or one for programs.
 *
 * what    "read", "wrote", "discard"
 */
void io_report(const char *what, const struct timespec *begin, uint64_t offset, uint64_t length,
               bool for_programs);

/* Bytes as hexadecimal numbers and letters, 16 a line. */
void io_dump(const uint8_t *bytes, uint64_t offset, size_t length);

/* What the C library calls the error that a status stands for: "Input/output error". */
const char *io_error_text(enum q2_status status);

#endif
