/* What the verbs print: errors, untrusted text, sizes for people. */
#ifndef METALCOW_OUTPUT_H
#define METALCOW_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "q2_status.h"

/* Exit status of a verb that failed, unless it says otherwise. */
#define EXIT_ERROR 1

/* Write text: printable characters of UTF-8 as they are, every other byte and the backslash as
 * \xNN. The text may come out of an image and must not talk to the terminal. */
void print_escaped(FILE *out, const char *text);

/* Length of the first piece of a text, which is not empty: a character that is printed as it is, or
 * one byte that is escaped, which takes four columns. */
size_t output_piece(const char *text, bool *ret_printable);

/* Write "metalcow: FILE: WHAT ...; ADVICE" to stderr.
 *
 * path  the file the user named; said if the fault names none
 */
void print_fault(const char *path, const struct q2_fault *fault);

/* Write only "FILE: WHAT ...; ADVICE", after words of the caller's own. */
void print_cause(const char *path, const struct q2_fault *fault);

/* As print_fault() for a failure that left no fault. */
void print_status(const char *path, enum q2_status status);

/* As print_fault() for a failure that this program finds itself. Returns false, so that a check can
 * end with it.
 *
 * what  as in struct q2_fault
 */
bool complain_of(const char *path, enum q2_status status, const char *what);

/* Write "metalcow: SENTENCE" to stderr. Returns false, as complain_of(). */
bool complain(const char *sentence);

/* Write a size with three digits and a unit, as qemu-img does: "64 KiB". buffer: 16 bytes at least.
 */
void format_size(uint64_t size, char *buffer, size_t buffer_size);

#endif
