/* Changing an opened image itself: its size, its backing file, what is allocated in it.
 *
 * Implemented by core/write/. The disk was opened writable. Calls that need no guest bytes also
 * work on a disk opened with metadata_only, so with files that are missing; each says so. Every
 * call is complete, and durable with everything written before it, when it returns Q2_OK: it
 * flushes. A power cut in its middle leaves an image that opens and has at worst leaked clusters.
 *
 * Errors of every call, beside its own:
 *   Q2_ERR_READ_ONLY  not opened writable, or latched after a failed metadata write
 *   Q2_ERR_NO_SPACE   the file is full and cannot grow
 *   Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED, Q2_ERR_TRUNCATED, Q2_ERR_BAD_*   as
 *                     q2_disk_write(); a failed flush or write of metadata latches the disk
 */
#ifndef Q2_AMEND_H
#define Q2_AMEND_H

#include "q2_disk.h"

/* Name another backing file in the header, or none.  (qcow2: "Header", bytes 8 to 19, "Backing file
 * format name") Works with metadata_only. Only the header changes: that the new file holds what the
 * image does not is the caller's business (qemu-img rebase -u). The disk keeps reading what it has
 * opened: close it next.
 *
 * file    NUL-terminated, at most Q2_MAX_NAME_LENGTH bytes; NULL or "": no backing file. Not opened
 * format  at most Q2_MAX_FORMAT_LENGTH bytes; NULL or "": none is written. Not without a file
 *
 * Unknown header fields and extensions survive; the names of feature bits go where the first
 * cluster is too small. Bitmaps stay.
 *
 * Q2_ERR_ARGUMENT     names too long or contradicting; a backing file under raw external data
 * Q2_ERR_LIMIT        the first cluster has no room for the names, or none to change them in steps
 *                     of one sector; nothing changed
 * Q2_ERR_UNSUPPORTED  a raw image
 */
enum q2_status q2_disk_set_backing(struct q2_disk *disk, const char *file, const char *format);

/* Would q2_disk_set_backing() refuse these names? Nothing is written: for a caller that brings data
 * into the image first. Arguments and errors as there. */
enum q2_status q2_disk_can_set_backing(struct q2_disk *disk, const char *file, const char *format);

/* Name another data file in the header.  (qcow2: "External data file name string") Works with
 * metadata_only. Only the header changes, the data stays where it is; the disk keeps using what it
 * has opened.
 *
 * name  NUL-terminated, at most Q2_MAX_NAME_LENGTH bytes; NULL or "": no name, opening needs one
 *       from the caller then
 *
 * Q2_ERR_UNSUPPORTED  the image has no external data file
 * Q2_ERR_ARGUMENT, Q2_ERR_LIMIT   as q2_disk_set_backing()
 */
enum q2_status q2_disk_set_data_file(struct q2_disk *disk, const char *name);

/* Say whether the external data file is raw: whether it reads as the disk, without the image.
 * (qcow2: "Header", bytes 88 to 95, bit 1) Works with metadata_only. Only the header changes. This
 * can only be turned off: the data of another image may be anywhere in its file.
 *
 * Q2_ERR_UNSUPPORTED  a raw image; raw is true and the data file is not raw; nothing changed
 */
enum q2_status q2_disk_set_raw_external_data(struct q2_disk *disk, bool raw);

/* Say whether refcounts may be written late.  (qcow2: "Header", bytes 80 to 87) Works with
 * metadata_only. Programs that heed it write the dirty bit and leave refcounts for later.
 *
 * Q2_ERR_UNSUPPORTED  a raw image; version 2, which has no such bit; nothing changed
 */
enum q2_status q2_disk_set_lazy_refcounts(struct q2_disk *disk, bool lazy);

/* What an image is to be from now on. Zeros change nothing. */
struct q2_format_change {
    uint32_t version;       /* 2 or 3 (compat=0.10 and 1.1); 0: as it is */
    uint32_t refcount_bits; /* 1, 2, 4, 8, 16, 32 or 64; 0: as it is */
    bool set_lazy;          /* lazy_refcounts below counts */
    bool lazy_refcounts;
    uint64_t disk_size; /* bytes that the disk has by then, for q2_disk_can_change_format(): the
                           caller changes it before; 0: as it is */
};

/* Give the image another version of the format, another width of refcounts, lazy refcounts or
 * exact ones.  (qcow2: "Header", version, refcount_order; "Host cluster management") Works with
 * metadata_only. No guest byte changes, in no state.
 *
 * Version 3 demands data of snapshots that version 2 may leave out; it is added. Version 2 has
 * refcounts of 16 bits, no lazy refcounts (they are turned off), no feature bits, and no zero
 * clusters: those become unallocated where the image has no backing file, else clusters of zeros.
 * Another width writes all refcounts anew, after the clusters in use, and gives back the old ones.
 *
 * Each step becomes true by the write of one sector of the header. A power cut leaves the image
 * before or after a step, with at worst leaked clusters.
 *
 * Q2_ERR_ARGUMENT     a version or a width that does not exist, or that do not go together
 * Q2_ERR_UNSUPPORTED  a raw image; a cluster with more references than the new width can count;
 *                     version 2 and what it does not have: an external data file, extended L2
 *                     entries, zstd, bitmaps, snapshots of another size than the disk's or with a
 *                     VM state of 4 GiB or more, zero clusters in an encrypted image with a backing
 *                     file
 * Q2_ERR_LIMIT        the first cluster has no room for the other header; the refcount table would
 *                     be too long. Nothing changed after any of these
 * Q2_ERR_NO_SPACE     steps that were complete stay
 */
enum q2_status q2_disk_change_format(struct q2_disk *disk, const struct q2_format_change *change);

/* Would q2_disk_change_format() refuse? Nothing is written. Errors as there. */
enum q2_status q2_disk_can_change_format(struct q2_disk *disk,
                                         const struct q2_format_change *change);

/* Change the disk's size.  (qcow2: "Header", bytes 24 to 31 and 36 to 47) New bytes read as zeros,
 * whatever is stored past the old end: a longer backing file, clusters of a VM state, the rest of
 * the last cluster. But a raw external data file is the disk: it keeps its bytes, and what it holds
 * past the old end is on the disk then. What is stored past a new end is given back, as discard
 * does, and the free end of the image file is cut off. An external data file grows with the disk.
 * When the disk shrinks, the caller cuts it, after q2_disk_close().
 *
 * new_size    bytes, a multiple of 512, <= 2^62
 * may_shrink  the caller knows that data past new_size is lost
 *
 * As with other writes dirty bitmaps lose their validity (O7). Snapshots keep their own size.
 *
 * Q2_ERR_ARGUMENT     not a multiple of 512, or smaller without may_shrink
 * Q2_ERR_LIMIT        over 2^62, or a larger L1 table than Q2_MAX_L1_ENTRIES
 * Q2_ERR_UNSUPPORTED  a raw image; version 2 with snapshots, which have no size of their own; 0
 *                     bytes beside bitmaps, whose tables would have no entries
 * Q2_ERR_NOT_OPEN     opened with metadata_only
 * After an error in the middle the disk has its old size. If it was to shrink, what is past the new
 * size may be unallocated already.
 */
enum q2_status q2_disk_resize(struct q2_disk *disk, uint64_t new_size, bool may_shrink);

/* Would q2_disk_resize() refuse? Nothing is written. Arguments and errors as there.
 *
 * version  of the format that the image has by then; 0: the one that it has
 */
enum q2_status q2_disk_can_resize(struct q2_disk *disk, uint64_t new_size, bool may_shrink,
                                  uint32_t version);

/* Make every guest cluster unallocated: an overlay shows its backing file again, other images read
 * as zeros. For an overlay whose content was committed into its backing file: that one must be
 * flushed before. Works with metadata_only. A cut in the middle leaves each L2 table as it was or
 * gone. External data files keep their bytes.
 *
 * Q2_ERR_UNSUPPORTED  a raw image, or raw external data, which would have to be overwritten
 */
enum q2_status q2_disk_make_empty(struct q2_disk *disk);

/* Allocate host clusters for guest bytes without changing what they read as, so that writing there
 * needs no metadata later. (qemu-img's preallocation=metadata; with write_zeros =full. For =falloc
 * the caller lets the file system allocate the file's blocks when this is done.) Clusters that have
 * a place already, compressed ones too, are left alone.
 *
 * offset, length  bytes; whole clusters that the range touches are allocated
 * write_zeros     write zeros to all that is new; else only where the file's bytes may be others
 *
 * Q2_ERR_UNSUPPORTED  raw or encrypted images; a backing file that shows through, unless the image
 *                     has extended L2 entries (qcow2: "Extended L2 Entries")
 * Q2_ERR_RANGE, Q2_ERR_NOT_OPEN   as q2_disk_write()
 * After Q2_ERR_NO_SPACE the clusters before the one that found none are allocated.
 */
enum q2_status q2_disk_preallocate(struct q2_disk *disk, uint64_t offset, uint64_t length,
                                   bool write_zeros);

#endif
