/* What erasing means for a disk: its bytes read as zeros, and what can be given back is.
 *
 * Made of q2_disk_discard(), q2_disk_map() and q2_disk_write_zeroes(), so that every format does
 * what it can: clusters inside the range are given back, and what does not read as zeros after that
 * (parts of clusters, raw images, version 2 with a backing file) is made zeros.
 */
#ifndef Q2_DRIVERS_ERASE_H
#define Q2_DRIVERS_ERASE_H

#include "q2_disk.h"

/* Erase guest bytes; range and errors as in q2_disk_write(). After an error each block of the range
 * reads as before or as zeros. */
enum q2_status q2_disk_erase(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Bytes, at a multiple of their number, that are erased by a change of metadata alone; 1: a raw
 * image, which writes zeros. */
uint64_t q2_disk_erase_granule(const struct q2_disk *disk);

#endif
