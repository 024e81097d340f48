/* A byte source over a file or block device of a POSIX system.
 *
 * Lowest step of the data path on the host; calls the C library. Invariants: a call either moves
 * every byte or fails, a signal never shortens it; nothing but regular files, and block devices
 * where they are asked for, is ever opened.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock.h"

/* One row per errno that means more than "the device failed". */
static const struct {
    int error;
    enum q2_status status;
} errno_rows[] = {
    {ENOENT, Q2_ERR_NOT_FOUND},   {ENOTDIR, Q2_ERR_NOT_FOUND}, {EACCES, Q2_ERR_DENIED},
    {EPERM, Q2_ERR_DENIED},       {ELOOP, Q2_ERR_BAD_NAME},    {EISDIR, Q2_ERR_NOT_A_FILE},
    {EEXIST, Q2_ERR_EXISTS},      {EROFS, Q2_ERR_READ_ONLY},   {ENOSPC, Q2_ERR_NO_SPACE},
    {EDQUOT, Q2_ERR_NO_SPACE},    {EFBIG, Q2_ERR_NO_SPACE},    {ETXTBSY, Q2_ERR_BUSY},
    {EWOULDBLOCK, Q2_ERR_BUSY},   {EBUSY, Q2_ERR_BUSY},        {EMFILE, Q2_ERR_LIMIT},
    {ENFILE, Q2_ERR_LIMIT},       {ENOMEM, Q2_ERR_LIMIT},      {ENAMETOOLONG, Q2_ERR_BAD_NAME},
    {ENOMEDIUM, Q2_ERR_NO_MEDIA}, {ENODEV, Q2_ERR_NO_MEDIA},   {ENXIO, Q2_ERR_NO_MEDIA},
};

enum q2_status q2_status_from_errno(int error)
{
    for (size_t i = 0; i < sizeof(errno_rows) / sizeof(errno_rows[0]); i++) {
        if (errno_rows[i].error == error)
            return errno_rows[i].status;
    }
    return Q2_ERR_IO;
}

static struct q2_source_posix *posix_of(struct q2_source *source)
{
    return (struct q2_source_posix *)source;
}

/* With UNCACHED, bytes that may be moved before leave_cache(). */
#define CACHED_MOST ((uint64_t)8 << 20)

/* Take the file's pages out of the page cache; those that wait to be written are written first. A
 * refusal costs memory only. */
static void leave_cache(struct q2_source_posix *file)
{
    file->cached = 0;
    if (file->source.writable)
        (void)sync_file_range(file->fd, 0, 0,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                  SYNC_FILE_RANGE_WAIT_AFTER);
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void count_moved(struct q2_source_posix *file, size_t length)
{
    if ((file->flags & Q2_POSIX_UNCACHED) == 0)
        return;
    file->cached += length;
    if (file->cached >= CACHED_MOST)
        leave_cache(file);
}

static enum q2_status posix_read(struct q2_source *source, uint64_t offset, void *buffer,
                                 size_t length)
{
    uint8_t *to = buffer;

    count_moved(posix_of(source), length);
    while (length > 0) {
        ssize_t n = pread(posix_of(source)->fd, to, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return q2_status_from_errno(errno);
        if (n == 0) /* somebody else truncated the file: zeros would be wrong */
            return Q2_ERR_IO;
        to += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return Q2_OK;
}

static enum q2_status posix_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                  size_t length)
{
    const uint8_t *from = buffer;

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    count_moved(posix_of(source), length);
    while (length > 0) {
        ssize_t n = pwrite(posix_of(source)->fd, from, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return q2_status_from_errno(errno);
        if (n == 0)
            return Q2_ERR_IO;
        from += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return Q2_OK;
}

static enum q2_status posix_flush(struct q2_source *source)
{
    if (!source->writable || (posix_of(source)->flags & Q2_POSIX_NO_FLUSH) != 0)
        return Q2_OK;
    while (fdatasync(posix_of(source)->fd) != 0) {
        if (errno != EINTR)
            return q2_status_from_errno(errno);
    }
    return Q2_OK;
}

static enum q2_status posix_grow(struct q2_source *source, uint64_t new_size)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (new_size <= source->size)
        return Q2_ERR_ARGUMENT;
    if (new_size > INT64_MAX)
        return Q2_ERR_NO_SPACE;
    while (ftruncate(posix_of(source)->fd, (off_t)new_size) != 0) {
        if (errno != EINTR)
            return q2_status_from_errno(errno);
    }
    source->size = new_size;
    return Q2_OK;
}

/* One call of fallocate(). Q2_ERR_UNSUPPORTED: the file system cannot do it. */
static enum q2_status allocate(struct q2_source *source, int mode, uint64_t offset, uint64_t length)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    while (fallocate(posix_of(source)->fd, mode, (off_t)offset, (off_t)length) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
            return Q2_ERR_UNSUPPORTED;
        if (errno != EINTR)
            return q2_status_from_errno(errno);
    }
    return Q2_OK;
}

static enum q2_status posix_reserve(struct q2_source *source, uint64_t offset, uint64_t length)
{
    enum q2_status status = allocate(source, FALLOC_FL_KEEP_SIZE, offset, length);

    return status == Q2_ERR_UNSUPPORTED ? Q2_OK : status;
}

static enum q2_status posix_punch(struct q2_source *source, uint64_t offset, uint64_t length)
{
    return allocate(source, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

static enum q2_status posix_truncate(struct q2_source *source, uint64_t new_size)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (new_size >= source->size)
        return Q2_ERR_ARGUMENT;
    while (ftruncate(posix_of(source)->fd, (off_t)new_size) != 0) {
        if (errno != EINTR)
            return q2_status_from_errno(errno);
    }
    source->size = new_size;
    return Q2_OK;
}

static const struct q2_source_ops file_ops = {
    .read_at = posix_read,
    .write_at = posix_write,
    .flush = posix_flush,
    .grow = posix_grow,
    .reserve = posix_reserve,
    .punch = posix_punch,
    .truncate = posix_truncate,
};

static const struct q2_source_ops device_ops = {
    .read_at = posix_read,
    .write_at = posix_write,
    .flush = posix_flush,
    .punch = posix_punch,
};

/* Regular files, and block devices where they are wanted. */
static bool kind_allowed(const struct stat *stat, unsigned int flags)
{
    return S_ISREG(stat->st_mode) ||
           (S_ISBLK(stat->st_mode) && (flags & Q2_POSIX_BLOCK_DEVICES) != 0);
}

/* Look before opening, because opening a device may already do something (rewind a tape), and
 * because open() refuses a directory for writing only. */
static enum q2_status judge_path(const char *path, unsigned int flags)
{
    struct stat found;

    if (path[0] == '\0' || strlen(path) > Q2_MAX_PATH_LENGTH)
        return Q2_ERR_BAD_NAME;
    if (stat(path, &found) != 0) {
        if (errno == ENOENT && (flags & Q2_POSIX_CREATE) != 0)
            return Q2_OK;
        return q2_status_from_errno(errno);
    }
    if (!kind_allowed(&found, flags))
        return Q2_ERR_NOT_A_FILE;
    return Q2_OK;
}

/* A symbolic link to a file that does not exist yet. */
static bool is_link_to_nothing(const char *path)
{
    struct stat found;

    return lstat(path, &found) == 0 && S_ISLNK(found.st_mode) && stat(path, &found) != 0;
}

/* O_EXCL follows no link, so the file that a link leads to is made without it. */
static int open_flags(const char *path, unsigned int flags)
{
    bool exclusive = (flags & Q2_POSIX_REPLACE) == 0 && !is_link_to_nothing(path);
    int ret_flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    if ((flags & Q2_POSIX_CREATE) != 0)
        ret_flags |= O_RDWR | O_CREAT | (exclusive ? O_EXCL : 0);
    else
        ret_flags |= (flags & Q2_POSIX_WRITABLE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & Q2_POSIX_THROUGH) != 0)
        ret_flags |= O_DSYNC;
    return ret_flags;
}

/* EACCES for writing means "read-only" to a user who may read the file. */
static enum q2_status open_error(const char *path, unsigned int flags, int error)
{
    if (error == EACCES && (flags & Q2_POSIX_WRITABLE) != 0 &&
        faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
        return Q2_ERR_READ_ONLY;
    return q2_status_from_errno(error);
}

/* Linux opens a read-only device for writing; writes fail. */
static bool is_read_only_device(int fd)
{
    int read_only = 0;

    return ioctl(fd, BLKROGET, &read_only) == 0 && read_only != 0;
}

/* A file is known by its inode, a block device by its number (it may have several nodes). */
static enum q2_status describe(struct q2_source_posix *file, const struct stat *stat,
                               unsigned int flags)
{
    struct q2_source *source = &file->source;
    off_t size = stat->st_size;

    source->ops = &file_ops;
    source->identity[0] = stat->st_dev;
    source->identity[1] = stat->st_ino;
    if (S_ISBLK(stat->st_mode)) {
        if ((flags & Q2_POSIX_WRITABLE) != 0 && is_read_only_device(file->fd))
            return Q2_ERR_READ_ONLY;
        source->ops = &device_ops;
        source->identity[0] = UINT64_MAX;
        source->identity[1] = stat->st_rdev;
        size = lseek(file->fd, 0, SEEK_END);
        if (size < 0)
            return q2_status_from_errno(errno);
    }
    source->path = file->path;
    source->size = (uint64_t)size;
    source->io_align = S_ISBLK(stat->st_mode) ? 4096 : 1;
    source->writable = (flags & Q2_POSIX_WRITABLE) != 0;
    return Q2_OK;
}

/* The second half of opening: fd is open. */
static enum q2_status adopt(struct q2_source_posix *file, unsigned int flags)
{
    struct stat opened;
    enum q2_status status;

    if (fstat(file->fd, &opened) != 0)
        return q2_status_from_errno(errno);
    if (!kind_allowed(&opened, flags)) /* swapped since judge_path() looked */
        return Q2_ERR_NOT_A_FILE;
    if ((flags & Q2_POSIX_WRITABLE) != 0) {
        status = q2_lock_posix_for_writing(file->fd);
        if (status != Q2_OK)
            return status;
    } else if ((flags & Q2_POSIX_STABLE) != 0) {
        status = q2_lock_posix_for_reading(file->fd);
        if (status != Q2_OK)
            return status;
    }
    if ((flags & Q2_POSIX_REPLACE) != 0 && S_ISREG(opened.st_mode)) {
        if (ftruncate(file->fd, 0) != 0)
            return q2_status_from_errno(errno);
        opened.st_size = 0;
    }
    return describe(file, &opened, flags);
}

/* --- held bytes ------------------------------------------------------------------------------ */

static enum q2_status held_read(struct q2_source *source, uint64_t offset, void *buffer,
                                size_t length)
{
    enum q2_status status = posix_read(source, offset, buffer, length);

    for (uint64_t at = offset; at < Q2_POSIX_HELD && at - offset < length; at++)
        ((uint8_t *)buffer)[at - offset] = posix_of(source)->held[at];
    return status;
}

static enum q2_status held_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                 size_t length)
{
    const uint8_t *from = buffer;

    for (; offset < Q2_POSIX_HELD && length > 0; offset++, length--)
        posix_of(source)->held[offset] = *from++;
    return length > 0 ? posix_write(source, offset, from, length) : Q2_OK;
}

static const struct q2_source_ops held_ops = {
    .read_at = held_read,
    .write_at = held_write,
    .flush = posix_flush,
    .grow = posix_grow,
    .reserve = posix_reserve,
};

static const struct q2_source_ops held_device_ops = {
    .read_at = held_read,
    .write_at = held_write,
    .flush = posix_flush,
};

void q2_source_posix_hold(struct q2_source_posix *file, const uint8_t bytes[Q2_POSIX_HELD])
{
    memcpy(file->held, bytes, sizeof(file->held));
    file->source.ops = file->source.ops->grow ? &held_ops : &held_device_ops;
}

enum q2_status q2_source_posix_release(struct q2_source_posix *file)
{
    enum q2_status status = posix_flush(&file->source);

    file->source.ops = file->source.ops->grow ? &file_ops : &device_ops;
    if (status == Q2_OK)
        status = posix_write(&file->source, 0, file->held, sizeof(file->held));
    return status == Q2_OK ? posix_flush(&file->source) : status;
}

/* --- opening --------------------------------------------------------------------------------- */

enum q2_status q2_source_posix_open(struct q2_source_posix *file, const char *path,
                                    unsigned int flags)
{
    enum q2_status status;

    if ((flags & Q2_POSIX_CREATE) != 0)
        flags |= Q2_POSIX_WRITABLE;
    else
        flags &= ~(unsigned int)Q2_POSIX_REPLACE;
    status = judge_path(path, flags);
    if (status != Q2_OK)
        return status;
    file->fd = open(path, open_flags(path, flags), 0644);
    if (file->fd < 0)
        return open_error(path, flags, errno);
    memcpy(file->path, path, strlen(path) + 1);
    file->flags = flags;
    file->cached = 0;
    status = adopt(file, flags);
    if (status != Q2_OK)
        q2_source_posix_close(file);
    return status;
}

void q2_source_posix_close(struct q2_source_posix *file)
{
    if ((file->flags & Q2_POSIX_UNCACHED) != 0)
        leave_cache(file);
    (void)close(file->fd);
    file->fd = -1;
}
