/* How fast a disk that was handed over is, beside the kernel's own loop device.
 *
 *     lane_bench DISK HOST file|same [buffered]
 *
 * Runs in a guest. DISK is the disk that the guest got, with AREA bytes at its end that nobody
 * uses. HOST is the disk that the image is on. With "file", somewhere in its first gigabytes there
 * is a raw file of AREA bytes in one piece that begins with MAGIC, and a loop device is put over
 * that file. With "same", DISK's area is stored as it is and in one piece, and the loop device is
 * put over the very same bytes: two files of one stick are not equally fast, because the machine
 * that emulates the stick keeps them in its memory in different ways. The loop device has direct
 * I/O or, as losetup makes it without options, is buffered; then its buffers are emptied before
 * each measurement. Both areas are written once, so that all of them is allocated, and are then
 * measured in turns, with direct I/O and one request at a time. Prints one line for each kind of
 * access:
 *
 *     KIND OURS LOOP RATIO      medians of all rounds, in KiB/s, and of the rounds' ratios
 *
 * The last two kinds, socket_read and socket_read_4k, show what any server costs at least. Instead
 * of DISK, a process is measured that reads from the loop device what it is asked for and sends it
 * through a socket; it is received page by page, as the kernel's nbd does. There is no image, no
 * nbd and no block layer above.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB   (1024u * 1024)
#define AREA  (128ll * MIB)
#define MAGIC "metalcow-baseline"
#define SAME  "metalcow-samearea"
#define PAGE  4096u

/* Rounds are even in number, because each device goes first in half of them. Those of 4 KiB are
   short and many: a machine under load stops for a second now and then, which is then seen in few
   of them. */
#define ROUNDS     12
#define ROUNDS_4K  60
#define NB_4K      100 /* requests in a round */
#define NB_FLUSHED 20

static uint8_t *buffer; /* 1 MiB, aligned */

struct area {
    int fd;
    int64_t start;
    int buffers; /* of this device, which are emptied; -1: none */
    int socket;  /* of the process that reads for us; -1: none */
};

enum kind {
    SEQUENTIAL_READ,
    SEQUENTIAL_WRITE,
    RANDOM_READ,
    RANDOM_WRITE,
    FLUSHED_WRITE
};

struct request {
    int64_t at;
    size_t length;
};

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Answers requests with what is stored at DISK's offsets, until the socket is closed. */
static void serve(int socket, int disk)
{
    struct request request;

    while (recv(socket, &request, sizeof(request), MSG_WAITALL) == (ssize_t)sizeof(request)) {
        if (pread(disk, buffer, request.length, request.at) != (ssize_t)request.length)
            err(1, "read for the socket");
        for (size_t done = 0; done < request.length;) {
            ssize_t n = send(socket, buffer + done, request.length - done, 0);

            if (n <= 0)
                err(1, "send");
            done += (size_t)n;
        }
    }
}

static void receive(int socket, int64_t at, size_t length)
{
    struct request request = {.at = at, .length = length};

    if (send(socket, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
        err(1, "send");
    for (size_t done = 0; done < length; done += PAGE) {
        if (recv(socket, buffer + done, PAGE, MSG_WAITALL) != (ssize_t)PAGE)
            err(1, "receive");
    }
}

static void move(const struct area *area, bool write, int64_t at, size_t length)
{
    ssize_t n;

    if (area->socket >= 0) {
        receive(area->socket, at, length);
        return;
    }
    n = write ? pwrite(area->fd, buffer, length, area->start + at)
              : pread(area->fd, buffer, length, area->start + at);
    if (n != (ssize_t)length)
        err(1, "%s", write ? "write" : "read");
}

/* KiB/s */
static double sequential(const struct area *area, bool write)
{
    double begin = now();

    for (int64_t at = 0; at < AREA; at += MIB)
        move(area, write, at, MIB);
    if (write && fsync(area->fd) != 0)
        err(1, "flush");
    return (double)AREA / 1024 / (now() - begin);
}

/* The same places for both devices: the seed is the round's. */
static double random_4k(const struct area *area, bool write, unsigned int seed)
{
    double begin = now();

    for (int i = 0; i < NB_4K; i++) {
        seed = seed * 1103515245u + 12345u;
        move(area, write, (int64_t)(seed >> 8) % (AREA / 4096) * 4096, 4096);
    }
    return NB_4K * 4.0 / (now() - begin);
}

/* Writes of 4 KiB that are made durable one by one. */
static double flushed_4k(const struct area *area)
{
    double begin = now();

    for (int i = 0; i < NB_FLUSHED; i++) {
        move(area, true, i * 4096ll, 4096);
        if (fsync(area->fd) != 0)
            err(1, "flush");
    }
    return NB_FLUSHED * 4.0 / (now() - begin);
}

static double measure(const struct area *area, enum kind kind, unsigned int round)
{
    if (area->buffers >= 0 && ioctl(area->buffers, BLKFLSBUF) != 0)
        err(1, "buffers");
    if (kind == FLUSHED_WRITE)
        return flushed_4k(area);
    return kind <= SEQUENTIAL_WRITE ? sequential(area, kind == SEQUENTIAL_WRITE)
                                    : random_4k(area, kind == RANDOM_WRITE, round);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned int nb)
{
    qsort(values, nb, sizeof(values[0]), compare);
    return (values[nb / 2 - 1] + values[nb / 2]) / 2;
}

static void compare_areas(const char *name, enum kind kind, const struct area *ours,
                          const struct area *loop)
{
    double a[ROUNDS_4K], b[ROUNDS_4K], ratio[ROUNDS_4K];
    unsigned int rounds = kind <= SEQUENTIAL_WRITE ? ROUNDS : ROUNDS_4K;

    for (unsigned int round = 0; round < rounds; round++) {
        bool first = round % 2 == 0; /* who goes first has it easier, or harder */

        if (first)
            a[round] = measure(ours, kind, round);
        b[round] = measure(loop, kind, round);
        if (!first)
            a[round] = measure(ours, kind, round);
        ratio[round] = a[round] / b[round];
    }
    printf("%s %.0f %.0f %.2f\n", name, median(a, rounds), median(b, rounds),
           median(ratio, rounds));
    (void)fflush(stdout);
}

/* Where the area that begins with magic is stored on the host's disk. */
static int64_t find(int host, const char *magic)
{
    for (int64_t at = 0; pread(host, buffer, MIB, at) == MIB; at += MIB) {
        for (size_t i = 0; i < MIB; i += 512) {
            if (memcmp(buffer + i, magic, strlen(magic)) == 0)
                return at + (int64_t)i;
        }
    }
    errx(1, "nothing on the host's disk begins with %s", magic);
}

static struct area open_disk(const char *path)
{
    struct area area = {.fd = open(path, O_RDWR | O_DIRECT), .buffers = -1, .socket = -1};
    uint64_t size = 0;

    if (area.fd < 0 || ioctl(area.fd, BLKGETSIZE64, &size) != 0)
        err(1, "%s", path);
    area.start = (int64_t)(size & ~(uint64_t)(MIB - 1)) - AREA;
    return area;
}

/* A device on the area that begins with magic. */
static struct area open_loop(const char *host_path, const char *magic, bool buffered)
{
    int host = open(host_path, O_RDWR), control = open("/dev/loop-control", O_RDWR);
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    struct loop_config config = {.fd = (uint32_t)host, .block_size = 512};
    char path[32];
    int fd;

    if (host < 0 || number < 0)
        err(1, "%s", host_path);
    config.info.lo_offset = (uint64_t)find(host, magic);
    config.info.lo_sizelimit = (uint64_t)AREA;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (buffered ? 0 : LO_FLAGS_DIRECT_IO);
    (void)snprintf(path, sizeof(path), "/dev/loop%d", number);
    fd = open(path, O_RDWR | O_DIRECT);
    if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) != 0)
        err(1, "%s", path);
    return (struct area){.fd = fd, .buffers = buffered ? host : -1, .socket = -1};
}

/* The area of a loop device, read by another process. */
static struct area open_server(const struct area *loop)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        err(1, "socket");
    switch (fork()) {
    case -1:
        err(1, "fork");
    case 0:
        (void)close(pair[0]);
        serve(pair[1], loop->fd);
        exit(0);
    default:
        (void)close(pair[1]);
        return (struct area){.buffers = loop->buffers, .socket = pair[0]};
    }
}

int main(int argc, char **argv)
{
    bool same = argc >= 4 && strcmp(argv[3], "same") == 0;
    bool buffered = argc == 5 && strcmp(argv[4], "buffered") == 0;
    struct area ours, loop, server;

    if (argc != 4 + buffered || (!same && strcmp(argv[3], "file") != 0))
        errx(2, "usage: lane_bench DISK HOST file|same [buffered]");
    buffer = aligned_alloc(MIB, MIB);
    if (!buffer)
        err(1, "memory");
    ours = open_disk(argv[1]);
    if (same) {
        memcpy(buffer, SAME, strlen(SAME));
        move(&ours, true, 0, MIB);
    }
    loop = open_loop(argv[2], same ? SAME : MAGIC, buffered);
    memset(buffer, 0x5a, MIB);
    (void)sequential(&ours, true);
    (void)sequential(&loop, true);
    compare_areas("sequential_read", SEQUENTIAL_READ, &ours, &loop);
    compare_areas("sequential_write", SEQUENTIAL_WRITE, &ours, &loop);
    compare_areas("random_read_4k", RANDOM_READ, &ours, &loop);
    compare_areas("random_write_4k", RANDOM_WRITE, &ours, &loop);
    compare_areas("flushed_write_4k", FLUSHED_WRITE, &ours, &loop);
    server = open_server(&loop);
    compare_areas("socket_read", SEQUENTIAL_READ, &server, &loop);
    compare_areas("socket_read_4k", RANDOM_READ, &server, &loop);
    return 0;
}
