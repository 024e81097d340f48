/* Output that is shown whole or not at all. */
#ifndef METALCOW_HOLD_H
#define METALCOW_HOLD_H

#include <stdbool.h>
#include <stdio.h>

struct hold {
    FILE *out; /* the real standard output; NULL: nothing is held */
    char *bytes;
    size_t length;
};

/* Keep what is printed to stdout in memory from now on. Without memory it goes out at once. */
void hold_begin(struct hold *hold);

/* Print what was kept, or forget it; stdout is the real one again. */
void hold_end(struct hold *hold, bool show);

#endif
