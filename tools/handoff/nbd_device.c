/* The kernel's device /dev/nbd0: attached to a socket, tuned, and let go, by generic netlink.
 * (Linux, include/uapi/linux/nbd-netlink.h)
 *
 * Calls the C library. Invariant: only the socket that was given away stays open.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/nbd/session.h"
#include "handoff.h"

#define QUEUE        "/sys/block/nbd0/queue/"
#define MESSAGE_SIZE 4096u

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
