/* Stream sockets. Calls the C library. Invariant: a signal cuts nothing. */
#include "socket.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

bool q2_socket_receive(int fd, void *buffer, size_t length)
{
    uint8_t *to = buffer;

    while (length > 0) {
        ssize_t n = recv(fd, to, length, MSG_WAITALL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        length -= (size_t)n;
    }
    return true;
}

/* Take n bytes off the front of what is to be sent. */
static void advance(struct iovec *part, size_t *n)
{
    size_t taken = *n < part->iov_len ? *n : part->iov_len;

    if (taken == 0)
        return;
    part->iov_base = (uint8_t *)part->iov_base + taken;
    part->iov_len -= taken;
    *n -= taken;
}

bool q2_socket_send(int fd, const void *head, size_t head_length, const void *payload,
                    size_t payload_length)
{
    struct iovec parts[2] = {{(void *)head, head_length}, {(void *)payload, payload_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        size_t left;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        left = (size_t)n;
        advance(&parts[0], &left);
        advance(&parts[1], &left);
    }
    return true;
}
