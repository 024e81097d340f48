/* From a published disk to the volume that it is started from.
 *
 * The firmware connects only what it boots from, so a program connects what it needs itself
 * (DESIGN.md, 5.3).
 */
#ifndef METALCOW_EFI_CONNECT_H
#define METALCOW_EFI_CONNECT_H

#include <efi.h>

#include "q2_status.h"

/* Let the firmware find partitions and file systems on a disk. */
void mc_connect_disk(EFI_HANDLE disk);

/* Find the volume of a disk that holds a file: EFI system partitions first, then any volume.
 *
 * path  UTF-8, absolute, '/' between components
 *
 * Q2_ERR_NOT_FOUND  no volume on the disk has it; the fault says so
 */
enum q2_status mc_find_on_disk(EFI_HANDLE disk, const char *path, struct q2_fault *fault,
                               EFI_HANDLE *ret_volume);

/* Loaders that were found on a disk. */
#define MC_MAX_LOADERS 16u
struct mc_loaders {
    size_t nb;
    struct {
        EFI_HANDLE volume;
        char path[256];
    } list[MC_MAX_LOADERS];
};

/* Find what a disk is started by when nobody says it: the loader of removable media
 * (MC_ARCH_BOOT_PATH), unless shim's fallback is beside it and one system is on the disk; else what
 * the folders of /EFI on all its volumes hold, one of each folder: shim before GRUB before
 * systemd-boot before bootmgfw.efi, because shim loads the GRUB beside it.
 *
 * Q2_OK             ret_loaders has at least one; the caller starts one alone, and asks about more
 * Q2_ERR_NOT_FOUND  there is none; the fault says so
 * Q2_ERR_LIMIT      more than MC_MAX_LOADERS, or no memory
 */
enum q2_status mc_find_loaders(EFI_HANDLE disk, struct q2_fault *fault,
                               struct mc_loaders *ret_loaders);

#endif
