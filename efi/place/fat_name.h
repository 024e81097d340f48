/* Names on FAT volumes as the firmware's driver takes them.
 *
 * Pure functions on text, tested on the host.
 */
#ifndef METALCOW_EFI_FAT_NAME_H
#define METALCOW_EFI_FAT_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Bring a path into the form that names each file in one way only.
 *
 * EDK2's driver drops blanks at both ends of a component and dots at its end, so "disk.qcow2." and
 * "disk.qcow2 " are disk.qcow2, and ".. " is the folder above. Letters keep their case.
 *
 * path      UTF-8, either separator
 * ret_path  size bytes, >= 2; on true absolute with '/' between components, no "." and no "..";
 *           must not overlap path
 * returns   false: ".." leaves the volume, a component is made of dots only, or there is no room
 */
bool mc_fat_path_clean(const char *path, char *ret_path, size_t size);

#endif
