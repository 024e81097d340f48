/* Compressed writes of io. */
#ifndef METALCOW_IO_COMPRESSED_H
#define METALCOW_IO_COMPRESSED_H

#include "q2_disk.h"

/* Store bytes as compressed clusters; those that do not get shorter are stored plain.
 *
 * offset, length  whole clusters, or up to the disk's end
 *
 * Q2_ERR_UNSUPPORTED  a raw image, or one with an external data file; nothing changed
 * Q2_ERR_ARGUMENT     not whole clusters; nothing changed
 * Q2_ERR_LIMIT        out of memory
 * else as q2_disk_write_compressed() and q2_disk_write()
 */
enum q2_status io_write_compressed(struct q2_disk *disk, uint64_t offset, const uint8_t *bytes,
                                   size_t length);

#endif
