/* The disk's own state: everything that lives in the caller's workspace.
 *
 * Only core/ may include this. Outside of core/ the disk is an incomplete type (include/q2_disk.h).
 */
#ifndef Q2_CORE_DISK_H
#define Q2_CORE_DISK_H

#include "compressed.h"
#include "image.h"
#include "q2_disk.h"
#include "reference_counts.h"
#include "snapshot.h"
#include "writer.h"

struct q2_disk {
    struct q2_opener *opener;
    struct q2_unlocker *unlocker;
    struct q2_codec *zlib, *zstd;
    bool metadata_only, short_end;
    uint32_t nb_layers;
    struct q2_fault fault;
    struct q2_image layers[Q2_MAX_LAYERS];
    /* While a request walks down: layer i is known to have nothing before guest offset until[i].
     * Good for one request only. */
    uint64_t until[Q2_MAX_LAYERS];
    /* The last extent that was looked up, good while slices.nb_changes is recent_state; and where
     * the last read ended. */
    struct q2_extent recent;
    uint64_t recent_state;
    uint64_t next_offset;
    /* Too large for the stack: the file to open next, the snapshot or bitmap at hand. */
    char path[Q2_MAX_PATH_LENGTH + 1];
    struct q2_snapshot snapshot;
    struct q2_snapshot_cursor listing; /* of q2_disk_snapshot() */
    struct q2_bitmap bitmap;
    struct q2_windows windows;
    struct q2_slice_cache slices;
    struct q2_writer writer;
    struct q2_decoded_cache decoded;
    /* References are never counted while a read is at work: in the decoded cache's memory. What is
     * written meanwhile asks the cache's slots, so they are not part of it. */
    union {
        struct q2_decoded_memory decoded_memory;
        struct q2_reference_counts counts;
    };
};
_Static_assert(sizeof(struct q2_disk) <= Q2_WORKSPACE_SIZE, "the workspace holds the disk");
_Static_assert(_Alignof(struct q2_disk) <= Q2_WORKSPACE_ALIGN, "the workspace is aligned");

/* Empty the decoded cache and divide it for the disk's layers. */
void q2_disk_reset_decoded(struct q2_disk *disk);

#endif
