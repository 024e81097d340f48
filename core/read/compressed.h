/* Compressed clusters: fetched, decoded, kept a while.  (qcow2: "Compressed Clusters Descriptor")
 *
 * Calls the codec and the source.
 */
#ifndef Q2_CORE_COMPRESSED_H
#define Q2_CORE_COMPRESSED_H

#include "image.h"
#include "q2_codec.h"
#include "window.h"

/* One decoded cluster. source NULL: empty. */
struct q2_decoded {
    const struct q2_source *source;
    uint64_t host_offset;
    uint32_t stream_length;
    uint64_t stamp; /* of the last use */
};

/* Memory of the cache. */
struct q2_decoded_memory {
    _Alignas(Q2_BUFFER_ALIGN) uint8_t clusters[Q2_DECODED_CACHE_SIZE];
    /* A stream, and what is before it in its sector. */
    _Alignas(Q2_BUFFER_ALIGN) uint8_t input[512 + Q2_COMPRESSED_BUFFER_SIZE];
};

/* Small clusters share the room of large ones: the slots in use are as many as clusters of
 * slot_size fit, at most Q2_DECODED_SLOTS. */
struct q2_decoded_cache {
    struct q2_windows *windows; /* looked into before the source is asked */
    struct q2_decoded slots[Q2_DECODED_SLOTS];
    uint32_t nb_slots;
    uint32_t slot_size;
    uint64_t clock;
    struct q2_decoded_memory *memory;
};

/* Empty the cache and divide it for clusters of up to cluster_size bytes; windows and memory are
 * the disk's. */
void q2_decoded_cache_init(struct q2_decoded_cache *cache, struct q2_windows *windows,
                           struct q2_decoded_memory *memory, uint32_t cluster_size);

/* Drop decoded clusters whose stream overlaps a range that is being written. */
void q2_decoded_forget(struct q2_decoded_cache *cache, const struct q2_source *source,
                       uint64_t offset, uint64_t length);

/* Read bytes of a compressed cluster.
 *
 * image   the layer that holds it
 * codec   for the image's compression type; NULL gives Q2_ERR_UNSUPPORTED
 * extent  COMPRESSED, from q2_mapping_find()
 * buffer  gets length bytes from extent->guest_offset on, length <= extent->length; undefined after
 *         an error. A whole cluster is decoded straight into it and not kept.
 *
 * Q2_ERR_TRUNCATED       the stream begins past the end of the file
 * Q2_ERR_BAD_COMPRESSED  it does not decode to exactly one cluster
 * Q2_ERR_LIMIT           it is longer than Q2_COMPRESSED_BUFFER_SIZE
 * Q2_ERR_IO ...          the source failed
 */
enum q2_status q2_compressed_read(struct q2_decoded_cache *cache, const struct q2_image *image,
                                  struct q2_codec *codec, const struct q2_extent *extent,
                                  struct q2_fault *fault, uint8_t *buffer, size_t length);

#endif
