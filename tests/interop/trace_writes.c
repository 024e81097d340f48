/* Preloaded below metalcow: writes each pwrite() and fdatasync() that succeeds, with the file's
 * name, as a line into the file that TRACE_WRITES names. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* By the C library's own names of what the program calls with 64-bit offsets. */
ssize_t pwrite64(int fd, const void *buffer, size_t length, off_t offset);
int fdatasync(int fd);

static void note(const char *call, int fd)
{
    const char *path = getenv("TRACE_WRITES");
    char link[64], target[PATH_MAX];
    ssize_t length;
    FILE *out;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, target, sizeof(target) - 1);
    out = path ? fopen(path, "a") : NULL;
    if (!out)
        return;
    target[length > 0 ? length : 0] = '\0';
    fprintf(out, "%s %s\n", call, strrchr(target, '/') ? strrchr(target, '/') + 1 : target);
    (void)fclose(out);
}

ssize_t pwrite64(int fd, const void *buffer, size_t length, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t);
    ssize_t ret;

    *(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
    ret = next(fd, buffer, length, offset);
    if (ret >= 0)
        note("write", fd);
    return ret;
}

int fdatasync(int fd)
{
    int (*next)(int);
    int ret;

    *(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
    ret = next(fd);
    if (ret == 0)
        note("flush", fd);
    return ret;
}
