/* tools/handoff/find.c: the partition that the record names, on disks that are files.
 *
 * What begins with /sys or /dev is looked for in a folder that is made here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/t.h"
#include "tools/handoff/handoff.h"

#define MIB        (1u << 20)
#define DISK_SIZE  (8u * MIB)
#define VOLUME_ID  0x5eed1234u
#define ID_OFFSET  67u
#define MAX_SECTOR 4096u

static char root[] = "/tmp/test-find-XXXXXX";
static uint32_t sector_size;

static const char *inside(const char *path)
{
    static char name[400];

    if (strncmp(path, "/sys", 4) != 0 && strncmp(path, "/dev", 4) != 0)
        return path;
    (void)snprintf(name, sizeof(name), "%s%s", root, path);
    return name;
}

/* The C library has two names, by the width of off_t. */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    return __real_open64(inside(path), flags & ~O_DIRECT & ~O_EXCL, 0600);
}

int __wrap_open(const char *path, int flags, ...) __attribute__((alias("__wrap_open64")));

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    return __real_opendir(inside(path));
}

int __wrap_usleep(useconds_t time);
int __wrap_usleep(useconds_t time)
{
    (void)time;
    return 0;
}

int device_control(int fd, unsigned long request, const void *argument)
{
    struct stat stat;

    if (request == BLKSSZGET)
        *(int *)(uintptr_t)argument = (int)sector_size;
    if (request == BLKROGET)
        *(int *)(uintptr_t)argument = 0;
    if (request != BLKGETSIZE64)
        return 0;
    if (fstat(fd, &stat) != 0)
        return -1;
    *(uint64_t *)(uintptr_t)argument = (uint64_t)stat.st_size;
    return 0;
}

void log_say(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

/* ---- a machine with disks ---- */

static void put(uint8_t *bytes, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static void make_folder(const char *path)
{
    if (mkdir(inside(path), 0700) != 0 && errno != EEXIST)
        T_CHECK_STR(path, "a folder");
}

static void write_at(const char *path, uint64_t offset, const void *bytes, size_t length)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    T_CHECK(pwrite(fd, bytes, length, (off_t)offset) == (ssize_t)length);
    (void)close(fd);
}

static void write_number(const char *folder, const char *name, uint64_t number)
{
    char path[200], text[32];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
    write_at(path, 0, text, strlen(text));
}

/* A disk with one block of a table; and its partition `name`, as the kernel shows it. */
static void make_disk(uint64_t place, const uint8_t *block, size_t length)
{
    make_folder("/sys");
    make_folder("/sys/block");
    make_folder("/sys/block/sda");
    make_folder("/dev");
    write_number("/sys/block/sda", "size", DISK_SIZE / 512);
    write_at("/dev/sda", DISK_SIZE - 1, "", 1);
    write_at("/dev/sda", place, block, length);
}

static void make_partition(const char *name, uint64_t start, uint64_t size)
{
    char path[100];
    uint8_t id[4];

    (void)snprintf(path, sizeof(path), "/sys/block/sda/%s", name);
    make_folder(path);
    write_number(path, "start", start / 512);
    write_number(path, "size", size / 512);
    (void)snprintf(path, sizeof(path), "/dev/%s", name);
    put(id, VOLUME_ID, 4);
    write_at(path, ID_OFFSET, id, 4);
    write_at(path, size - 1, "", 1);
}

static void forget_disks(void)
{
    char command[100];

    (void)snprintf(command, sizeof(command), "rm -rf %s/sys %s/dev", root, root);
    T_CHECK_U64(system(command), 0);
}

/* A GPT header in the first block, `nb` entries after it; all of them have the GUID. */
static void make_gpt(uint32_t nb, const uint64_t *starts, size_t nb_starts)
{
    static uint8_t table[3 * MAX_SECTOR];

    memset(table, 0, sizeof(table));
    memcpy(table, "EFI PART", 8);
    put(table + 72, 2, 8);
    put(table + 80, nb, 4);
    put(table + 84, 128, 4);
    for (size_t i = 0; i < nb_starts; i++) {
        uint8_t *entry = table + sector_size + i * 128;
        memset(entry, 0x11, 32);
        put(entry + 32, starts[i] / sector_size, 8);
        put(entry + 40, (starts[i] + MIB) / sector_size - 1, 8);
    }
    make_disk(sector_size, table, sector_size + 128 * nb_starts);
}

static bool find(enum q2_handoff_scheme scheme, uint64_t start, uint32_t signature,
                 const char **ret_path)
{
    static struct handoff handoff;
    bool found;

    memset(&handoff, 0, sizeof(handoff));
    handoff.record.disk = (struct q2_handoff_disk){.scheme = scheme,
                                                   .start = start,
                                                   .size = MIB,
                                                   .sector_size = sector_size,
                                                   .mbr_signature = signature,
                                                   .volume_id = VOLUME_ID,
                                                   .volume_id_offset = ID_OFFSET};
    memset(handoff.record.disk.partition_guid, scheme == Q2_HANDOFF_GPT ? 0x11 : 0, 16);
    found = host_find(&handoff);
    if (found)
        (void)close(handoff.host.fd);
    *ret_path = found ? handoff.host.path : "";
    return found;
}

/* ---- tests ---- */

static void test_find_gpt_partition_by_guid_and_place(void)
{
    static const uint64_t starts[] = {MIB, 3 * MIB};
    static const struct {
        const char *name;
        uint32_t sector_size, nb_entries;
        uint64_t start;
        const char *want;
    } rows[] = {
        {"the only one", 512, 128, MIB, "/dev/sda1"},
        {"large sectors", 4096, 128, MIB, "/dev/sda1"},
        {"the second of two with one GUID", 512, 128, 3 * MIB, "/dev/sda2"},
        {"a table with room for many", 512, 4096, MIB, "/dev/sda1"},
        {"another place", 512, 128, 2 * MIB, ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path;

        t_row(rows[i].name);
        sector_size = rows[i].sector_size;
        make_gpt(rows[i].nb_entries, starts, 2);
        make_partition("sda1", MIB, MIB);
        make_partition("sda2", 3 * MIB, MIB);
        (void)find(Q2_HANDOFF_GPT, rows[i].start, 0, &path);
        T_CHECK_STR(path, rows[i].want);
        forget_disks();
    }
}

static void test_find_mbr_partition_by_signature_and_place(void)
{
    static const struct {
        const char *name;
        uint32_t sector_size, on_disk, wanted;
        const char *want;
    } rows[] = {
        {"a logical one", 512, 0x1234, 0x1234, "/dev/sda5"},
        {"large sectors", 4096, 0x1234, 0x1234, "/dev/sda5"},
        {"no signature", 512, 0, 0, "/dev/sda5"},
        {"another disk", 512, 0x1235, 0x1234, ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t block[512] = {0};
        const char *path;

        t_row(rows[i].name);
        sector_size = rows[i].sector_size;
        put(block + 440, rows[i].on_disk, 4);
        put(block + 510, 0xaa55, 2);
        make_disk(0, block, sizeof(block));
        make_partition("sda1", 2 * MIB, 4 * MIB);
        make_partition("sda5", 3 * MIB, MIB);
        (void)find(Q2_HANDOFF_MBR, 3 * MIB, rows[i].wanted, &path);
        T_CHECK_STR(path, rows[i].want);
        forget_disks();
    }
}

int main(void)
{
    if (!mkdtemp(root))
        return 1;
    T_RUN(test_find_gpt_partition_by_guid_and_place);
    T_RUN(test_find_mbr_partition_by_signature_and_place);
    (void)rmdir(root);
    return t_done();
}
