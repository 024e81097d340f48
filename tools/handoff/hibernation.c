/* No hibernation where this process serves the disk.
 *
 * The kernel stores the machine's memory on the disk while all processes are stopped, this one too.
 * So it would wait for ever. Where it does not, because its swap goes straight to the partition,
 * the next start writes the image: firmware takes and gives back room, and this program opens the
 * image. The memory that comes back then knows the image, and its place on the stick, as they were
 * before, and goes on writing.
 *
 * May call the C library. Invariant: suspending to memory stays possible.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "handoff.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* on every architecture */
#endif

void hibernation_forbid(void)
{
    /* systemd 240 and later; /run is taken over by the system. */
    file_write("/run/systemd/sleep.conf.d", "/metalcow.conf",
               "[Sleep]\nAllowHibernation=no\nAllowHybridSleep=no\n"
               "AllowSuspendThenHibernate=no\n");
    /* Linux 6.5 and later refuse to hibernate while anybody has secret memory. It stays open as
     * long as this process lives. Older kernels have none unless they are told to. */
    (void)syscall(SYS_memfd_secret, O_CLOEXEC);
}
