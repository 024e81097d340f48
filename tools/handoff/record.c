/* Where the record comes from: the cpio of this boot, or the EFI variables of firmware.
 *
 * Calls include/q2_handoff.h and the C library. Invariant: what had keys in it is overwritten, the
 * file as well as our own memory (q2_handoff_wipe_keys(), after the disk was opened).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"
#include "q2_handoff_cpio.h"

#define RECORD_PATH "/" Q2_HANDOFF_RECORD_PATH
#define MARK_PATH   RECORD_PATH ".taken"
#define EFI_FOLDER  "/sys/firmware/efi"
#define VARIABLES   EFI_FOLDER "/efivars"

/* An efivars file begins with the variable's attributes. */
#define ATTRIBUTES_SIZE 4u

static void *get_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

/* Read until the end or until there is no room; -1 if that fails. */
static ssize_t read_all(int fd, uint8_t *buffer, size_t size)
{
    size_t length = 0;

    while (length < size) {
        ssize_t n = read(fd, buffer + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

/* Overwrite a file in the initrd's memory, then remove it. */
static void erase_file(int fd, const char *path, size_t length)
{
    static const uint8_t zeros[4096];

    for (size_t at = 0; at < length; at += sizeof(zeros))
        (void)!pwrite(fd, zeros, sizeof(zeros), (off_t)at);
    (void)unlink(path);
}

/* Of two starts one makes the mark, and only that one goes on. A system without the folder was
 * prepared in another way, and has one start. */
static bool is_first_start(void)
{
    int fd = open(MARK_PATH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool first = fd >= 0 || errno != EEXIST;

    if (fd >= 0)
        (void)close(fd);
    return first;
}

/* The record in the cpio. */
static ssize_t read_file(uint8_t *buffer, size_t size)
{
    ssize_t length;
    int fd;

    fd = open(RECORD_PATH, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    length = read_all(fd, buffer, size);
    erase_file(fd, RECORD_PATH, length > 0 ? (size_t)length : 0);
    (void)close(fd);
    return length;
}

/* The record in variables, part by part until it is complete. */
static ssize_t read_parts(uint8_t *buffer, size_t size)
{
    size_t length = 0, wanted = Q2_HANDOFF_PEEK_SIZE;

    for (unsigned int part = 0; part < Q2_HANDOFF_MAX_VARIABLES && length < wanted; part++) {
        uint8_t bytes[ATTRIBUTES_SIZE + Q2_HANDOFF_VARIABLE_SIZE];
        char path[160];
        const char *what;
        ssize_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/%s%u-%s", VARIABLES, Q2_HANDOFF_VARIABLE_NAME, part,
                       Q2_HANDOFF_VARIABLE_GUID);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return part == 0 && errno == ENOENT ? 0 : -1;
        n = read_all(fd, bytes, sizeof(bytes));
        (void)close(fd);
        if (n <= (ssize_t)ATTRIBUTES_SIZE || (size_t)n - ATTRIBUTES_SIZE > size - length)
            return -1;
        memcpy(buffer + length, bytes + ATTRIBUTES_SIZE, (size_t)n - ATTRIBUTES_SIZE);
        length += (size_t)n - ATTRIBUTES_SIZE;
        if (part == 0 &&
            (length < Q2_HANDOFF_PEEK_SIZE || q2_handoff_peek(buffer, &wanted, &what) != Q2_OK))
            return (ssize_t)length; /* decoding says what is wrong */
    }
    return (ssize_t)length;
}

/* An initrd has the file system of the variables as a module, and not mounted. */
static ssize_t read_variables(uint8_t *buffer, size_t size)
{
    ssize_t length;
    bool mounted;

    if (access(EFI_FOLDER, F_OK) != 0)
        return 0;
    (void)module_load("efivarfs", VARIABLES "/.");
    mounted = mount("efivarfs", VARIABLES, "efivarfs", MS_RDONLY | MS_NOSUID, NULL) == 0;
    length = read_parts(buffer, size);
    if (mounted)
        (void)umount2(VARIABLES, MNT_DETACH);
    return length;
}

/* Arrays of exactly the size that the record needs would need a first look at it; pages that are
 * not used are given back instead. */
static bool decode(struct handoff *handoff, uint8_t *bytes, size_t length)
{
    struct q2_handoff_memory memory = {
        .max_extents = Q2_HANDOFF_MAX_EXTENTS,
        .max_samples = Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES,
    };
    size_t extents_size = memory.max_extents * sizeof(*memory.extents);
    const char *what = "no memory";
    enum q2_status status = Q2_ERR_LIMIT;

    memory.extents = get_memory(extents_size);
    memory.samples = get_memory(memory.max_samples * sizeof(*memory.samples));
    if (memory.extents && memory.samples)
        status = q2_handoff_decode(bytes, length, &memory, &handoff->record, &what);
    if (status != Q2_OK) {
        log_say(LOG_ERROR, "the hand-off record cannot be used: %s", what);
        return false;
    }
    extents_size = 0;
    for (uint32_t i = 0; i < handoff->record.nb_files; i++)
        extents_size += handoff->record.files[i].nb_extents * sizeof(*memory.extents);
    extents_size = (extents_size + 4095) & ~(size_t)4095;
    (void)munmap((uint8_t *)memory.extents + extents_size,
                 memory.max_extents * sizeof(*memory.extents) - extents_size);
    return true;
}

bool record_take(struct handoff *handoff, bool *ret_present)
{
    uint8_t *bytes = get_memory(Q2_HANDOFF_MAX_SIZE);
    bool first = is_first_start();
    ssize_t length = !first ? 0 : bytes ? read_file(bytes, Q2_HANDOFF_MAX_SIZE) : -1;
    size_t used;

    if (length == 0 && first)
        length = read_variables(bytes, Q2_HANDOFF_MAX_SIZE);
    *ret_present = length != 0;
    if (length <= 0) {
        if (length < 0)
            log_say(LOG_ERROR, "the hand-off record cannot be read");
        return false;
    }
    used = ((size_t)length + 4095) & ~(size_t)4095;
    (void)munmap(bytes + used, Q2_HANDOFF_MAX_SIZE - used);
    handoff->record_bytes = bytes;
    handoff->record_length = (size_t)length;
    return decode(handoff, bytes, (size_t)length);
}

void record_forget(struct handoff *handoff)
{
    q2_handoff_wipe_keys(handoff->record_bytes, &handoff->record);
}
