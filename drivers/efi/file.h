/* A byte source over an open file of the firmware's file system.
 *
 * For firmware. It has two uses: checking an extent map at attach (q2_extents_verify()),
 * and files on volumes that are not FAT. Implements include/q2_source.h.
 *
 * MUST NOT be called from inside Block I/O when the file is stored on a FAT volume: EDK2's FAT
 * driver has one lock for all volumes that does not nest, and a FAT partition inside our disk reads
 * through us while it is held (DESIGN.md, 4.1; HAZARDS.md, U1).
 *
 * The position of the handle belongs to the source. On EDK2's FAT a backward seek walks the cluster
 * chain from the start, so whoever reads should go forward in large pieces.
 */
#ifndef Q2_DRIVERS_SOURCE_EFI_FILE_H
#define Q2_DRIVERS_SOURCE_EFI_FILE_H

#include <efi.h>

#include "q2_source.h"

struct q2_source_efi_file {
    struct q2_source source;
    EFI_FILE_PROTOCOL *File;
    enum q2_status gone; /* as in drivers/efi/disk_io.h */
};

/* What the firmware does not say of a file. */
struct q2_efi_file {
    EFI_FILE_PROTOCOL *File; /* open, no directory; the caller closes it after the last call */
    const char *path;        /* UTF-8, '/' between components; not copied */
    uint64_t identity[2];    /* of struct q2_source */
    bool writable;           /* opened with EFI_FILE_MODE_WRITE */
};

/* Make a source; the size is asked by seeking to the end.
 *
 * Q2_ERR_NOT_A_FILE  a directory (it has no end to seek to)
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the file system failed
 */
enum q2_status q2_source_efi_file_init(struct q2_source_efi_file *efi_file,
                                       const struct q2_efi_file *file);

#endif
