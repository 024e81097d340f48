/* Filling a struct q2_fault: each function records what went wrong and returns the status, so that
 * the place that finds a mistake reports it in one line.
 *
 * Implemented by core/base/status.c; pure. The innermost finder fills the fault; whoever passes a
 * status up leaves it alone.
 */
#ifndef Q2_FAIL_H
#define Q2_FAIL_H

#include "q2_status.h"

/* status  not Q2_OK
 * what    static text: what is wrong, without file and value; NULL for the status' own text
 * path    name of the file at fault, copied and cut; NULL if none
 */
enum q2_status q2_fail(struct q2_fault *fault, enum q2_status status, const char *what,
                       const char *path);

/* The same, found at a byte offset of the file. */
enum q2_status q2_fail_at(struct q2_fault *fault, enum q2_status status, const char *what,
                          const char *path, uint64_t offset);

/* The same, for a field (static text, the specification's name) with a value. */
enum q2_status q2_fail_value(struct q2_fault *fault, enum q2_status status, const char *what,
                             const char *path, const char *field, uint64_t value);

/* The same, for a field whose value passes a limit. */
enum q2_status q2_fail_limit(struct q2_fault *fault, enum q2_status status, const char *what,
                             const char *path, const char *field, uint64_t value, uint64_t limit);

/* Q2_ERR_LIMIT, because an allocation failed. */
enum q2_status q2_fail_memory(struct q2_fault *fault);

/* Add bytes from the image that explain the fault; length bytes, cut to the room there is. */
void q2_fault_add_detail(struct q2_fault *fault, const void *bytes, size_t length);

#endif
