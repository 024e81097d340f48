/* L1 entries, L2 entries and compressed cluster descriptors, decoded and encoded.
 * (qcow2: "Cluster mapping", "Standard Cluster Descriptor", "Compressed Clusters Descriptor",
 * "Extended L2 Entries")
 *
 * Pure functions on numbers.
 */
#ifndef Q2_CORE_FORMAT_L2_ENTRY_H
#define Q2_CORE_FORMAT_L2_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define Q2_ENTRY_COPIED     (1ull << 63)
#define Q2_ENTRY_COMPRESSED (1ull << 62)
#define Q2_ENTRY_ZERO       (1ull << 0)
#define Q2_ENTRY_OFFSET     0x00fffffffffffe00ull
#define Q2_L1_RESERVED      0x7f000000000001ffull
#define Q2_L2_RESERVED      0x3f000000000001feull /* of a standard descriptor; bit 0: see below */

#define Q2_SUBCLUSTER_BITS 5u /* log2 of the subclusters of a cluster */
#define Q2_NB_SUBCLUSTERS  (1u << Q2_SUBCLUSTER_BITS)

/* What decoding an L2 entry depends on. */
struct q2_l2_rules {
    uint32_t cluster_bits;
    bool version_3;     /* the zero flag exists */
    bool extended;      /* extended L2 entries: bitmap instead of the zero flag */
    bool external_data; /* clusters are stored in an external data file */
};

enum q2_cluster_kind {
    Q2_CLUSTER_UNALLOCATED,
    Q2_CLUSTER_ZERO,
    Q2_CLUSTER_DATA,
    Q2_CLUSTER_COMPRESSED,
    Q2_CLUSTER_BAD,
};

/* One decoded entry. With extended entries, kind is that of the host cluster (DATA or UNALLOCATED)
 * and the bitmap decides per subcluster: q2_subcluster_kind(). */
struct q2_cluster {
    enum q2_cluster_kind kind;
    bool copied;
    bool has_host_offset;
    uint64_t host_offset;   /* bytes; of the stream if COMPRESSED */
    uint32_t stream_length; /* COMPRESSED: bytes, to the end of the last sector */
    uint32_t alloc, zero;   /* extended: subcluster bitmaps, bit n is subcluster n */
    const char *breach;     /* BAD: the rule that the entry breaks */
};

/* Decode a standard (8-byte) L2 entry, or an extended one (bitmap is its second half, else 0).
 *
 * guest_offset  of the cluster, bytes; an external data file maps every cluster to itself
 */
void q2_l2_entry_decode(uint64_t entry, uint64_t bitmap, uint64_t guest_offset,
                        const struct q2_l2_rules *rules, struct q2_cluster *ret_cluster);

/* The breaches of an L1 entry. */
extern const char q2_l1_reserved[], q2_l1_unaligned[];

/* The breach of an entry whose host offset does not start at a cluster. */
extern const char q2_l2_unaligned[];

/* The breach of an entry that has COPIED set and offset 0 without an external data file. Only in a
 * data file can a guest cluster be stored at offset 0. */
extern const char q2_l2_copied_nowhere[];

/* What subcluster index (0..31) of a decoded extended entry holds. Not for COMPRESSED or BAD. */
enum q2_cluster_kind q2_subcluster_kind(const struct q2_cluster *cluster, uint32_t index);

/* The bits of the subclusters that guest bytes [start, end) touch; both in one cluster, start <
 * end.
 */
uint32_t q2_subcluster_mask(uint32_t cluster_bits, uint64_t start, uint64_t end);

/* Encode a compressed cluster descriptor.
 *
 * offset, length  of the stream, bytes; length >= 1
 * ret_entry       set on true
 * returns         false: offset is above q2_compressed_most_offset()
 */
bool q2_compressed_encode(uint32_t cluster_bits, uint64_t offset, uint64_t length,
                          uint64_t *ret_entry);

/* The highest offset of a stream that a descriptor can hold. */
uint64_t q2_compressed_most_offset(uint32_t cluster_bits);

/* Encode a subcluster bitmap, the second half of an extended L2 entry. A subcluster in both is
 * allocated. */
static inline uint64_t q2_subcluster_bitmap_encode(uint32_t alloc, uint32_t zero)
{
    return (uint64_t)(zero & ~alloc) << 32 | alloc;
}

/* A subcluster bitmap, as stored, with the subclusters of mask allocated as well. */
static inline uint64_t q2_subcluster_bitmap_allocate(uint64_t bitmap, uint32_t mask)
{
    return q2_subcluster_bitmap_encode((uint32_t)bitmap | mask, (uint32_t)(bitmap >> 32));
}

/* Check an L1 entry's form; use q2_l1_gate(), which checks more. NULL: right, *ret_offset is the L2
 * table's offset, 0 if there is none; else the rule that it breaks. */
const char *q2_l1_entry_decode(uint64_t entry, uint32_t cluster_bits, uint64_t *ret_offset);

#endif
