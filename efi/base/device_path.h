/* Device paths: of our disks, of files, and what can be read from them.  (UEFI 2.10, 10.3)
 *
 * The functions look at the nodes' bytes, and some allocate. They trust a device path of the
 * firmware to be well-formed.
 */
#ifndef METALCOW_EFI_DEVICE_PATH_H
#define METALCOW_EFI_DEVICE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include <efi.h>

/* Bytes of a path, its end node included. */
size_t mc_device_path_size(const EFI_DEVICE_PATH *path);

/* A file on a volume: the volume's path, then the file's path node, in pool memory.
 *
 * file  UTF-8, '/' between components
 * NULL  no memory, or a name that UCS-2 cannot say
 */
EFI_DEVICE_PATH *mc_device_path_file(const EFI_DEVICE_PATH *volume, const char *file);

/* A disk of ours: the host volume's path, the image's path node, our vendor node, in pool memory.
 *
 * instance  0 to 255; a number for each time that the same image is attached, so that paths differ
 * NULL      as mc_device_path_file()
 */
EFI_DEVICE_PATH *mc_device_path_disk(const EFI_DEVICE_PATH *volume, const char *image,
                                     unsigned int instance);

/* How many disks of ours a path goes through: 0 outside, 1 on a disk of ours, 2 on a disk whose
 * image is stored on a disk of ours. */
unsigned int mc_device_path_depth(const EFI_DEVICE_PATH *path);

/* Bytes of the two nodes that a disk of ours adds to its volume's path, if a path begins with them:
 * file path node, vendor node; else 0. What follows them does not matter. */
size_t mc_device_path_child_size(const EFI_DEVICE_PATH *path);

/* Does a path that goes on from a volume begin with the disk of ours that has this path?
 *
 * volume     its path
 * disk       a disk's path; need not be of this volume
 * remaining  the path that goes on
 */
bool mc_device_path_is_child(const EFI_DEVICE_PATH *volume, const EFI_DEVICE_PATH *disk,
                             const EFI_DEVICE_PATH *remaining);

/* Is a path that of the device, or below it? */
bool mc_device_path_below(const EFI_DEVICE_PATH *device, const EFI_DEVICE_PATH *path);

/* The file's path in a device path's file path nodes, from node to its end: UTF-8 in pool memory,
 * "/" if there are none; NULL: another kind of node, or no memory. */
char *mc_device_path_to_file(const EFI_DEVICE_PATH *node);

#endif
