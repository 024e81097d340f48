/* Bytes to and from a stream socket, all of them. */
#ifndef Q2_DRIVERS_POSIX_SOCKET_H
#define Q2_DRIVERS_POSIX_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

/* Receive exactly length bytes. False: the peer is gone, the socket's time is up, or an error. */
bool q2_socket_receive(int fd, void *buffer, size_t length);

/* Send a head and what follows it, which may have no bytes, in one call if the kernel takes them at
 * once: the peer wakes once. False: the peer is gone, or an error. */
bool q2_socket_send(int fd, const void *head, size_t head_length, const void *payload,
                    size_t payload_length);

#endif
