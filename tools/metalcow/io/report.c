/* How io prints sizes, rates and bytes. May call the C library only. */
#include "report.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct io_size io_size_text(double value)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct io_size size;
    size_t unit = 0;
    char *whole;

    if (value < 1024) {
        (void)snprintf(size.text, sizeof(size.text), "%f", value);
        whole = strstr(size.text, ".000");
    } else {
        for (value /= 1024; value >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1; unit++)
            value /= 1024;
        (void)snprintf(size.text, sizeof(size.text), "%.3f %s", value, units[unit]);
        whole = strstr(size.text, ".000");
        if (whole)
            memmove(whole, whole + 4, strlen(whole + 4) + 1);
        return size;
    }
    (void)snprintf(whole ? whole : size.text + strlen(size.text), 8, " bytes");
    return size;
}

void io_report(const char *what, const struct timespec *begin, uint64_t offset, uint64_t length,
               bool for_programs)
{
    struct timespec now;
    double seconds;
    unsigned long whole;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    seconds = (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
    if (seconds <= 0)
        seconds = 1e-9;
    whole = (unsigned long)seconds;
    if (!for_programs)
        printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n%s, 1 ops; ", what, length,
               length, offset, io_size_text((double)length).text);
    else
        printf("%" PRIu64 ",1,", length);
    if (whole > 0 || for_programs)
        printf("%lu:%02lu:%05.2f", whole / 3600, whole / 60 % 60,
               (double)(whole % 60) + (seconds - (double)whole));
    else
        printf("%05.2f sec", seconds);
    if (!for_programs)
        printf(" (%s/sec and %.4f ops/sec)\n", io_size_text((double)length / seconds).text,
               1 / seconds);
    else
        printf(",%.3f,%.3f\n", (double)length / seconds, 1 / seconds);
}

void io_dump(const uint8_t *bytes, uint64_t offset, size_t length)
{
    for (size_t at = 0; at < length; at += 16) {
        size_t n = length - at < 16 ? length - at : 16;

        printf("%08" PRIx64 ":  ", offset + at);
        for (size_t i = 0; i < n; i++)
            printf("%02x ", bytes[at + i]);
        putchar(' ');
        for (size_t i = 0; i < n; i++)
            putchar(isalnum(bytes[at + i]) ? bytes[at + i] : '.');
        putchar('\n');
    }
}

const char *io_error_text(enum q2_status status)
{
    static const struct {
        enum q2_status status;
        int error;
    } rows[] = {
        {Q2_ERR_UNSUPPORTED, ENOTSUP}, {Q2_ERR_NO_SPACE, ENOSPC},  {Q2_ERR_READ_ONLY, EACCES},
        {Q2_ERR_ARGUMENT, EINVAL},     {Q2_ERR_NOT_FOUND, ENOENT}, {Q2_ERR_NO_MEDIA, ENOMEDIUM},
        {Q2_ERR_LIMIT, EFBIG},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status == status)
            return strerror(rows[i].error);
    }
    return strerror(EIO);
}
