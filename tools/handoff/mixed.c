/* The mixed lane: most of the disk goes straight to the host partition, the rest through a server.
 *
 * A device-mapper table puts both together, and a loop device on it has the disk's partitions.
 * Calls loop.c, nbd.c and drivers/nbd/. Invariants: the server changes nothing that goes straight;
 * one device of the guest has the disk's partitions; if the table cannot be had, everything is as
 * before, and the server can still have the whole disk.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"

/* Load the table in a child, because loading it and looking for partitions waits for answers of the
 * server, which is the parent. A byte tells the parent that it worked; if not, the child has the
 * kernel let go of the server's device, and the server ends. */
static _Noreturn void attach_in_child(struct handoff *handoff, const struct table *table,
                                      uint64_t data, int answer)
{
    struct target straight = {0}, served = {.start = NBD_ROUTED_MARGIN};
    struct stat partition, device;
    char lane[96];
    bool attached = false;

    (void)snprintf(lane, sizeof(lane), "mixed, %llu of %llu MiB of data straight",
                   (unsigned long long)(table->straight >> 20), (unsigned long long)(data >> 20));
    if (fstat(handoff->host.fd, &partition) == 0 && stat(SERVER_DEVICE, &device) == 0) {
        straight.device = partition.st_rdev;
        served.device = device.st_rdev;
        attached = loop_attach_mapped(handoff, table, &straight, &served, lane);
    }
    if (attached)
        (void)!write(answer, "+", 1);
    else
        server_detach();
    _exit(0);
}

/* Serve until the kernel lets go; false: the child could not attach the table. */
static bool serve(struct handoff *handoff, const struct table *table, uint64_t data, int socket)
{
    int answer[2];
    char byte = 0;
    pid_t child;

    if (pipe(answer) != 0) {
        (void)close(socket);
        return false;
    }
    (void)signal(SIGCHLD, SIG_IGN); /* no zombie: it would hold up the machine's shutdown */
    child = fork();
    if (child == 0) {
        (void)close(socket);
        (void)close(answer[0]);
        attach_in_child(handoff, table, data, answer[1]);
    }
    (void)close(answer[1]);
    if (child > 0)
        server_serve(handoff, &handoff->routed.export, socket);
    else
        (void)close(socket);
    if (read(answer[0], &byte, 1) != 1)
        byte = 0;
    (void)close(answer[0]);
    return byte != 0;
}

bool mixed_lane(struct handoff *handoff, const struct table *table, uint64_t data)
{
    int socket;

    if (!loop_can_map(table) || !module_load("nbd", SERVER_DEVICE) || !host_share(handoff))
        return false;
    server_init(handoff);
    nbd_routed_export_init(&handoff->routed, &handoff->export.export, table->routes, table->nb);
    socket = server_attach(handoff, &handoff->routed.export);
    if (socket >= 0 && serve(handoff, table, data, socket)) {
        log_say(LOG_WARNING, "the kernel has let go of %s", SERVER_DEVICE);
        return true;
    }
    (void)host_take_back(handoff);
    return false;
}
