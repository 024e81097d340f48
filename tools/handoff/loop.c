/* Devices without a server, or with one for a part: a loop device over the host partition, or over
 * a device-mapper table.  (Linux, include/uapi/linux/loop.h and dm-ioctl.h)
 *
 * Calls the C library. Invariants: the partition is always held exclusively by somebody, but for
 * the moment in which it passes from this process to the device mapper; what was made is taken down
 * again if a later step fails.
 *
 * Only one thread may use the device mapper at a time.
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
    uint8_t targets[MAX_FAST_ROUTES * (sizeof(struct dm_target_spec) + TARGET_SIZE)];
} request;

/* The device mapper. It stays open, because after the initrd its name leads nowhere. */
static int mapper = -1;

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
    udev_announce_loop(number);
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

/* The table: one linear target for each route. Returns its length in bytes. */
static size_t fill_targets(const struct table *table, const struct target *straight,
                           const struct target *served)
{
    size_t length = 0;

    for (size_t i = 0; i < table->nb; i++) {
        struct dm_target_spec *spec = (struct dm_target_spec *)(void *)(request.targets + length);
        const struct q2_route *route = &table->routes[i];
        const struct target *target = route->straight ? straight : served;
        uint64_t place =
            target->start + (route->straight ? route->volume_offset : route->guest_offset);

        length += sizeof(*spec) + TARGET_SIZE;
        *spec = (struct dm_target_spec){
            .sector_start = route->guest_offset / 512,
            .length = route->length / 512,
            .next = (uint32_t)(sizeof(*spec) + TARGET_SIZE),
            .target_type = "linear",
        };
        (void)snprintf((char *)(spec + 1), TARGET_SIZE, "%u:%u %llu", major(target->device),
                       minor(target->device), (unsigned long long)(place / 512));
    }
    return length;
}

static int remove_mapping(void)
{
    return device_control(mapper, DM_DEV_REMOVE, begin_request(0, 0));
}

static bool load_table(const struct table *table, const struct target *straight,
                       const struct target *served, uint32_t flags)
{
    size_t length = fill_targets(table, straight, served);

    begin_request(flags, length)->target_count = (uint32_t)table->nb;
    return device_control(mapper, DM_TABLE_LOAD, &request) == 0;
}

/* Put the table that was loaded in force: DM_DEV_SUSPEND without its flag means to resume. The
 * mapping has no file system to be frozen: those are on the loop device. The kernel waits for old
 * requests, and gives that up when the machine goes to sleep. */
static bool resume_mapping(void)
{
    int result;

    do
        result = device_control(mapper, DM_DEV_SUSPEND, begin_request(DM_SKIP_LOCKFS_FLAG, 0));
    while (result != 0 && errno == EINTR);
    return result == 0;
}

/* Make the mapping; its device's number, or 0 and errno. From then on it holds its devices
 * exclusively. */
static dev_t make_mapping(const struct table *table, const struct target *straight,
                          const struct target *served, bool read_only)
{
    uint32_t flags = read_only ? DM_READONLY_FLAG : 0;
    dev_t made;
    int error;

    if (device_control(mapper, DM_DEV_CREATE, begin_request(flags, 0)) != 0)
        return 0;
    made = (dev_t)request.head.dev;
    if (load_table(table, straight, served, flags) && resume_mapping())
        return made;
    error = errno;
    (void)remove_mapping();
    errno = error;
    return 0;
}

bool loop_change_mapping(const struct table *table, const struct target *straight,
                         const struct target *served)
{
    if (load_table(table, straight, served, 0) && resume_mapping())
        return true;
    log_say(LOG_WARNING, "the device-mapper table stays as it was: %s", strerror(errno));
    /* A table that is still loaded must go first: to resume would put it in force. */
    (void)device_control(mapper, DM_TABLE_CLEAR, begin_request(0, 0));
    (void)resume_mapping(); /* if it was left in the middle */
    return false;
}

static void tell(const struct handoff *handoff, const char *device, const char *lane)
{
    log_say(LOG_NOTE, "%s is %s, %llu MiB, %s; lane: %s", device, handoff->record.files[0].path,
            (unsigned long long)(handoff->size >> 20),
            handoff->record.mode == Q2_HANDOFF_RO ? "read-only" : "read-write", lane);
}

/* A loop device on a mapping, because the kernel looks for no partitions on the latter. */
static bool attach_mapping(struct handoff *handoff, dev_t mapping, const struct table *table,
                           const char *lane)
{
    bool read_only = handoff->record.mode == Q2_HANDOFF_RO, attached = false;
    char path[32], loop[32], text[160];
    int fd;

    (void)snprintf(path, sizeof(path), "/dev/dm-%u", minor(mapping));
    fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd >= 0)
        attached = configure_loop(handoff, fd, 0, loop, sizeof(loop)) == 0;
    if (attached) {
        (void)snprintf(text, sizeof(text), "%s (loop on %s, %zu pieces)", lane, path, table->nb);
        tell(handoff, loop, text);
    } else {
        log_say(LOG_INFO, "no loop device on %s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        (void)close(fd);
    return attached;
}

bool loop_attach_mapped(struct handoff *handoff, const struct table *table,
                        const struct target *straight, const struct target *served,
                        const char *lane)
{
    bool attached = false;
    dev_t made;

    mapper = open(MAPPER, O_RDWR | O_CLOEXEC);
    if (mapper < 0)
        return false;
    made = make_mapping(table, straight, served, handoff->record.mode == Q2_HANDOFF_RO);
    if (made == 0)
        log_say(LOG_INFO, "no device-mapper table: %s", strerror(errno));
    else
        attached = attach_mapping(handoff, made, table, lane);
    if (made != 0 && !attached)
        (void)remove_mapping();
    if (!attached)
        (void)close(mapper);
    return attached;
}

bool loop_can_map(const struct table *table)
{
    if (!module_load("loop", "/dev/loop-control")) {
        log_say(LOG_INFO, "no fast lane: this initrd has no loop module");
        return false;
    }
    if (!module_load("dm-mod", MAPPER)) {
        log_say(LOG_INFO,
                "no fast lane: the disk is stored in %zu pieces and this initrd has no device "
                "mapper",
                table->nb);
        return false;
    }
    return true;
}

static bool attach_single(struct handoff *handoff, const struct q2_route *route)
{
    char loop[32];

    if (!module_load("loop", "/dev/loop-control")) {
        log_say(LOG_INFO, "no fast lane: this initrd has no loop module");
        return false;
    }
    if (configure_loop(handoff, handoff->host.fd, route->volume_offset, loop, sizeof(loop)) != 0) {
        log_say(LOG_INFO, "no loop device: %s", strerror(errno));
        return false;
    }
    tell(handoff, loop, "fast (loop)");
    return true;
}

bool loop_attach(struct handoff *handoff, const struct table *table)
{
    struct target target = {0};
    struct stat partition;

    if (table->nb == 1)
        return attach_single(handoff, table->routes);
    if (!loop_can_map(table) || fstat(handoff->host.fd, &partition) != 0)
        return false;
    target.device = partition.st_rdev;
    return host_share(handoff) && (loop_attach_mapped(handoff, table, &target, NULL, "fast") ||
                                   (host_take_back(handoff) && false));
}
