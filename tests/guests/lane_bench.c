/* How fast a disk that was handed over is, beside the kernel's own loop device.
 *
 *     lane_bench DISK HOST [buffered]
 *
 * Runs in a guest. DISK is the disk that the guest got, with AREA bytes at its end that nobody
 * uses. HOST is the disk that the image is on; somewhere in its first gigabytes there is a raw file
 * of AREA bytes in one piece that begins with MAGIC. A loop device is put over that file, with
 * direct I/O or, as losetup makes it without options, buffered; then its buffers are emptied before
 * each measurement. Both areas are written once, so that all of them is allocated, and are then
 * measured in turns, with direct I/O and one request at a time. Prints one line for each kind of
 * access:
 *
 *     KIND OURS LOOP RATIO      medians of ROUNDS rounds in KiB/s, and of the rounds' ratios
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
#include <time.h>
#include <unistd.h>

#define MIB    (1024u * 1024)
#define AREA   (128ll * MIB)
#define MAGIC  "metalcow-baseline"
#define ROUNDS 3
#define NB_4K  500

#define NB_FLUSHED 100

static uint8_t *buffer; /* 1 MiB, aligned */

struct area {
    int fd;
    int64_t start;
    int buffers; /* of this device, which are emptied; -1: none */
};

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void move(const struct area *area, bool write, int64_t at, size_t length)
{
    ssize_t n = write ? pwrite(area->fd, buffer, length, area->start + at)
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

/* The same places for both devices: the seed is the round. */
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

static double measure(const struct area *area, int kind, unsigned int round)
{
    if (area->buffers >= 0 && ioctl(area->buffers, BLKFLSBUF) != 0)
        err(1, "buffers");
    if (kind == 4)
        return flushed_4k(area);
    return kind < 2 ? sequential(area, kind == 1) : random_4k(area, kind == 3, round);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(values[0]), compare);
    return values[ROUNDS / 2];
}

static void compare_areas(const struct area *ours, const struct area *loop)
{
    static const char *const names[] = {"sequential_read", "sequential_write", "random_read_4k",
                                        "random_write_4k", "flushed_write_4k"};

    for (int kind = 0; kind < 5; kind++) {
        double a[ROUNDS], b[ROUNDS], ratio[ROUNDS];

        for (unsigned int round = 0; round < ROUNDS; round++) {
            bool first = round % 2 == 0; /* who goes first has it easier, or harder */

            if (first)
                a[round] = measure(ours, kind, round);
            b[round] = measure(loop, kind, round);
            if (!first)
                a[round] = measure(ours, kind, round);
            ratio[round] = a[round] / b[round];
        }
        printf("%s %.0f %.0f %.2f\n", names[kind], median(a), median(b), median(ratio));
        (void)fflush(stdout);
    }
}

/* Where the raw file begins on the host's disk. */
static int64_t find_baseline(int host)
{
    for (int64_t at = 0; pread(host, buffer, MIB, at) == MIB; at += MIB) {
        for (size_t i = 0; i < MIB; i += 512) {
            if (memcmp(buffer + i, MAGIC, sizeof(MAGIC) - 1) == 0)
                return at + (int64_t)i;
        }
    }
    errx(1, "the host's disk has no file that begins with " MAGIC);
}

static struct area open_loop(const char *host_path, bool buffered)
{
    int host = open(host_path, O_RDWR), control = open("/dev/loop-control", O_RDWR);
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    struct loop_config config = {.fd = (uint32_t)host, .block_size = 512};
    char path[32];
    int fd;

    if (host < 0 || number < 0)
        err(1, "%s", host_path);
    config.info.lo_offset = (uint64_t)find_baseline(host);
    config.info.lo_sizelimit = (uint64_t)AREA;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (buffered ? 0 : LO_FLAGS_DIRECT_IO);
    (void)snprintf(path, sizeof(path), "/dev/loop%d", number);
    fd = open(path, O_RDWR | O_DIRECT);
    if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) != 0)
        err(1, "%s", path);
    return (struct area){.fd = fd, .buffers = buffered ? host : -1};
}

int main(int argc, char **argv)
{
    struct area ours = {.buffers = -1}, loop;
    uint64_t size = 0;

    if (argc != 3 && (argc != 4 || strcmp(argv[3], "buffered") != 0))
        errx(2, "usage: lane_bench DISK HOST [buffered]");
    buffer = aligned_alloc(MIB, MIB);
    loop = open_loop(argv[2], argc == 4);
    ours.fd = open(argv[1], O_RDWR | O_DIRECT);
    if (!buffer || ours.fd < 0 || ioctl(ours.fd, BLKGETSIZE64, &size) != 0)
        err(1, "%s", argv[1]);
    ours.start = (int64_t)(size & ~(uint64_t)(MIB - 1)) - AREA;
    memset(buffer, 0x5a, MIB);
    (void)sequential(&ours, true);
    (void)sequential(&loop, true);
    compare_areas(&ours, &loop);
    return 0;
}
