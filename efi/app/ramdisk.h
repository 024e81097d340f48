/* A disk as a RAM disk of the firmware: all its bytes in memory, and a new handle that has them.
 * (UEFI 2.10, 13.17 "RAM Disk Protocol")
 */
#ifndef METALCOW_EFI_RAMDISK_H
#define METALCOW_EFI_RAMDISK_H

#include <efi.h>

#include "q2_status.h"

/* Starts as zeros. */
struct mc_ramdisk {
    EFI_PHYSICAL_ADDRESS memory; /* 0: none */
    uint64_t size;               /* of the disk in bytes */
    EFI_DEVICE_PATH *path;       /* the firmware's; NULL: not registered */
};

/* Can this firmware have a RAM disk at all?
 *
 * image  named in the fault
 *
 * Q2_ERR_UNSUPPORTED  it has no EFI_RAM_DISK_PROTOCOL
 */
enum q2_status mc_ramdisk_check(const char *image, struct q2_fault *fault);

/* Say whether the memory suffices, and if so, read the whole disk into reserved memory with a bar.
 * After an error nothing is kept.
 *
 * disk   a handle with Block I/O; the caller may take it away afterwards
 * image  named in the fault
 *
 * Q2_ERR_UNSUPPORTED  the disk's sectors are not those of a RAM disk, 512 bytes
 * Q2_ERR_LIMIT        there is too little memory; the fault says how much is free and needed
 * Q2_ERR_IO           the disk cannot be read
 */
enum q2_status mc_ramdisk_fill(struct mc_ramdisk *ramdisk, EFI_HANDLE disk, const char *image,
                               struct q2_fault *fault);

/* Register what was filled, and find its handle.
 *
 * Q2_ERR_UNSUPPORTED  the firmware refuses it
 */
enum q2_status mc_ramdisk_register(struct mc_ramdisk *ramdisk, const char *image,
                                   struct q2_fault *fault, EFI_HANDLE *ret_handle);

/* Unregister it, and wipe and free its memory. If the firmware keeps the RAM disk, the memory stays
 * reserved and a line says so. Does nothing if *ramdisk is zeros. */
void mc_ramdisk_free(struct mc_ramdisk *ramdisk);

#endif
