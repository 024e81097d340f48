/* The kernel log.
 *
 * May call the C library. Invariant: one call is one line of at most LINE_SIZE bytes, and a failure
 * to write it is ignored.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "handoff.h"

/* The kernel takes lines of up to 1024 bytes with what it puts before them. */
#define LINE_SIZE 900

static int log_fd = -1;

void log_open(void)
{
    int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

    /* Not a number of a standard descriptor, which process_settle() replaces. */
    log_fd = fd >= 0 && fd <= 2 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : fd;
}

void log_say(enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    int head = snprintf(line, sizeof(line), "<%d>metalcow: ", (int)level);
    size_t length;
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line + head, sizeof(line) - 1 - (size_t)head, format, arguments);
    va_end(arguments);
    /* The kernel shows a line without a line feed only after somebody has written another one. */
    length = strlen(line);
    line[length++] = '\n';
    if (log_fd >= 0)
        (void)!write(log_fd, line, length);
}

void log_fault(const char *what, const struct q2_fault *fault)
{
    char text[600];

    (void)q2_fault_format(fault, text, sizeof(text));
    log_say(LOG_ERROR, "%s: %s", what, text);
}
