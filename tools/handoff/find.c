/* The host partition: found by what the record says of it, without udev.
 *
 * Calls the C library. Invariants: a device is written only if its partition table, the place and
 * size of the partition, the volume id and (open.c) the files' samples are those of the record, and
 * no second disk has the same; it is held exclusively from then on, so nobody mounts it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handoff.h"

#define SOON_MS      5000 /* within this time it is looked for more often */
#define SOON_POLL_MS 20
#define POLL_MS      100
#define TELL_MS      10000
#define GIVE_UP_MS   600000
#define BUSY_MS      15000

/* The kernel has no partition with a higher number. */
#define MAX_GPT_ENTRIES 255u

/* Devices that are no host disk. */
static const char *const no_disks[] = {"nbd", "loop", "ram", "zram", "dm-", "md", "sr", "fd"};

static uint64_t get_le(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;

    for (size_t i = width; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static bool is_no_disk(const char *name)
{
    for (size_t i = 0; i < sizeof(no_disks) / sizeof(no_disks[0]); i++) {
        if (strncmp(name, no_disks[i], strlen(no_disks[i])) == 0)
            return true;
    }
    return name[0] == '.';
}

static bool read_at(int fd, uint64_t offset, void *buffer, size_t length)
{
    return pread(fd, buffer, length, (off_t)offset) == (ssize_t)length;
}

/* Has the disk's GPT an entry with the record's GUID, at the record's place?  An entry that was
 * copied with its GUID may be there too. */
static bool gpt_has(int fd, uint32_t sector_size, const struct q2_handoff_disk *wanted)
{
    uint8_t header[512], entry[128];
    uint64_t entries;
    uint32_t nb, size;

    if (!read_at(fd, sector_size, header, sizeof(header)) || memcmp(header, "EFI PART", 8) != 0)
        return false;
    entries = get_le(header + 72, 8);
    nb = (uint32_t)get_le(header + 80, 4);
    size = (uint32_t)get_le(header + 84, 4);
    if (size < sizeof(entry) || size > 4096 || entries > UINT32_MAX)
        return false;
    for (uint32_t i = 0; i < nb && i < MAX_GPT_ENTRIES; i++) {
        if (!read_at(fd, entries * sector_size + (uint64_t)i * size, entry, sizeof(entry)))
            return false;
        if (memcmp(entry + 16, wanted->partition_guid, 16) == 0 &&
            get_le(entry + 32, 8) * sector_size == wanted->start)
            return true;
    }
    return false;
}

static bool mbr_has(int fd, const struct q2_handoff_disk *wanted)
{
    uint8_t sector[512];

    return read_at(fd, 0, sector, sizeof(sector)) && sector[510] == 0x55 && sector[511] == 0xaa &&
           get_le(sector + 440, 4) == wanted->mbr_signature;
}

/* Is this disk the record's, as far as its partition table tells? */
static bool disk_matches(const char *path, const struct q2_handoff_disk *wanted)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int sector_size = 0;
    bool matches = false;

    if (fd < 0)
        return false;
    if (device_control(fd, BLKSSZGET, &sector_size) == 0 && sector_size == (int)wanted->sector_size)
        matches = wanted->scheme == Q2_HANDOFF_WHOLE_DISK ||
                  (wanted->scheme == Q2_HANDOFF_GPT ? gpt_has(fd, wanted->sector_size, wanted)
                                                    : mbr_has(fd, wanted));
    (void)close(fd);
    return matches;
}

/* A number out of sysfs; UINT64_MAX if there is none. */
static uint64_t read_number(const char *folder, const char *name, const char *attribute)
{
    char path[300], text[32];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s/%s", folder, name, attribute);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UINT64_MAX;
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (n <= 0)
        return UINT64_MAX;
    text[n] = '\0';
    return strtoull(text, NULL, 10);
}

/* The partition of a disk that starts where the record says; sysfs counts in units of 512 bytes. */
static bool find_partition(const char *disk, const struct q2_handoff_disk *wanted, char *ret_path,
                           size_t size)
{
    char folder[300];
    const struct dirent *entry;
    bool found = false;
    DIR *listing;

    (void)snprintf(folder, sizeof(folder), "/sys/block/%s", disk);
    if (wanted->scheme == Q2_HANDOFF_WHOLE_DISK) {
        (void)snprintf(ret_path, size, "/dev/%.50s", disk);
        return read_number("/sys/block", disk, "size") == wanted->size / 512;
    }
    listing = opendir(folder);
    while (listing && !found && (entry = readdir(listing)) != NULL) {
        if (read_number(folder, entry->d_name, "start") != wanted->start / 512 ||
            read_number(folder, entry->d_name, "size") != wanted->size / 512)
            continue;
        found = (size_t)snprintf(ret_path, size, "/dev/%.50s", entry->d_name) < size;
    }
    if (listing)
        (void)closedir(listing);
    return found;
}

/* Has the partition the file system that the record names? */
static bool volume_matches(const char *path, const struct q2_handoff_disk *wanted)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t id[4];
    bool matches;

    if (fd < 0)
        return false;
    matches =
        wanted->volume_id_offset == 0 || (read_at(fd, wanted->volume_id_offset, id, sizeof(id)) &&
                                          get_le(id, sizeof(id)) == wanted->volume_id);
    (void)close(fd);
    return matches;
}

/* Look at every disk once; returns how many match. host has the last one. */
static unsigned int look(const struct q2_handoff_disk *wanted, struct host *host)
{
    DIR *listing = opendir("/sys/block");
    const struct dirent *entry;
    unsigned int nb = 0;

    while (listing && (entry = readdir(listing)) != NULL) {
        char disk[64], partition[64];

        if (is_no_disk(entry->d_name) || strlen(entry->d_name) > 40)
            continue;
        (void)snprintf(disk, sizeof(disk), "/dev/%.40s", entry->d_name);
        if (!disk_matches(disk, wanted) ||
            !find_partition(entry->d_name, wanted, partition, sizeof(partition)) ||
            !volume_matches(partition, wanted))
            continue;
        memcpy(host->disk_path, disk, sizeof(disk));
        memcpy(host->path, partition, sizeof(partition));
        nb++;
    }
    if (listing)
        (void)closedir(listing);
    return nb;
}

/* What is being waited for, for people. */
static void describe(const struct q2_handoff_disk *wanted, char *text, size_t size)
{
    const uint8_t *g = wanted->partition_guid;

    if (wanted->scheme == Q2_HANDOFF_GPT)
        (void)snprintf(text, size,
                       "partition %02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                       "%02x%02x%02x%02x%02x%02x",
                       g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11],
                       g[12], g[13], g[14], g[15]);
    else if (wanted->scheme == Q2_HANDOFF_MBR)
        (void)snprintf(text, size, "partition at sector %llu of the disk with MBR signature %08x",
                       (unsigned long long)(wanted->start / wanted->sector_size),
                       wanted->mbr_signature);
    else
        (void)snprintf(text, size, "disk with volume id %08x", wanted->volume_id);
}

/* Others may look at the partition for a moment; nobody may keep it. */
static int open_exclusively(const char *path, bool writable)
{
    int flags = (writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_EXCL | O_CLOEXEC;
    int fd = open(path, flags);

    for (int waited = 0; fd < 0 && errno == EBUSY && waited < BUSY_MS; waited += POLL_MS) {
        (void)usleep(POLL_MS * 1000);
        fd = open(path, flags);
    }
    return fd;
}

int host_open(struct handoff *handoff)
{
    int fd = open_exclusively(handoff->host.path, handoff->record.mode == Q2_HANDOFF_RW);

    handoff->host.source.fd = fd;
    if (fd < 0)
        log_say(LOG_ERROR, "%s, which the image is on, cannot be opened: %s", handoff->host.path,
                strerror(errno));
    return fd;
}

bool host_prepare_sharing(struct handoff *handoff)
{
    bool writable = handoff->record.mode == Q2_HANDOFF_RW;
    struct host *host = &handoff->host;

    if (host->shared_fd < 0)
        host->shared_fd = open(host->path, (writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
    return host->shared_fd >= 0;
}

bool host_share(struct handoff *handoff)
{
    struct host *host = &handoff->host;

    if (!host_prepare_sharing(handoff))
        return false;
    (void)close(host->fd);
    host->fd = host->source.fd = host->shared_fd;
    host->shared_fd = -1;
    return true;
}

bool host_take_back(struct handoff *handoff)
{
    (void)close(handoff->host.fd);
    handoff->host.fd = host_open(handoff);
    return handoff->host.fd >= 0;
}

static bool open_host(struct handoff *handoff)
{
    const struct q2_handoff_disk *wanted = &handoff->record.disk;
    struct host *host = &handoff->host;
    bool writable = handoff->record.mode == Q2_HANDOFF_RW;
    uint64_t bytes = 0;
    int read_only = 0;

    host->shared_fd = -1;
    host->fd = host_open(handoff);
    if (host->fd < 0)
        return false;
    if (device_control(host->fd, BLKGETSIZE64, &bytes) != 0 || bytes != wanted->size) {
        log_say(LOG_ERROR, "%s has %llu bytes; the firmware saw %llu", host->path,
                (unsigned long long)bytes, (unsigned long long)wanted->size);
        return false;
    }
    if (writable && device_control(host->fd, BLKROGET, &read_only) == 0 && read_only) {
        log_say(LOG_ERROR, "%s is write-protected; remove the protection, or choose mode overlay",
                host->path);
        return false;
    }
    q2_source_direct_init(&host->source,
                          &(struct q2_direct_device){.fd = host->fd,
                                                     .path = host->path,
                                                     .size = wanted->size,
                                                     .sector_size = wanted->sector_size,
                                                     .writable = writable,
                                                     .bounce = handoff->bounce,
                                                     .bounce_size = BOUNCE_SIZE});
    return true;
}

bool host_find(struct handoff *handoff)
{
    const struct q2_handoff_disk *wanted = &handoff->record.disk;
    unsigned int nb = look(wanted, &handoff->host), waited = 0, pause;
    char text[160];

    describe(wanted, text, sizeof(text));
    for (; nb == 0 && waited < GIVE_UP_MS; waited += pause) {
        pause = waited < SOON_MS ? SOON_POLL_MS : POLL_MS;
        if (waited % TELL_MS == 0)
            log_say(waited == 0 ? LOG_INFO : LOG_WARNING,
                    "waiting for the %s, which the disk image is on", text);
        (void)usleep(pause * 1000);
        nb = look(wanted, &handoff->host);
    }
    if (nb == 0) {
        log_say(LOG_ERROR, "no %s after %u s; does the initrd have the driver of its bus?", text,
                waited / 1000);
        return false;
    }
    if (nb > 1) {
        log_say(LOG_ERROR, "%u disks have the %s; remove all but the one to start from", nb, text);
        return false;
    }
    log_say(LOG_INFO, "the %s is %s, found after %u ms", text, handoff->host.path, waited);
    return open_host(handoff);
}
