/* A byte source over a file that is reached through its extent map.
 *
 * On the data path: below the engine, above the volume's source (firmware: source_efi_disk_io.c).
 * Invariant: only bytes of the volume that the map names are ever touched; the map was found valid
 * when the source was made.
 */
#include "source_extents.h"

static struct q2_source_extents *extents_of(struct q2_source *source)
{
    return (struct q2_source_extents *)source;
}

static bool extent_holds(const struct q2_file_extent *extent, uint64_t offset)
{
    return offset >= extent->file_offset && offset - extent->file_offset < extent->length;
}

/* The extent that holds offset < size: the one that was last, the next one, or by bisection. */
static size_t find(struct q2_source_extents *file, uint64_t offset)
{
    size_t low = 0, high = file->nb_extents;

    if (extent_holds(&file->extents[file->hint], offset))
        return file->hint;
    if (file->hint + 1 < high && extent_holds(&file->extents[file->hint + 1], offset))
        return file->hint + 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (file->extents[middle].file_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The part of a request that lies in one extent. */
struct piece {
    uint64_t volume_offset;
    size_t length;
};

static struct piece next_piece(struct q2_source_extents *file, uint64_t offset, size_t length)
{
    const struct q2_file_extent *extent;
    uint64_t skip;
    struct piece piece = {.length = length};

    file->hint = find(file, offset);
    extent = &file->extents[file->hint];
    skip = offset - extent->file_offset;
    if (length > extent->length - skip)
        piece.length = (size_t)(extent->length - skip);
    piece.volume_offset = extent->volume_offset + skip;
    return piece;
}

static bool inside(const struct q2_source *source, uint64_t offset, size_t length)
{
    return offset <= source->size && length <= source->size - offset;
}

static enum q2_status extents_read(struct q2_source *source, uint64_t offset, void *buffer,
                                   size_t length)
{
    struct q2_source_extents *file = extents_of(source);
    uint8_t *to = buffer;

    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    while (length > 0) {
        struct piece piece = next_piece(file, offset, length);
        enum q2_status status =
            file->volume->ops->read_at(file->volume, piece.volume_offset, to, piece.length);
        if (status != Q2_OK)
            return status;
        to += piece.length;
        offset += piece.length;
        length -= piece.length;
    }
    return Q2_OK;
}

static enum q2_status extents_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct q2_source_extents *file = extents_of(source);
    const uint8_t *from = buffer;

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    while (length > 0) {
        struct piece piece = next_piece(file, offset, length);
        enum q2_status status =
            file->volume->ops->write_at(file->volume, piece.volume_offset, from, piece.length);
        if (status != Q2_OK)
            return status;
        from += piece.length;
        offset += piece.length;
        length -= piece.length;
    }
    return Q2_OK;
}

static enum q2_status extents_flush(struct q2_source *source)
{
    struct q2_source *volume = extents_of(source)->volume;

    return source->writable ? volume->ops->flush(volume) : Q2_OK;
}

static const struct q2_source_ops extents_ops = {
    .read_at = extents_read,
    .write_at = extents_write,
    .flush = extents_flush,
};

static bool map_valid(const struct q2_extents_file *file)
{
    uint64_t at = 0, volume_size = file->volume->size;

    for (size_t i = 0; i < file->nb_extents; i++) {
        const struct q2_file_extent *extent = &file->extents[i];
        if (extent->file_offset != at || extent->length == 0 || extent->length > file->size - at ||
            extent->volume_offset > volume_size ||
            extent->length > volume_size - extent->volume_offset)
            return false;
        at += extent->length;
    }
    return at == file->size;
}

/* The same volume gives the same number, so that two sources over one file are known to be one. */
static uint64_t volume_number(const struct q2_source *volume)
{
    uint64_t number = volume->identity[0] * 0x9e3779b97f4a7c15u ^ volume->identity[1];

    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

enum q2_status q2_source_extents_init(struct q2_source_extents *extents,
                                      const struct q2_extents_file *file)
{
    if (!map_valid(file))
        return Q2_ERR_ARGUMENT;
    if (file->writable && !file->volume->writable)
        return Q2_ERR_READ_ONLY;
    *extents = (struct q2_source_extents){
        .source =
            {
                .ops = &extents_ops,
                .path = file->path,
                .size = file->size,
                .identity = {volume_number(file->volume), file->file_id},
                .io_align = file->volume->io_align,
                .writable = file->writable,
            },
        .volume = file->volume,
        .extents = file->extents,
        .nb_extents = file->nb_extents,
    };
    return Q2_OK;
}
