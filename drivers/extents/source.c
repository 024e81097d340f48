/* A byte source over a file that is reached through its extent map.
 *
 * May call the source of the volume only. Invariant: it touches only bytes of the volume that the
 * map names. The map was found valid when the source was made.
 */
#include "source.h"
#include "core/base/range.h"

static struct q2_source_extents *extents_of(struct q2_source *source)
{
    return (struct q2_source_extents *)source;
}

static bool extent_holds(const struct q2_file_extent *extent, uint64_t offset)
{
    return offset >= extent->file_offset && offset - extent->file_offset < extent->length;
}

/* The index of the extent that holds offset < size: the last one, the next one, or by bisection. */
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

const struct q2_file_extent *q2_source_extents_at(struct q2_source_extents *extents,
                                                  uint64_t offset)
{
    extents->hint = find(extents, offset);
    return &extents->extents[extents->hint];
}

/* The part of a request that is in one extent. */
struct extent_piece {
    uint64_t volume_offset;
    size_t length;
};

static struct extent_piece next_extent_piece(struct q2_source_extents *file, uint64_t offset,
                                             size_t length)
{
    const struct q2_file_extent *extent = q2_source_extents_at(file, offset);
    uint64_t skip = offset - extent->file_offset;
    struct extent_piece piece = {.length = length};

    if (length > extent->length - skip)
        piece.length = (size_t)(extent->length - skip);
    piece.volume_offset = extent->volume_offset + skip;
    return piece;
}

static enum q2_status extents_read(struct q2_source *source, uint64_t offset, void *buffer,
                                   size_t length)
{
    struct q2_source_extents *file = extents_of(source);
    uint8_t *to = buffer;

    if (!q2_range_fits(offset, length, source->size))
        return Q2_ERR_IO;
    while (length > 0) {
        struct extent_piece piece = next_extent_piece(file, offset, length);
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

void q2_source_extents_own_pages(const struct q2_source_extents *extents,
                                 const struct q2_file_extent *extent, uint64_t *ret_first,
                                 uint64_t *ret_end)
{
    uint64_t start = extent->volume_offset - extents->page_start;
    uint64_t mask = (1ull << extents->page_bits) - 1;

    *ret_first = (start >> extents->page_bits) + ((start & mask) != 0);
    *ret_end = (start + extent->length) >> extents->page_bits;
}

/* Note the pages of a piece that the file shares with others. Only the first and the last page of
 * an extent can be shared, so only the first and the last page of a piece. */
static void note_shared(struct q2_source_extents *file, const struct extent_piece *piece)
{
    uint64_t start = piece->volume_offset - file->page_start;
    uint64_t first = start >> file->page_bits;
    uint64_t last = (start + piece->length - 1) >> file->page_bits;
    uint64_t own, own_end;

    if (file->page_bits == 0)
        return;
    q2_source_extents_own_pages(file, &file->extents[file->hint], &own, &own_end);
    if (first < own || first >= own_end)
        file->stale |= 1ull << (first & 63);
    if (last < own || last >= own_end)
        file->stale |= 1ull << (last & 63);
    if (file->stale != 0 && file->attention)
        *file->attention = true;
}

static enum q2_status extents_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct q2_source_extents *file = extents_of(source);
    const uint8_t *from = buffer;

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (!q2_range_fits(offset, length, source->size))
        return Q2_ERR_IO;
    while (length > 0) {
        struct extent_piece piece = next_extent_piece(file, offset, length);
        enum q2_status status;
        note_shared(file, &piece);
        status = file->volume->ops->write_at(file->volume, piece.volume_offset, from, piece.length);
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

/* Room is there already: the file system made it, zeroed and durable. */
static enum q2_status extents_grow(struct q2_source *source, uint64_t new_size)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (new_size > extents_of(source)->mapped_size)
        return Q2_ERR_NO_SPACE;
    if (new_size <= source->size)
        return Q2_ERR_ARGUMENT;
    source->size = new_size;
    return Q2_OK;
}

static const struct q2_source_ops extents_ops = {
    .read_at = extents_read,
    .write_at = extents_write,
    .flush = extents_flush,
};

static const struct q2_source_ops growing_ops = {
    .read_at = extents_read,
    .write_at = extents_write,
    .flush = extents_flush,
    .grow = extents_grow,
};

bool q2_source_extents_locate(struct q2_source *source, uint64_t offset, size_t length,
                              struct q2_source **ret_volume, uint64_t *ret_offset,
                              size_t *ret_length)
{
    struct extent_piece piece;

    if (source->ops->read_at != extents_read || !q2_range_fits(offset, length, source->size) ||
        length == 0)
        return false;
    piece = next_extent_piece(extents_of(source), offset, length);
    *ret_volume = extents_of(source)->volume;
    *ret_offset = piece.volume_offset;
    *ret_length = piece.length;
    return true;
}

static bool map_valid(const struct q2_source *volume, const struct q2_file_extent *extents,
                      size_t nb_extents, uint64_t size)
{
    uint64_t at = 0;

    for (size_t i = 0; i < nb_extents; i++) {
        const struct q2_file_extent *extent = &extents[i];
        if (extent->file_offset != at || extent->length == 0 || extent->length > size - at ||
            !q2_range_fits(extent->volume_offset, extent->length, volume->size))
            return false;
        at += extent->length;
    }
    return at == size;
}

/* The same volume gives the same number, so that two sources over one file are known to be one. */
static uint64_t volume_number(const struct q2_source *volume)
{
    uint64_t number = volume->identity[0] * 0x9e3779b97f4a7c15u ^ volume->identity[1];

    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

void q2_source_extents_identity(const struct q2_source *volume, uint64_t file_id,
                                uint64_t ret_identity[2])
{
    ret_identity[0] = volume_number(volume);
    ret_identity[1] = file_id;
}

enum q2_status q2_source_extents_init(struct q2_source_extents *extents,
                                      const struct q2_extents_file *file)
{
    if (!map_valid(file->volume, file->extents, file->nb_extents, file->size))
        return Q2_ERR_ARGUMENT;
    if (file->writable && !file->volume->writable)
        return Q2_ERR_READ_ONLY;
    *extents = (struct q2_source_extents){
        .source =
            {
                .ops = file->can_grow ? &growing_ops : &extents_ops,
                .path = file->path,
                .size = file->size,
                .io_align = file->volume->io_align,
                .writable = file->writable,
            },
        .volume = file->volume,
        .extents = file->extents,
        .nb_extents = file->nb_extents,
        .mapped_size = file->size,
        .page_start = file->page_start,
        .page_bits = file->page_bits,
    };
    q2_source_extents_identity(file->volume, file->file_id, extents->source.identity);
    return Q2_OK;
}

/* Does the longer map begin with the old one? Where that ends, an extent may go on. */
static bool map_continues(const struct q2_source_extents *old, const struct q2_file_extent *map,
                          size_t nb_extents)
{
    if (nb_extents < old->nb_extents)
        return false;
    for (size_t i = 0; i < old->nb_extents; i++) {
        const struct q2_file_extent *a = &old->extents[i], *b = &map[i];
        bool same_length =
            i + 1 < old->nb_extents ? a->length == b->length : a->length <= b->length;
        if (a->volume_offset != b->volume_offset || !same_length)
            return false;
    }
    return true;
}

enum q2_status q2_source_extents_remap(struct q2_source_extents *extents,
                                       const struct q2_file_extent *map, size_t nb_extents,
                                       uint64_t size)
{
    if (size < extents->mapped_size || !map_valid(extents->volume, map, nb_extents, size))
        return Q2_ERR_ARGUMENT;
    if (!map_continues(extents, map, nb_extents))
        return Q2_ERR_BAD_VOLUME;
    extents->extents = map;
    extents->nb_extents = nb_extents;
    extents->mapped_size = size;
    return Q2_OK;
}

void q2_source_extents_cut(struct q2_source_extents *extents, struct q2_file_extent *map,
                           uint64_t size)
{
    while (extents->nb_extents > 0 && map[extents->nb_extents - 1].file_offset >= size)
        extents->nb_extents--;
    if (extents->nb_extents > 0) {
        struct q2_file_extent *last = &map[extents->nb_extents - 1];
        last->length = size - last->file_offset;
    }
    extents->hint = 0;
    extents->mapped_size = size;
}
