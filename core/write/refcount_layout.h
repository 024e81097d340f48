/* A new refcount structure: where its parts are stored, and how the header comes to name it.
 * (qcow2: "Host cluster management")
 *
 * Blocks for every cluster up to the structure's own end, then the table, all in a row after the
 * clusters that are in use. So every offset is known before anything is written.
 */
#ifndef Q2_CORE_REFCOUNT_LAYOUT_H
#define Q2_CORE_REFCOUNT_LAYOUT_H

#include "core/read/disk.h"

struct q2_refcount_layout {
    uint64_t first;     /* cluster index of the first block */
    uint64_t nb_blocks; /* refcount blocks, then */
    uint64_t nb_table;  /* clusters of the table */
    uint32_t order;     /* a refcount has 1 << order bits */
};

/* As many blocks as the clusters before them, their own and the table's need. Nothing is written.
 *
 * first  cluster index; no host cluster from there on is in use
 * order  0..6
 *
 * Q2_ERR_LIMIT  the table would be longer than Q2_MAX_REFCOUNT_TABLE_SIZE
 */
enum q2_status q2_refcount_layout_plan(struct q2_disk *disk, uint64_t first, uint32_t order,
                                       struct q2_refcount_layout *ret_layout);

/* log2 of the refcounts in a block of the new structure. */
static inline uint32_t q2_refcount_layout_block_bits(const struct q2_disk *disk,
                                                     const struct q2_refcount_layout *layout)
{
    return disk->layers[0].rules.cluster_bits + 3 - layout->order;
}

/* The cluster index after the structure's last cluster. */
static inline uint64_t q2_refcount_layout_end(const struct q2_refcount_layout *layout)
{
    return layout->first + layout->nb_blocks + layout->nb_table;
}

/* Let the file grow so far that the structure has room.
 *
 * Q2_ERR_NO_SPACE ...  the file is as it was
 */
enum q2_status q2_refcount_layout_reach(struct q2_disk *disk,
                                        const struct q2_refcount_layout *layout);

/* Write the table, not durably. The blocks are the caller's to write.
 *
 * Q2_ERR_IO ...  nothing names the table yet
 */
enum q2_status q2_refcount_layout_write_table(struct q2_disk *disk,
                                              const struct q2_refcount_layout *layout);

/* Have the header name the structure, durably, after all that waits is durable (O5). What the
 * header named before is the caller's to release. Errors as q2_header_set(). */
enum q2_status q2_refcount_layout_name(struct q2_disk *disk,
                                       const struct q2_refcount_layout *layout);

#endif
