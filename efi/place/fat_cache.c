/* The cache of the firmware's FAT driver, and files that are written below it.
 *
 * EDK2's driver keeps pages of the volume (64 KiB; 8 KiB on FAT12), page p in slot p % 64, and
 * writes a page back whole when a part of it was changed. A page that holds a piece of our file and
 * a piece of another file would so bring our old bytes back. The driver has no call that drops a
 * page, but reading another page of the same slot does. What that costs: one read of a page for
 * each slot. On a driver that works otherwise these reads do no harm.
 *
 * Calls the file system, never from inside a request. Invariant: reads go forward through a file,
 * because the driver walks the chain from its start for every step back.
 */
#include "fat_cache.h"

#include "q2_fail.h"
#include "fat_place.h"

#define NB_SLOTS  64u
#define ALL_SLOTS UINT64_MAX

static uint64_t slot_of(uint64_t page)
{
    return 1ull << (page % NB_SLOTS);
}

/* What is to be emptied, and whether the volume can be read. A device that is gone may take seconds
 * to fail, so nothing is read after the first failure. */
struct emptying {
    uint64_t slots;
    bool has_failed;
};

/* Read one byte of an extent: less than a page, so it goes through the cache. */
static bool read_byte(struct mc_fat_file *file, const struct q2_file_extent *extent, uint64_t page)
{
    const struct q2_source_extents *extents = &file->as.extents;
    uint64_t at = extents->page_start + (page << extents->page_bits);
    UINTN size = 1;
    UINT8 byte;

    at = at > extent->volume_offset ? at - extent->volume_offset : 0;
    return !EFI_ERROR(file->File->SetPosition(file->File, extent->file_offset + at)) &&
           !EFI_ERROR(file->File->Read(file->File, &size, &byte)) && size == 1;
}

static bool touch(struct emptying *emptying, struct mc_fat_file *file,
                  const struct q2_file_extent *extent, uint64_t page)
{
    if (!emptying->has_failed)
        emptying->has_failed = !read_byte(file, extent, page);
    return !emptying->has_failed;
}

static bool is_over(const struct emptying *emptying)
{
    return emptying->slots == 0 || emptying->has_failed;
}

/* Fill slots with pages that are all ours: what the cache holds of them it never writes back. */
static void fill_with_own(struct emptying *emptying, struct mc_fat_file *file)
{
    for (size_t i = 0; i < file->nb_extents && !is_over(emptying); i++) {
        const struct q2_file_extent *extent = &file->map[i];
        uint64_t page, end;
        q2_source_extents_own_pages(&file->as.extents, extent, &page, &end);
        for (unsigned int n = 0; page < end && n < NB_SLOTS && !is_over(emptying); n++, page++) {
            if ((emptying->slots & slot_of(page)) != 0 && touch(emptying, file, extent, page))
                emptying->slots &= ~slot_of(page);
        }
    }
}

/* Pages of an extent, [*ret_first, *ret_end), shared ones too. */
static void pages_of(const struct mc_fat_file *file, const struct q2_file_extent *extent,
                     uint64_t *ret_first, uint64_t *ret_end)
{
    const struct q2_source_extents *extents = &file->as.extents;
    uint64_t start = extent->volume_offset - extents->page_start;

    *ret_first = start >> extents->page_bits;
    *ret_end = ((start + extent->length - 1) >> extents->page_bits) + 1;
}

/* Read two pages that share a slot. Each read evicts the other page, so the slot holds no old data
 * afterwards. */
static void fill_with_two(struct emptying *emptying, struct mc_fat_file *file)
{
    uint64_t first_page[NB_SLOTS], seen = 0;

    for (size_t i = 0; i < file->nb_extents && !is_over(emptying); i++) {
        const struct q2_file_extent *extent = &file->map[i];
        uint64_t page, end;
        pages_of(file, extent, &page, &end);
        for (unsigned int n = 0; page < end && n < NB_SLOTS; n++, page++) {
            uint64_t slot = slot_of(page);
            if ((emptying->slots & slot) == 0 ||
                ((seen & slot) != 0 && first_page[page % NB_SLOTS] == page) ||
                !touch(emptying, file, extent, page))
                continue;
            if ((seen & slot) != 0)
                emptying->slots &= ~slot;
            first_page[page % NB_SLOTS] = page;
            seen |= slot;
        }
    }
}

/* Empty slots by reading pages of any writable file. */
static void evict(struct emptying *emptying, struct mc_fat_place *place)
{
    struct mc_fat_file *file;

    for (file = place->written; file && !is_over(emptying); file = file->next_written)
        fill_with_own(emptying, file);
    for (file = place->written; file && !is_over(emptying); file = file->next_written)
        fill_with_two(emptying, file);
}

/* The slots of all pages that a file has a part in. */
static uint64_t slots_of(const struct mc_fat_file *file)
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

/* Take the slots that were written since the last time. */
static uint64_t take_stale(struct mc_fat_place *place)
{
    uint64_t slots = 0;

    for (struct mc_fat_file *file = place->written; file; file = file->next_written) {
        slots |= file->as.extents.stale;
        file->as.extents.stale = 0;
    }
    return slots;
}

/* Evict old pages of each file where it has two pages in a slot, so that whoever reads the file
 * through the file system afterwards gets its current bytes. */
static void refresh(struct emptying *emptying, struct mc_fat_place *place)
{
    for (struct mc_fat_file *file = place->written; file; file = file->next_written) {
        emptying->slots = ALL_SLOTS;
        fill_with_two(emptying, file);
    }
    emptying->slots = ALL_SLOTS;
}

enum q2_status mc_fat_forget(struct q2_place *q2_place, bool all, struct q2_fault *fault)
{
    struct mc_fat_place *place = (struct mc_fat_place *)q2_place;
    uint64_t stale = take_stale(place);
    enum q2_status medium = q2_source_efi_disk_io_medium(&place->device);
    struct emptying emptying = {.slots = stale, .has_failed = medium != Q2_OK};

    if (all)
        refresh(&emptying, place);
    evict(&emptying, place);

    /* What could not be evicted is tried again next time. */
    if (place->written)
        place->written->as.extents.stale = emptying.slots & stale;
    for (struct mc_fat_file *file = place->written; file; file = file->next_written) {
        if (emptying.has_failed)
            return q2_fail(fault, medium != Q2_OK ? medium : Q2_ERR_IO, NULL, file->path);
        if ((emptying.slots & slots_of(file)) != 0)
            return q2_fail(
                fault, Q2_ERR_UNSUPPORTED,
                "the file is too small to be written safely; give it room, such as 'room 64M'",
                file->path);
    }
    return Q2_OK;
}

void mc_fat_watch(struct q2_place_file *place_file, bool *attention)
{
    ((struct mc_fat_file *)place_file)->as.extents.attention = attention;
}
