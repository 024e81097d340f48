/* Preloaded into a program: a read of the file that FAIL_READ names fails if it touches one of the
 * bytes that FAIL_READ_RANGE gives as FIRST-LAST, as on a disk with bad sectors. Part of
 * tests/interop/test_salvage.py. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool is_bad(int fd, off_t offset, size_t length)
{
    const char *path = getenv("FAIL_READ"), *range = getenv("FAIL_READ_RANGE");
    struct stat named, open;
    char *rest;
    off_t first, last;

    if (!path || !range || stat(path, &named) != 0 || fstat(fd, &open) != 0 ||
        named.st_dev != open.st_dev || named.st_ino != open.st_ino)
        return false;
    first = strtol(range, &rest, 10);
    last = strtol(rest + 1, NULL, 10);
    return offset <= last && offset + (off_t)length > first;
}

static ssize_t fail(void)
{
    errno = EIO;
    return -1;
}

ssize_t pread(int fd, void *buffer, size_t length, off_t offset)
{
    return is_bad(fd, offset, length) ? fail() : syscall(SYS_pread64, fd, buffer, length, offset);
}

ssize_t preadv(int fd, const struct iovec *pieces, int nb_pieces, off_t offset)
{
    size_t length = 0;

    for (int i = 0; i < nb_pieces; i++)
        length += pieces[i].iov_len;
    return is_bad(fd, offset, length) ? fail()
                                      : syscall(SYS_preadv, fd, pieces, nb_pieces, offset, 0);
}
