/* EFI_BLOCK_IO2_PROTOCOL of a disk.  (UEFI 2.10, 13.10)
 *
 * A second face of the requests of block_io.h, with the same Media structure and the same order of
 * checks. A call that finds something wrong with its parameters says so itself, with or without an
 * event, and leaves the token alone; an accepted token is signalled once, after TransactionStatus
 * was written. Without a token, or with one that has no event, the call is a blocking one.
 */
#ifndef Q2_DRIVERS_BLOCK_IO2_H
#define Q2_DRIVERS_BLOCK_IO2_H

#include "block_io.h"

/* The caller's memory; it must not move while the protocol is installed. */
struct q2_block_io2 {
    EFI_BLOCK_IO2_PROTOCOL protocol; /* first: the protocol's address is this struct's */
    struct q2_block_io *block_io;
};

/* Make the protocol of a disk whose Block I/O is made; nothing is installed. */
void q2_block_io2_init(struct q2_block_io2 *block_io2, struct q2_block_io *block_io);

#endif
