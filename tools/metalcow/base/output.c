/* What the verbs print. May call core/base/status.c and the C library. */
#include "output.h"

#include <string.h>

#include "core/base/utf8.h"

/* Characters that print themselves: no controls, and none of those that turn the direction of a
 * line, which make a name look like another one. */
static bool is_printable(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } others[] = {
        {0, 0x1f},        {'\\', '\\'},     {0x7f, 0x9f},     {0xad, 0xad},
        {0x61c, 0x61c},   {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0xfdd0, 0xfdef}, {0xfeff, 0xfeff}, {0xfff0, 0xffff}, {0xe0000, 0x10ffff},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (c >= others[i].first && c <= others[i].last)
            return false;
    }
    return true;
}

size_t output_piece(const char *text, bool *ret_printable)
{
    uint32_t c = 0;
    size_t n = q2_utf8_decode(text, strlen(text), &c);

    *ret_printable = n > 0 && is_printable(c);
    return *ret_printable ? n : 1;
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
