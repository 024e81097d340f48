/* Page tables of x86-64 with one page left out. */
#include "page_tables.h"

#include <stdalign.h>

#define ENTRIES 512u
#define PRESENT 1u
#define LARGE   0x80u /* at level 1 it is part of the memory type, and is set as well */

/* tables[level - 1]. */
static alignas(4096) uint64_t tables[5][ENTRIES];

void t_page_tables_without(struct mc_page_tables *ret_tables, uint64_t hole, unsigned int nb_levels)
{
    for (unsigned int level = 1; level <= nb_levels; level++) {
        unsigned int shift = 12 + 9 * (level - 1);
        uint64_t *entry = &tables[level - 1][hole >> shift & (ENTRIES - 1)];
        for (uint64_t i = 0; i < ENTRIES; i++)
            tables[level - 1][i] = level <= 3 ? i << shift | LARGE | PRESENT : 0;
        *entry = level == 1 ? 0 : (uintptr_t)tables[level - 2] | PRESENT;
    }
    *ret_tables = (struct mc_page_tables){(uintptr_t)tables[nb_levels - 1], nb_levels};
}
