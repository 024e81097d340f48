/* A byte source over a block device, past the page cache.
 *
 * Lowest step of the data path in the running system; calls the C library. Invariants: every call
 * of the kernel is aligned to sectors in offset, length and memory; a sector that is written in
 * part keeps the rest of its bytes.
 */
#include "direct.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

static struct q2_source_direct *direct_of(struct q2_source *source)
{
    return (struct q2_source_direct *)source;
}

static enum q2_status read_aligned(struct q2_source_direct *direct, uint64_t offset, uint8_t *to,
                                   size_t length)
{
    while (length > 0) {
        ssize_t n = pread(direct->fd, to, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (size_t)n % direct->sector_size != 0)
            return n < 0 ? q2_status_from_errno(errno) : Q2_ERR_IO;
        to += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return Q2_OK;
}

static enum q2_status write_aligned(struct q2_source_direct *direct, uint64_t offset,
                                    const uint8_t *from, size_t length)
{
    while (length > 0) {
        ssize_t n = pwrite(direct->fd, from, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (size_t)n % direct->sector_size != 0)
            return n < 0 ? q2_status_from_errno(errno) : Q2_ERR_IO;
        from += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return Q2_OK;
}

static bool is_aligned(const struct q2_source_direct *direct, uint64_t offset, const void *buffer,
                       size_t length)
{
    return ((offset | length | (uintptr_t)buffer) & (direct->sector_size - 1)) == 0;
}

/* The next piece of an unaligned request: the sectors around it fit into the bounce buffer. */
struct sector_piece {
    uint64_t start; /* of the first sector */
    size_t skip;    /* bytes of it before the request */
    size_t length;  /* of the request that is done */
    size_t span;    /* of the sectors */
};

static struct sector_piece next_sector_piece(const struct q2_source_direct *direct, uint64_t offset,
                                             size_t length)
{
    size_t mask = direct->sector_size - 1;
    struct sector_piece piece = {.start = offset & ~(uint64_t)mask, .skip = (size_t)offset & mask};

    piece.length = direct->bounce_size - piece.skip;
    if (piece.length > length)
        piece.length = length;
    piece.span = (piece.skip + piece.length + mask) & ~mask;
    return piece;
}

static bool inside(const struct q2_source *source, uint64_t offset, size_t length)
{
    return offset <= source->size && length <= source->size - offset;
}

static enum q2_status direct_read(struct q2_source *source, uint64_t offset, void *buffer,
                                  size_t length)
{
    struct q2_source_direct *direct = direct_of(source);
    uint8_t *to = buffer;

    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    if (is_aligned(direct, offset, buffer, length))
        return read_aligned(direct, offset, to, length);
    while (length > 0) {
        struct sector_piece piece = next_sector_piece(direct, offset, length);
        enum q2_status status = read_aligned(direct, piece.start, direct->bounce, piece.span);

        if (status != Q2_OK)
            return status;
        memcpy(to, direct->bounce + piece.skip, piece.length);
        to += piece.length;
        offset += piece.length;
        length -= piece.length;
    }
    return Q2_OK;
}

/* Have the old bytes of the sectors that the piece covers in part. */
static enum q2_status read_edges(struct q2_source_direct *direct, const struct sector_piece *piece)
{
    size_t sector = direct->sector_size;
    bool head = piece->skip > 0, tail = piece->skip + piece->length < piece->span;
    enum q2_status status = Q2_OK;

    if (head)
        status = read_aligned(direct, piece->start, direct->bounce, sector);
    if (status == Q2_OK && tail && (piece->span > sector || !head))
        status = read_aligned(direct, piece->start + piece->span - sector,
                              direct->bounce + piece->span - sector, sector);
    return status;
}

static enum q2_status direct_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                   size_t length)
{
    struct q2_source_direct *direct = direct_of(source);
    const uint8_t *from = buffer;

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    if (is_aligned(direct, offset, buffer, length))
        return write_aligned(direct, offset, from, length);
    while (length > 0) {
        struct sector_piece piece = next_sector_piece(direct, offset, length);
        enum q2_status status = read_edges(direct, &piece);

        if (status != Q2_OK)
            return status;
        memcpy(direct->bounce + piece.skip, from, piece.length);
        status = write_aligned(direct, piece.start, direct->bounce, piece.span);
        if (status != Q2_OK)
            return status;
        from += piece.length;
        offset += piece.length;
        length -= piece.length;
    }
    return Q2_OK;
}

static enum q2_status direct_flush(struct q2_source *source)
{
    if (!source->writable)
        return Q2_OK;
    while (fdatasync(direct_of(source)->fd) != 0) {
        if (errno != EINTR)
            return q2_status_from_errno(errno);
    }
    return Q2_OK;
}

static const struct q2_source_ops direct_ops = {
    .read_at = direct_read,
    .write_at = direct_write,
    .flush = direct_flush,
};

void q2_source_direct_init(struct q2_source_direct *direct, const struct q2_direct_device *device)
{
    *direct = (struct q2_source_direct){
        .source =
            {
                .ops = &direct_ops,
                .path = device->path,
                .size = device->size,
                .identity = {UINT64_MAX, (uint64_t)device->fd},
                .io_align = 4096,
                .writable = device->writable,
            },
        .fd = device->fd,
        .sector_size = device->sector_size,
        .bounce = device->bounce,
        .bounce_size = device->bounce_size,
    };
}
