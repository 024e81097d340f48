/* The running system's side of the hand-off: gives an operating system the disk that it was started
 * from.
 *
 * Started by a hook in the initrd (include/q2_handoff_cpio.h) with the argument "start". The parent
 * returns at once, because the initrd must go on to load the drivers that are waited for. The child
 *
 *   1. takes the record                                  record.c
 *   2. waits for the host partition and holds it         find.c
 *      meanwhile modules for step 5 are loaded           lane.c, module.c
 *   3. compares the files with the record's samples      open.c
 *   4. opens the disk with the engine                    open.c
 *   5. attaches it in one of three ways                  lane.c
 *   6. serves requests until the machine is off
 *
 * It gets and locks its memory before step 2; only an overlay's memory comes later. The host's file
 * system is never mounted, so there is nothing to unmount. If this process dies the guest sees I/O
 * errors, and the image is as after a power cut: consistent.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "handoff.h"

static struct handoff handoff;

/* The workspace and both buffers, in one block at pages. */
static bool get_memory(void)
{
    size_t size = Q2_WORKSPACE_SIZE + BUFFER_SIZE + BOUNCE_SIZE;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    handoff.workspace = memory;
    handoff.buffer = memory + Q2_WORKSPACE_SIZE;
    handoff.bounce = handoff.buffer + BUFFER_SIZE;
    return true;
}

static void give_disk(void)
{
    lane_prepare(&handoff);
    if (!host_find(&handoff) || !files_verify(&handoff))
        return;
    record_shrink(&handoff);
    if (!disk_open(&handoff))
        return;
    record_forget(&handoff);
    lane_take(&handoff);
}

int main(int argc, char **argv)
{
    bool present = false, good;
    pid_t child;

    if (argc != 2 || strcmp(argv[1], "start") != 0) {
        fputs("usage: handoff start\nStarted in an initrd by metalcow's hooks.\n", stderr);
        return 2;
    }
    log_open();
    good = record_take(&handoff, &present);
    if (!present)
        return 0; /* not started by metalcow, or a second start */
    if (!good)
        return 1;
    udev_prepare(); /* here, because udev starts when this process has returned */
    child = fork();
    if (child < 0)
        log_say(LOG_ERROR, "no process for the disk's server");
    if (child != 0)
        return child < 0;
    if (!get_memory()) {
        log_say(LOG_ERROR, "no memory for the disk's server");
        return 1;
    }
    process_settle(argv[0]);
    give_disk();
    return 1;
}
