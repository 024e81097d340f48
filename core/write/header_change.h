/* Changing the header of an image that is open.  (qcow2: "Header", "Header extensions") */
#ifndef Q2_CORE_HEADER_CHANGE_H
#define Q2_CORE_HEADER_CHANGE_H

#include "core/format/header_write.h"
#include "core/read/disk.h"

/* The names that the header shall have from now on; "" for none. */
struct q2_header_names {
    const char *backing_file, *backing_format, *data_file;
};

/* Rewrite the header cluster with these names, durably. Header fields and extensions that are not
 * names stay as they are, known or not. Whatever write is the last before a power cut, the header
 * is whole: with the old names or with the new ones.
 *
 * Q2_ERR_LIMIT  no room in the first cluster; nothing changed
 * Q2_ERR_IO ... the disk is latched
 */
enum q2_status q2_header_change(struct q2_disk *disk, const struct q2_header_names *names);

/* Would q2_header_change() refuse these names? Nothing is written, so that a refusal comes before
 * any other change. Errors as there. */
enum q2_status q2_header_can_change(struct q2_disk *disk, const struct q2_header_names *names);

/* The same for q2_header_set_bitmaps() with at least one bitmap. */
enum q2_status q2_header_can_name_bitmaps(struct q2_disk *disk);

/* Have the header name another bitmap directory, or none, in the same way.  (qcow2: "Bitmaps
 * extension") The autoclear bit of bitmaps follows. The directory is complete and counted, durably.
 *
 * nb  bitmaps; 0: the extension goes
 *
 * Errors as q2_header_change()
 */
enum q2_status q2_header_set_bitmaps(struct q2_disk *disk, uint64_t offset, uint64_t length,
                                     uint32_t nb);

/* Rewrite the header cluster as one of version 2 or 3, in the same way. The caller has seen to it
 * that the image holds nothing that the version does not have, and nothing waits. Feature bits are
 * all clear afterwards, and refcounts have 16 bits. The names of feature bits are written for
 * version 3 if there is room; a list of bitmaps goes, because version 2 has no bit that makes it
 * valid. Header fields past those that we know go, too.
 *
 * version  2 or 3, and not the one in force
 *
 * Errors as q2_header_change()
 */
enum q2_status q2_header_set_version(struct q2_disk *disk, uint32_t version);

/* Would that be refused? Nothing is written. */
enum q2_status q2_header_can_set_version(struct q2_disk *disk, uint32_t version);

/* Change fields of the header, durably, after all that waits is durable: what the fields name is
 * then complete and counted. On Q2_OK *header is the header in force; what else is derived from it
 * is the caller's to change.
 *
 * header          the header as it is to be; only the fields of the range differ from the one in
 *                 force
 * offset, length  Q2_HEADER_FIELDS(), in one sector
 *
 * Q2_ERR_IO ...  the disk is latched
 */
enum q2_status q2_header_set(struct q2_disk *disk, const struct q2_header *header, size_t offset,
                             size_t length);

#endif
