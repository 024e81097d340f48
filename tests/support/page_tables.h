/* Page tables of x86-64 with one page left out. */
#ifndef METALCOW_TESTS_PAGE_TABLES_H
#define METALCOW_TESTS_PAGE_TABLES_H

#include "efi/base/page_tables.h"

/* Make tables that have all memory below 512 GiB, in pages as large as can be, but the 4 KiB page
 * of `hole`. They are this file's until the next call.
 *
 * nb_levels  4 or 5
 */
void t_page_tables_without(struct mc_page_tables *ret_tables, uint64_t hole,
                           unsigned int nb_levels);

#endif
