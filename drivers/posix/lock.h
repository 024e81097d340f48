/* The lock of a writer on a POSIX file, in the language of QEMU's image locks.
 *
 * An image that a virtual machine or qemu-img has open for
 * writing is refused, and so is one that they rely on not to change (a backing file, an image being
 * copied); they refuse what is locked here.
 */
#ifndef Q2_DRIVERS_LOCK_POSIX_H
#define Q2_DRIVERS_LOCK_POSIX_H

#include "q2_status.h"

/* Lock an open file for writing, until its descriptor is closed. Never waits.
 *
 * fd  open for reading and writing, not shared with another process
 *
 * Q2_OK        it is locked, or its file system has no locks (no reason not to work there)
 * Q2_ERR_BUSY  somebody else writes it or relies on it; what was locked is free again once fd is
 *              closed
 */
enum q2_status q2_lock_posix_for_writing(int fd);

#endif
