/* Finding the boot parameters of a Linux kernel in memory.
 *
 * Loaders leave no handle and no pointer to them, so pages of loaders' data are looked at one by
 * one (boot_params.h says what counts). Calls the memory map only; allocates nothing.
 */
#ifndef METALCOW_EFI_HANDOFF_SEARCH_H
#define METALCOW_EFI_HANDOFF_SEARCH_H

#include "boot_params.h"
#include "efi/base/memory_map.h"

/* Where a search has come to. All zero: at the start. */
struct mc_boot_params_search {
    UINTN at;         /* of the next descriptor in the map */
    uint64_t address; /* of the next page, in the descriptor before it */
    uint64_t end;     /* of that descriptor */
    uint64_t mapped;  /* up to here the page tables have memory */
};

/* Find the next boot parameters for one way into the kernel.
 *
 * map         as mc_memory_map_read() has filled it, unchanged during one search
 * ret_params  what they say; the initrd may be missing still
 * returns     the page, or NULL: no more
 */
uint8_t *mc_boot_params_find(const struct mc_memory_map *map, enum mc_boot_entry entry,
                             struct mc_boot_params_search *search,
                             struct mc_boot_params *ret_params);

/* Is the initrd that boot parameters name where they say: inside memory, with the first bytes of an
 * archive? */
bool mc_boot_params_has_initrd(const struct mc_memory_map *map,
                               const struct mc_boot_params *params);

#endif
