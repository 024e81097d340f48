/* The fast lane's devices: a loop device over the host partition, or over a device-mapper table of
 * its pieces.  (Linux, include/uapi/linux/loop.h and dm-ioctl.h)
 *
 * Calls the C library. Invariants: the partition is always held exclusively by somebody, but for
 * the moment in which it passes from this process to the device mapper; what was made is taken down
 * again if a later step fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h> /* before dm-ioctl.h, which uses it */
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "handoff.h"

#define MAPPER      "/dev/mapper/control"
#define MAPPER_NAME "metalcow-handoff"
#define TARGET_SIZE 64u

/* A table for the device mapper; it follows the head of each request. */
static struct {
    struct dm_ioctl head;
    uint8_t targets[MAX_RUNS * (sizeof(struct dm_target_spec) + TARGET_SIZE)];
} request;

/* Configure the first free loop device over fd; its number, or -1 and errno. */
static int configure_loop(const struct handoff *handoff, int fd, uint64_t offset, char *ret_path,
                          size_t path_size)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO;
    struct loop_config config = {
        .fd = (uint32_t)fd,
        .block_size = handoff->record.guest_sector_size,
        .info = {.lo_offset = offset,
                 .lo_sizelimit = handoff->size,
                 .lo_file_name = "metalcow",
                 .lo_flags = LO_FLAGS_PARTSCAN | LO_FLAGS_DIRECT_IO |
                             (read_only ? (uint32_t)LO_FLAGS_READ_ONLY : 0)},
    };
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : device_control(control, LOOP_CTL_GET_FREE, NULL);
    int loop, result;

    if (control >= 0)
        (void)close(control);
    if (number < 0)
        return -1;
    (void)snprintf(ret_path, path_size, "/dev/loop%d", number);
    loop = open(ret_path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (loop < 0)
        return -1;
    result = device_control(loop, LOOP_CONFIGURE, &config);
    if (result == 0 && device_control(loop, LOOP_GET_STATUS64, &config.info) == 0 &&
        (config.info.lo_flags & LO_FLAGS_DIRECT_IO) == 0)
        log_say(LOG_WARNING, "%s has no direct I/O: data is kept in memory twice", ret_path);
    (void)close(loop);
    return result;
}

/* Begin a request; length: bytes of the targets after its head. */
static struct dm_ioctl *begin_request(uint32_t flags, size_t length)
{
    request.head = (struct dm_ioctl){
        .version = {DM_VERSION_MAJOR, 0, 0},
        .data_size = (uint32_t)(sizeof(request.head) + length),
        .data_start = sizeof(request.head),
        .flags = flags,
        .name = MAPPER_NAME,
    };
    return &request.head;
}

/* The table: one linear target for each run. Returns its length in bytes. */
static size_t fill_targets(const struct run *runs, size_t nb_runs, dev_t device)
{
    size_t length = 0;

    for (size_t i = 0; i < nb_runs; i++) {
        struct dm_target_spec *spec = (struct dm_target_spec *)(void *)(request.targets + length);

        length += sizeof(*spec) + TARGET_SIZE;
        *spec = (struct dm_target_spec){
            .sector_start = runs[i].guest_offset / 512,
            .length = runs[i].length / 512,
            .next = (uint32_t)(sizeof(*spec) + TARGET_SIZE),
            .target_type = "linear",
        };
        (void)snprintf((char *)(spec + 1), TARGET_SIZE, "%u:%u %llu", major(device), minor(device),
                       (unsigned long long)(runs[i].host_offset / 512));
    }
    return length;
}

static int remove_mapping(int control)
{
    return device_control(control, DM_DEV_REMOVE, begin_request(0, 0));
}

/* Make the mapping; its device's number, or 0 and errno. */
static dev_t make_mapping(int control, const struct run *runs, size_t nb_runs, dev_t device,
                          bool read_only)
{
    uint32_t flags = read_only ? DM_READONLY_FLAG : 0;
    size_t length;
    dev_t made;
    int error;

    if (device_control(control, DM_DEV_CREATE, begin_request(flags, 0)) != 0)
        return 0;
    made = (dev_t)request.head.dev;
    length = fill_targets(runs, nb_runs, device);
    begin_request(flags, length)->target_count = (uint32_t)nb_runs;
    if (device_control(control, DM_TABLE_LOAD, &request) == 0 &&
        device_control(control, DM_DEV_SUSPEND, begin_request(0, 0)) ==
            0) /* without the flag: resume */
        return made;
    error = errno;
    (void)remove_mapping(control);
    errno = error;
    return 0;
}

/* The mapping holds the partition from now on. */
static int map_runs(struct handoff *handoff, int control, const struct run *runs, size_t nb_runs,
                    char *ret_path, size_t path_size)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO;
    struct stat partition;
    dev_t made;

    if (fstat(handoff->host.fd, &partition) != 0)
        return -1;
    (void)close(handoff->host.fd);
    made = make_mapping(control, runs, nb_runs, partition.st_rdev, read_only);
    if (made == 0) {
        int error = errno;

        log_say(LOG_INFO, "no device-mapper table: %s", strerror(error));
        handoff->host.fd = host_open(handoff);
        return -1;
    }
    (void)snprintf(ret_path, path_size, "/dev/dm-%u", minor(made));
    return open(ret_path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
}

/* Several pieces: a table of the device mapper, and a loop device on it, because the kernel looks
 * for no partitions on the former. */
static bool attach_mapped(struct handoff *handoff, const struct run *runs, size_t nb_runs)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO;
    char mapping[32], loop[32];
    int control, fd;

    if (!module_load("dm-mod", MAPPER)) {
        log_say(LOG_INFO,
                "no fast lane: the image is stored in %zu pieces and this initrd has no "
                "device mapper",
                nb_runs);
        return false;
    }
    control = open(MAPPER, O_RDWR | O_CLOEXEC);
    fd = control < 0 ? -1 : map_runs(handoff, control, runs, nb_runs, mapping, sizeof(mapping));
    if (fd >= 0 && configure_loop(handoff, fd, 0, loop, sizeof(loop)) == 0) {
        (void)close(fd);
        (void)close(control);
        log_say(LOG_NOTE, "%s is %s, %llu MiB, %s; lane: fast (loop on %s, %zu pieces)", loop,
                handoff->record.files[0].path, (unsigned long long)(handoff->size >> 20),
                read_only ? "read-only" : "read-write", mapping, nb_runs);
        return true;
    }
    if (fd >= 0) {
        (void)close(fd);
        (void)remove_mapping(control);
        handoff->host.fd = host_open(handoff);
    }
    if (control >= 0)
        (void)close(control);
    return false;
}

static bool attach_single(struct handoff *handoff, const struct run *run)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO;
    char loop[32];

    if (configure_loop(handoff, handoff->host.fd, run->host_offset, loop, sizeof(loop)) != 0) {
        log_say(LOG_INFO, "no loop device: %s", strerror(errno));
        return false;
    }
    log_say(LOG_NOTE, "%s is %s, %llu MiB, %s; lane: fast (loop)", loop,
            handoff->record.files[0].path, (unsigned long long)(handoff->size >> 20),
            read_only ? "read-only" : "read-write");
    return true;
}

bool runs_attach(struct handoff *handoff, const struct run *runs, size_t nb_runs)
{
    if (!module_load("loop", "/dev/loop-control")) {
        log_say(LOG_INFO, "no fast lane: this initrd has no loop module");
        return false;
    }
    return nb_runs == 1 ? attach_single(handoff, runs) : attach_mapped(handoff, runs, nb_runs);
}
