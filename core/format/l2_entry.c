/* L1 entries, L2 entries and compressed cluster descriptors.
 *
 * May call range.h. Invariant: a cluster that is not BAD has a host offset that is aligned (or a
 * stream's) and below 2^56, so adding a cluster size cannot wrap.
 */
#include "l2_entry.h"

#include "core/base/range.h"

const char q2_l1_reserved[] = "L1 entry has a reserved bit set";
const char q2_l1_unaligned[] = "L2 table does not start at a cluster";
const char q2_l2_unaligned[] = "L2 entry's host offset does not start at a cluster";
const char q2_l2_copied_nowhere[] = "L2 entry has its COPIED flag set but no host cluster";

static void bad(struct q2_cluster *cluster, const char *breach)
{
    cluster->kind = Q2_CLUSTER_BAD;
    cluster->breach = breach;
}

/* (qcow2: "Compressed Clusters Descriptor") Bits 0 to x-1 are the offset, x to 61 count the sectors
 * of 512 bytes that the stream occupies beyond the first; x = 62 - (cluster_bits - 8). */
static uint32_t compressed_offset_bits(uint32_t cluster_bits)
{
    return 62 - (cluster_bits - 8);
}

static void decode_compressed(uint64_t entry, uint64_t bitmap, const struct q2_l2_rules *rules,
                              struct q2_cluster *cluster)
{
    uint32_t offset_bits = compressed_offset_bits(rules->cluster_bits);
    uint64_t descriptor = entry & (Q2_ENTRY_COMPRESSED - 1);
    uint64_t nb_sectors = (descriptor >> offset_bits) + 1;

    if (rules->external_data) {
        bad(cluster, "compressed cluster in an image with an external data file");
        return;
    }
    if (bitmap != 0) {
        bad(cluster, "compressed cluster with a subcluster bitmap");
        return;
    }
    cluster->kind = Q2_CLUSTER_COMPRESSED;
    cluster->host_offset = descriptor & ((1ull << offset_bits) - 1);
    cluster->stream_length = (uint32_t)(nb_sectors * 512 - cluster->host_offset % 512);
    cluster->has_host_offset = true;
    if (cluster->host_offset > Q2_ENTRY_OFFSET)
        bad(cluster, "compressed cluster is past 2^56");
}

static void decode_extended(uint64_t bitmap, struct q2_cluster *cluster)
{
    cluster->alloc = (uint32_t)bitmap;
    cluster->zero = (uint32_t)(bitmap >> 32);
    if (cluster->alloc & cluster->zero)
        bad(cluster, "subcluster is both allocated and zero");
    else if (cluster->alloc != 0 && cluster->kind == Q2_CLUSTER_UNALLOCATED)
        bad(cluster, "subcluster is allocated in an unallocated cluster");
}

/* The zero flag: bit 0, version 3 only, and not in extended entries. */
static void decode_zero_flag(uint64_t entry, const struct q2_l2_rules *rules,
                             struct q2_cluster *cluster)
{
    if (!(entry & Q2_ENTRY_ZERO))
        return;
    if (!rules->version_3)
        bad(cluster, "zero cluster in a version 2 image");
    else if (rules->extended)
        bad(cluster, "L2 entry has a reserved bit set");
    else
        cluster->kind = Q2_CLUSTER_ZERO;
}

void q2_l2_entry_decode(uint64_t entry, uint64_t bitmap, uint64_t guest_offset,
                        const struct q2_l2_rules *rules, struct q2_cluster *ret_cluster)
{
    uint64_t offset = entry & Q2_ENTRY_OFFSET;
    struct q2_cluster cluster = {.copied = (entry & Q2_ENTRY_COPIED) != 0};
    /* Offset 0 means unallocated, but an external data file's first cluster is stored there; the
     * COPIED flag tells the two apart. */
    bool at_zero = rules->external_data && offset == 0 && cluster.copied;

    if (entry & Q2_ENTRY_COMPRESSED) {
        decode_compressed(entry, bitmap, rules, &cluster);
        *ret_cluster = cluster;
        return;
    }
    if (offset != 0 || (at_zero && !(entry & Q2_ENTRY_ZERO))) {
        cluster.kind = Q2_CLUSTER_DATA;
        cluster.host_offset = offset;
        cluster.has_host_offset = true;
    }
    if (entry & Q2_L2_RESERVED)
        bad(&cluster, "L2 entry has a reserved bit set");
    else if (!q2_is_aligned(offset, rules->cluster_bits))
        bad(&cluster, q2_l2_unaligned);
    else if (!rules->external_data && offset == 0 && cluster.copied)
        bad(&cluster, q2_l2_copied_nowhere);
    else if (rules->external_data && cluster.has_host_offset && offset != guest_offset)
        bad(&cluster, "host offset in the external data file is not the guest offset");
    else
        decode_zero_flag(entry, rules, &cluster);
    if (rules->extended && cluster.kind != Q2_CLUSTER_BAD)
        decode_extended(bitmap, &cluster);
    *ret_cluster = cluster;
}

uint64_t q2_compressed_most_offset(uint32_t cluster_bits)
{
    return q2_min_u64((1ull << compressed_offset_bits(cluster_bits)) - 1, Q2_ENTRY_OFFSET);
}

bool q2_compressed_encode(uint32_t cluster_bits, uint64_t offset, uint64_t length,
                          uint64_t *ret_entry)
{
    uint64_t nb_more = (offset + length - 1) / 512 - offset / 512;

    if (offset > q2_compressed_most_offset(cluster_bits))
        return false;
    *ret_entry = Q2_ENTRY_COMPRESSED | nb_more << compressed_offset_bits(cluster_bits) | offset;
    return true;
}

enum q2_cluster_kind q2_subcluster_kind(const struct q2_cluster *cluster, uint32_t index)
{
    if (cluster->zero >> index & 1)
        return Q2_CLUSTER_ZERO;
    return cluster->alloc >> index & 1 ? Q2_CLUSTER_DATA : Q2_CLUSTER_UNALLOCATED;
}

uint32_t q2_subcluster_mask(uint32_t cluster_bits, uint64_t start, uint64_t end)
{
    uint32_t sub_bits = cluster_bits - Q2_SUBCLUSTER_BITS;
    uint64_t cluster = start >> cluster_bits << cluster_bits;
    uint32_t first = (uint32_t)((start - cluster) >> sub_bits);
    uint32_t last = (uint32_t)q2_shift_up(end - cluster, sub_bits);

    return (uint32_t)(((1ull << last) - 1) & ~((1ull << first) - 1));
}

const char *q2_l1_entry_decode(uint64_t entry, uint32_t cluster_bits, uint64_t *ret_offset)
{
    uint64_t offset = entry & Q2_ENTRY_OFFSET;

    if (entry & Q2_L1_RESERVED)
        return q2_l1_reserved;
    if (!q2_is_aligned(offset, cluster_bits))
        return q2_l1_unaligned;
    *ret_offset = offset;
    return NULL;
}
