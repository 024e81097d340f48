/* An image in a place, opened: everything below one published disk.
 *
 * mc_image_open() gets memory and opens files, and mc_image_close() gives them back. May call the
 * place and the engine, outside of requests only.
 */
#ifndef METALCOW_EFI_ATTACH_H
#define METALCOW_EFI_ATTACH_H

#include "drivers/efi/block_io.h"
#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "efi/base/control.h"
#include "opener.h"
#include "overlay.h"
#include "unlock.h"

/* Files and engine of one image. Does not move while it is open. */
struct mc_image {
    EFI_HANDLE volume; /* the handle of its place */
    struct mc_opener opener;
    struct q2_place_file *file; /* the image itself */
    struct q2_codec_zlib zlib;
    struct q2_codec_zstd zstd;
    struct mc_unlock unlock;
    void *workspace; /* pages */
    struct q2_disk *disk;
    enum mc_mode mode;
    struct mc_overlay overlay; /* in MC_MODE_OVERLAY */
    uint32_t sector_size;      /* as said; 0: as the partition table shows */
    uint64_t room;             /* MC_MODE_READ_WRITE: what is asked for, bytes */
    uint64_t growth;           /* bytes that new clusters can take at most, without tables;
                                  UINT64_MAX: not known */
    bool no_more_room;         /* making room has failed, so it is not tried again */
    bool needs_repair; /* MC_MODE_READ_WRITE: it was not closed cleanly. It is open for reading, and
                          mc_image_repair() comes before anything is written */
};

/* Open an image.
 *
 * volume         a handle of the place that has all files of the image
 * metadata_only  open the image's file alone, for looking at it; spec->mode is ignored then
 * fault          filled on any error
 * ret_image      pages, until mc_image_close()
 *
 * Q2_ERR_UNSUPPORTED  the handle is no place; mode rw on a volume that is not FAT
 * Q2_ERR_DENIED       a file has not the SHA-256 that spec->sums says
 * Q2_ERR_LIMIT        no memory
 * other errors        of q2_disk_open(), mc_unlock_init(), mc_overlay_make() and of
 *                     struct q2_place_ops.open_file
 */
enum q2_status mc_image_open(EFI_HANDLE volume, const struct mc_disk_spec *spec, bool metadata_only,
                             struct q2_fault *fault, struct mc_image **ret_image);

/* Repair an image that needs it, and open it for writing.  (qcow2: "Header", "dirty bit")
 *
 * spec  what it was opened with. Nobody is asked for a passphrase again
 *
 * Q2_ERR_NO_SPACE ...  as q2_disk_repair() and mc_image_open(); the image can only be closed then.
 *                      What the repair had written by then is sound */
enum q2_status mc_image_repair(struct mc_image *image, const struct mc_disk_spec *spec,
                               struct q2_fault *fault);

/* Open the image's file alone for q2_disk_repair(), whatever is wrong with it. Otherwise as
 * mc_image_open(). */
enum q2_status mc_image_open_damaged(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                     struct q2_fault *fault, struct mc_image **ret_image);

/* The files that are written, the image first; returns how many, 0 to 2. */
size_t mc_image_written_files(const struct mc_image *image, struct q2_place_file *ret_files[2]);

/* The size of the disk's sectors, 512 or 4096: as was said, else 4096 if a GUID partition table is
 * at byte 4096 of the disk and none at byte 512. */
uint32_t mc_image_sector_size(const struct mc_image *image);

void mc_image_close(struct mc_image *image);

/* Are all data clusters of the image inside their files?  So a copy that broke off is reported at
 * attach, and not by a loader that finds its file damaged. The first 65536 extents of the disk are
 * looked at.
 *
 * Q2_ERR_TRUNCATED  a cluster is not; the fault names the file and its size
 * Other errors are not reported, because one damaged place does not make the rest of a disk
 * unusable.
 *
 * Sets image->growth if these were all.
 */
enum q2_status mc_image_check_files(struct mc_image *image, struct q2_fault *fault);

#endif
