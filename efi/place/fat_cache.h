/* The cache of the firmware's FAT driver, and files that we write below it.
 *
 * Called by attach.c, registry.c, room.c and upkeep.c, never inside Block I/O. EDK2's driver keeps
 * pages of the volume (64 KiB; 8 KiB on FAT12), page p in slot p % 64, and writes a page back whole
 * when a part of it was changed. A page that holds a piece of our file and a piece of somebody
 * else's would so bring our old bytes back. The driver has no call that drops a page, but reading
 * another page of the same slot does. What that costs: one read of a page for a slot.
 *
 * On a driver that works otherwise these reads do no harm.
 */
#ifndef METALCOW_EFI_FAT_CACHE_H
#define METALCOW_EFI_FAT_CACHE_H

#include "volume.h"

#define MC_FAT12_PAGE_BITS 13u
#define MC_FAT_PAGE_BITS   16u

#define MC_ALL_PAGES UINT64_MAX

/* Make the driver forget what it may hold of our files.
 *
 * files    of one volume, writable, with file->File open; what is in a slot is forgotten by reading
 *          pages of any of them
 * slots    bit n: the pages p with p % 64 == n
 * returns  the slots that could not be emptied: the files have no other page for them, or reading
 *          failed
 */
uint64_t mc_fat_cache_evict(struct mc_file *const *files, size_t nb_files, uint64_t slots);

/* The slots of all pages that a file lies in. */
uint64_t mc_fat_cache_used(const struct mc_file *file);

#endif
