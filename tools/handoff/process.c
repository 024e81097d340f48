/* A process that lives as long as the machine.
 *
 * May call the C library. Invariant: no failure here keeps the program from starting.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "handoff.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* More than the deepest call needs: the engine's paths are below 8 KiB. */
#define STACK_SIZE (64u * 1024)

/* No standard descriptor may hold a console or a pipe of the initrd. */
static void leave_descriptors(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd <= 2 && null >= 0; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
}

/* The disk's server must not be killed when memory is short, and not be throttled while it writes
 * what others wait for. */
static void be_spared(void)
{
    file_set("/proc/self/oom_score_adj", "-1000");
    (void)setpriority(PRIO_PROCESS, 0, -10);
    (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

/* Have the stack's pages before they are needed in the middle of a write. */
static __attribute__((noinline)) void touch_stack(void)
{
    volatile uint8_t pages[STACK_SIZE];

    for (size_t i = 0; i < sizeof(pages); i += 4096)
        pages[i] = 0;
}

void process_settle(char *argv0)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)setsid();
    (void)chdir("/");
    for (int signal = 1; signal < NSIG; signal++)
        (void)sigaction(signal, &ignore, NULL);
    /* module_load() waits for its children, which is impossible if SIGCHLD is ignored. */
    (void)sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    /* At switch-root and shutdown systemd kills no process whose argv[0] begins with '@', because
     * storage may depend on it. */
    argv0[0] = '@';
    leave_descriptors();
    be_spared();
    touch_stack();
    /* Lock all memory of now, present or not. An overlay comes later, and only the pages of it that
     * are used are locked. */
    (void)mlockall(MCL_CURRENT);
    (void)mlockall(MCL_FUTURE | MCL_ONFAULT);
}
