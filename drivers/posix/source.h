/* A byte source over a file or block device of a POSIX system.
 *
 * Implements include/q2_source.h. The struct is the caller's. It has a file descriptor between open
 * and close.
 */
#ifndef Q2_DRIVERS_SOURCE_POSIX_H
#define Q2_DRIVERS_SOURCE_POSIX_H

#include "q2_limits.h"
#include "q2_source.h"

#define Q2_POSIX_HELD 4u /* bytes that can be held: a magic number */

struct q2_source_posix {
    struct q2_source source;
    int fd;
    unsigned int flags;          /* enum q2_posix_flags */
    uint64_t cached;             /* UNCACHED: bytes moved since leave_cache() */
    uint8_t held[Q2_POSIX_HELD]; /* the first bytes, while they are held */
    char path[Q2_MAX_PATH_LENGTH + 1];
};

enum q2_posix_flags {
    Q2_POSIX_WRITABLE = 1 << 0,      /* read and write; locked (drivers/posix/lock.h) */
    Q2_POSIX_BLOCK_DEVICES = 1 << 1, /* block devices too, not only regular files */
    Q2_POSIX_CREATE = 1 << 2,        /* make the file, which must not exist; implies WRITABLE */
    Q2_POSIX_REPLACE = 1 << 3,       /* with CREATE: empty a regular file that exists, locked */
    Q2_POSIX_STABLE = 1 << 4,        /* without WRITABLE: nobody may write the file meanwhile */
    Q2_POSIX_UNCACHED = 1 << 5,      /* what was moved does not stay in the page cache */
    Q2_POSIX_THROUGH = 1 << 6,       /* a write is durable when it returns */
    Q2_POSIX_NO_FLUSH = 1 << 7,      /* flush() does nothing */
};

/* Open a file by path.
 *
 * path   copied; as a user types it
 * flags  enum q2_posix_flags or 0
 *
 * Q2_ERR_NOT_FOUND  no such file, or a folder on the way is missing
 * Q2_ERR_DENIED     no permission
 * Q2_ERR_NOT_A_FILE a directory, a pipe, a device that flags do not allow
 * Q2_ERR_EXISTS     CREATE without REPLACE: it exists
 * Q2_ERR_READ_ONLY  WRITABLE, and the file can only be read
 * Q2_ERR_BUSY       WRITABLE, and somebody else writes it or relies on it; STABLE, and somebody
 *                   else writes it: metalcow or QEMU (programs that take none of QEMU's locks are
 *                   not noticed)
 * Q2_ERR_BAD_NAME   path longer than Q2_MAX_PATH_LENGTH, or empty
 * Q2_ERR_LIMIT      no file descriptor left
 * Q2_ERR_NO_SPACE   CREATE: no room for a file
 * Q2_ERR_NO_MEDIA   a device without a medium or without a driver
 * Q2_ERR_IO         the device failed
 */
enum q2_status q2_source_posix_open(struct q2_source_posix *file, const char *path,
                                    unsigned int flags);

/* Hold the first bytes of the file back: reads give them, and writes change them in memory only. So
 * a file has no magic number until it is complete. The source has no punch() and truncate() while
 * bytes are held.
 *
 * bytes  what they are
 */
void q2_source_posix_hold(struct q2_source_posix *file, const uint8_t bytes[Q2_POSIX_HELD]);

/* Make all that was written durable, then write the held bytes, durably. Errors as write_at(). */
enum q2_status q2_source_posix_release(struct q2_source_posix *file);

/* Close it. Does not flush. Cannot fail (an error of close() says nothing that flush did not). */
void q2_source_posix_close(struct q2_source_posix *file);

/* What an errno means; Q2_ERR_IO for the ones that the table does not know. */
enum q2_status q2_status_from_errno(int error);

#endif
