/* Locks on a POSIX file.
 *
 * May call the C library. Each byte below is a statement about the file that any number of programs
 * can make, by a shared lock. A program whose statements contradict those of another one gives up.
 * It makes its statements before it looks for others, so of two programs that start at once at
 * least one sees the other.
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

#define MAX_BYTES 5

/* What one kind of user states, and what contradicts it; 0 ends a list. */
struct lock_kind {
    short statements[MAX_BYTES + 1];
    short contradictions[MAX_BYTES + 1];
};

static const struct lock_kind writer = {
    .statements = {I_DO + TO_READ, I_DO + TO_WRITE, I_DO + TO_RESIZE, NOBODY_ELSE_MAY + TO_WRITE,
                   NOBODY_ELSE_MAY + TO_RESIZE},
    .contradictions = {NOBODY_ELSE_MAY + TO_READ, NOBODY_ELSE_MAY + TO_WRITE,
                       NOBODY_ELSE_MAY + TO_RESIZE, I_DO + TO_WRITE, I_DO + TO_RESIZE},
};

static const struct lock_kind reader = {
    .statements = {I_DO + TO_READ, NOBODY_ELSE_MAY + TO_WRITE, NOBODY_ELSE_MAY + TO_RESIZE},
    .contradictions = {NOBODY_ELSE_MAY + TO_READ, I_DO + TO_WRITE, I_DO + TO_RESIZE},
};

/* One byte of a file; the lock belongs to the open file, not to the process. */
static struct flock byte_at(short type, short at)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

/* Make a statement. false: somebody has an exclusive lock on its byte. A file system without locks
 * gives true. */
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

static enum q2_status lock(int fd, const struct lock_kind *kind)
{
    for (size_t i = 0; kind->statements[i] != 0; i++) {
        if (!state(fd, kind->statements[i]))
            return Q2_ERR_BUSY;
    }
    for (size_t i = 0; kind->contradictions[i] != 0; i++) {
        if (is_stated_by_another(fd, kind->contradictions[i]))
            return Q2_ERR_BUSY;
    }
    return Q2_OK;
}

enum q2_status q2_lock_posix_for_writing(int fd)
{
    return lock(fd, &writer);
}

enum q2_status q2_lock_posix_for_reading(int fd)
{
    return lock(fd, &reader);
}

void q2_lock_posix_release(int fd)
{
    struct flock all = {.l_type = F_UNLCK,
                        .l_whence = SEEK_SET,
                        .l_start = I_DO,
                        .l_len = NOBODY_ELSE_MAY - I_DO + MAX_BYTES};

    (void)fcntl(fd, F_OFD_SETLK, &all);
}
