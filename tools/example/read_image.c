/* An example of a program that only reads: it copies guest bytes of a qcow2 image to standard
 * output.
 *
 *     read_image IMAGE [OFFSET [LENGTH]]
 *
 * It may call include/ and the C library, and nothing else of this project, so it shows all that a
 * program must bring along: a source (read_at and a size), an opener, and memory for the disk. It
 * opens the disk with q2_disk_open_for_reading(), so the linker leaves every function out that
 * writes; tests/interop/test_example.py proves that. Compressed clusters need a codec
 * (drivers/codec/), encrypted images an unlocker (drivers/crypto/); this program has neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "q2_disk.h"

/* A file that is open for reading. The source is the first member, so a pointer to it is a pointer
 * to the whole. */
struct file {
    struct q2_source source;
    int fd;
    char path[Q2_MAX_PATH_LENGTH + 1];
};

static enum q2_status file_read(struct q2_source *source, uint64_t offset, void *buffer,
                                size_t length)
{
    struct file *file = (struct file *)source;
    char *to = buffer;

    while (length > 0) {
        ssize_t n = pread(file->fd, to, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return Q2_ERR_IO;
        to += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return Q2_OK;
}

/* The engine never calls the members that are NULL, because `writable` is false. */
static const struct q2_source_ops file_ops = {.read_at = file_read};

static enum q2_status file_open(struct file *file, const char *path)
{
    struct stat facts;
    size_t length = strlen(path);

    if (length > Q2_MAX_PATH_LENGTH)
        return Q2_ERR_LIMIT;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? Q2_ERR_NOT_FOUND : Q2_ERR_DENIED;
    if (fstat(file->fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        close(file->fd);
        return Q2_ERR_DENIED;
    }
    memcpy(file->path, path, length + 1);
    file->source = (struct q2_source){
        .ops = &file_ops,
        .path = file->path,
        .size = (uint64_t)facts.st_size,
        .identity = {(uint64_t)facts.st_dev, (uint64_t)facts.st_ino},
        .io_align = 1,
    };
    return Q2_OK;
}

/* The opener: how the engine gets the backing and data files that an image names. */
static enum q2_status opener_open(struct q2_opener *opener, const char *path, bool writable,
                                  struct q2_source **ret_source)
{
    struct file *file;
    enum q2_status status;

    (void)opener;
    if (writable)
        return Q2_ERR_READ_ONLY;
    file = calloc(1, sizeof(*file));
    if (!file)
        return Q2_ERR_LIMIT;
    status = file_open(file, path);
    if (status != Q2_OK) {
        free(file);
        return status;
    }
    *ret_source = &file->source;
    return Q2_OK;
}

static void opener_close(struct q2_opener *opener, struct q2_source *source)
{
    struct file *file = (struct file *)source;

    (void)opener;
    close(file->fd);
    free(file);
}

static const struct q2_opener_ops opener_ops = {.open = opener_open, .close = opener_close};

static int complain(const struct q2_fault *fault)
{
    char line[1024];

    q2_fault_format(fault, line, sizeof(line));
    fprintf(stderr, "read_image: %s\n", line);
    return 1;
}

/* Copy guest bytes [offset, end) to standard output. */
static int copy_out(struct q2_disk *disk, uint64_t offset, uint64_t end)
{
    static uint8_t buffer[256 * 1024];

    while (offset < end) {
        size_t n = end - offset < sizeof(buffer) ? (size_t)(end - offset) : sizeof(buffer);

        if (q2_disk_read(disk, offset, buffer, n) != Q2_OK)
            return complain(q2_disk_fault(disk));
        if (fwrite(buffer, 1, n, stdout) != n) {
            perror("read_image: standard output");
            return 1;
        }
        offset += n;
    }
    if (fflush(stdout) != 0) {
        perror("read_image: standard output");
        return 1;
    }
    return 0;
}

/* A decimal number of bytes; false: the word is none. */
static bool parse(const char *word, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = strtoumax(word, &end, 10);
    return errno == 0 && word[0] >= '0' && word[0] <= '9' && *end == '\0';
}

int main(int argc, char **argv)
{
    static struct file image;
    struct q2_opener opener = {.ops = &opener_ops};
    struct q2_disk_options options = {.format = Q2_FORMAT_QCOW2};
    struct q2_fault fault;
    struct q2_disk *disk;
    uint64_t offset = 0, length = UINT64_MAX, rest;
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    enum q2_status status;
    int result;

    if (argc < 2 || argc > 4 || (argc > 2 && !parse(argv[2], &offset)) ||
        (argc > 3 && !parse(argv[3], &length))) {
        fprintf(stderr, "usage: read_image IMAGE [OFFSET [LENGTH]]   (bytes)\n");
        return 2;
    }
    status = workspace ? file_open(&image, argv[1]) : Q2_ERR_LIMIT;
    if (status != Q2_OK) {
        fprintf(stderr, "read_image: %s: %s\n", argv[1], q2_status_text(status));
        return 1;
    }
    status = q2_disk_open_for_reading(workspace, &image.source, &opener, &options, &fault, &disk);
    if (status != Q2_OK)
        return complain(&fault);
    offset = offset < q2_disk_size(disk) ? offset : q2_disk_size(disk);
    rest = q2_disk_size(disk) - offset;
    result = copy_out(disk, offset, offset + (length < rest ? length : rest));
    q2_disk_close(disk);
    free(workspace);
    return result;
}
