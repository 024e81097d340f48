/* Getting a disk ready for writing.
 *
 * May call the check and the repair. Nothing here is needed by a program that only reads.
 */
#ifndef Q2_CORE_WRITE_OPEN_H
#define Q2_CORE_WRITE_OPEN_H

#include "core/read/disk.h"

/* Judge whether an opened disk may be written, and get ready. A file whose refcounts do not match
 * its references must not be written, because the allocator would hand out clusters in use.
 * (HAZARDS.md, F12, W1, W3, W8)
 *
 * Q2_ERR_CORRUPT      the corrupt bit is set, or the check finds corruption
 * Q2_ERR_UNSUPPORTED  dirty; snapshots beside an external data file; encrypted, and the disk ends
 *                     inside a sector or the external data file is raw
 * Q2_ERR_READ_ONLY    a file is not open for writing, or the disk is a snapshot
 * Q2_ERR_IO           the check cannot read everything
 * or an error of the check
 */
enum q2_status q2_write_prepare(struct q2_disk *disk, const struct q2_disk_options *options);

#endif
