/* Finding boot parameters in memory.
 *
 * May call the memory map and the page tables. Invariant: only bytes are read that the memory map
 * calls memory, and of loaders' data only pages that are mapped.
 */
#include "search.h"

#include "core/base/range.h"
#include "efi/base/firmware.h"

#define COMMAND_LINE_SIZE 16u /* as much as is looked at */
#define MAGIC_SIZE        8u

/* When GRUB uses the stub, the command line is in its final place already. When GRUB enters the
 * kernel itself, it moves the line later, so the address is not checked. */
static bool command_line_fits(const struct mc_memory_map *map, const struct mc_boot_params *params)
{
    if (params->entry == MC_BOOT_ENTRY_LEGACY)
        return true;
    return mc_memory_map_is_memory(map, params->command_line, COMMAND_LINE_SIZE) &&
           mc_command_line_is_grubs((const uint8_t *)(uintptr_t)params->command_line,
                                    COMMAND_LINE_SIZE);
}

/* Loaders allocate boot parameters as data of theirs. false: no further range. */
static bool next_range(const struct mc_memory_map *map, struct mc_boot_params_search *search)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor;

    while ((descriptor = mc_memory_map_next(map, &search->at)) != NULL) {
        if (descriptor->Type != EfiLoaderData)
            continue;
        search->address = q2_max_u64(descriptor->PhysicalStart, MC_BOOT_PARAMS_SIZE);
        search->end =
            descriptor->PhysicalStart + descriptor->NumberOfPages * (uint64_t)MC_BOOT_PARAMS_SIZE;
        search->mapped = 0; /* descriptors are in no order */
        return true;
    }
    return false;
}

/* Is the next page there? Firmware that checks programs leaves pages out of its tables, between
 * those that loaders have allocated. If not, the search goes on after the gap. */
static bool is_mapped(struct mc_boot_params_search *search)
{
    uint64_t end;

    if (search->address < search->mapped)
        return true;
    if (mc_page_tables_look(&mc_firmware.page_tables, search->address, &end)) {
        search->mapped = end;
        return true;
    }
    search->address = end;
    return false;
}

uint8_t *mc_boot_params_find(const struct mc_memory_map *map, enum mc_boot_entry entry,
                             struct mc_boot_params_search *search,
                             struct mc_boot_params *ret_params)
{
    do {
        while (search->address < search->end) {
            uint8_t *page = (uint8_t *)(uintptr_t)search->address;
            if (!is_mapped(search))
                continue;
            search->address += MC_BOOT_PARAMS_SIZE;
            if (mc_boot_params_read(page, ret_params) && ret_params->entry == entry &&
                command_line_fits(map, ret_params))
                return page;
        }
    } while (next_range(map, search));
    return NULL;
}

bool mc_boot_params_has_initrd(const struct mc_memory_map *map, const struct mc_boot_params *params)
{
    return params->initrd_size >= MAGIC_SIZE &&
           mc_memory_map_is_memory(map, params->initrd, params->initrd_size) &&
           mc_initrd_has_magic((const uint8_t *)(uintptr_t)params->initrd, MAGIC_SIZE);
}
