/* Emptying slots of the FAT driver's cache, by reading our own file through it.
 *
 * Below attach.c, room.c and upkeep.c; calls the file system. Invariant: reads go forward through
 * the file, since the driver walks the chain from its start for every step back.
 */
#include "fat_cache.h"

#define NB_SLOTS 64u

static uint64_t slot_of(uint64_t page)
{
    return 1ull << (page % NB_SLOTS);
}

/* Read one byte of an extent: less than a page, so it goes through the cache. */
static bool touch(struct mc_file *file, const struct q2_file_extent *extent, uint64_t page)
{
    const struct q2_source_extents *extents = &file->as.extents;
    uint64_t at = extents->page_start + (page << extents->page_bits);
    UINTN size = 1;
    UINT8 byte;

    at = at > extent->volume_offset ? at - extent->volume_offset : 0;
    return !EFI_ERROR(file->File->SetPosition(file->File, extent->file_offset + at)) &&
           !EFI_ERROR(file->File->Read(file->File, &size, &byte)) && size == 1;
}

/* Fill slots with pages that are all ours: what the cache holds of them it never writes back. */
static uint64_t fill_with_own(struct mc_file *file, uint64_t slots)
{
    for (size_t i = 0; i < file->nb_extents && slots != 0; i++) {
        const struct q2_file_extent *extent = &file->map[i];
        uint64_t page, end;
        q2_source_extents_own_pages(&file->as.extents, extent, &page, &end);
        for (unsigned int n = 0; page < end && n < NB_SLOTS && slots != 0; n++, page++) {
            if ((slots & slot_of(page)) != 0 && touch(file, extent, page))
                slots &= ~slot_of(page);
        }
    }
    return slots;
}

/* Pages of an extent, [*ret_first, *ret_end), shared ones too. */
static void pages_of(const struct mc_file *file, const struct q2_file_extent *extent,
                     uint64_t *ret_first, uint64_t *ret_end)
{
    const struct q2_source_extents *extents = &file->as.extents;
    uint64_t start = extent->volume_offset - extents->page_start;

    *ret_first = start >> extents->page_bits;
    *ret_end = ((start + extent->length - 1) >> extents->page_bits) + 1;
}

/* Two pages of one slot, one after the other: whichever was in it, it was read anew. */
static uint64_t fill_with_two(struct mc_file *file, uint64_t slots)
{
    uint64_t first_page[NB_SLOTS], seen = 0;

    for (size_t i = 0; i < file->nb_extents && slots != 0; i++) {
        const struct q2_file_extent *extent = &file->map[i];
        uint64_t page, end;
        pages_of(file, extent, &page, &end);
        for (unsigned int n = 0; page < end && n < NB_SLOTS; n++, page++) {
            uint64_t slot = slot_of(page);
            if ((slots & slot) == 0 ||
                ((seen & slot) != 0 && first_page[page % NB_SLOTS] == page) ||
                !touch(file, extent, page))
                continue;
            if ((seen & slot) != 0)
                slots &= ~slot;
            first_page[page % NB_SLOTS] = page;
            seen |= slot;
        }
    }
    return slots;
}

uint64_t mc_fat_cache_evict(struct mc_file *const *files, size_t nb_files, uint64_t slots)
{
    for (size_t i = 0; i < nb_files && slots != 0; i++)
        slots = fill_with_own(files[i], slots);
    for (size_t i = 0; i < nb_files && slots != 0; i++)
        slots = fill_with_two(files[i], slots);
    return slots;
}

uint64_t mc_fat_cache_used(const struct mc_file *file)
{
    uint64_t slots = 0;

    for (size_t i = 0; i < file->nb_extents; i++) {
        uint64_t page, end;
        pages_of(file, &file->map[i], &page, &end);
        for (unsigned int n = 0; page < end && n < NB_SLOTS; n++, page++)
            slots |= slot_of(page);
    }
    return slots;
}
