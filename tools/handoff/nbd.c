/* The server's lane: /dev/nbd0 over a socket pair, attached by generic netlink.  (Linux,
 * include/uapi/linux/nbd-netlink.h)
 *
 * Calls drivers/nbd/ and the C library. Invariant: the disk is flushed when the kernel lets go.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drivers/nbd/session.h"
#include "drivers/posix/socket.h"
#include "handoff.h"

#define QUEUE        "/sys/block/nbd0/queue/"
#define MESSAGE_SIZE 4096u
#define TABLES_MARK  (256u * 1024)

/* How long this process looks for the next bytes before it sleeps. A process that sleeps and a
 * processor that halts take longer to wake than a small request takes to serve. */
#define AWAKE_US 200u

/* How long no request comes before there is time for other things. */
#define IDLE_MS 1000

/* How long others may have the device open when it is new, and the first pause between two tries.
 * Each pause is twice as long as the one before: the kernel logs every try. */
#define BUSY_MS        20000u
#define FIRST_PAUSE_MS 20u

/* A netlink message under construction. */
struct message {
    uint8_t bytes[MESSAGE_SIZE];
    size_t length;
};

static void put(struct message *message, const void *bytes, size_t length)
{
    memcpy(message->bytes + message->length, bytes, length);
    message->length = (message->length + length + 3) & ~(size_t)3;
}

static void put_attribute(struct message *message, uint16_t type, const void *bytes, size_t length)
{
    struct nlattr head = {.nla_len = (uint16_t)(sizeof(head) + length), .nla_type = type};

    put(message, &head, sizeof(head));
    put(message, bytes, length);
}

static void put_u64(struct message *message, uint16_t type, uint64_t value)
{
    put_attribute(message, type, &value, sizeof(value));
}

static void begin(struct message *message, uint16_t family, uint8_t command)
{
    struct nlmsghdr head = {.nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK};
    struct genlmsghdr generic = {.cmd = command, .version = 1};

    memset(message, 0, sizeof(*message));
    put(message, &head, sizeof(head));
    put(message, &generic, sizeof(generic));
}

#define HEADS_SIZE ((size_t)(NLMSG_HDRLEN + GENL_HDRLEN))

/* The family's number in an answer of length n, if it is there. */
static void find_number(const uint8_t *answer, size_t n, uint16_t *ret_family)
{
    for (size_t at = HEADS_SIZE; at + sizeof(struct nlattr) + sizeof(*ret_family) <= n;) {
        struct nlattr attribute;

        memcpy(&attribute, answer + at, sizeof(attribute));
        if (attribute.nla_type == CTRL_ATTR_FAMILY_ID)
            memcpy(ret_family, answer + at + sizeof(attribute), sizeof(*ret_family));
        if (attribute.nla_len < sizeof(attribute))
            return;
        at += (attribute.nla_len + 3u) & ~3u;
    }
}

/* Send; receive answers until the one that says how it went, 0 or an errno. ret_family: set if an
 * answer names one; may be NULL. */
static int talk(int fd, struct message *message, uint16_t *ret_family)
{
    static uint8_t answer[MESSAGE_SIZE];
    uint32_t length = (uint32_t)message->length;

    memcpy(message->bytes + offsetof(struct nlmsghdr, nlmsg_len), &length, sizeof(length));
    if (send(fd, message->bytes, message->length, 0) < 0)
        return errno;
    for (;;) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        struct nlmsghdr head;
        int error;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < (ssize_t)(sizeof(head) + sizeof(error)))
            return n < 0 ? errno : EPROTO;
        memcpy(&head, answer, sizeof(head));
        memcpy(&error, answer + sizeof(head), sizeof(error));
        if (head.nlmsg_type == NLMSG_ERROR)
            return -error;
        if (ret_family)
            find_number(answer, (size_t)n, ret_family);
    }
}

/* The number of the family "nbd"; 0 if the kernel has none. */
static uint16_t find_family(int fd)
{
    struct message message;
    uint16_t family = 0;

    begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    put_attribute(&message, CTRL_ATTR_FAMILY_NAME, "nbd", 4);
    return talk(fd, &message, &family) == 0 ? family : 0;
}

/* One socket: an item in the list of sockets, which holds a descriptor. */
static void put_socket(struct message *message, int socket)
{
    uint32_t number = (uint32_t)socket;
    struct nlattr inner = {.nla_len = sizeof(inner) + sizeof(number), .nla_type = NBD_SOCK_FD};
    struct nlattr item = {.nla_len = (uint16_t)(sizeof(item) + inner.nla_len),
                          .nla_type = NBD_SOCK_ITEM | NLA_F_NESTED};
    struct nlattr list = {.nla_len = (uint16_t)(sizeof(list) + item.nla_len),
                          .nla_type = NBD_ATTR_SOCKETS | NLA_F_NESTED};

    put(message, &list, sizeof(list));
    put(message, &item, sizeof(item));
    put(message, &inner, sizeof(inner));
    put(message, &number, sizeof(number));
}

/* What is attached. */
struct device {
    const struct nbd_export *export;
    uint32_t sector_size;
};

static int connect_device(int fd, uint16_t family, int socket, const struct device *device)
{
    struct message message;
    uint32_t index = 0;

    begin(&message, family, NBD_CMD_CONNECT);
    put_attribute(&message, NBD_ATTR_INDEX, &index, sizeof(index));
    put_u64(&message, NBD_ATTR_SIZE_BYTES, device->export->size);
    put_u64(&message, NBD_ATTR_BLOCK_SIZE_BYTES, device->sector_size);
    put_u64(&message, NBD_ATTR_SERVER_FLAGS, nbd_export_flags(device->export));
    put_socket(&message, socket);
    return talk(fd, &message, NULL);
}

/* Configure the device. udev opens every new block device once, and nbd refuses to configure a
 * device that is open. So if udev has opened it, wait until it is closed. */
static int connect_patiently(int fd, uint16_t family, int socket, const struct device *device)
{
    int error = connect_device(fd, family, socket, device);

    for (unsigned int pause = FIRST_PAUSE_MS; error == EBUSY && pause < BUSY_MS; pause *= 2) {
        (void)usleep(pause * 1000);
        error = connect_device(fd, family, socket, device);
    }
    return error;
}

/* Let the kernel put a whole request into a socket. Otherwise its sender sleeps in the middle of
 * each write until this process has read a part. A refusal costs speed only. */
static void widen(int socket)
{
    int size = 2 * (int)BUFFER_SIZE;

    (void)setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
}

void server_tune(void)
{
    char length[16];

    (void)snprintf(length, sizeof(length), "%u", BUFFER_SIZE / 1024);
    file_set(QUEUE "max_sectors_kb", length);
    file_set(QUEUE "scheduler", "none");
}

void server_detach(void)
{
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    uint16_t family = netlink < 0 ? 0 : find_family(netlink);
    struct message message;
    uint32_t index = 0;

    if (family != 0) {
        begin(&message, family, NBD_CMD_DISCONNECT);
        put_attribute(&message, NBD_ATTR_INDEX, &index, sizeof(index));
        (void)talk(netlink, &message, NULL);
    }
    if (netlink >= 0)
        (void)close(netlink);
}

/* Give the device one end of a socket pair, and return the other end. */
int server_attach(const struct handoff *handoff, const struct nbd_export *export)
{
    const struct device device = {export, handoff->record.guest_sector_size};
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    uint16_t family = netlink < 0 ? 0 : find_family(netlink);
    int pair[2] = {-1, -1}, error = ENOENT;

    if (family != 0) {
        error = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ? 0 : errno;
        widen(pair[0]);
        widen(pair[1]);
        if (error == 0)
            error = connect_patiently(netlink, family, pair[0], &device);
    }
    if (netlink >= 0)
        (void)close(netlink);
    if (pair[0] >= 0)
        (void)close(pair[0]); /* the kernel has its own hold of it */
    if (error == 0)
        return pair[1];
    if (pair[1] >= 0)
        (void)close(pair[1]);
    log_say(LOG_ERROR, "%s cannot be attached: %s", SERVER_DEVICE, strerror(error));
    return -1;
}

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
