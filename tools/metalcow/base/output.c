/* What the verbs print. May call core/base/status.c and the C library. */
#include "output.h"

#include <string.h>

void print_escaped(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e || *c == '\\')
            fprintf(out, "\\x%02x", *c);
        else
            fputc(*c, out);
    }
}

void print_fault(const char *path, const struct q2_fault *fault)
{
    char line[2048];

    (void)q2_fault_format(fault, line, sizeof(line));
    fflush(stdout); /* what was said before comes before */
    fputs("metalcow: ", stderr);
    if (fault->file[0] == '\0') {
        print_escaped(stderr, path);
        fputs(": ", stderr);
    }
    fprintf(stderr, "%s\n", line);
}

void print_status(const char *path, enum q2_status status)
{
    print_fault(path, &(struct q2_fault){.status = status});
}

void format_size(uint64_t size, char *buffer, size_t buffer_size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)size;
    size_t unit = 0;

    while (value >= 1000.0 && unit < sizeof(units) / sizeof(units[0]) - 1) {
        value /= 1024.0;
        unit++;
    }
    (void)snprintf(buffer, buffer_size, "%.3g %s", value, units[unit]);
}
