/* Clients of `metalcow serve`: one thread and one buffer each, one lock around the disk.
 *
 * May call drivers/nbd/session.h. Invariants: a slot belongs to its thread from the start until it
 * is marked done, and then to the main thread again; the end of a client never ends the server.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "drivers/nbd/session.h"
#include "drivers/posix/socket.h"
#include "server.h"

#define BUFFER_SIZE       ((size_t)1 << 20)
#define HANDSHAKE_SECONDS 10

enum slot_state {
    SLOT_FREE,
    SLOT_SERVED,
    SLOT_DONE, /* the thread has nothing left to do */
};

struct server;

struct slot {
    struct nbd_stream stream; /* first: the stream's address is this struct's */
    struct server *server;
    enum slot_state state; /* under server->lock */
    int fd;
    pthread_t thread;
    void *buffer;
};

struct server {
    struct nbd_disk_export *export;
    pthread_mutex_t lock; /* of the slots' states */
    int wake[2];          /* a pipe: a byte for each client that is done */
    struct slot slots[SERVE_MAX_CLIENTS];
};

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_disk(struct nbd_disk_export *export)
{
    (void)export;
    (void)pthread_mutex_lock(&disk_lock);
}

static void unlock_disk(struct nbd_disk_export *export)
{
    (void)export;
    (void)pthread_mutex_unlock(&disk_lock);
}

static bool client_receive(struct nbd_stream *stream, void *buffer, size_t length)
{
    return q2_socket_receive(((struct slot *)stream)->fd, buffer, length);
}

static bool client_send(struct nbd_stream *stream, const void *head, size_t head_length,
                        const void *payload, size_t payload_length)
{
    return q2_socket_send(((struct slot *)stream)->fd, head, head_length, payload, payload_length);
}

/* Limit the time that recv() waits; 0: no limit. A limit is set during the handshake only, because
 * a client that never sends anything would keep its slot. */
static void set_patience(int fd, time_t seconds)
{
    struct timeval limit = {.tv_sec = seconds};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static void *serve_slot(void *argument)
{
    struct slot *slot = argument;
    struct server *server = slot->server;
    struct nbd_export *export = &server->export->export;
    struct nbd_session session = {.stream = &slot->stream,
                                  .export = export,
                                  .buffer = slot->buffer,
                                  .buffer_size = BUFFER_SIZE};

    set_patience(slot->fd, HANDSHAKE_SECONDS);
    if (nbd_handshake(&session)) {
        set_patience(slot->fd, 0);
        nbd_transmission(&session);
        if (!export->read_only) /* many clients never flush; a failure was said */
            (void)export->ops->flush(export);
    }
    (void)shutdown(slot->fd, SHUT_RDWR);
    (void)pthread_mutex_lock(&server->lock);
    slot->state = SLOT_DONE;
    (void)pthread_mutex_unlock(&server->lock);
    (void)!write(server->wake[1], "", 1);
    return NULL;
}

static void free_slot(struct slot *slot)
{
    (void)pthread_join(slot->thread, NULL);
    (void)close(slot->fd);
    free(slot->buffer);
    slot->state = SLOT_FREE;
}

/* Free what is done; NULL if every slot is in use. */
static struct slot *find_slot(struct server *server)
{
    struct slot *found = NULL;

    (void)pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < SERVE_MAX_CLIENTS; i++) {
        if (server->slots[i].state == SLOT_DONE)
            free_slot(&server->slots[i]);
        if (server->slots[i].state == SLOT_FREE)
            found = &server->slots[i];
    }
    (void)pthread_mutex_unlock(&server->lock);
    return found;
}

static void begin_client(struct server *server, struct slot *slot, int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* no TCP: no harm */
    *slot = (struct slot){
        .stream = {.receive = client_receive, .send = client_send},
        .server = server,
        .state = SLOT_SERVED,
        .fd = fd,
        .buffer = aligned_alloc(4096, BUFFER_SIZE),
    };
    if (slot->buffer && pthread_create(&slot->thread, NULL, serve_slot, slot) == 0)
        return;
    fputs("metalcow: no memory for another client\n", stderr);
    free(slot->buffer);
    (void)close(fd);
    slot->state = SLOT_FREE;
}

/* Wait for clients until a signal comes. */
static bool accept_clients(struct server *server, int listener, int signals)
{
    for (;;) {
        struct slot *slot = find_slot(server);
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                               {.fd = server->wake[0], .events = POLLIN},
                               {.fd = slot ? listener : -1, .events = POLLIN}};
        char drained[64];
        int fd;

        if (poll(fds, 3, -1) < 0 && errno != EINTR) {
            perror("metalcow: poll");
            return false;
        }
        if (fds[0].revents != 0)
            return true;
        if (fds[1].revents != 0)
            (void)!read(server->wake[0], drained, sizeof(drained));
        if (!slot || fds[2].revents == 0)
            continue;
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            begin_client(server, slot, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            (void)poll(NULL, 0, 100); /* no descriptor or memory: wait, then try again */
    }
}

static void end_clients(struct server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < SERVE_MAX_CLIENTS; i++) {
        if (server->slots[i].state == SLOT_SERVED)
            (void)shutdown(server->slots[i].fd, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < SERVE_MAX_CLIENTS; i++) {
        if (server->slots[i].state != SLOT_FREE) /* joined, so its state is ours */
            free_slot(&server->slots[i]);
    }
}

/* Threads inherit that the signals are blocked. */
int serve_block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

bool serve_clients(int listener, int signals, struct nbd_disk_export *export)
{
    struct server *server = calloc(1, sizeof(*server));
    bool good = false;

    export->lock = lock_disk;
    export->unlock = unlock_disk;
    if (!server || signals < 0 || pipe2(server->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        perror("metalcow: serve");
    } else {
        server->export = export;
        (void)pthread_mutex_init(&server->lock, NULL);
        good = accept_clients(server, listener, signals);
        end_clients(server);
        (void)close(server->wake[0]);
        (void)close(server->wake[1]);
    }
    if (signals >= 0)
        (void)close(signals);
    free(server);
    return good;
}
