/* The firmware's memory map.
 *
 * May call GetMemoryMap() and, to reserve and free, the page allocator. Invariant: sums of
 * addresses cannot wrap, because descriptors whose end would wrap are skipped.
 */
#include "memory_map.h"

#include "core/base/range.h"
#include "firmware.h"

#define PAGE_SIZE 4096u
#define LOW_LIMIT (1u << 20) /* memory below this address has special uses on PCs */

bool mc_memory_map_reserve(struct mc_memory_map *map)
{
    UINTN size = 0, key, step = 0;
    UINT32 version;

    *map = (struct mc_memory_map){.bytes = NULL};
    (void)mc_firmware.BootServices->GetMemoryMap(&size, NULL, &key, &step, &version);
    map->capacity = (4 * size + PAGE_SIZE) & ~(UINTN)(PAGE_SIZE - 1);
    map->bytes = mc_alloc_pages(map->capacity);
    return map->bytes != NULL;
}

void mc_memory_map_free(struct mc_memory_map *map)
{
    mc_free_pages(map->bytes, map->capacity);
    *map = (struct mc_memory_map){.bytes = NULL};
}

bool mc_memory_map_read(struct mc_memory_map *map)
{
    UINTN key;
    UINT32 version;

    map->size = map->capacity;
    if (!map->bytes ||
        EFI_ERROR(mc_firmware.BootServices->GetMemoryMap(
            &map->size, (EFI_MEMORY_DESCRIPTOR *)(void *)map->bytes, &key, &map->step, &version)) ||
        map->step < sizeof(EFI_MEMORY_DESCRIPTOR)) {
        map->size = 0;
        return false;
    }
    return true;
}

static uint64_t end_of(const EFI_MEMORY_DESCRIPTOR *descriptor)
{
    return descriptor->PhysicalStart + descriptor->NumberOfPages * PAGE_SIZE;
}

static bool makes_sense(const EFI_MEMORY_DESCRIPTOR *descriptor)
{
    return descriptor->NumberOfPages > 0 &&
           descriptor->NumberOfPages <= (UINT64_MAX - descriptor->PhysicalStart) / PAGE_SIZE;
}

const EFI_MEMORY_DESCRIPTOR *mc_memory_map_next(const struct mc_memory_map *map, UINTN *at)
{
    while (*at < map->size && map->size - *at >= map->step) {
        const EFI_MEMORY_DESCRIPTOR *descriptor =
            (const EFI_MEMORY_DESCRIPTOR *)(const void *)(map->bytes + *at);
        *at += map->step;
        if (makes_sense(descriptor))
            return descriptor;
    }
    return NULL;
}

const EFI_MEMORY_DESCRIPTOR *mc_memory_map_find(const struct mc_memory_map *map, uint64_t address)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor;
    UINTN at = 0;

    while ((descriptor = mc_memory_map_next(map, &at)) != NULL) {
        if (address >= descriptor->PhysicalStart && address < end_of(descriptor))
            return descriptor;
    }
    return NULL;
}

static bool is_memory(const EFI_MEMORY_DESCRIPTOR *descriptor)
{
    switch (descriptor->Type) {
    case EfiLoaderCode:
    case EfiLoaderData:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiConventionalMemory:
        return true;
    default:
        return false;
    }
}

bool mc_memory_map_is_memory(const struct mc_memory_map *map, uint64_t address, uint64_t size)
{
    uint64_t end = address + size;

    if (size == 0 || end < address)
        return false;
    while (address < end) {
        const EFI_MEMORY_DESCRIPTOR *descriptor = mc_memory_map_find(map, address);
        if (!descriptor || !is_memory(descriptor))
            return false;
        address = end_of(descriptor);
    }
    return true;
}

uint64_t mc_memory_map_highest_free(const struct mc_memory_map *map, uint64_t size, uint64_t limit)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor;
    uint64_t found = 0;
    UINTN at = 0;

    while ((descriptor = mc_memory_map_next(map, &at)) != NULL) {
        uint64_t start = q2_max_u64(descriptor->PhysicalStart, LOW_LIMIT);
        uint64_t end = q2_min_u64(end_of(descriptor), limit);
        if (descriptor->Type != EfiConventionalMemory || end < start || end - start < size)
            continue;
        start = (end - size) & ~(uint64_t)(PAGE_SIZE - 1);
        if (start >= q2_max_u64(descriptor->PhysicalStart, LOW_LIMIT) && start > found)
            found = start;
    }
    return found;
}
