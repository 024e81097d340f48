/* The lock of a writer on a POSIX file.
 *
 * May call the C library. Each byte below is a statement about the file, and any number of programs
 * can make it by a shared lock. A program whose statement contradicts another's withdraws. Each
 * program first makes its statements and then looks for those of others, so of two programs that
 * start at the same time at least one sees the other.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

/* QEMU's bytes: 100 + n, "I do n"; 200 + n, "nobody else may do n". */
#define I_DO            100
#define NOBODY_ELSE_MAY 200
enum {
    TO_READ = 0,
    TO_WRITE = 1,
    TO_RESIZE = 3
};

/* What a writer states. */
static const short statements[] = {
    I_DO + TO_READ,
    I_DO + TO_WRITE,
    I_DO + TO_RESIZE,
    NOBODY_ELSE_MAY + TO_WRITE,
    NOBODY_ELSE_MAY + TO_RESIZE,
};

/* What contradicts it. */
static const short contradictions[] = {
    NOBODY_ELSE_MAY + TO_READ, NOBODY_ELSE_MAY + TO_WRITE, NOBODY_ELSE_MAY + TO_RESIZE,
    I_DO + TO_WRITE,           I_DO + TO_RESIZE,
};

/* One byte of a file; the lock belongs to the open file, not to the process. */
static struct flock byte_at(short type, short at)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

/* false: somebody has the byte to himself. A file system without locks says yes to all. */
static bool state(int fd, short at)
{
    struct flock lock = byte_at(F_RDLCK, at);

    while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EINTR)
            return errno != EAGAIN && errno != EACCES;
    }
    return true;
}

static bool is_stated_by_another(int fd, short at)
{
    struct flock lock = byte_at(F_WRLCK, at);

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

enum q2_status q2_lock_posix_for_writing(int fd)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (!state(fd, statements[i]))
            return Q2_ERR_BUSY;
    }
    for (size_t i = 0; i < sizeof(contradictions) / sizeof(contradictions[0]); i++) {
        if (is_stated_by_another(fd, contradictions[i]))
            return Q2_ERR_BUSY;
    }
    return Q2_OK;
}
