/* Output that is shown whole or not at all.
 *
 * May call stdio. The GNU C library lets a program assign to stdout; the verbs print through it.
 */
#include "hold.h"

#include <stdlib.h>

void hold_begin(struct hold *hold)
{
    FILE *memory;

    *hold = (struct hold){.out = NULL};
    memory = open_memstream(&hold->bytes, &hold->length);
    if (!memory)
        return;
    hold->out = stdout;
    stdout = memory;
}

void hold_end(struct hold *hold, bool show)
{
    bool good;

    if (!hold->out)
        return;
    good = fclose(stdout) == 0;
    stdout = hold->out;
    if (show && good)
        (void)fwrite(hold->bytes, 1, hold->length, stdout);
    else if (show)
        fputs("metalcow: out of memory\n", stderr);
    free(hold->bytes);
}
