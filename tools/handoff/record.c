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

#define PAGE_SIZE 4096u

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

/* If the program is started twice, only the start that makes the mark goes on. A system without
 * the folder was prepared in another way, and starts the program once. */
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

/* In an initrd efivarfs is a module, and is not mounted. */
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

/* Give back the pages of a block that are after its first `used` bytes. */
static void trim(void *memory, size_t size, size_t used)
{
    size_t kept = (used + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);

    if (memory && kept < size)
        (void)munmap((uint8_t *)memory + kept, size - kept);
}

/* Decode into arrays of the largest size and give back the pages that are not used, because how
 * many are needed is known only afterwards. */
static bool decode(struct handoff *handoff, uint8_t *bytes, size_t length)
{
    struct q2_handoff_memory memory = {
        .max_extents = Q2_HANDOFF_MAX_EXTENTS,
        .max_samples = Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES,
    };
    size_t extents_size = memory.max_extents * sizeof(*memory.extents), nb_extents = 0;
    size_t samples_size = memory.max_samples * sizeof(*memory.samples), nb_samples = 0;
    const char *what = "no memory";
    enum q2_status status = Q2_ERR_LIMIT;

    memory.extents = get_memory(extents_size);
    memory.samples = get_memory(samples_size);
    if (memory.extents && memory.samples)
        status = q2_handoff_decode(bytes, length, &memory, &handoff->record, &what);
    if (status != Q2_OK) {
        log_say(LOG_ERROR, "the hand-off record cannot be used: %s", what);
        return false;
    }
    for (uint32_t i = 0; i < handoff->record.nb_files; i++) {
        nb_extents += handoff->record.files[i].nb_extents;
        nb_samples += handoff->record.files[i].nb_samples;
    }
    trim(memory.extents, extents_size, nb_extents * sizeof(*memory.extents));
    trim(memory.samples, samples_size, nb_samples * sizeof(*memory.samples));
    handoff->samples = memory.samples;
    handoff->samples_size = nb_samples * sizeof(*memory.samples);
    return true;
}

bool record_take(struct handoff *handoff, bool *ret_present)
{
    uint8_t *bytes = get_memory(Q2_HANDOFF_MAX_SIZE);
    bool first = is_first_start();
    ssize_t length = !first ? 0 : bytes ? read_file(bytes, Q2_HANDOFF_MAX_SIZE) : -1;

    if (length == 0 && first)
        length = read_variables(bytes, Q2_HANDOFF_MAX_SIZE);
    *ret_present = length != 0;
    if (length <= 0) {
        if (length < 0)
            log_say(LOG_ERROR, "the hand-off record cannot be read");
        return false;
    }
    trim(bytes, Q2_HANDOFF_MAX_SIZE, (size_t)length);
    handoff->record_bytes = bytes;
    handoff->record_length = (size_t)length;
    return decode(handoff, bytes, (size_t)length);
}

/* The n-th string of a record, which may be absent; NULL: there are no more. */
static const char **string_at(struct q2_handoff *record, uint32_t n)
{
    if (n == 0)
        return &record->snapshot;
    if (n == 1)
        return &record->data_file;
    n -= 2;
    if (n < record->nb_backing_files)
        return &record->backing_files[n];
    n -= record->nb_backing_files;
    return n < record->nb_files ? &record->files[n].path : NULL;
}

/* Bytes of all strings and keys. */
static size_t small_parts_size(struct q2_handoff *record)
{
    const char **string;
    size_t size = 1; /* a block is never empty */

    for (uint32_t n = 0; (string = string_at(record, n)) != NULL; n++)
        size += *string ? strlen(*string) + 1 : 0;
    for (uint32_t i = 0; i < record->nb_keys; i++)
        size += record->keys[i].length;
    return size;
}

static void copy_strings(struct q2_handoff *record, uint8_t **at)
{
    const char **string;

    for (uint32_t n = 0; (string = string_at(record, n)) != NULL; n++) {
        size_t size = *string ? strlen(*string) + 1 : 0;

        if (!*string)
            continue;
        *string = memcpy(*at, *string, size);
        *at += size;
    }
}

void record_shrink(struct handoff *handoff)
{
    struct q2_handoff *record = &handoff->record;
    size_t size = small_parts_size(record);
    uint8_t *block = get_memory(size), *at = block;
    struct q2_handoff old = *record;

    trim(handoff->samples, handoff->samples_size, 0);
    handoff->samples = NULL;
    for (uint32_t i = 0; i < record->nb_files; i++)
        record->files[i].nb_samples = 0;
    if (!block)
        return; /* keep the whole record */
    copy_strings(record, &at);
    for (uint32_t i = 0; i < record->nb_keys; i++) {
        record->keys[i].bytes = memcpy(at, record->keys[i].bytes, record->keys[i].length);
        at += record->keys[i].length;
    }
    q2_handoff_wipe_keys(handoff->record_bytes, &old);
    trim(handoff->record_bytes, handoff->record_length, 0);
    handoff->record_bytes = block;
    handoff->record_length = size;
}

void record_forget(struct handoff *handoff)
{
    q2_handoff_wipe_keys(handoff->record_bytes, &handoff->record);
}
