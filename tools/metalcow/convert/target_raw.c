/* Converting into a raw file. It is written in place, as qemu-img does, and has holes where it is
 * zero. After a failure the file stays, and the error says that it is incomplete.
 *
 * May call drivers/posix/source.c and preallocation.c. Invariant: nothing is changed before the
 * output is known to be none of the input's own files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/metalcow/base/output.h"
#include "preallocation.h"
#include "target.h"

#define CHUNK_SIZE   ((size_t)2 << 20)
#define BUFFER_ALIGN 4096u

struct raw_target {
    struct target target; /* first: the target's address is this struct's */
    const char *path;
    struct q2_source_posix file;
    uint64_t sparse_size; /* bytes, a multiple of 512; 0: no holes */
    uint8_t *buffer;
    bool is_file; /* a regular file, which can have holes */
    bool flush_at_end;
    bool reads_zero; /* what is not written reads as zeros */
};

static struct raw_target *raw_of(struct target *target)
{
    return (struct raw_target *)target;
}

static bool fail(const struct raw_target *raw, enum q2_status status)
{
    print_status(raw->path, status);
    return false;
}

static uint8_t *raw_buffer(struct target *target)
{
    return raw_of(target)->buffer;
}

static bool write_bytes(struct raw_target *raw, uint64_t at, const uint8_t *bytes, size_t length)
{
    struct q2_source *source = &raw->file.source;
    enum q2_status status = source->ops->write_at(source, at, bytes, length);

    return status == Q2_OK || fail(raw, status);
}

static bool raw_zeros(struct target *target, uint64_t at, uint64_t length)
{
    struct raw_target *raw = raw_of(target);
    struct q2_source *source = &raw->file.source;

    if (raw->sparse_size > 0 && raw->reads_zero)
        return true;
    if (raw->sparse_size > 0 && source->ops->punch(source, at, length) == Q2_OK)
        return true;
    memset(raw->buffer, 0, length < CHUNK_SIZE ? (size_t)length : CHUNK_SIZE);
    while (length > 0) {
        size_t n = length < CHUNK_SIZE ? (size_t)length : CHUNK_SIZE;

        if (!write_bytes(raw, at, raw->buffer, n))
            return false;
        at += n;
        length -= n;
    }
    return true;
}

/* If the output does not read as zeros by itself, the whole buffer is written, because its content
 * matters more than holes. */
static bool raw_write(struct target *target, uint64_t at, size_t length)
{
    struct raw_target *raw = raw_of(target);
    const uint8_t *bytes = raw->buffer;

    if (raw->sparse_size == 0 || !raw->reads_zero)
        return write_bytes(raw, at, bytes, length);
    while (length > 0) {
        bool zero = false;
        size_t n = target_piece(bytes, length, raw->sparse_size, &zero);

        if (!zero && !write_bytes(raw, at, bytes, n))
            return false;
        bytes += n;
        at += n;
        length -= n;
    }
    return true;
}

static uint64_t raw_offload(struct target *target, uint64_t at, int fd, uint64_t offset,
                            uint64_t length)
{
    struct raw_target *raw = raw_of(target);
    off_t from = (off_t)offset, to = (off_t)at;
    ssize_t n = -1;

    if (raw->is_file)
        n = copy_file_range(fd, &from, raw->file.fd, &to, (size_t)length, 0);
    return n > 0 ? (uint64_t)n : 0;
}

static bool raw_finish(struct target *target)
{
    struct raw_target *raw = raw_of(target);
    struct q2_source *source = &raw->file.source;
    enum q2_status status = raw->flush_at_end ? source->ops->flush(source) : Q2_OK;

    return status == Q2_OK || fail(raw, status);
}

static void raw_close(struct target *target, bool done)
{
    struct raw_target *raw = raw_of(target);

    if (!done)
        print_fault(raw->path,
                    &(struct q2_fault){.status = Q2_ERR_IO, .what = "incomplete, and left so"});
    q2_source_posix_close(&raw->file);
    free(raw->buffer);
    free(raw);
}

static const struct target_ops raw_ops = {
    .buffer = raw_buffer,
    .write = raw_write,
    .offload = raw_offload,
    .zeros = raw_zeros,
    .finish = raw_finish,
    .close = raw_close,
};

/* Bring a regular file to length size, all holes. */
static enum q2_status empty(struct raw_target *raw, uint64_t size)
{
    if (size > INT64_MAX)
        return Q2_ERR_NO_SPACE;
    if (ftruncate(raw->file.fd, 0) != 0 || ftruncate(raw->file.fd, (off_t)size) != 0)
        return q2_status_from_errno(errno);
    raw->file.source.size = size;
    raw->reads_zero = true;
    return Q2_OK;
}

/* Give a regular file the disk's size, and blocks if the options want them. If there is no room for
 * these, the file does not keep a part of them. */
static bool make_file(struct raw_target *raw, const struct target_options *options)
{
    enum preallocation how = options->creation->preallocation;
    enum q2_status status = empty(raw, options->inputs->size);

    if (status != Q2_OK)
        return fail(raw, status);
    if (how == PREALLOCATION_OFF || preallocate_raw(&raw->file, 0, how))
        return true;
    if (ftruncate(raw->file.fd, 0) != 0)
        (void)fail(raw, q2_status_from_errno(errno));
    return false;
}

static bool prepare(struct raw_target *raw, const struct target_options *options)
{
    struct stat stat;

    if (target_is_input(options, &raw->file.source))
        return false;
    if (fstat(raw->file.fd, &stat) != 0)
        return fail(raw, q2_status_from_errno(errno));
    raw->is_file = S_ISREG(stat.st_mode);
    if (raw->is_file && !options->skip_create)
        return make_file(raw, options);
    if (raw->file.source.size < options->inputs->size) {
        print_fault(raw->path, &(struct q2_fault){.status = Q2_ERR_NO_SPACE,
                                                  .what = "the output is smaller than the disk"});
        return false;
    }
    raw->reads_zero = options->target_is_zero;
    return raw->is_file || preallocate_raw(&raw->file, 0, options->creation->preallocation);
}

/* Open the output without changing it. */
static bool open_file(struct raw_target *raw, const struct target_options *options)
{
    unsigned int cache = cache_flags(options->cache);
    enum q2_status status = q2_source_posix_open(
        &raw->file, raw->path, cache | Q2_POSIX_WRITABLE | Q2_POSIX_BLOCK_DEVICES);

    if (status == Q2_ERR_NOT_FOUND && !options->skip_create)
        status = q2_source_posix_open(&raw->file, raw->path, cache | Q2_POSIX_CREATE);
    if (status == Q2_ERR_BUSY && target_path_is_input(options, raw->path))
        return false;
    return status == Q2_OK || fail(raw, status);
}

struct target *target_raw_open(const struct target_options *options)
{
    struct raw_target *raw = calloc(1, sizeof(*raw));

    if (!raw || !(raw->buffer = aligned_alloc(BUFFER_ALIGN, CHUNK_SIZE))) {
        fputs("metalcow: out of memory\n", stderr);
        goto free_target;
    }
    raw->target =
        (struct target){.ops = &raw_ops, .unit = 1, .chunk = CHUNK_SIZE, .blank_from = UINT64_MAX};
    raw->path = options->path;
    raw->flush_at_end = cache_wants_flush(options->cache);
    raw->sparse_size = options->sparse_size & ~UINT64_C(511);
    if (!open_file(raw, options))
        goto free_target;
    if (prepare(raw, options))
        return &raw->target;
    q2_source_posix_close(&raw->file);
free_target:
    if (raw)
        free(raw->buffer);
    free(raw);
    return NULL;
}
