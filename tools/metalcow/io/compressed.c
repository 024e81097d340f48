/* Compressed writes of io, cluster by cluster.
 *
 * May call the encoders and the engine. Invariant: only whole clusters, or the disk's last part,
 * are written.
 */
#include "compressed.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/codec/encoder.h"
#include "core/base/range.h"

/* What one cluster takes: the encoder, the cluster filled up with zeros, its stream. */
struct room {
    size_t cluster_size;
    void *memory;
    struct q2_encoder *encoder;
    uint8_t *cluster, *stream;
};

static bool room_make(struct room *room, uint32_t cluster_bits, uint8_t compression_type)
{
    size_t size = (size_t)1 << cluster_bits;
    bool zstd = compression_type == Q2_COMPRESSION_ZSTD;

    room->cluster_size = size;
    room->memory = malloc(zstd ? q2_encoder_zstd_size(size) : q2_encoder_zlib_size(size));
    room->cluster = malloc(size);
    room->stream = malloc(size);
    if (!room->memory || !room->cluster || !room->stream)
        return false;
    room->encoder =
        zstd ? q2_encoder_zstd_init(room->memory, size) : q2_encoder_zlib_init(room->memory, size);
    return room->encoder != NULL;
}

static void room_free(struct room *room)
{
    free(room->memory);
    free(room->cluster);
    free(room->stream);
}

/* One cluster; length is less than its size at the disk's end only. */
static enum q2_status write_cluster(const struct room *room, struct q2_disk *disk, uint64_t offset,
                                    const uint8_t *bytes, size_t length)
{
    size_t n;

    memcpy(room->cluster, bytes, length);
    memset(room->cluster + length, 0, room->cluster_size - length);
    n = room->encoder->encode(room->encoder, room->cluster, room->cluster_size, room->stream,
                              room->cluster_size - 1);
    return n > 0 ? q2_disk_write_compressed(disk, offset, room->stream, n)
                 : q2_disk_write(disk, offset, bytes, length);
}

enum q2_status io_write_compressed(struct q2_disk *disk, uint64_t offset, const uint8_t *bytes,
                                   size_t length)
{
    struct room room = {0};
    struct q2_layer_info info;
    uint64_t rest, size = q2_disk_size(disk);
    enum q2_status status = Q2_ERR_LIMIT;

    q2_disk_layer_info(disk, 0, &info);
    if (!info.header || info.data_source != info.source)
        return Q2_ERR_UNSUPPORTED;
    if (!q2_range_fits(offset, length, size)) /* the engine says it */
        return q2_disk_write(disk, offset, bytes, length);
    rest = (UINT64_C(1) << info.header->cluster_bits) - 1;
    if ((offset & rest) != 0 || ((length & rest) != 0 && offset + length != size))
        return Q2_ERR_ARGUMENT;
    if (room_make(&room, info.header->cluster_bits, info.header->compression_type))
        status = Q2_OK;
    while (length > 0 && status == Q2_OK) {
        size_t n = length < room.cluster_size ? length : room.cluster_size;

        status = write_cluster(&room, disk, offset, bytes, n);
        offset += n;
        bytes += n;
        length -= n;
    }
    room_free(&room);
    return status;
}
