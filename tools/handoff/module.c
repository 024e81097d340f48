/* Kernel modules, loaded by the guest's own modprobe, and ioctl().
 *
 * May call the C library. Invariant: no child is left over.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handoff.h"

int device_control(int fd, unsigned long request, const void *argument)
{
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

static const char *const programs[] = {"/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe",
                                       "/usr/bin/modprobe"};

static bool exists(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0;
}

static bool run(const char *program, const char *module)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        (void)execl(program, program, "-q", module, (char *)NULL);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

bool module_load(const char *name, const char *sign)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]) && !exists(sign); i++) {
        if (exists(programs[i]))
            (void)run(programs[i], name);
    }
    return exists(sign);
}
