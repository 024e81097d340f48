/* The pages that the firmware's FAT driver keeps of a volume: log2 of their bytes.
 *
 * fat_cache.c says what they mean for files that are written below the driver. */
#ifndef METALCOW_EFI_FAT_CACHE_H
#define METALCOW_EFI_FAT_CACHE_H

#define MC_FAT12_PAGE_BITS 13u
#define MC_FAT_PAGE_BITS   16u

#endif
