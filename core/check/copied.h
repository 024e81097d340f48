/* COPIED flags: bit 63 of L1 and L2 entries, set exactly if the refcount is 1.
 * (qcow2: "L1 table entry", "Standard Cluster Descriptor")
 */
#ifndef Q2_CORE_COPIED_H
#define Q2_CORE_COPIED_H

#include "references.h"

/* An entry that has such a flag. */
struct q2_copied_entry {
    uint64_t named_at;    /* offset of the entry */
    uint64_t host_offset; /* of the cluster or the L2 table that it names */
    bool is_l1;
    bool is_compressed; /* the flag is never set, whatever the refcount */
    bool is_set;
};

struct q2_copied_walk {
    struct q2_references *references; /* found() is told what cannot be read */
    enum q2_status (*visit)(struct q2_copied_walk *walk, const struct q2_copied_entry *entry);
};

/* Visit the entries of an L1 table and its L2 tables, until one gives something else than Q2_OK. */
enum q2_status q2_copied_walk(struct q2_copied_walk *walk, uint64_t l1_offset, uint32_t l1_size);

/* The refcount that decides: 1 for clusters of an external data file, which have none. */
enum q2_status q2_copied_refcount(struct q2_disk *disk, const struct q2_copied_entry *entry,
                                  uint64_t *ret_refcount);

#endif
