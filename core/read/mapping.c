/* Guest offset -> longest extent, within one layer.
 *
 * May call slice_cache.c, l1_gate.c and core/format/l2_entry.c. Invariant: every host offset that
 * leaves here comes from an entry that passed its decoder, or that is_plain() or nb_alike() found
 * to be of a kind that the decoder accepts (DESIGN.md, 3.5); whoever reads the data judges whether
 * it is inside its file.
 */
#include "mapping.h"

#include "q2_fail.h"
#include "core/base/bytes.h"
#include "core/format/header.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "l1_gate.h"

/* One call of q2_mapping_find(). */
struct mapping {
    struct q2_slice_cache *cache;
    const struct q2_image *image;
    struct q2_fault *fault;
    uint64_t max_length; /* what must be looked up */
    uint64_t horizon;    /* >= max_length: and what may be, as far as it costs no further slice */
    uint64_t nb_entries; /* looked at so far */
    struct q2_extent run;
    bool complete; /* what comes next does not continue the run */
};

/* An entry after the run only ends it; whoever asks for that one gets its fault. */
static enum q2_status refuse(const struct mapping *m, enum q2_status status, const char *what,
                             uint64_t offset)
{
    if (m->run.length > 0)
        return status;
    return q2_fail_at(m->fault, status, what, m->image->source->path, offset);
}

static inline uint64_t entry_get(const uint8_t *bytes)
{
    be64 entry;

    memcpy(&entry, bytes, sizeof(entry));
    return q2_be64_get(entry);
}

static bool continues(const struct q2_extent *run, const struct q2_extent *piece)
{
    if (run->kind != piece->kind)
        return false;
    if (run->has_host_offset != piece->has_host_offset)
        return false;
    return !run->has_host_offset || run->host_offset + run->length == piece->host_offset;
}

/* Add a piece to the run, or complete the run before it. */
static void append(struct mapping *m, const struct q2_extent *piece)
{
    if (m->run.length == 0) {
        m->run = *piece;
    } else if (continues(&m->run, piece)) {
        m->run.length += piece->length;
        m->run.copied = m->run.copied && piece->copied;
    } else {
        m->complete = true;
    }
    if (m->run.length >= m->horizon || m->run.kind == Q2_EXTENT_COMPRESSED)
        m->complete = true;
}

/* Read the L1 entry at entry_offset: where its L2 table is stored, 0 if there is none. */
static enum q2_status table_read(const struct mapping *m, uint64_t entry_offset,
                                 uint64_t *ret_table)
{
    const struct q2_image *image = m->image;
    const char *breach = NULL;
    const uint8_t *bytes;
    size_t length;
    enum q2_status status = q2_slice_get(m->cache, image->source, entry_offset, &bytes, &length);

    if (status != Q2_OK)
        return refuse(m, status, "the L1 table cannot be read", entry_offset);
    status = q2_l1_gate(image, entry_get(bytes), ret_table, &breach);
    return status == Q2_OK ? Q2_OK : refuse(m, status, breach, entry_offset);
}

static uint64_t l1_index(const struct q2_image *image, uint64_t at)
{
    return at >> (image->rules.cluster_bits + image->l2_bits);
}

/* What was found right stays right until metadata changes. NULL: nothing is known of the L1 entry
 * for guest offset at. */
static inline const struct q2_table_hint *hint_of(const struct q2_slice_cache *cache,
                                                  const struct q2_image *image, uint64_t at)
{
    uint64_t index = l1_index(image, at);
    const struct q2_table_hint *hint = &cache->tables[index % Q2_TABLE_HINTS];

    if (hint->entry_offset != image->l1_table_offset + index * 8 || hint->source != image->source ||
        hint->state != cache->nb_changes)
        return NULL;
    return hint;
}

/* Where the L2 table is stored that maps guest offset at; 0 if there is none. */
static enum q2_status table_find(const struct mapping *m, uint64_t at, uint64_t *ret_table)
{
    const struct q2_image *image = m->image;
    uint64_t index = l1_index(image, at);
    uint64_t entry_offset = image->l1_table_offset + index * 8;
    const struct q2_table_hint *hint = hint_of(m->cache, image, at);
    uint64_t table = 0;
    enum q2_status status;

    if (hint) {
        *ret_table = hint->table;
        return Q2_OK;
    }
    status = table_read(m, entry_offset, &table);
    if (status != Q2_OK)
        return status;
    m->cache->tables[index % Q2_TABLE_HINTS] =
        (struct q2_table_hint){image->source, entry_offset, table, m->cache->nb_changes};
    *ret_table = table;
    return Q2_OK;
}

static enum q2_extent_kind extent_kind(enum q2_cluster_kind kind)
{
    switch (kind) {
    case Q2_CLUSTER_DATA:
        return Q2_EXTENT_DATA;
    case Q2_CLUSTER_ZERO:
        return Q2_EXTENT_ZERO;
    case Q2_CLUSTER_COMPRESSED:
        return Q2_EXTENT_COMPRESSED;
    case Q2_CLUSTER_UNALLOCATED:
    case Q2_CLUSTER_BAD: /* never asked: a bad entry is an error before this */
    default:
        return Q2_EXTENT_UNALLOCATED;
    }
}

/* The rest of a standard cluster from guest offset at on. */
static struct q2_extent whole_piece(const struct q2_cluster *cluster, uint64_t at,
                                    uint64_t cluster_size)
{
    uint64_t within = at & (cluster_size - 1);
    bool compressed = cluster->kind == Q2_CLUSTER_COMPRESSED;

    return (struct q2_extent){
        .kind = extent_kind(cluster->kind),
        .guest_offset = at,
        .length = cluster_size - within,
        .has_host_offset = cluster->has_host_offset,
        .host_offset =
            cluster->host_offset + (cluster->has_host_offset && !compressed ? within : 0),
        .stream_length = cluster->stream_length,
        .copied = cluster->copied,
    };
}

/* The run of like subclusters from guest offset at on.  (qcow2: "Extended L2 Entries") */
static struct q2_extent sub_piece(const struct q2_cluster *cluster, uint64_t at,
                                  uint64_t cluster_size)
{
    struct q2_extent piece = whole_piece(cluster, at, cluster_size);
    uint64_t sub_size = cluster_size / Q2_NB_SUBCLUSTERS;
    uint32_t first = (uint32_t)((at & (cluster_size - 1)) / sub_size);
    enum q2_cluster_kind kind = q2_subcluster_kind(cluster, first);
    uint32_t last = first + 1;

    while (last < Q2_NB_SUBCLUSTERS && q2_subcluster_kind(cluster, last) == kind)
        last++;
    piece.kind = extent_kind(kind);
    piece.length = last * sub_size - (at & (cluster_size - 1));
    return piece;
}

/* Decode the entry at bytes and append what it maps from guest offset at on. */
static enum q2_status map_entry(struct mapping *m, const uint8_t *bytes, uint64_t at,
                                uint64_t entry_offset)
{
    const struct q2_image *image = m->image;
    uint64_t cluster_size = 1ull << image->rules.cluster_bits;
    uint64_t bitmap = image->rules.extended ? entry_get(bytes + 8) : 0;
    struct q2_extent piece;
    struct q2_cluster cluster;

    q2_l2_entry_decode(entry_get(bytes), bitmap, at & ~(cluster_size - 1), &image->rules, &cluster);
    if (cluster.kind == Q2_CLUSTER_BAD)
        return refuse(m, Q2_ERR_BAD_L2, cluster.breach, entry_offset);
    if (image->rules.extended && cluster.kind != Q2_CLUSTER_COMPRESSED)
        piece = sub_piece(&cluster, at, cluster_size);
    else
        piece = whole_piece(&cluster, at, cluster_size);
    append(m, &piece);
    return Q2_OK;
}

/* How many of the entries at bytes, at most nb_max, say what the decoder would say of the clusters
 * after the one of `entry`: the same without a host offset, the next cluster with one. Most tables
 * are long runs of such entries, and comparing costs a fraction of decoding. */
static uint64_t nb_alike(const uint8_t *bytes, uint64_t nb_max, uint64_t entry, uint64_t step)
{
    uint64_t n = 0;

    /* What passes must have no reserved bit either: no carry out of the offset. */
    if ((entry & Q2_ENTRY_OFFSET) + nb_max * step > Q2_ENTRY_OFFSET)
        return 0;
    while (n < nb_max && entry_get(bytes + n * sizeof(be64)) == entry + (n + 1) * step)
        n++;
    return n;
}

/* Lengthen the run by the whole clusters after its last entry, which is stored at bytes, that
 * continue it; nb_left entries follow in the slice. Returns how many clusters that were. */
static uint64_t extend(struct mapping *m, const uint8_t *bytes, uint64_t nb_left)
{
    const struct q2_l2_rules *rules = &m->image->rules;
    uint64_t nb_max = q2_min_u64(nb_left, Q2_MAP_MAX_ENTRIES - m->nb_entries);
    uint64_t step = m->run.has_host_offset ? 1ull << rules->cluster_bits : 0;
    uint64_t n;

    if (m->complete || rules->extended)
        return 0;
    nb_max = q2_min_u64(nb_max, q2_shift_up(m->horizon - m->run.length, rules->cluster_bits));
    n = nb_alike(bytes + sizeof(be64), nb_max, entry_get(bytes), step);
    m->run.length += n << rules->cluster_bits;
    m->nb_entries += n;
    m->complete = m->run.length >= m->horizon;
    return n;
}

/* Map from guest offset at to the end of one slice of the L2 table. */
static enum q2_status map_slice(struct mapping *m, uint64_t table, uint64_t at)
{
    const struct q2_image *image = m->image;
    uint64_t index = (at >> image->rules.cluster_bits) & ((1ull << image->l2_bits) - 1);
    uint64_t offset = table + (index << image->entry_bits);
    uint64_t nb_left = (1ull << image->l2_bits) - index;
    const uint8_t *bytes;
    size_t length;
    enum q2_status status = q2_slice_get(m->cache, image->source, offset, &bytes, &length);

    if (status == Q2_OK && length < 1u << image->entry_bits)
        status = Q2_ERR_TRUNCATED;
    if (status != Q2_OK)
        return refuse(m, status, "an L2 table cannot be read", offset);
    nb_left = q2_min_u64(nb_left, length >> image->entry_bits);
    while (nb_left > 0 && !m->complete && m->nb_entries < Q2_MAP_MAX_ENTRIES) {
        uint64_t before = m->run.length, nb;
        status = map_entry(m, bytes, at, offset);
        if (status != Q2_OK)
            return status;
        m->nb_entries++;
        if (!q2_is_aligned(at + m->run.length - before, image->rules.cluster_bits)) {
            at += m->run.length - before;
            continue; /* the next run of subclusters in the same entry */
        }
        nb = 1 + extend(m, bytes, nb_left - 1);
        at += m->run.length - before;
        bytes += nb << image->entry_bits;
        offset += nb << image->entry_bits;
        nb_left -= nb;
    }
    return Q2_OK;
}

/* Nearly every entry is a standard descriptor with an aligned offset and nothing else but COPIED;
 * those are seen at a glance, without a decoder's many questions. */
static bool is_plain(const struct q2_l2_rules *rules, uint64_t entry, uint64_t cluster_offset)
{
    uint64_t offset = entry & ~Q2_ENTRY_COPIED;

    if (offset == 0 || offset > Q2_ENTRY_OFFSET || !q2_is_aligned(offset, rules->cluster_bits))
        return false;
    return !rules->external_data || offset == cluster_offset;
}

/* The short way: the L1 entry was seen before, the L2 slice is at hand, the entry is a plain one,
 * and the run is long enough. False: nothing is said. */
static bool map_at_hand(struct q2_slice_cache *cache, const struct q2_image *image, uint64_t at,
                        uint64_t max_length, uint64_t horizon, struct q2_extent *ret_extent)
{
    const struct q2_l2_rules *rules = &image->rules;
    const struct q2_table_hint *hint = hint_of(cache, image, at);
    uint64_t cluster = at >> rules->cluster_bits, within = at - (cluster << rules->cluster_bits);
    uint64_t index = cluster & ((1ull << image->l2_bits) - 1);
    uint64_t run = (1ull << rules->cluster_bits) - within, entry, nb_max;
    const uint8_t *bytes;
    size_t length;

    if (rules->extended || !hint || hint->table == 0)
        return false;
    bytes = q2_slice_at_hand(cache, image->source, hint->table + index * sizeof(be64), &length);
    if (!bytes || length < sizeof(be64))
        return false;
    entry = entry_get(bytes);
    if (!is_plain(rules, entry, at - within))
        return false;
    if (run < horizon) {
        nb_max = q2_min_u64(length / sizeof(be64), (1ull << image->l2_bits) - index) - 1;
        nb_max = q2_min_u64(nb_max, q2_shift_up(horizon - run, rules->cluster_bits));
        run += nb_alike(bytes + sizeof(be64), nb_max, entry, 1ull << rules->cluster_bits)
               << rules->cluster_bits;
    }
    if (run < max_length)
        return false;
    *ret_extent = (struct q2_extent){
        .kind = Q2_EXTENT_DATA,
        .guest_offset = at,
        .length = q2_min_u64(run, horizon),
        .host_offset = (entry & Q2_ENTRY_OFFSET) + within,
        .has_host_offset = true,
        .copied = (entry & Q2_ENTRY_COPIED) != 0,
    };
    return true;
}

/* No L2 table: everything that it would map is unallocated. */
static void map_hole(struct mapping *m, uint64_t at)
{
    uint64_t reach = 1ull << q2_header_l1_reach_bits(&m->image->header);
    struct q2_extent piece = {
        .kind = Q2_EXTENT_UNALLOCATED,
        .guest_offset = at,
        .length = reach - (at & (reach - 1)),
    };

    append(m, &piece);
    m->nb_entries++;
}

/* A raw file: data to its end. */
static void map_raw(const struct q2_image *image, uint64_t guest_offset, uint64_t length,
                    struct q2_extent *ret_extent)
{
    *ret_extent = (struct q2_extent){
        .kind = Q2_EXTENT_DATA,
        .guest_offset = guest_offset,
        .length = q2_min_u64(length, image->virtual_size - guest_offset),
        .host_offset = guest_offset,
        .has_host_offset = true,
        .copied = true,
    };
}

/* The long way: entry by entry, over as many tables as it takes. */
static enum q2_status map_run(struct mapping *m, uint64_t guest_offset)
{
    enum q2_status status = Q2_OK;

    while (!m->complete && m->run.length < m->max_length && m->nb_entries < Q2_MAP_MAX_ENTRIES &&
           status == Q2_OK) {
        uint64_t at = guest_offset + m->run.length;
        uint64_t table;

        status = table_find(m, at, &table);
        if (status == Q2_OK && table == 0)
            map_hole(m, at);
        else if (status == Q2_OK)
            status = map_slice(m, table, at);
    }
    return m->run.length > 0 ? Q2_OK : status;
}

enum q2_status q2_mapping_find_ahead(struct q2_slice_cache *cache, const struct q2_image *image,
                                     uint64_t guest_offset, uint64_t max_length, uint64_t horizon,
                                     struct q2_fault *fault, struct q2_extent *ret_extent)
{
    struct mapping m;
    enum q2_status status;

    if (image->format == Q2_FORMAT_RAW) {
        map_raw(image, guest_offset, horizon, ret_extent);
        return Q2_OK;
    }
    if (map_at_hand(cache, image, guest_offset, max_length, horizon, ret_extent))
        return Q2_OK;
    m = (struct mapping){.cache = cache,
                         .image = image,
                         .fault = fault,
                         .max_length = max_length,
                         .horizon = horizon};
    status = map_run(&m, guest_offset);
    if (status != Q2_OK)
        return status;
    *ret_extent = m.run;
    ret_extent->length = q2_min_u64(m.run.length, horizon);
    return Q2_OK;
}

enum q2_status q2_mapping_find(struct q2_slice_cache *cache, const struct q2_image *image,
                               uint64_t guest_offset, uint64_t max_length, struct q2_fault *fault,
                               struct q2_extent *ret_extent)
{
    return q2_mapping_find_ahead(cache, image, guest_offset, max_length, max_length, fault,
                                 ret_extent);
}
