/* Files of the firmware's file systems, for what is not on the data path: configuration, keys, the
 * list of a folder, a loader.
 *
 * May call EFI_SIMPLE_FILE_SYSTEM_PROTOCOL and EFI_FILE_PROTOCOL, so it is never used from inside a
 * request. Every file that is opened here is closed before the function returns, but for
 * mc_file_system_open().
 */
#ifndef METALCOW_EFI_FILE_SYSTEM_H
#define METALCOW_EFI_FILE_SYSTEM_H

#include <efi.h>

#include "q2_place.h"

/* Open a file or folder.
 *
 * path      UTF-8, absolute, '/' between components
 * mode      EFI_FILE_MODE_READ, with EFI_FILE_MODE_WRITE or without
 * ret_File  the caller closes it
 *
 * Q2_ERR_BAD_NAME  the path is no UCS-2 text, or there is no memory for it
 * other errors     of the file system: q2_status_from_efi()
 */
enum q2_status mc_file_system_open(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   UINT64 mode, EFI_FILE_PROTOCOL **ret_File);

/* struct q2_place_ops.load and .list, on a file system of the firmware. */
enum q2_status mc_file_system_load(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   void *buffer, size_t *length, struct q2_fault *fault);
enum q2_status mc_file_system_list(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *folder,
                                   struct q2_place_visitor *visitor, struct q2_fault *fault);

/* The same for the folders in a folder, "." and ".." left out. */
enum q2_status mc_file_system_list_folders(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem,
                                           const char *folder, struct q2_place_visitor *visitor,
                                           struct q2_fault *fault);

/* A number for a file whose volume has no number for it: a hash of its path, without the case of
 * ASCII letters. Two names of one file have two numbers, so it is used only where nothing can be
 * written. */
uint64_t mc_file_system_path_id(const char *path);

#endif
