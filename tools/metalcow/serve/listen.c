/* The socket of `metalcow serve`. Calls the C library.
 *
 * Invariant: a path that is no socket, or a socket that somebody listens to, is never removed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"
#include "tools/metalcow/base/output.h"

static int fail(int fd, const char *what, const char *where)
{
    int error = errno;

    fputs("metalcow: ", stderr);
    print_escaped(stderr, where);
    fprintf(stderr, ": %s: %s\n", what, strerror(error));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* Did a server that has ended leave this socket? Then nobody answers there. One that has more
 * clients than it takes is not waited for. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    struct stat found;
    bool refused;
    int fd;

    if (lstat(address->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
              errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct sockaddr *generic = (const struct sockaddr *)&address;
    int fd, bound;

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(-1, "no path for a socket", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, "no socket", path);
    bound = bind(fd, generic, sizeof(address));
    if (bound != 0 && errno == EADDRINUSE && is_abandoned(&address)) {
        (void)unlink(path);
        bound = bind(fd, generic, sizeof(address));
    }
    if (bound != 0 || listen(fd, SERVE_MAX_CLIENTS) != 0)
        return fail(fd, "cannot listen there", path);
    return fd;
}

/* A numeric address of either family. */
static socklen_t parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof(*v6);
    }
    return 0;
}

static int listen_tcp(const char *text, uint16_t port)
{
    struct sockaddr_storage address;
    socklen_t length = parse_address(text, port, &address);
    char where[INET6_ADDRSTRLEN + sizeof(", port 65535")];
    int on = 1, fd;

    if (length == 0) {
        errno = EINVAL;
        return fail(-1, "--bind needs a numeric address such as 127.0.0.1 or ::1", text);
    }
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, "no socket", text);
    (void)snprintf(where, sizeof(where), "%s, port %u", text, (unsigned int)port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, length) != 0 ||
        listen(fd, SERVE_MAX_CLIENTS) != 0)
        return fail(fd, "cannot listen there", where);
    return fd;
}

int serve_listen(const struct serve_place *place)
{
    return place->socket_path ? listen_unix(place->socket_path)
                              : listen_tcp(place->address, place->port);
}

/* A path inside a URI: every byte that has a meaning there, or none, as %XX. */
static void print_encoded(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-._~/";

    for (; *path != '\0'; path++) {
        if (strchr(plain, *path))
            putchar(*path);
        else
            printf("%%%02X", (unsigned char)*path);
    }
}

void serve_print_place(int listener, const struct serve_place *place)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    bool v6 = strchr(place->address, ':') != NULL;
    uint16_t port = place->port;

    if (place->socket_path) {
        fputs("nbd+unix:///?socket=", stdout);
        print_encoded(place->socket_path);
    } else {
        if (getsockname(listener, (struct sockaddr *)&address, &length) == 0)
            port = ntohs(v6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                            : ((struct sockaddr_in *)&address)->sin_port);
        printf(v6 ? "nbd://[%s]:%u" : "nbd://%s:%u", place->address, (unsigned int)port);
    }
    fputc('\n', stdout);
    (void)fflush(stdout);
}
