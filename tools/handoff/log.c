/* The kernel log. Calls the C library.
 *
 * Invariant: one call is one line, at most LINE_SIZE bytes; a log that cannot be written stops
 * nothing.
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

    /* The numbers of the standard descriptors are given to others later. */
    log_fd = fd >= 0 && fd <= 2 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : fd;
}

void log_say(enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    int head = snprintf(line, sizeof(line), "<%d>metalcow: ", (int)level);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line + head, sizeof(line) - (size_t)head, format, arguments);
    va_end(arguments);
    if (log_fd >= 0)
        (void)!write(log_fd, line, strlen(line));
}

void log_fault(const char *what, const struct q2_fault *fault)
{
    char text[600];

    (void)q2_fault_format(fault, text, sizeof(text));
    log_say(LOG_ERROR, "%s: %s", what, text);
}
