/* Erasing guest bytes: they read as zeros afterwards, and clusters inside the range are freed.
 *
 * May call q2_disk_discard(), q2_disk_map() and q2_disk_write_zeroes(). Every format does what it
 * can: what does not read as zeros after the discard (parts of clusters, raw images, version 2 with
 * a backing file) is made zeros.
 */
#ifndef Q2_DRIVERS_ERASE_H
#define Q2_DRIVERS_ERASE_H

#include "q2_disk.h"

/* Erase guest bytes; range and errors as in q2_disk_write(). After an error each block of the range
 * reads as before or as zeros. */
enum q2_status q2_disk_erase(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* The unit that is erased by a change of metadata alone, in bytes and aligned to its size:
 * q2_header_unit(). 1: a raw image, which writes zeros. */
uint64_t q2_disk_erase_granule(const struct q2_disk *disk);

#endif
