/* The firmware's memory map, read into memory that was reserved before.  (UEFI 2.10, 7.2.3)
 *
 * After mc_memory_map_reserve() only GetMemoryMap() is called and nothing is allocated, so a map
 * may be read while boot services end.
 */
#ifndef METALCOW_EFI_MEMORY_MAP_H
#define METALCOW_EFI_MEMORY_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include <efi.h>

struct mc_memory_map {
    uint8_t *bytes; /* pages of ours; NULL: not reserved */
    UINTN capacity; /* bytes of room */
    UINTN size;     /* bytes that the last read has filled */
    UINTN step;     /* bytes from one descriptor to the next */
};

/* Reserve room for a map that is four times as long as today's. false: no memory. */
bool mc_memory_map_reserve(struct mc_memory_map *map);
void mc_memory_map_free(struct mc_memory_map *map);

/* Read the map. false: it has outgrown the room, or the firmware refuses; the map is empty then. */
bool mc_memory_map_read(struct mc_memory_map *map);

/* The descriptor at *at, which starts at 0 and moves on; NULL: that was the last. */
const EFI_MEMORY_DESCRIPTOR *mc_memory_map_next(const struct mc_memory_map *map, UINTN *at);

/* The descriptor that holds an address; NULL: none. */
const EFI_MEMORY_DESCRIPTOR *mc_memory_map_find(const struct mc_memory_map *map, uint64_t address);

/* Is every byte of a range memory that can be read as memory: conventional, or in use by loader or
 * boot services? The range may span several descriptors. */
bool mc_memory_map_is_memory(const struct mc_memory_map *map, uint64_t address, uint64_t size);

/* The highest page-aligned address of `size` free bytes that end at or below `limit`.
 *
 * Only conventional memory from 1 MiB on counts: nobody owns it, and it is ordinary memory for
 * whoever comes after the firmware. 0: there is none.
 */
uint64_t mc_memory_map_highest_free(const struct mc_memory_map *map, uint64_t size, uint64_t limit);

#endif
