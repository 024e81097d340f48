/* drivers/posix/socket.c: all bytes, in order, whatever the kernel takes at once; a peer that goes;
 * signals in between. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "drivers/posix/socket.h"
#include "tests/support/t.h"

#define LENGTH ((size_t)4 << 20) /* more than a socket takes at once */

static int pair[2];
static uint8_t *sent, *received;

static void setup(void)
{
    int size = 4096;

    T_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    sent = malloc(LENGTH);
    received = calloc(1, LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        sent[i] = (uint8_t)(i * 7 + i / 251);
}

static void cleanup(void)
{
    (void)close(pair[0]);
    (void)close(pair[1]);
    free(sent);
    free(received);
}

static void *receive_all(void *length)
{
    return q2_socket_receive(pair[1], received, *(const size_t *)length) ? received : NULL;
}

/* The head and the payload arrive as one row of bytes, wherever it is divided. */
static void check_arrives(size_t head_length, size_t length)
{
    pthread_t reader;
    void *result = NULL;

    memset(received, 0, length);
    T_CHECK(pthread_create(&reader, NULL, receive_all, &length) == 0);
    T_CHECK(q2_socket_send(pair[0], sent, head_length, sent + head_length, length - head_length));
    T_CHECK(pthread_join(reader, &result) == 0);
    T_CHECK(result == received);
    T_CHECK(memcmp(sent, received, length) == 0);
}

static void test_socket_all_bytes_arrive_in_order(void)
{
    static const struct {
        const char *row;
        size_t head_length, length;
    } rows[] = {
        {"a head alone", 16, 16},
        {"a head and a payload", 16, 16 + 4096},
        {"no head", 0, 5000},
        {"a payload that does not fit at once", 16, LENGTH},
        {"a head that does not fit at once", LENGTH - 1, LENGTH},
    };

    setup();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        check_arrives(rows[i].head_length, rows[i].length);
    }
    cleanup();
}

static void nothing(int number)
{
    (void)number;
}

/* Signals without SA_RESTART end system calls early. */
static void test_socket_signals_cut_nothing(void)
{
    struct sigaction action = {.sa_handler = nothing}, old;
    struct itimerval often = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200}, never = {0};

    setup();
    T_CHECK(sigaction(SIGALRM, &action, &old) == 0);
    T_CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 20; i++)
        check_arrives(16, LENGTH);
    T_CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    T_CHECK(sigaction(SIGALRM, &old, NULL) == 0);
    cleanup();
}

/* The peer goes: false, and no signal ends the program. */
static void test_socket_a_peer_that_is_gone(void)
{
    setup();
    T_CHECK(q2_socket_send(pair[0], sent, 10, NULL, 0));
    T_CHECK(shutdown(pair[0], SHUT_WR) == 0);
    T_CHECK(!q2_socket_receive(pair[1], received, 11));
    T_CHECK(memcmp(sent, received, 10) == 0);
    T_CHECK(close(pair[0]) == 0);
    pair[0] = dup(pair[1]);
    T_CHECK(!q2_socket_send(pair[0], sent, 16, sent, 16));
    cleanup();
}

int main(void)
{
    T_RUN(test_socket_all_bytes_arrive_in_order);
    T_RUN(test_socket_signals_cut_nothing);
    T_RUN(test_socket_a_peer_that_is_gone);
    return t_done();
}
