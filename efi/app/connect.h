/* From a published disk to the volume that it is started from.
 *
 * Called by commands. The firmware connects only what it boots from, so a program connects what it
 * needs itself (DESIGN.md, 5.3).
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

#endif
