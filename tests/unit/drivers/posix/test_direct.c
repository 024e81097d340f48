/* drivers/posix/direct.c: every alignment of a request, against an array; a file stands for the
 * device.
 */
#include "drivers/posix/direct.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/t.h"

#define SIZE   65536u
#define SECTOR 512u

static uint8_t want[SIZE], got[SIZE];
static uint8_t bounce[4 * SECTOR] __attribute__((aligned(4096)));

static int make_device(struct q2_source_direct *direct, uint32_t sector_size, bool writable)
{
    char path[] = "/tmp/metalcow-direct-XXXXXX";
    int fd = mkstemp(path);

    for (size_t i = 0; i < SIZE; i++)
        want[i] = (uint8_t)(i * 13 + i / 256);
    T_CHECK(fd >= 0 && write(fd, want, SIZE) == (ssize_t)SIZE);
    (void)unlink(path);
    q2_source_direct_init(direct, &(struct q2_direct_device){.fd = fd,
                                                             .path = "device",
                                                             .size = SIZE,
                                                             .sector_size = sector_size,
                                                             .writable = writable,
                                                             .bounce = bounce,
                                                             .bounce_size = sizeof(bounce)});
    return fd;
}

static const struct {
    uint64_t offset;
    size_t length;
} ranges[] = {
    {0, 512},     {0, 4096},    {512, 1024},   {1, 1},        {511, 1},
    {511, 2},     {100, 300},   {100, 5000},   {512, 100},    {300, 212},
    {4095, 4098}, {0, SIZE},    {1, SIZE - 2}, {SIZE - 1, 1}, {SIZE - 700, 700},
    {2048, 2048}, {2047, 2049}, {2048, 2049},  {512, 1536},   {512, 1537},
};
#define NB_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static void test_direct_every_alignment_reads_and_writes_its_bytes(void)
{
    static const uint32_t sectors[] = {512, 1024};
    static uint8_t memory[SIZE + 8] __attribute__((aligned(4096)));

    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < NB_RANGES * 2; i++) {
            struct q2_source_direct direct;
            uint64_t offset = ranges[i / 2].offset;
            size_t length = ranges[i / 2].length;
            uint8_t *buffer = memory + (i % 2) * 3; /* aligned, and not */
            int fd = make_device(&direct, sectors[s], true);

            T_CHECK_U64(direct.source.ops->read_at(&direct.source, offset, buffer, length), Q2_OK);
            T_CHECK(memcmp(buffer, want + offset, length) == 0);
            memset(buffer, 0xd1, length);
            memset(want + offset, 0xd1, length);
            T_CHECK_U64(direct.source.ops->write_at(&direct.source, offset, buffer, length), Q2_OK);
            T_CHECK(pread(fd, got, SIZE, 0) == (ssize_t)SIZE);
            T_CHECK(memcmp(got, want, SIZE) == 0);
            T_CHECK_U64(direct.source.ops->flush(&direct.source), Q2_OK);
            (void)close(fd);
        }
    }
}

static void test_direct_ranges_outside_are_refused(void)
{
    struct q2_source_direct direct;
    int fd = make_device(&direct, SECTOR, true);
    uint8_t byte = 0;

    T_CHECK_U64(direct.source.ops->read_at(&direct.source, SIZE, &byte, 1), Q2_ERR_IO);
    T_CHECK_U64(direct.source.ops->read_at(&direct.source, ~0ull, &byte, 1), Q2_ERR_IO);
    T_CHECK_U64(direct.source.ops->write_at(&direct.source, SIZE, &byte, 1), Q2_ERR_IO);
    (void)close(fd);
}

static void test_direct_read_only_is_not_written(void)
{
    struct q2_source_direct direct;
    int fd = make_device(&direct, SECTOR, false);
    uint8_t byte = 0;

    T_CHECK_U64(direct.source.ops->write_at(&direct.source, 0, &byte, 1), Q2_ERR_READ_ONLY);
    T_CHECK_U64(direct.source.ops->flush(&direct.source), Q2_OK);
    (void)close(fd);
}

/* A device that has become shorter, or went away. */
static void test_direct_short_device_is_an_error(void)
{
    struct q2_source_direct direct;
    int fd = make_device(&direct, SECTOR, true);
    static uint8_t buffer[4096] __attribute__((aligned(4096)));

    T_CHECK(ftruncate(fd, 4096) == 0);
    T_CHECK_U64(direct.source.ops->read_at(&direct.source, 2048, buffer, 4096), Q2_ERR_IO);
    T_CHECK_U64(direct.source.ops->read_at(&direct.source, 8000, buffer, 10), Q2_ERR_IO);
    (void)close(fd);
    T_CHECK(direct.source.ops->read_at(&direct.source, 0, buffer, 512) != Q2_OK);
    T_CHECK(direct.source.ops->write_at(&direct.source, 1, buffer, 512) != Q2_OK);
    T_CHECK(direct.source.ops->write_at(&direct.source, 0, buffer, 512) != Q2_OK);
    T_CHECK(direct.source.ops->flush(&direct.source) != Q2_OK);
}

int main(void)
{
    T_RUN(test_direct_every_alignment_reads_and_writes_its_bytes);
    T_RUN(test_direct_ranges_outside_are_refused);
    T_RUN(test_direct_read_only_is_not_written);
    T_RUN(test_direct_short_device_is_an_error);
    return t_done();
}
