/* Which memory the processor's page tables let a program read.  (x86-64: Intel SDM, volume 3, 4.5)
 *
 * Firmware that checks programs leaves pages out of its tables: they guard what is beside them. The
 * memory map does not tell of them. Reads the tables only.
 */
#ifndef METALCOW_EFI_PAGE_TABLES_H
#define METALCOW_EFI_PAGE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

struct mc_page_tables {
    uint64_t root;          /* address of the highest table */
    unsigned int nb_levels; /* 4 or 5; 0: nothing is known, and all memory counts as readable */
};

/* Can the byte at an address be read?
 *
 * address  below 2^47
 * ret_end  where the page or the gap ends that it is in
 */
bool mc_page_tables_look(const struct mc_page_tables *tables, uint64_t address, uint64_t *ret_end);

#endif
