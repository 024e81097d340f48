/* Any numbers as L1 and L2 entries, under every rule: what is not refused is safe to add to.
 *
 * The input is a byte of cluster bits, a byte of rules (1: version 3, 2: extended, 4: external
 * data), and then entries with their bitmaps and guest clusters, 24 bytes each.
 */
#include "fuzz_disk.h"

#include "core/format/l2_entry.h"

static void judge(const struct q2_cluster *c, const struct q2_l2_rules *rules, uint64_t guest)
{
    uint64_t cluster_size = 1ull << rules->cluster_bits;

    if (c->kind == Q2_CLUSTER_BAD) {
        require(c->breach != NULL && c->breach[0] != '\0');
        return;
    }
    require(c->breach == NULL);
    require(c->has_host_offset || c->host_offset == 0);
    require(c->host_offset < 1ull << 56);
    if (c->kind == Q2_CLUSTER_COMPRESSED) {
        require(c->has_host_offset && !rules->external_data && c->stream_length >= 1);
        require(c->stream_length <= 2 * cluster_size &&
                (c->host_offset + c->stream_length) % 512 == 0);
        return;
    }
    require(c->host_offset % cluster_size == 0);
    require(c->kind != Q2_CLUSTER_DATA || c->has_host_offset);
    require(c->kind != Q2_CLUSTER_ZERO || (rules->version_3 && !rules->extended));
    require(!rules->external_data || !c->has_host_offset || c->host_offset == guest);
    require((c->alloc & c->zero) == 0);
    for (uint32_t i = 0; rules->extended && i < Q2_NB_SUBCLUSTERS; i++) {
        if (q2_subcluster_kind(c, i) == Q2_CLUSTER_DATA)
            require(c->has_host_offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct q2_l2_rules rules;

    if (size < 2)
        return 0;
    rules = (struct q2_l2_rules){
        .cluster_bits =
            Q2_MIN_CLUSTER_BITS + data[0] % (Q2_MAX_CLUSTER_BITS - Q2_MIN_CLUSTER_BITS + 1),
        .version_3 = (data[1] & 1) != 0,
        .extended = (data[1] & 2) != 0,
        .external_data = (data[1] & 4) != 0,
    };
    for (size_t at = 2; at + 24 <= size; at += 24) {
        uint64_t entry = fuzz_number(data, size, at);
        uint64_t bitmap = rules.extended ? fuzz_number(data, size, at + 8) : 0;
        uint64_t guest = fuzz_number(data, size, at + 16) >> 8 >> rules.cluster_bits
                                                                      << rules.cluster_bits;
        uint64_t table = 1;
        struct q2_cluster cluster;
        const char *breach = q2_l1_entry_decode(entry, rules.cluster_bits, &table);

        require(breach ? table == 1 : table % (1ull << rules.cluster_bits) == 0);
        q2_l2_entry_decode(entry, bitmap, guest, &rules, &cluster);
        judge(&cluster, &rules, guest);
    }
    return 0;
}
