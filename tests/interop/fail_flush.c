/* Preloaded into a program: fdatasync() of the file that FAIL_FLUSH names fails, as on a disk that
 * has lost what it had taken. Part of tests/interop/test_data_file.py. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const char *path = getenv("FAIL_FLUSH");
    struct stat named, open;

    if (path && stat(path, &named) == 0 && fstat(fd, &open) == 0 && named.st_dev == open.st_dev &&
        named.st_ino == open.st_ino) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}
