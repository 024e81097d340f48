/* Changing the header of an image that lives.
 *
 * Called by core/write/amend.c and snapshot_write.c. (qcow2: "Header", "Header extensions")
 */
#ifndef Q2_CORE_HEADER_CHANGE_H
#define Q2_CORE_HEADER_CHANGE_H

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

/* Change fields of the header that lie in one sector, durably, once all that waits is: what they
 * name is complete and counted then. The decoded header is the caller's.
 *
 * Q2_ERR_IO ...  the disk is latched
 */
enum q2_status q2_header_set(struct q2_disk *disk, uint64_t offset, const void *fields,
                             size_t length);

#endif
