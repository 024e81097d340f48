/* Which memory the processor's page tables let a program read.
 *
 * Calls nothing. Invariant: a table is read only if the entry above it is present.
 */
#include "page_tables.h"

#define PRESENT    (1u << 0)
#define LARGE      (1u << 7) /* at levels 2 and 3: the entry is a page */
#define LARGE_MOST 3u
#define LEVEL_BITS 9u
#define PAGE_BITS  12u

/* Bits of an entry that are an address. Encrypted memory is marked by one of those from 47 on, and
 * firmware has its tables below. */
#define ADDRESS_MASK 0x00007ffffffff000ull

bool mc_page_tables_look(const struct mc_page_tables *tables, uint64_t address, uint64_t *ret_end)
{
    uint64_t table = tables->root & ADDRESS_MASK;

    *ret_end = UINT64_MAX;
    for (unsigned int level = tables->nb_levels; level > 0; level--) {
        unsigned int shift = PAGE_BITS + LEVEL_BITS * (level - 1);
        uint64_t index = address >> shift & ((1u << LEVEL_BITS) - 1);
        uint64_t entry = ((const uint64_t *)(uintptr_t)table)[index];

        *ret_end = ((address >> shift) + 1) << shift;
        if ((entry & PRESENT) == 0)
            return false;
        if ((entry & LARGE) != 0 && level <= LARGE_MOST)
            return true; /* at level 1 the bit means something else, and the loop ends there */
        table = entry & ADDRESS_MASK;
    }
    return true;
}
