/* Changing an opened image itself: its size, its backing file, what is allocated in it.
 *
 * Called by tools/; implemented by core/. The disk was opened writable. Calls that need no guest
 * bytes also work on a disk opened with metadata_only, so with files that are missing; each says
 * so. Every call is complete, and durable with everything written before it, when it returns Q2_OK:
 * it flushes. A power cut in its middle leaves an image that opens and has at worst leaked
 * clusters.
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

#endif
