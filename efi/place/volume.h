/* A volume, and its files as byte sources.  (DESIGN.md, 4)
 *
 * Called at attach: by attach.c, opener.c, entries.c and the commands. On a FAT volume a file is
 * read below the file system, through its extent map: nothing of the file system may be called from
 * inside Block I/O there. A FAT file without a trustworthy map is read into memory, or refused with
 * the reason. On other file systems the file itself is read.
 */
#ifndef METALCOW_EFI_VOLUME_H
#define METALCOW_EFI_VOLUME_H

#include <efi.h>

#include "core/fs/fat_path.h"
#include "core/fs/fat_volume.h"
#include "drivers/efi/disk_io.h"
#include "drivers/efi/file.h"
#include "drivers/memory/extents.h"
#include "drivers/memory/source.h"

/* A FAT file without an extent map is held in memory up to this size. Larger ones are refused:
 * firmware has the memory, but reading them takes longer than a person waits without a word. */
#define MC_MAX_FILE_IN_MEMORY (64u * 1024 * 1024)

/* One volume. Does not move while it is open: its files point into it. */
struct mc_volume {
    EFI_HANDLE handle;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem;
    struct q2_source_efi_disk_io device; /* if is_fat */
    struct q2_fat_volume fat;            /* if doubt.status is Q2_OK */
    bool is_fat;
    struct q2_fault doubt; /* why no extent map of a FAT volume is trusted */
    uint32_t io_align;     /* of its device, 0 if unknown */
};

enum mc_file_way {
    MC_FILE_BY_EXTENTS,
    MC_FILE_IN_MEMORY,
    MC_FILE_BY_FILE_SYSTEM,
};

/* One open file. The source comes first, so that a source leads back to its file. */
struct mc_file {
    union {
        struct q2_source source;
        struct q2_source_extents extents;
        struct q2_source_memory memory;
        struct q2_source_efi_file file;
    } as;
    enum mc_file_way way;
    struct q2_file_extent *map; /* BY_EXTENTS: pool memory */
    size_t nb_extents;
    uint64_t file_size;      /* if writable: as the file system should have it */
    void *memory;            /* IN_MEMORY: pages */
    EFI_FILE_PROTOCOL *File; /* BY_FILE_SYSTEM, if writable, and during mc_file_open() */
    struct q2_fault doubt;   /* IN_MEMORY: why there is no map */
    char *path;              /* pool memory */
};

/* Open a volume. Nothing is to be given back: it holds no handle between two calls.
 *
 * Q2_ERR_UNSUPPORTED  no file system on the handle
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED
 */
enum q2_status mc_volume_open(EFI_HANDLE handle, struct q2_fault *fault,
                              struct mc_volume *ret_volume);

/* Open a file by path.
 *
 * path      UTF-8, absolute on the volume, either separator
 * writable  on a FAT volume only, and only with a trustworthy extent map
 * fault     filled on any error
 * ret_file  pool memory, until mc_file_close()
 *
 * Q2_ERR_NOT_FOUND, Q2_ERR_DENIED (a directory), Q2_ERR_BAD_NAME
 * Q2_ERR_BAD_VOLUME, Q2_ERR_LIMIT   no trustworthy extent map, and too large for memory; the fault
 *                                   says why there is no map
 * Q2_ERR_READ_ONLY, Q2_ERR_UNSUPPORTED   it cannot be written: file or volume, not a FAT volume
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED
 */
enum q2_status mc_file_open(struct mc_volume *volume, const char *path, bool writable,
                            struct q2_fault *fault, struct mc_file **ret_file);

void mc_file_close(struct mc_file *file);

/* Where a file of a FAT volume lies now. */
struct mc_map {
    struct q2_file_extent *extents; /* pool memory */
    size_t nb;
    struct q2_fat_file file;
};

/* Map a file that is open through the file system (file->File), and verify the map.
 *
 * writable  check it to the file's end; else only where the file system gets to soon
 * ret_map  set on Q2_OK; the extents are the caller's
 *
 * Q2_ERR_BAD_VOLUME, Q2_ERR_LIMIT, Q2_ERR_IO ...   no trustworthy map
 */
enum q2_status mc_map_make(struct mc_volume *volume, struct mc_file *file, bool writable,
                           struct q2_fault *fault, struct mc_map *ret_map);

/* Open a file or folder through the file system; for what is not on the data path.
 *
 * path      UTF-8, absolute, '/' between components
 * ret_File  the caller closes it
 *
 * Q2_ERR_NOT_FOUND, Q2_ERR_BAD_NAME, Q2_ERR_LIMIT (no memory), Q2_ERR_IO ...
 */
enum q2_status mc_file_system_open(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   EFI_FILE_PROTOCOL **ret_File);

/* Read a small file through the file system.
 *
 * path     UTF-8, absolute, '/' between components
 * fault    filled on any error
 * *length  bytes of room in buffer; then bytes read: fewer if the file is shorter
 *
 * Q2_ERR_DENIED (a directory), and the errors of mc_file_system_open()
 */
enum q2_status mc_file_system_read(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem, const char *path,
                                   void *buffer, size_t *length, struct q2_fault *fault);

#endif
