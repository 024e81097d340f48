/* The server's lane: requests of the kernel for /dev/nbd0, served over a socket pair.
 *
 * Calls nbd_device.c, drivers/nbd/ and the C library. Invariant: the disk is flushed when the
 * kernel lets go.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "drivers/nbd/session.h"
#include "drivers/posix/socket.h"
#include "handoff.h"

#define TABLES_MARK (256u * 1024)

/* How long this process looks for the next bytes before it sleeps. A process that sleeps and a
 * processor that halts take longer to wake than a small request takes to serve. */
#define AWAKE_US 200u

/* How long no request comes before there is time for other things. */
#define IDLE_MS 1000

/* Tune the device, and open it once, so that the kernel looks for its partitions. A child does
 * this, because both wait for answers of this process. SIGCHLD is ignored, because a zombie without
 * '@' in its name would hold up the machine's shutdown. */
static void tune_and_open_in_child(void)
{
    (void)signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) {
        int fd = -1;

        server_tune();
        for (int i = 0; i < 50 && fd < 0; i++) {
            fd = open(SERVER_DEVICE, O_RDONLY | O_CLOEXEC);
            if (fd < 0)
                (void)usleep(20000);
        }
        _exit(0);
    }
}

struct kernel {
    struct nbd_stream stream; /* first: the stream's address is this struct's */
    struct handoff *handoff;
    int fd;
};

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Receive some bytes: awake at first, then asleep until all of them are there. Meanwhile whoever
 * else wants this processor has it. */
static ssize_t receive_some(int fd, void *buffer, size_t length)
{
    uint64_t end = now_us() + AWAKE_US;

    do {
        ssize_t n = recv(fd, buffer, length, MSG_DONTWAIT);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        (void)sched_yield();
    } while (now_us() < end);
    return recv(fd, buffer, length, MSG_WAITALL);
}

/* Is there something to receive, at the latest after this time? */
static bool is_readable(int fd, int milliseconds)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    return poll(&wanted, 1, milliseconds) != 0;
}

/* Wait for the next request for a second: awake at first, as above. */
static bool comes_soon(int fd)
{
    uint64_t end = now_us() + AWAKE_US;

    do {
        if (is_readable(fd, 0))
            return true;
        (void)sched_yield();
    } while (now_us() < end);
    return is_readable(fd, IDLE_MS);
}

static void kernel_await(struct nbd_stream *stream)
{
    const struct kernel *kernel = (const struct kernel *)stream;
    struct handoff *handoff = kernel->handoff;

    if (!handoff->between)
        return;
    handoff->between(handoff, false);
    if (handoff->wants_idle && !comes_soon(kernel->fd))
        handoff->between(handoff, true);
}

static bool kernel_receive(struct nbd_stream *stream, void *buffer, size_t length)
{
    uint8_t *to = buffer;

    while (length > 0) {
        ssize_t n = receive_some(((struct kernel *)stream)->fd, to, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        length -= (size_t)n;
    }
    return true;
}

static bool kernel_send(struct nbd_stream *stream, const void *head, size_t head_length,
                        const void *payload, size_t payload_length)
{
    return q2_socket_send(((struct kernel *)stream)->fd, head, head_length, payload,
                          payload_length);
}

static struct handoff *handoff_of(struct nbd_disk_export *export)
{
    return (struct handoff *)((uint8_t *)export - offsetof(struct handoff, export));
}

static void tell_failure(struct nbd_disk_export *export, enum q2_status status)
{
    (void)status;
    log_fault("a request failed", q2_disk_fault(handoff_of(export)->disk));
}

/* The room below which the log tells of it. With an external data file only tables are stored in
 * the image, and they need little room. */
static uint64_t room_mark(const struct handoff *handoff)
{
    uint64_t mark = handoff->record.room_mark;
    struct q2_layer_info top;

    q2_disk_layer_info(handoff->disk, 0, &top);
    return top.data_source != top.source && mark > TABLES_MARK ? TABLES_MARK : mark;
}

/* Write to the log that the room is below the mark, and again each time it has halved. */
static void tell_room(struct nbd_disk_export *export)
{
    struct handoff *handoff = handoff_of(export);
    uint64_t mark = room_mark(handoff), room;

    if (mark == 0 || handoff->record.mode != Q2_HANDOFF_RW)
        return;
    room = q2_disk_room(handoff->disk);
    if (room >= mark) {
        handoff->room_told = UINT64_MAX;
    } else if (room <= handoff->room_told / 2) {
        handoff->room_told = room;
        log_say(LOG_WARNING,
                "%llu KiB of room are left in %s; writes fail when it is used up. Shut down and "
                "start again: the firmware makes room",
                (unsigned long long)(room / 1024), handoff->record.files[0].path);
    }
}

void server_init(struct handoff *handoff)
{
    nbd_disk_export_init(&handoff->export, handoff->disk, handoff->size,
                         handoff->record.mode == Q2_HANDOFF_RO);
    handoff->export.failed = tell_failure;
    handoff->export.changed = tell_room;
    handoff->room_told = UINT64_MAX;
}

void server_serve(struct handoff *handoff, struct nbd_export *export, int socket)
{
    struct kernel kernel = {
        .stream = {.receive = kernel_receive, .send = kernel_send, .await = kernel_await},
        .handoff = handoff,
        .fd = socket};

    hibernation_forbid();
    nbd_serve_requests(&kernel.stream, export, handoff->buffer, BUFFER_SIZE);
    if (!export->read_only)
        (void)q2_disk_flush(handoff->disk);
    (void)close(socket);
}

void server_lane(struct handoff *handoff)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO;
    int socket;

    if (!module_load("nbd", SERVER_DEVICE)) {
        log_say(LOG_ERROR, "this initrd has no nbd module: in the guest, add the line 'nbd' to "
                           "/etc/initramfs-tools/modules (dracut: add_drivers+=\" nbd \") and make "
                           "the initrd again");
        return;
    }
    server_init(handoff);
    socket = server_attach(handoff, &handoff->export.export);
    if (socket < 0)
        return;
    log_say(LOG_NOTE, "%s is %s, %llu MiB, %s; lane: server (nbd)", SERVER_DEVICE,
            handoff->record.files[0].path, (unsigned long long)(handoff->size >> 20),
            read_only                                    ? "read-only"
            : handoff->record.mode == Q2_HANDOFF_OVERLAY ? "overlay in memory"
                                                         : "read-write");
    tune_and_open_in_child();
    server_serve(handoff, &handoff->export.export, socket);
    log_say(LOG_WARNING, "the kernel has let go of %s", SERVER_DEVICE);
}
