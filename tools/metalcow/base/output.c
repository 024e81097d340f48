/* What the verbs print.
 *
 * May call core/base/status.c and the C library. Invariant: print_escaped() prints no control
 * character.
 */
#include "output.h"

#include <string.h>

#include "q2_line.h"

size_t output_piece(const char *text, bool *ret_printable)
{
    size_t n = q2_printable_length(text);

    *ret_printable = n > 0;
    return n > 0 ? n : 1;
}

void print_escaped(FILE *out, const char *text)
{
    while (*text != '\0') {
        bool printable;
        size_t n = output_piece(text, &printable);

        if (printable)
            (void)fwrite(text, 1, n, out);
        else
            fprintf(out, "\\x%02x", (unsigned char)*text);
        text += n;
    }
}

void print_cause(const char *path, const struct q2_fault *fault)
{
    char line[2048];

    (void)q2_fault_format(fault, line, sizeof(line));
    if (fault->file[0] == '\0') {
        print_escaped(stderr, path);
        fputs(": ", stderr);
    }
    fprintf(stderr, "%s\n", line);
}

void print_fault(const char *path, const struct q2_fault *fault)
{
    fflush(stdout); /* so that the order is kept if both go to one place */
    fputs("metalcow: ", stderr);
    print_cause(path, fault);
}

void print_status(const char *path, enum q2_status status)
{
    print_fault(path, &(struct q2_fault){.status = status});
}

bool complain_of(const char *path, enum q2_status status, const char *what)
{
    print_fault(path, &(struct q2_fault){.status = status, .what = what});
    return false;
}

bool complain(const char *sentence)
{
    fprintf(stderr, "metalcow: %s\n", sentence);
    return false;
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
