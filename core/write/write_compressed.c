/* Storing compressed clusters.  (qcow2: "Compressed Clusters Descriptor")
 *
 * Implements q2_disk_write_compressed(). May call write.c, table.c, alloc.c, refcount_write.c,
 * bitmap_record.c, store.c and order.c. Streams are stored one after the other, byte by byte; a
 * host cluster has one reference for each stream that touches it. Invariant: writer.packed_end is
 * in a host cluster that holds nothing but compressed streams and whose refcount is not 0, and
 * nothing is stored after it in that cluster.
 */
#include "alloc.h"
#include "bitmap_write.h"
#include "order.h"
#include "q2_fail.h"
#include "core/base/range.h"
#include "refcount_write.h"
#include "store.h"
#include "table.h"
#include "write.h"

/* Where a stream goes. */
struct place {
    uint64_t offset;
    uint64_t length;
    uint64_t made; /* cluster that was allocated for it; 0: none */
};

/* The room after the last stream: bytes up to the end of its cluster; 0 if there is none, or if
 * the cluster's refcount is as high as its width allows. */
static enum q2_status room_left(struct q2_disk *disk, uint64_t *ret_length)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;
    uint64_t end = disk->writer.packed_end, refcount;
    enum q2_status status;

    *ret_length = 0;
    if (end == 0)
        return Q2_OK;
    status = q2_refcount_get(&disk->slices, top, end >> bits, &refcount);
    if (status != Q2_OK)
        return q2_fail(&disk->fault, status, "a refcount cannot be read", top->source->path);
    if (refcount < q2_refcount_max(top))
        *ret_length = (1ull << bits) - (end & ((1ull << bits) - 1));
    return Q2_OK;
}

/* One reference more to the cluster that the last stream ends in. */
static enum q2_status share(struct q2_disk *disk, uint64_t offset)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t index = offset >> top->rules.cluster_bits, refcount;
    enum q2_status status = q2_refcount_get(&disk->slices, top, index, &refcount);

    if (status == Q2_OK)
        status = q2_refcount_put(&disk->slices, top, index, refcount + 1);
    return status == Q2_OK
               ? Q2_OK
               : q2_fail(&disk->fault, status, "a refcount cannot be changed", top->source->path);
}

/* Find a place and take a reference to each cluster that it touches: after the last stream, if the
 * cluster there has room, or if the one after it happens to be free. */
static enum q2_status take_place(struct q2_disk *disk, struct place *place)
{
    uint64_t cluster_size = 1ull << disk->layers[0].rules.cluster_bits;
    uint64_t room, nb;
    enum q2_status status = room_left(disk, &room);

    place->offset = disk->writer.packed_end;
    if (status == Q2_OK && room < place->length) {
        status = q2_clusters_alloc(disk, 1, &place->made, &nb);
        if (room == 0 || place->offset + room != place->made) {
            place->offset = place->made;
            return status;
        }
    }
    if (status != Q2_OK)
        return status;
    status = share(disk, place->offset);
    if (status != Q2_OK && place->made != 0) /* not covered: room_left() has read it */
        q2_clusters_free_later(disk, place->made, cluster_size); /* not covered: the same */
    return status;
}

static enum q2_status encode(struct q2_disk *disk, const struct place *place, uint64_t *ret_entry)
{
    const struct q2_image *top = &disk->layers[0];
    uint32_t bits = top->rules.cluster_bits;

    if (q2_compressed_encode(bits, place->offset, place->length, ret_entry))
        return Q2_OK;
    return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT,
                         "the file is too long for another compressed cluster", top->source->path,
                         "host offset", place->offset, q2_compressed_most_offset(bits));
}

/* Store the stream and name it in the table. */
static enum q2_status store(struct q2_disk *disk, uint64_t table, uint64_t guest_offset,
                            const void *stream, const struct place *place)
{
    struct q2_cluster old;
    uint64_t entry = 0;
    enum q2_status status = encode(disk, place, &entry);

    if (status == Q2_OK)
        status = q2_table_cluster(disk, table, guest_offset, &old);
    if (status == Q2_OK)
        status = q2_store_write(disk, disk->layers[0].source, place->offset, stream,
                                (size_t)place->length);
    if (status == Q2_OK)
        status = q2_table_set(disk, table, guest_offset, entry, 0);
    if (status == Q2_OK)
        q2_table_release(disk, &old);
    return status;
}

static enum q2_status check_request(struct q2_disk *disk, uint64_t guest_offset,
                                    uint64_t stream_length)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t size = q2_disk_size(disk), cluster_size = 1ull << top->rules.cluster_bits;
    enum q2_status status = q2_write_allowed(disk, 0, 0);

    if (status != Q2_OK)
        return status;
    if (top->format == Q2_FORMAT_RAW || top->rules.external_data || top->cipher)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "raw images, external data files and encryption exclude compressed clusters",
                       top->source->path);
    if (guest_offset >= size)
        return q2_fail_limit(&disk->fault, Q2_ERR_RANGE, NULL, NULL, "guest offset", guest_offset,
                             size);
    if (!q2_is_aligned(guest_offset, top->rules.cluster_bits))
        return q2_fail_value(&disk->fault, Q2_ERR_ARGUMENT,
                             "a compressed cluster does not start at a cluster", NULL,
                             "guest offset", guest_offset);
    if (stream_length == 0 || stream_length >= cluster_size)
        return q2_fail_limit(&disk->fault, Q2_ERR_ARGUMENT,
                             "a stream must be shorter than its cluster", NULL, "stream length",
                             stream_length, cluster_size - 1);
    return Q2_OK;
}

enum q2_status q2_disk_write_compressed(struct q2_disk *disk, uint64_t guest_offset,
                                        const void *stream, size_t stream_length)
{
    struct place place = {.length = stream_length};
    uint64_t table;
    enum q2_status status = check_request(disk, guest_offset, stream_length);

    if (status == Q2_OK)
        status = q2_commit_header(disk);
    if (status == Q2_OK)
        status = q2_bitmaps_record(disk, guest_offset, 1ull << disk->layers[0].rules.cluster_bits);
    if (status == Q2_OK)
        status = q2_commit_if_crowded(disk);
    if (status == Q2_OK)
        status = q2_table_for_write(disk, guest_offset, &table);
    if (status == Q2_OK)
        status = take_place(disk, &place);
    if (status != Q2_OK)
        return status;
    status = store(disk, table, guest_offset, stream, &place);
    if (status != Q2_OK) { /* named by nobody */
        q2_clusters_free_later(disk, place.offset & ~511ull, place.offset % 512 + place.length);
        return status;
    }
    disk->writer.packed_end = place.offset + place.length;
    if (q2_is_aligned(disk->writer.packed_end, disk->layers[0].rules.cluster_bits))
        disk->writer.packed_end = 0;
    return Q2_OK;
}
