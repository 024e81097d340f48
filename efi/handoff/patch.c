/* Changing boot parameters while boot services end.
 *
 * Runs in a notification at TPL_CALLBACK. May call GetMemoryMap() and the payload's owner.
 * Invariant: boot parameters change only after the longer initrd is complete.
 */
#include "patch.h"

#include "core/base/range.h"
#include "search.h"

#define MAX_KERNELS 4u /* boot parameters of earlier tries may still be in memory */
#define LIMIT_32    (1ull << 32)

/* Has this initrd got the payload already? Boot services may be ended by more than one call. */
static bool is_done(const struct mc_boot_params *params, const uint8_t *payload, size_t size)
{
    const uint8_t *end = (const uint8_t *)(uintptr_t)(params->initrd + params->initrd_size);

    return params->initrd_size > size && __builtin_memcmp(end - size, payload, size) == 0;
}

/* limit: free memory at or above it is taken. It moves down to what is taken here. */
static bool append(const struct mc_memory_map *map, uint8_t *page,
                   const struct mc_boot_params *params, const uint8_t *payload, size_t size,
                   uint64_t *limit)
{
    uint64_t padded = mc_initrd_padded(params->initrd_size);
    uint64_t highest = q2_min_u64(*limit, params->initrd_max + 1);
    uint64_t address = mc_memory_map_highest_free(map, padded + size, highest);
    uint8_t *to = (uint8_t *)(uintptr_t)address;

    if (address == 0)
        return false;
    __builtin_memcpy(to, (const void *)(uintptr_t)params->initrd, params->initrd_size);
    __builtin_memset(to + params->initrd_size, 0, padded - params->initrd_size);
    __builtin_memcpy(to + padded, payload, size);
    mc_boot_params_set_initrd(page, address, padded + size);
    *limit = address;
    return true;
}

unsigned int mc_initrd_patch(struct mc_memory_map *map, struct mc_payload *payload)
{
    struct mc_boot_params_search search = {.at = 0};
    struct mc_boot_params params;
    unsigned int nb_tries = 0, nb_done = 0;
    uint64_t limit = LIMIT_32;
    uint8_t *page;
    const uint8_t *bytes;
    size_t size;

    if (!mc_memory_map_read(map))
        return 0;
    while (nb_tries < MAX_KERNELS &&
           (page = mc_boot_params_find(map, MC_BOOT_ENTRY_LEGACY, &search, &params)) != NULL) {
        if (!mc_boot_params_has_initrd(map, &params))
            continue;
        nb_tries++;
        bytes = payload->get(payload, MC_PAYLOAD_FOR_LOADER, &size);
        if (!bytes)
            return 0;
        if (!is_done(&params, bytes, size) && append(map, page, &params, bytes, size, &limit))
            nb_done++;
    }
    if (nb_done > 0 && payload->measure)
        payload->measure(payload);
    return nb_done;
}
