/* Kernel modules, loaded by the guest's own modprobe, and ioctl().
 *
 * May call the C library. Invariant: after module_load() no child is left over.
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

#define MAX_MODULES 4u

static bool exists(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0;
}

/* Load modules in a child; 0: the guest has no modprobe, or there is no process. */
static pid_t start_modprobe(const char *const *modules, size_t nb)
{
    const char *arguments[MAX_MODULES + 4] = {NULL, "-q", "-a"};
    pid_t child;

    for (size_t i = 0; i < nb; i++)
        arguments[i + 3] = modules[i];
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (!exists(programs[i]))
            continue;
        arguments[0] = programs[i];
        child = fork();
        if (child == 0) {
            (void)execv(programs[i], (char *const *)(uintptr_t)arguments);
            _exit(127);
        }
        return child > 0 ? child : 0;
    }
    return 0;
}

static pid_t early; /* the child of modules_begin(); 0: none */

static void wait_for(pid_t child)
{
    int status;

    if (child > 0)
        (void)waitpid(child, &status, 0);
}

void modules_begin(const char *const *names, size_t nb)
{
    early = start_modprobe(names, nb);
}

bool module_load(const char *name, const char *sign)
{
    wait_for(early);
    early = 0;
    if (!exists(sign))
        wait_for(start_modprobe(&name, 1));
    return exists(sign);
}
