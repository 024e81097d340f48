/* The disk: bounds, split into extents, walk down the layers.
 *
 * May call mapping.c and refcount.c, and by the kind of an extent: window.c, encrypted.c,
 * compressed.c. Invariant: every byte of the caller's buffer is written before Q2_OK is returned.
 */
#include "disk.h"

#include "q2_fail.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "encrypted.h"
#include "mapping.h"
#include "refcount.h"

uint64_t q2_disk_size(const struct q2_disk *disk)
{
    return disk->layers[0].virtual_size;
}

const struct q2_fault *q2_disk_fault(const struct q2_disk *disk)
{
    return &disk->fault;
}

/* A read that goes on where the last one ended looks up so much more than it wants: the entries are
 * next to each other in a slice, and the next requests then need no lookup of their own. */
#define LOOK_AHEAD          (1024u * 1024)
#define LOOK_AHEAD_CLUSTERS 128u

static uint64_t look_ahead(const struct q2_disk *disk)
{
    return q2_max_u64(LOOK_AHEAD,
                      (uint64_t)LOOK_AHEAD_CLUSTERS << disk->layers[0].rules.cluster_bits);
}

static void walk_start(struct q2_disk *disk)
{
    for (uint32_t i = 0; i < disk->nb_layers; i++)
        disk->until[i] = 0;
}

/* Find the extent at offset, in the first layer that has it. The request wants guest bytes up to
 * `end`. The extent may be found longer than that, up to `horizon`, if this costs no further read.
 * disk->until[i] is the guest offset up to which this request knows layer i to be unallocated; the
 * layer is skipped below it, so that a long hole in an overlay is looked up once and not for every
 * piece of its base. On an error ret_extent holds nothing of use. */
static enum q2_status walk(struct q2_disk *disk, uint64_t offset, uint64_t end, uint64_t horizon,
                           struct q2_extent *ret_extent)
{
    uint32_t last = Q2_MAX_LAYERS; /* the lowest layer that was asked */

    for (uint32_t i = 0; i < disk->nb_layers; i++) {
        const struct q2_image *layer = &disk->layers[i];
        enum q2_status status;

        if (offset < disk->until[i]) {
            horizon = q2_min_u64(horizon, disk->until[i]);
            continue;
        }
        if (offset >= layer->virtual_size)
            break; /* the overlay is larger than its base: zeros from here on */
        horizon = q2_min_u64(horizon, layer->virtual_size);
        end = q2_min_u64(end, horizon);
        status = q2_mapping_find_ahead(&disk->slices, layer, offset, end - offset, horizon - offset,
                                       &disk->fault, ret_extent);
        if (status != Q2_OK)
            return status;
        if (ret_extent->kind != Q2_EXTENT_UNALLOCATED) {
            ret_extent->layer = i;
            return Q2_OK;
        }
        horizon = disk->until[i] = offset + ret_extent->length;
        last = i;
    }
    /* No layer has the offset. If a layer was asked, ret_extent is its answer, which may name a
     * host offset that is reserved for the unallocated cluster. */
    if (last == Q2_MAX_LAYERS)
        *ret_extent = (struct q2_extent){.kind = Q2_EXTENT_UNALLOCATED};
    ret_extent->layer = last == Q2_MAX_LAYERS ? 0 : last;
    ret_extent->guest_offset = offset;
    ret_extent->length = horizon - offset;
    return Q2_OK;
}

enum q2_status q2_disk_map(struct q2_disk *disk, uint64_t offset, uint64_t max_length,
                           struct q2_extent *ret_extent)
{
    uint64_t size = q2_disk_size(disk);
    struct q2_extent extent;
    enum q2_status status;

    if (offset >= size || max_length == 0)
        return q2_fail_limit(&disk->fault, Q2_ERR_RANGE, NULL, NULL, "guest offset", offset, size);
    walk_start(disk);
    max_length = q2_min_u64(max_length, size - offset);
    status = walk(disk, offset, offset + max_length, offset + max_length, &extent);
    if (status == Q2_OK)
        *ret_extent = extent;
    return status;
}

/* A piece of a read: the bytes of one extent from `skip` on. */
struct piece {
    const struct q2_extent *extent;
    uint64_t skip;
    size_t length;
};

/* A piece as an extent of its own. */
static struct q2_extent extent_of_piece(const struct piece *piece)
{
    struct q2_extent extent = *piece->extent;

    extent.guest_offset += piece->skip;
    extent.length = piece->length;
    if (extent.kind == Q2_EXTENT_DATA)
        extent.host_offset += piece->skip;
    return extent;
}

static enum q2_status read_encrypted(struct q2_disk *disk, const struct piece *piece, void *buffer)
{
    const struct q2_extent extent = extent_of_piece(piece);

    return q2_encrypted_read(&disk->layers[extent.layer], &disk->windows, &extent, buffer);
}

/* Do the refcounts say that an image's file never had more than it has? Looked at are the clusters
 * after the one that the file ends in, as far as that one's refcount block goes, and whether there
 * is a next block. A copy that was cut has its clusters counted there. */
static bool is_whole(struct q2_disk *disk, const struct q2_image *image)
{
    uint64_t index = image->source->size >> image->rules.cluster_bits, block, next, nb_free;
    uint64_t per_block = 1ull << q2_refcount_block_bits(image), in_block = index & (per_block - 1);
    uint64_t after = index - in_block + per_block, nb = per_block - 1 - in_block;

    if (q2_refcount_block(&disk->slices, image, index, &block) != Q2_OK || block == 0)
        return false;
    if (nb > 0 &&
        (q2_refcount_nb_free(&disk->slices, image, block, in_block + 1, nb, &nb_free) != Q2_OK ||
         nb_free != nb))
        return false;
    return after >> q2_refcount_block_bits(image) >= q2_refcount_table_entries(image) ||
           (q2_refcount_block(&disk->slices, image, after, &next) == Q2_OK && next == 0);
}

/* The file ends before the end of a piece. A file that lost its end must not read as zeros
 * (HAZARDS.md, F3). But QEMU's files end with the last byte that was written, inside the last
 * cluster: the rest of that one was never written. A disk that is open for writing was checked as
 * a whole. For others the refcounts are asked, if the caller allows that, because they cannot tell
 * whether the file has lost the end of this one cluster. */
static enum q2_status read_past_end(struct q2_disk *disk, const struct piece *piece,
                                    uint64_t host_offset, uint8_t *buffer)
{
    const struct q2_image *image = &disk->layers[piece->extent->layer];
    uint64_t size = image->source->size, last = host_offset + piece->length - 1;
    size_t nb_held = size > host_offset ? (size_t)(size - host_offset) : 0;
    enum q2_status status = Q2_OK;

    if (image->data != image->source || image->cipher || image->format != Q2_FORMAT_QCOW2 ||
        q2_is_aligned(size, image->rules.cluster_bits) ||
        last >> image->rules.cluster_bits != size >> image->rules.cluster_bits ||
        (!(piece->extent->layer == 0 && disk->writer.writable) &&
         !(disk->short_end && is_whole(disk, image))))
        return q2_fail_limit(&disk->fault, Q2_ERR_TRUNCATED, NULL, image->data->path, "host offset",
                             host_offset, image->data->size);
    memset(buffer + nb_held, 0, piece->length - nb_held);
    if (nb_held > 0)
        status = q2_windows_read(&disk->windows, image->data, host_offset, buffer, nb_held);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, NULL, image->data->path, host_offset);
    return Q2_OK;
}

static enum q2_status read_data(struct q2_disk *disk, const struct piece *piece, void *buffer)
{
    const struct q2_image *image = &disk->layers[piece->extent->layer];
    struct q2_source *source = image->data;
    uint64_t host_offset = piece->extent->host_offset + piece->skip;
    enum q2_status status;

    if (!q2_range_fits(host_offset, piece->length, source->size))
        return read_past_end(disk, piece, host_offset, buffer);
    if (image->cipher)
        status = read_encrypted(disk, piece, buffer);
    else
        status = q2_windows_read(&disk->windows, source, host_offset, buffer, piece->length);
    if (status != Q2_OK)
        return q2_fail_at(&disk->fault, status, NULL, source->path, host_offset);
    return Q2_OK;
}

static enum q2_status read_compressed(struct q2_disk *disk, const struct piece *piece, void *buffer)
{
    const struct q2_extent extent = extent_of_piece(piece);
    const struct q2_image *image = &disk->layers[extent.layer];
    struct q2_codec *codec =
        image->header.compression_type == Q2_COMPRESSION_ZSTD ? disk->zstd : disk->zlib;

    return q2_compressed_read(&disk->decoded, image, codec, &extent, &disk->fault, buffer,
                              piece->length);
}

static enum q2_status read_piece(struct q2_disk *disk, const struct piece *piece, void *buffer)
{
    switch (piece->extent->kind) {
    case Q2_EXTENT_DATA:
        return read_data(disk, piece, buffer);
    case Q2_EXTENT_COMPRESSED:
        return read_compressed(disk, piece, buffer);
    case Q2_EXTENT_ZERO:
    case Q2_EXTENT_UNALLOCATED:
    default:
        memset(buffer, 0, piece->length);
        return Q2_OK;
    }
}

/* The piece at offset, at most to end: of the extent that was looked up last while it reaches here
 * and no metadata has changed, so that small requests in a row cost one look at the tables. */
static enum q2_status piece_at(struct q2_disk *disk, uint64_t offset, uint64_t end,
                               uint64_t horizon, struct piece *ret_piece)
{
    struct q2_extent *recent = &disk->recent;
    uint64_t skip = offset - recent->guest_offset;

    if (skip >= recent->length || disk->recent_state != disk->slices.nb_changes) {
        enum q2_status status = walk(disk, offset, end, horizon, recent);
        if (status != Q2_OK) {
            recent->length = 0;
            return status;
        }
        disk->recent_state = disk->slices.nb_changes;
        skip = 0;
    }
    ret_piece->extent = recent;
    ret_piece->skip = skip;
    ret_piece->length = (size_t)q2_min_u64(recent->length - skip, end - offset);
    return Q2_OK;
}

enum q2_status q2_disk_read(struct q2_disk *disk, uint64_t offset, void *buffer, size_t length)
{
    uint8_t *to = buffer;
    uint64_t end, horizon;

    if (!q2_range_fits(offset, length, q2_disk_size(disk)))
        return q2_fail_limit(&disk->fault, Q2_ERR_RANGE, NULL, NULL, "guest offset", offset,
                             q2_disk_size(disk));
    if (disk->metadata_only)
        return q2_fail(&disk->fault, Q2_ERR_NOT_OPEN, NULL, NULL);
    walk_start(disk);
    end = horizon = offset + length;
    if (offset == disk->next_offset)
        horizon += q2_min_u64(look_ahead(disk), q2_disk_size(disk) - end);
    disk->next_offset = end;
    while (offset < end) {
        struct piece piece;
        enum q2_status status = piece_at(disk, offset, end, horizon, &piece);

        if (status == Q2_OK)
            status = read_piece(disk, &piece, to);
        if (status != Q2_OK)
            return status;
        to += piece.length;
        offset += piece.length;
    }
    return Q2_OK;
}
