/* Does a disk fit into memory as a RAM disk? Pure arithmetic on the firmware's memory map. */
#ifndef METALCOW_EFI_RAMDISK_FIT_H
#define METALCOW_EFI_RAMDISK_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "q2_line.h"

/* Bytes that a RAM disk leaves to the loader, the kernel and its initrd. */
#define MC_RAMDISK_LEFT (256u << 20)

/* The free memory of a machine, in bytes. Starts as zeros. */
struct mc_ramdisk_memory {
    uint64_t total;
    uint64_t largest; /* of the pieces: a RAM disk is one */
};

/* Count a free piece of nb_pages pages of 4096 bytes. Sums that would wrap stop at UINT64_MAX. */
void mc_ramdisk_count(struct mc_ramdisk_memory *memory, uint64_t nb_pages);

/* Does a disk of size bytes fit into one piece, with MC_RAMDISK_LEFT bytes left altogether? */
bool mc_ramdisk_fits(const struct mc_ramdisk_memory *memory, uint64_t size);

/* The sentence for a person, with both numbers; on a refusal it names what to do. */
void mc_ramdisk_put(struct q2_line *text, const struct mc_ramdisk_memory *memory, uint64_t size);

#endif
