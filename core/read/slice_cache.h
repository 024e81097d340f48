/* The slice cache: pieces of metadata tables, Q2_SLICE_SIZE bytes each, of every file of a disk.
 *
 * May call the sources. No whole table is ever held, so tables of any size work in the same memory.
 * A slice is an aligned piece of a *file*: one cache serves headers, L1, L2, refcounts and
 * snapshots alike, and with small clusters one slice holds several tables.
 *
 * Pointers that q2_slice_get() gives are good until the next call into the cache.
 */
#ifndef Q2_CORE_SLICE_CACHE_H
#define Q2_CORE_SLICE_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "q2_limits.h"
#include "q2_source.h"
#include "window.h"

/* What a sector that waits to be written belongs to. A sector is of one kind only, since clusters
 * are never smaller; a slice may hold several. The order of writing is core/write/order.h's. */
enum q2_dirty {
    Q2_DIRTY_REFCOUNT,
    Q2_DIRTY_L2,
    Q2_DIRTY_L1,
    Q2_DIRTY_BITMAP, /* table entries and bits of a bitmap that is marked as in use */
    Q2_NB_DIRTY
};

/* So many slices are found at the first look. A power of two, as many as there are slices. */
#define Q2_SLICE_HINTS (Q2_SLICE_SETS * Q2_SLICE_WAYS)

/* One way of one set. source NULL: empty. */
struct q2_slice {
    const struct q2_source *source;
    uint64_t index;             /* offset in the file / Q2_SLICE_SIZE */
    uint64_t stamp;             /* of the last use; the smallest in a set is replaced */
    uint32_t length;            /* valid bytes; fewer than Q2_SLICE_SIZE only at the file's end */
    uint8_t dirty[Q2_NB_DIRTY]; /* by kind: bit n is sector n of 512 bytes */
    bool reserved;              /* the file has its room: see q2_slice_edit() */
};

/* An L1 entry that was looked up and found right, and the state of the metadata it was found in: a
 * look at a table that hundreds of requests share would cost each of them as much as its own. */
struct q2_table_hint {
    const struct q2_source *source; /* NULL: unused */
    uint64_t entry_offset;          /* host bytes */
    uint64_t table;                 /* 0: there is none */
    uint64_t state;                 /* nb_changes */
};
#define Q2_TABLE_HINTS 16u /* of 512 MiB each in clusters of 64 KiB */

/* So many regions of 1 MiB of a file are told apart by where slices are. A power of two. */
#define Q2_SLICE_REGIONS     512u
#define Q2_SLICE_REGION_BITS (20u - Q2_SLICE_BITS)

struct q2_slice_cache {
    struct q2_windows *windows; /* looked into before a source is asked */
    /* [set][way]: every look goes through the ways of one set. */
    struct q2_slice slices[Q2_SLICE_SETS][Q2_SLICE_WAYS];
    uint64_t clock;
    /* Grows whenever cached metadata changes: what was looked up before may be wrong. */
    uint64_t nb_changes;
    struct q2_table_hint tables[Q2_TABLE_HINTS]; /* [L1 index % Q2_TABLE_HINTS] */
    uint8_t recent[Q2_SLICE_HINTS];      /* [index % Q2_SLICE_HINTS]: the way to look at first */
    const struct q2_source *miss_source; /* where the last miss was, to see a sequence */
    uint64_t miss_index;
    uint32_t nb_dirty[Q2_SLICE_SETS]; /* slices of each set that wait to be written */
    /* [index >> Q2_SLICE_REGION_BITS, modulo]: slices that are stored there. Most writes of data
     * learn here that they overwrite none. */
    uint16_t nb_in_region[Q2_SLICE_REGIONS];
    /* [way][set]: 16 neighbouring slices in one way are in a row and can be read in one request. */
    _Alignas(Q2_BUFFER_ALIGN) uint8_t bytes[Q2_SLICE_WAYS][Q2_SLICE_SETS][Q2_SLICE_SIZE];
};

/* Forget everything; windows is the disk's and stays. */
void q2_slice_cache_init(struct q2_slice_cache *cache, struct q2_windows *windows);

/* Get metadata bytes.
 *
 * offset      bytes into the source
 * ret_bytes   points at the byte at offset
 * ret_length  bytes from there to the end of the slice or of the file, >= 1
 *
 * Q2_ERR_TRUNCATED  offset is not inside the file
 * Q2_ERR_IO ...     the source failed; nothing of this slice stays in the cache
 */
enum q2_status q2_slice_get(struct q2_slice_cache *cache, struct q2_source *source, uint64_t offset,
                            const uint8_t **ret_bytes, size_t *ret_length);

/* The same for a slice that is cached and found at the first look; NULL: it is not, and nothing was
 * read. */
const uint8_t *q2_slice_at_hand(struct q2_slice_cache *cache, const struct q2_source *source,
                                uint64_t offset, size_t *ret_length);

/* Copy metadata bytes out, across slices.
 *
 * Q2_ERR_TRUNCATED  the range is not inside the file
 * Q2_ERR_IO ...     the source failed
 */
enum q2_status q2_slice_read(struct q2_slice_cache *cache, struct q2_source *source,
                             uint64_t offset, void *buffer, size_t length);

/* The file ends at its new, smaller size: slices after it are dropped. None of them waits. */
void q2_slice_cache_cut(struct q2_slice_cache *cache, const struct q2_source *source);

/* For core/write/slice_write.c: the way that holds slice `index` of a file, Q2_SLICE_WAYS if none
 * does. */
uint32_t q2_slice_way(const struct q2_slice_cache *cache, const struct q2_source *source,
                      uint64_t index);

/* Does any sector of a slice wait to be written? */
static inline bool q2_slice_is_waiting(const struct q2_slice *slice)
{
    return (slice->dirty[Q2_DIRTY_REFCOUNT] | slice->dirty[Q2_DIRTY_L2] |
            slice->dirty[Q2_DIRTY_L1] | slice->dirty[Q2_DIRTY_BITMAP]) != 0;
}

#endif
