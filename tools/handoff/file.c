/* Small files: those that the guest's programs read, in the initrd or below /run, and the kernel's.
 *
 * May call the C library. Invariant: a file that cannot be written is no failure of the caller.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"

static void put(const char *path, int flags, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

    if (fd < 0)
        return;
    (void)!write(fd, text, strlen(text));
    (void)close(fd);
}

void file_set(const char *path, const char *text)
{
    put(path, 0, text);
}

void file_write(const char *folder, const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s", folder);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof(path), "%s%s", folder, name);
    put(path, O_CREAT | O_TRUNC, text);
}
