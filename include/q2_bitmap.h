/* Persistent dirty bitmaps: reading, changing and keeping them.  (qcow2: "Bitmaps")
 *
 * Implemented by core/read/bitmap_bits.c and core/write/bitmap_*.c. All of it is about the top
 * image's active state, and works with metadata_only.
 *
 * A disk that was opened with options.keep_bitmaps records guest writes in every bitmap that has
 * the flag auto ("enabled"). Before the first write such a bitmap is marked as in use, durably; its
 * new bits are written with other metadata; q2_disk_bitmaps_store() takes the mark away. What
 * happens in between (a power cut, a program that ends without that call) leaves the mark, which
 * makes the bitmap inconsistent for everybody. Calls that change bitmaps store them first, and are
 * complete and durable when they return Q2_OK.
 *
 * Errors of every call that changes something, beside its own:
 *   Q2_ERR_READ_ONLY    not opened writable, or latched after a failed metadata write
 *   Q2_ERR_UNSUPPORTED  raw, or version 2
 *   Q2_ERR_NO_SPACE     the file is full and cannot grow
 *   Q2_ERR_BAD_BITMAP   directory or table are malformed, or shared with something else
 *   Q2_ERR_IO, Q2_ERR_TRUNCATED ...   a failed flush or write of metadata latches the disk
 */
#ifndef Q2_BITMAP_H
#define Q2_BITMAP_H

#include "q2_disk.h"

/* Bounds of a bitmap's granularity, log2 of bytes; as QEMU. */
#define Q2_MIN_GRANULARITY_BITS 9u
#define Q2_MAX_GRANULARITY_BITS 31u

/* Name of a bitmap: 1..this many bytes. */
#define Q2_MAX_BITMAP_NAME 1023u

/* Are the bitmaps of the top image valid? False: there are none, or a program that knows no bitmaps
 * has written the image (autoclear bit Q2_AUTOCLEAR_BITMAPS). */
bool q2_disk_has_bitmaps(const struct q2_disk *disk);

/* Find a bitmap by its name, a string.
 *
 * Q2_ERR_ARGUMENT  no valid bitmap has this name
 * Q2_ERR_BAD_BITMAP, Q2_ERR_LIMIT, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_disk_bitmap_find(struct q2_disk *disk, const char *name,
                                   struct q2_bitmap *ret_bitmap);

/* Find the next run of dirty guest bytes.
 *
 * from        guest bytes; looked at from the granule that holds it; at or past the disk's end
 *             nothing is dirty
 * ret_offset  guest bytes, where a granule starts
 * ret_length  bytes, cut at the disk's end; 0: nothing is dirty from there on
 *
 * Q2_ERR_BAD_BITMAP  the table is too short for the disk, or an entry breaks the specification
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_disk_bitmap_dirty(struct q2_disk *disk, const struct q2_bitmap *bitmap,
                                    uint64_t from, uint64_t *ret_offset, uint64_t *ret_length);

/* Add a bitmap in which nothing is dirty.
 *
 * name              NUL-terminated, 1..Q2_MAX_BITMAP_NAME bytes
 * granularity_bits  Q2_MIN_GRANULARITY_BITS..Q2_MAX_GRANULARITY_BITS; 0: the cluster's size, but 4
 *                   KiB at least and 64 KiB at most
 * enabled           it records writes
 *
 * Q2_ERR_ARGUMENT  a bad name or granularity, or the name is in use; a disk of 0 bytes
 * Q2_ERR_LIMIT     too many bitmaps; the directory, or this bitmap, would be too large
 */
enum q2_status q2_disk_bitmap_add(struct q2_disk *disk, const char *name, uint32_t granularity_bits,
                                  bool enabled);

/* Remove a bitmap, also an inconsistent one, and give its clusters back.
 *
 * Q2_ERR_ARGUMENT  no such bitmap
 */
enum q2_status q2_disk_bitmap_remove(struct q2_disk *disk, const char *name);

/* The calls below refuse a bitmap that is in use.
 *
 * Q2_ERR_ARGUMENT  no such bitmap
 * Q2_ERR_BUSY      it is in use, so inconsistent; nothing changed
 */

/* Make every granule clean, and give clusters back. After an error that comes while it is changed
 * the bitmap stays in use. */
enum q2_status q2_disk_bitmap_clear(struct q2_disk *disk, const char *name);

/* Have a bitmap record writes from now on, or not. */
enum q2_status q2_disk_bitmap_enable(struct q2_disk *disk, const char *name, bool enabled);

/* Mark guest bytes as dirty. The bitmap stays in use until q2_disk_bitmaps_store().
 *
 * bitmap          as q2_disk_bitmap_find() gave it; nothing but this call has changed it since
 * offset, length  cut at the disk's end
 *
 * Q2_ERR_LIMIT  too many bitmaps are changed at once: store them first
 * After any other error what was dirty still is, more may be, and the bitmap stays in use.
 */
enum q2_status q2_disk_bitmap_mark(struct q2_disk *disk, const struct q2_bitmap *bitmap,
                                   uint64_t offset, uint64_t length);

/* Flush the disk and take the mark "in use" away from every bitmap that this disk keeps up to date.
 * To be called before q2_disk_close(); the disk may be written again after it. Q2_OK, and nothing
 * done, if no bitmap is kept.
 *
 * After an error the bitmaps stay in use; q2_disk_nb_bitmaps_lost() counts them.
 */
enum q2_status q2_disk_bitmaps_store(struct q2_disk *disk);

#endif
