/* Locks on a POSIX file that QEMU and qemu-img understand.
 *
 * An image that a virtual machine or qemu-img has open for writing is refused, and so is one that
 * they rely on not to change (a backing file, an image being copied) when it is to be written; they
 * refuse what is locked here.
 */
#ifndef Q2_DRIVERS_LOCK_POSIX_H
#define Q2_DRIVERS_LOCK_POSIX_H

#include "q2_status.h"

/* Lock an open file for writing, until its descriptor is closed or q2_lock_posix_release().
 * Never waits.
 *
 * fd  open for reading and writing, not shared with another process
 *
 * Q2_OK        it is locked, or its file system has no locks
 * Q2_ERR_BUSY  somebody else writes it or relies on it; what was locked is free again once fd is
 *              closed
 */
enum q2_status q2_lock_posix_for_writing(int fd);

/* The same for reading: nobody may write the file meanwhile, others may read it.
 *
 * fd  open for reading
 * Q2_ERR_BUSY  somebody else writes it, or allows nobody to read it
 */
enum q2_status q2_lock_posix_for_reading(int fd);

/* Take every lock of this descriptor back. */
void q2_lock_posix_release(int fd);

#endif
