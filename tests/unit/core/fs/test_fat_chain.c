/* Extent maps: chains of every type against a naive walk, and every broken chain by its text. */
#include "core/fs/fat_chain.h"
#include "core/fs/fat_table.h"
#include "tests/support/fat_builder.h"
#include "tests/support/t.h"

static uint8_t buffer[Q2_FAT_MIN_BUFFER];
static struct q2_file_extent extents[70000];
static uint64_t mapped_size; /* of the last map() */

static void make(struct fat_builder *fb, uint32_t bits)
{
    fb_make(fb, bits, 512, 1, bits == 12 ? 4000 : bits == 16 ? 60000 : 65600, 2);
}

static enum q2_status map(struct fat_builder *fb, uint32_t first, uint32_t size, size_t capacity,
                          struct q2_fault *fault, size_t *nb)
{
    struct q2_fat_volume volume;
    struct q2_fat_file file = {.first_cluster = first, .size = size, .entry_offset = 0x777};
    struct q2_fat_chain chain = {.nb_extents = *nb, .size = 0x5a5a5a5a5a};
    enum q2_status status;

    memset(fault, 0, sizeof(*fault));
    T_CHECK_U64(q2_fat_volume_open(&fb->memory.source, fault, &volume), Q2_OK);
    status = q2_fat_map(&volume, &file, buffer, sizeof(buffer), capacity == 0 ? NULL : extents,
                        capacity, fault, &chain);
    *nb = chain.nb_extents;
    mapped_size = chain.size;
    return status;
}

/* xorshift: the same chains on every run. */
static uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A chain of runs: nb_runs of random lengths at random free places. Returns its length. */
static size_t random_chain(struct fat_builder *fb, uint32_t seed, size_t nb_runs,
                           uint32_t *clusters)
{
    uint8_t *used = calloc(1, fb->nb_clusters + 2);
    uint32_t state = seed;
    size_t nb = 0;

    for (size_t run = 0; used && run < nb_runs; run++) {
        uint32_t at = 2 + random_next(&state) % fb->nb_clusters;
        uint32_t length = 1 + random_next(&state) % 9;
        for (uint32_t i = at; i < at + length && i < fb->nb_clusters + 2 && !used[i]; i++) {
            used[i] = 1;
            clusters[nb++] = i;
        }
    }
    free(used);
    fb_chain(fb, clusters, nb);
    return nb;
}

/* What the map must be, straight from the list of clusters. */
static size_t naive_map(const struct fat_builder *fb, const uint32_t *clusters, size_t nb,
                        uint64_t size, struct q2_file_extent *ret_extents)
{
    size_t n = 0;

    for (size_t i = 0; i < nb; i++) {
        uint64_t at = (uint64_t)i * fb->cluster;
        uint64_t length = size - at < fb->cluster ? size - at : fb->cluster;
        if (i > 0 && clusters[i] == clusters[i - 1] + 1) {
            ret_extents[n - 1].length += length;
        } else {
            ret_extents[n++] =
                (struct q2_file_extent){at, fb_cluster_offset(fb, clusters[i]), length};
        }
    }
    return n;
}

static void test_map_random_chains_equal_a_naive_walk(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};
    static uint32_t clusters[70000];
    static struct q2_file_extent want[70000];

    for (uint32_t n = 0; n < 30; n++) {
        struct fat_builder fb;
        struct q2_fault fault;
        char row[64];
        size_t nb_extents = 0, nb_want, nb;
        uint32_t size;

        (void)snprintf(row, sizeof(row), "FAT%u seed %u", all_bits[n % 3], n + 1);
        t_row(row);
        make(&fb, all_bits[n % 3]);
        nb = random_chain(&fb, n + 1, 1 + n * 50, clusters);
        size = (uint32_t)nb * fb.cluster - (n % 4 == 0 ? 0 : n * 17);
        nb_want = naive_map(&fb, clusters, nb, size, want);
        T_CHECK_U64(map(&fb, clusters[0], size, 0, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, nb_want);
        T_CHECK_U64(map(&fb, clusters[0], size, nb_want, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, nb_want);
        T_CHECK(memcmp(extents, want, nb_want * sizeof(want[0])) == 0);
        nb_extents = 12345;
        if (nb_want > 1)
            T_CHECK_U64(map(&fb, clusters[0], size, nb_want - 1, &fault, &nb_extents),
                        Q2_ERR_LIMIT);
        if (nb_want > 2)
            T_CHECK_U64(map(&fb, clusters[0], size, nb_want - 2, &fault, &nb_extents),
                        Q2_ERR_LIMIT);
        T_CHECK_U64(nb_extents, nb_want > 1 ? 12345 : nb_extents);
        T_CHECK_U64(map(&fb, clusters[0], size, SIZE_MAX, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, nb_want);
        fb_free(&fb);
    }
}

static void test_map_whole_volume_in_one_run_is_one_extent(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) { /* crosses the window's end at every alignment of FAT12 */
        struct fat_builder fb;
        struct q2_fault fault;
        size_t nb_extents = 0;

        make(&fb, all_bits[b]);
        for (uint32_t i = 0; i < fb.nb_clusters; i++)
            fb_set(&fb, i + 2, i + 1 < fb.nb_clusters ? i + 3 : FB_EOC(&fb));
        T_CHECK_U64(map(&fb, 2, fb.nb_clusters * fb.cluster - 511, 1, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, 1);
        T_CHECK_U64(extents[0].file_offset, 0);
        T_CHECK_U64(extents[0].volume_offset, fb.data_offset);
        T_CHECK_U64(extents[0].length, fb.nb_clusters * fb.cluster - 511);
        fb_free(&fb);
    }
}

static void test_map_backward_run_is_an_extent_per_cluster(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    size_t nb_extents = 0;

    make(&fb, 32);
    for (uint32_t i = 3; i < 65602; i++)
        fb_set(&fb, i, i - 1);
    fb_set(&fb, 2, FB_EOC(&fb));
    T_CHECK_U64(map(&fb, 65601, 65600 * 512, 70000, &fault, &nb_extents), Q2_OK);
    T_CHECK_U64(nb_extents, 65600);
    T_CHECK_U64(extents[65599].volume_offset, fb.data_offset);
    fb_free(&fb);
}

static void test_map_empty_file_has_no_extents(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    size_t nb_extents = 9;

    make(&fb, 16);
    T_CHECK_U64(map(&fb, 0, 0, 10, &fault, &nb_extents), Q2_OK);
    T_CHECK_U64(nb_extents, 0);
    nb_extents = 9;
    T_CHECK_U64(map(&fb, 5, 0, 10, &fault, &nb_extents), Q2_OK); /* a cluster too many */
    T_CHECK_U64(nb_extents, 0);
    T_CHECK_U64(mapped_size, 0);
    fb_free(&fb);
}

static void test_map_every_end_mark_ends_a_chain(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (uint32_t mark = 8; mark <= 15; mark++) {
        for (size_t b = 0; b < 3; b++) {
            struct fat_builder fb;
            struct q2_fault fault;
            size_t nb_extents = 0;
            make(&fb, all_bits[b]);
            fb_set(&fb, 9, fb_mark(&fb, mark));
            T_CHECK_U64(map(&fb, 9, 512, 1, &fault, &nb_extents), Q2_OK);
            T_CHECK_U64(nb_extents, 1);
            fb_free(&fb);
        }
    }
}

static void test_map_upper_bits_of_fat32_entries_are_ignored(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    size_t nb_extents = 0;

    make(&fb, 32);
    fb_set(&fb, 9, 0xf0000000u | 10);
    fb_set(&fb, 10, 0xa0000000u | FB_EOC(&fb));
    T_CHECK_U64(map(&fb, 9, 1024, 1, &fault, &nb_extents), Q2_OK);
    T_CHECK_U64(nb_extents, 1);
    fb_free(&fb);
}

/* A file of three clusters, 9 -> 20 -> 21, with entries changed. Values >= MARK are marks. */
#define MARK 0x10000000u
static const struct {
    const char *row;
    uint32_t first, size, cluster, value, second_cluster, second_value;
    enum q2_status status;
    uint64_t mapped_size;
    const char *what; /* NULL: nothing to say */
} chain_rows[] = {
    {"as it is", 9, 1536, 0, 0, 0, 0, Q2_OK, 1536, NULL},
    {"last cluster by one byte", 9, 1025, 0, 0, 0, 0, Q2_OK, 1025, NULL},
    {"long: one cluster", 9, 1024, 0, 0, 0, 0, Q2_OK, 1024, NULL},
    {"long: free after the end", 9, 1536, 21, 0, 0, 0, Q2_OK, 1536, NULL},
    {"long: bad after the end", 9, 1536, 21, MARK + 7, 0, 0, Q2_OK, 1536, NULL},
    {"short: one cluster", 9, 1537, 0, 0, 0, 0, Q2_OK, 1536,
     "the cluster chain is shorter than the file"},
    {"short: ends at once", 9, 1536, 9, MARK + 15, 0, 0, Q2_OK, 512,
     "the cluster chain is shorter than the file"},
    {"short: near 4 GiB", 9, 0xffffffff, 0, 0, 0, 0, Q2_OK, 1536,
     "the cluster chain is shorter than the file"},
    {"short: free", 9, 1536, 20, 0, 0, 0, Q2_OK, 1024, "a cluster of the chain is marked free"},
    {"short: reserved", 9, 1536, 9, 1, 0, 0, Q2_OK, 512,
     "a cluster of the chain is marked reserved"},
    {"short: bad", 9, 1536, 20, MARK + 7, 0, 0, Q2_OK, 1024,
     "a cluster of the chain is marked bad"},
    {"short: reserved mark", 9, 1536, 20, MARK + 6, 0, 0, Q2_OK, 1024,
     "the chain leaves the volume"},
    {"loop after the file's end", 9, 1536, 21, 9, 0, 0, Q2_OK, 1536, NULL},
    {"loop to itself after the end", 9, 1536, 21, 21, 0, 0, Q2_OK, 1536, NULL},
    {"loop further after the end", 9, 1536, 21, 22, 22, 22, Q2_OK, 1536, NULL},
    {"loop to the start", 9, 1537, 21, 9, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the cluster chain is a loop"},
    {"loop to itself", 9, 1537, 21, 21, 0, 0, Q2_ERR_BAD_VOLUME, 0, "the cluster chain is a loop"},
    {"loop of two, once and a half", 9, 1536, 20, 9, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the cluster chain is a loop"},
    {"loop of two, twice", 9, 2048, 20, 9, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the cluster chain is a loop"},
    {"loop inside", 9, 1536, 20, 20, 0, 0, Q2_ERR_BAD_VOLUME, 0, "the cluster chain is a loop"},
    {"loop of the first", 9, 1536, 9, 9, 0, 0, Q2_ERR_BAD_VOLUME, 0, "the cluster chain is a loop"},
    {"first cluster 0", 0, 1536, 0, 0, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the file starts in no cluster of the volume"},
    {"first cluster 1", 1, 1536, 0, 0, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the file starts in no cluster of the volume"},
    {"first cluster outside", 0xffffffff, 1536, 0, 0, 0, 0, Q2_ERR_BAD_VOLUME, 0,
     "the file starts in no cluster of the volume"},
};

static void chain_row(size_t i, uint32_t bits)
{
    static const uint32_t chain[] = {9, 20, 21};
    struct fat_builder fb;
    struct q2_fault fault;
    size_t nb_extents = 0;
    uint32_t value = chain_rows[i].value;
    uint64_t sum = 0;

    t_row(chain_rows[i].row);
    make(&fb, bits);
    fb_chain(&fb, chain, 3);
    if (chain_rows[i].cluster != 0)
        fb_set(&fb, chain_rows[i].cluster, value >= MARK ? fb_mark(&fb, value - MARK) : value);
    if (chain_rows[i].second_cluster != 0)
        fb_set(&fb, chain_rows[i].second_cluster, chain_rows[i].second_value);
    T_CHECK_U64(map(&fb, chain_rows[i].first, chain_rows[i].size, 100, &fault, &nb_extents),
                chain_rows[i].status);
    if (chain_rows[i].status == Q2_OK) {
        for (size_t n = 0; n < nb_extents; n++)
            sum += extents[n].length;
        T_CHECK_U64(sum, chain_rows[i].mapped_size);
        T_CHECK_U64(mapped_size, chain_rows[i].mapped_size);
    }
    T_CHECK_STR(fault.what ? fault.what : "-", chain_rows[i].what ? chain_rows[i].what : "-");
    if (chain_rows[i].what) {
        T_CHECK_U64(fault.status, Q2_ERR_BAD_VOLUME);
        T_CHECK(fault.has_offset && fault.has_value && fault.field);
        T_CHECK_STR(fault.file, "vol");
    }
    fb_free(&fb);
}

static void test_map_odd_chains_are_followed_as_far_as_they_go(void)
{
    for (size_t i = 0; i < sizeof(chain_rows) / sizeof(chain_rows[0]); i++) {
        chain_row(i, 12);
        chain_row(i, 16);
        chain_row(i, 32);
    }
}

/* Entries in a row that say what the two before them say are a loop, not a longer row. */
static void test_map_two_clusters_that_repeat_after_a_row_are_a_loop(void)
{
    for (uint32_t bits = 12; bits <= 32; bits += bits == 12 ? 4 : 16) {
        struct fat_builder fb;
        struct q2_fault fault;
        size_t nb_extents = 0;

        make(&fb, bits);
        fb_set(&fb, 9, 10);
        for (uint32_t cluster = 10; cluster < 16; cluster += 2) {
            fb_set(&fb, cluster, 11);
            fb_set(&fb, cluster + 1, 12);
        }
        T_CHECK_U64(map(&fb, 9, 6 * 512, 6, &fault, &nb_extents), Q2_ERR_BAD_VOLUME);
        T_CHECK_STR(fault.what, "the cluster chain is a loop");
        fb_free(&fb);
    }
}

/* A FAT without entries for the last clusters: those can be the last ones of a file. */
static void test_map_cluster_without_an_entry_can_only_be_the_last(void)
{
    struct fat_builder fb;
    struct q2_fault fault;
    size_t nb_extents = 0;

    make(&fb, 16);
    fb_put(&fb, 22, 2, 1); /* 256 entries; the data moves, its place does not matter here */
    fb.fat_size = 512;
    fb_set_in(&fb, 0, 9, 255);
    fb_set_in(&fb, 0, 255, 256);
    T_CHECK_U64(map(&fb, 9, 1536, 3, &fault, &nb_extents), Q2_OK);
    T_CHECK_U64(nb_extents, 2);
    T_CHECK_U64(mapped_size, 1536);
    T_CHECK_U64(map(&fb, 9, 1537, 3, &fault, &nb_extents), Q2_OK);
    T_CHECK_U64(mapped_size, 1536);
    T_CHECK_STR(fault.what, "the FAT is too small to have an entry for this cluster of the chain");
    fb_free(&fb);
}

static void test_map_cluster_bounds_are_exact(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        struct q2_fault fault;
        size_t nb_extents = 0;
        make(&fb, all_bits[b]);
        fb_set(&fb, 9, fb.nb_clusters + 1);
        fb_set(&fb, fb.nb_clusters + 1, FB_EOC(&fb));
        t_row("last cluster");
        T_CHECK_U64(map(&fb, 9, 1024, 2, &fault, &nb_extents), Q2_OK);
        t_row("the one after it");
        fb_set(&fb, 9, fb.nb_clusters + 2);
        T_CHECK_U64(map(&fb, 9, 1024, 2, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(mapped_size, 512);
        T_CHECK_U64(fault.value, fb.nb_clusters + 2);
        T_CHECK_U64(fault.offset, fb.fat_offset + 9 * all_bits[b] / 8);
        T_CHECK_STR(fault.what, "the chain leaves the volume");
        fb_free(&fb);
    }
}

/* Clusters in a row up to the last one, whose entry goes on with the next number. */
static void test_map_run_past_the_last_cluster_ends_there(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};

    for (size_t b = 0; b < 3; b++) {
        for (uint32_t length = 1; length <= 9; length++) {
            struct fat_builder fb;
            struct q2_fault fault;
            size_t nb_extents = 0;
            uint32_t first;

            make(&fb, all_bits[b]);
            first = fb.nb_clusters + 2 - length;
            for (uint32_t i = 0; i < length; i++)
                fb_set(&fb, first + i, first + i + 1);
            T_CHECK_U64(map(&fb, first, (length + 1) * 512u, 2, &fault, &nb_extents), Q2_OK);
            T_CHECK_U64(mapped_size, length * 512u);
            T_CHECK_U64(nb_extents, 1);
            T_CHECK_U64(fault.value, fb.nb_clusters + 2);
            T_CHECK_STR(fault.what, "the chain leaves the volume");
            fb_free(&fb);
        }
    }
}

static void test_map_follows_the_first_fat(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};
    static const uint32_t chain[] = {9, 20, 21};

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        struct q2_fault fault;
        size_t nb_extents = 0;
        make(&fb, all_bits[b]);
        fb_chain(&fb, chain, 3);
        fb_set_in(&fb, 1, 20, 22);
        fb_set_in(&fb, 1, 9, 0);
        T_CHECK_U64(map(&fb, 9, 1536, 2, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, 2);
        T_CHECK_U64(extents[1].volume_offset, fb_cluster_offset(&fb, 20));
        if (all_bits[b] == 32) { /* not mirrored: only the active one counts */
            fb_put(&fb, 40, 2, 0x81);
            T_CHECK_U64(map(&fb, 9, 1536, 2, &fault, &nb_extents), Q2_OK);
            T_CHECK_U64(mapped_size, 512);
        }
        fb_free(&fb);
    }
}

static void test_map_failing_volume_and_small_buffer_are_errors(void)
{
    struct fat_builder fb;
    struct q2_fat_volume volume;
    struct q2_fat_file file = {.first_cluster = 9, .size = 512};
    struct q2_fault fault;
    struct q2_fat_chain chain;

    make(&fb, 16);
    fb_set(&fb, 9, FB_EOC(&fb));
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    T_CHECK_U64(q2_fat_map(&volume, &file, buffer, Q2_FAT_MIN_BUFFER - 1, NULL, 0, &fault, &chain),
                Q2_ERR_ARGUMENT);
    fb.memory.source.size = fb.fat_offset;
    T_CHECK_U64(q2_fat_map(&volume, &file, buffer, sizeof(buffer), NULL, 0, &fault, &chain),
                Q2_ERR_IO);
    T_CHECK_U64(fault.status, Q2_ERR_IO);
    T_CHECK_U64(fault.offset, fb.fat_offset + 9 * 2);
    fb_free(&fb);
}

/* Every cluster an extent of its own: upwards over every other cluster, then down over the rest. */
static size_t scattered_chain(struct fat_builder *fb, uint32_t *clusters)
{
    uint32_t last = fb->nb_clusters + 1;
    size_t nb = 0;

    for (uint32_t cluster = 3; cluster <= last; cluster += 2)
        clusters[nb++] = cluster;
    for (uint32_t cluster = (last & ~1u) - 2; cluster >= 2; cluster -= 2)
        clusters[nb++] = cluster;
    fb_chain(fb, clusters, nb);
    return nb;
}

static void test_map_file_in_single_clusters_has_an_extent_for_each(void)
{
    static const uint32_t all_bits[] = {12, 16, 32};
    static uint32_t clusters[70000];
    static struct q2_file_extent want[70000];

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        struct q2_fault fault;
        size_t nb_extents = 0, nb;
        uint32_t size;

        make(&fb, all_bits[b]);
        nb = scattered_chain(&fb, clusters);
        size = (uint32_t)nb * fb.cluster - 1;
        T_CHECK_U64(naive_map(&fb, clusters, nb, size, want), nb);
        T_CHECK_U64(map(&fb, clusters[0], size, nb - 1, &fault, &nb_extents), Q2_ERR_LIMIT);
        T_CHECK_U64(fault.limit, nb - 1);
        T_CHECK_U64(map(&fb, clusters[0], size, nb, &fault, &nb_extents), Q2_OK);
        T_CHECK_U64(nb_extents, nb);
        T_CHECK(memcmp(extents, want, nb * sizeof(want[0])) == 0);
        fb_free(&fb);
    }
}

/* The builder's volume, counting what is read. */
static enum q2_status (*memory_read)(struct q2_source *, uint64_t, void *, size_t);
static size_t nb_reads;
static uint64_t nb_bytes;
static size_t read_lengths[4]; /* of the first reads */

static enum q2_status counting_read(struct q2_source *source, uint64_t offset, void *to, size_t n)
{
    if (nb_reads < 4)
        read_lengths[nb_reads] = n;
    nb_reads++;
    nb_bytes += n;
    return memory_read(source, offset, to, n);
}

static void test_whole_size_is_enough_for_a_map_on_any_volume(void)
{
    struct fat_builder fb;
    struct q2_fat_volume volume;
    struct q2_fault fault;

    fb_make(&fb, 12, 512, 1, 1, 1);
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    T_CHECK_U64(q2_fat_table_whole_size(&volume), Q2_FAT_MIN_BUFFER);
    fb_free(&fb);
}

/* Map a chain from cluster 2 with memory for the whole FAT, and count what is read of it. Returns
 * the size of the FAT. */
static uint64_t map_counted(struct fat_builder *fb, size_t nb, struct q2_fat_chain *ret_chain)
{
    struct q2_fat_file file = {.first_cluster = 2, .size = (uint32_t)nb * fb->cluster};
    const struct q2_source_ops *silent = fb->memory.source.ops;
    struct q2_source_ops ops = *silent;
    struct q2_fat_volume volume;
    struct q2_fault fault;
    uint8_t *memory;
    size_t size;

    memory_read = ops.read_at;
    ops.read_at = counting_read;
    fb->memory.source.ops = &ops;
    T_CHECK_U64(q2_fat_volume_open(&fb->memory.source, &fault, &volume), Q2_OK);
    size = (size_t)q2_fat_table_whole_size(&volume);
    memory = malloc(size + 1);
    nb_reads = nb_bytes = 0;
    T_CHECK_U64(q2_fat_map(&volume, &file, memory + 1, size, NULL, 0, &fault, ret_chain), Q2_OK);
    free(memory);
    fb->memory.source.ops = silent;
    return volume.fat_size;
}

static void test_map_with_memory_for_the_whole_fat_reads_each_block_once(void)
{
    static const uint32_t all_bits[] = {16, 32};
    static uint32_t clusters[70000];

    for (size_t b = 0; b < 2; b++) {
        struct fat_builder fb;
        struct q2_fat_chain chain = {0};
        uint64_t fat_size;
        size_t nb;

        make(&fb, all_bits[b]);
        /* Far jumps: the two halves in turn. */
        nb = fb.nb_clusters / 2;
        for (uint32_t i = 0; i < nb; i++)
            clusters[i] = 2 + i / 2 + (i % 2) * (uint32_t)nb;
        fb_chain(&fb, clusters, nb);
        fat_size = map_counted(&fb, nb, &chain);
        T_CHECK_U64(chain.nb_extents, nb);
        T_CHECK(nb_reads <= fat_size / Q2_FAT_BLOCK_SIZE + 1);
        T_CHECK(nb_bytes <= fat_size);
        fb_free(&fb);
    }
}

/* A FAT that is read forward is read in ever larger pieces: 64 KiB, 128 KiB, and the rest. */
static void test_map_of_one_run_reads_ever_more_of_the_fat_at_once(void)
{
    static uint32_t clusters[70000];
    struct fat_builder fb;
    struct q2_fat_chain chain = {0};

    make(&fb, 32);
    for (uint32_t i = 0; i < fb.nb_clusters; i++)
        clusters[i] = 2 + i;
    fb_chain(&fb, clusters, fb.nb_clusters);
    (void)map_counted(&fb, fb.nb_clusters, &chain);
    T_CHECK_U64(chain.nb_extents, 1);
    T_CHECK_U64(nb_reads, 3);
    T_CHECK(read_lengths[0] == 64 * 1024 && read_lengths[1] == 128 * 1024);
    fb_free(&fb);
}

/* A read fails in its middle: what is in the memory of that block is nothing any more. */
static enum q2_status spoiling_read(struct q2_source *source, uint64_t offset, void *to, size_t n)
{
    if (nb_reads-- > 0)
        return memory_read(source, offset, to, n);
    memset(to, 0x5a, n / 2);
    return Q2_ERR_IO;
}

static void test_table_reads_a_block_again_after_another_spoiled_it(void)
{
    uint32_t far = 2 * Q2_FAT_BLOCK_SIZE / 4, value; /* in block 2, which has the slot of block 0 */
    struct q2_fat_table table;
    struct q2_fat_volume volume;
    struct q2_source_ops ops;
    struct q2_fault fault;
    struct fat_builder fb;

    make(&fb, 32);
    fb_set(&fb, 3, 77);
    ops = *fb.memory.source.ops;
    memory_read = ops.read_at;
    ops.read_at = spoiling_read;
    nb_reads = SIZE_MAX;
    fb.memory.source.ops = &ops;
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    q2_fat_table_init(&table, &volume, volume.fat_offset, buffer,
                      2 * (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t)) + 4);
    nb_reads = 1;
    T_CHECK_U64(q2_fat_table_entry(&table, 3, &fault, &value), Q2_OK);
    T_CHECK_U64(value, 77);
    T_CHECK_U64(q2_fat_table_entry(&table, far, &fault, &value), Q2_ERR_IO);
    nb_reads = SIZE_MAX;
    T_CHECK_U64(q2_fat_table_entry(&table, 3, &fault, &value), Q2_OK);
    T_CHECK_U64(value, 77);
    fb_free(&fb);
}

/* The entries of a cluster's neighbours count only while their own block is in memory. */
static void test_table_run_where_another_block_has_the_slot(void)
{
    uint32_t per_block = Q2_FAT_BLOCK_SIZE / 4, first = 3 * per_block - 1, length, next;
    struct q2_fat_table table;
    struct q2_fat_volume volume;
    struct q2_fault fault;
    struct fat_builder fb;

    make(&fb, 32);
    fb_set(&fb, first, first + 1);
    fb_set(&fb, first + 1, 0x0fffffff);
    fb_set(&fb, per_block, first + 2); /* as if it were what follows */
    fb_set(&fb, per_block + 1, first + 3);
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    q2_fat_table_init(&table, &volume, volume.fat_offset, buffer,
                      2 * (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t)) + 4);
    T_CHECK_U64(q2_fat_table_next(&table, first, &fault, &next), Q2_OK);     /* blocks 2 and 3 */
    T_CHECK_U64(q2_fat_table_next(&table, per_block, &fault, &next), Q2_OK); /* 1 in place of 3 */
    T_CHECK_U64(q2_fat_table_run(&table, first, 10, &fault, &length, &next), Q2_OK);
    T_CHECK_U64(length, 2);
    T_CHECK_U64(next, Q2_FAT_END);
    fb_free(&fb);
}

/* A run of clusters is as long as asked for, and ends where an entry is not its neighbour's, even
 * if that is as far away as the rest of the run is long. */
static void test_table_run_is_no_longer_than_asked_for(void)
{
    struct q2_fat_table table;
    struct q2_fat_volume volume;
    struct q2_fault fault;
    struct fat_builder fb;
    uint32_t length, next;

    make(&fb, 32);
    for (uint32_t i = 10; i < 40; i++)
        fb_set(&fb, i, i + 1);
    fb_set(&fb, 4, 5);
    fb_set(&fb, 5, 99);
    fb_set(&fb, 6, 100);
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    q2_fat_table_init(&table, &volume, volume.fat_offset, buffer, sizeof(buffer));
    for (uint32_t max = 1; max < 12; max++) {
        T_CHECK_U64(q2_fat_table_run(&table, 10, max, &fault, &length, &next), Q2_OK);
        T_CHECK_U64(length, max);
    }
    T_CHECK_U64(q2_fat_table_run(&table, 4, 100, &fault, &length, &next), Q2_OK);
    T_CHECK(length == 2 && next == 99);
    fb_free(&fb);
}

/* What is in memory after a FAT's last entry is no entry. */
static void test_table_run_ends_with_the_fat(void)
{
    struct q2_fat_table table;
    struct q2_fat_volume volume;
    struct q2_fault fault;
    struct fat_builder fb;
    uint32_t length, next;

    make(&fb, 32);
    for (uint32_t i = 888; i < 1024; i++)
        fb_set(&fb, i, i + 1);
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    volume.fat_size = Q2_FAT_BLOCK_SIZE - 512; /* 896 entries */
    q2_fat_table_init(&table, &volume, volume.fat_offset, buffer, sizeof(buffer));
    memcpy(table.blocks, fb.bytes + fb.fat_offset, Q2_FAT_BLOCK_SIZE);
    T_CHECK_U64(q2_fat_table_run(&table, 888, 100, &fault, &length, &next), Q2_OK);
    T_CHECK(length == 9 && next == Q2_FAT_BROKEN);
    fb_free(&fb);
}

/* An entry of FAT12 may end in the sector after the FAT. */
static void test_entry_exists_only_as_a_whole(void)
{
    static const struct {
        enum q2_fat_type type;
        uint32_t nb_entries; /* of a FAT of one sector */
    } rows[] = {{Q2_FAT_12, 341}, {Q2_FAT_16, 256}, {Q2_FAT_32, 128}};

    for (size_t i = 0; i < 3; i++) {
        const struct q2_fat_volume volume = {.type = rows[i].type, .fat_size = 512};

        T_CHECK(q2_fat_entry_exists(&volume, rows[i].nb_entries - 1));
        T_CHECK(!q2_fat_entry_exists(&volume, rows[i].nb_entries));
    }
}

/* A chain with a cluster in every block of the FAT, more than are kept, which returns to its start
 * after the file's end: the blocks are read once for the map and once more for the loop. */
static void test_map_gives_the_error_of_each_read(void)
{
    struct q2_fat_file file = {.entry_offset = 0x777};
    struct q2_fat_volume volume;
    struct q2_fat_chain chain = {.nb_extents = 12345};
    struct q2_fault fault;
    struct fat_builder fb;
    uint32_t nb = 0, first = 5, step = Q2_FAT_BLOCK_SIZE / 4;
    uint64_t nb_calls;

    make(&fb, 32);
    for (uint32_t cluster = first; cluster < 65600; cluster += step, nb++)
        fb_set(&fb, cluster, cluster + step < 65600 ? cluster + step : first);
    file.first_cluster = first;
    file.size = nb * 512;
    T_CHECK_U64(q2_fat_volume_open(&fb.memory.source, &fault, &volume), Q2_OK);
    fb_fail_call(&fb, 0);
    T_CHECK_U64(q2_fat_map(&volume, &file, buffer, sizeof(buffer), NULL, 0, &fault, &chain), Q2_OK);
    T_CHECK_U64(chain.nb_extents, nb);
    nb_calls = fb_nb_calls;
    T_CHECK(nb_calls > 16); /* 8 blocks at a time, twice */
    chain.nb_extents = 12345;
    for (uint64_t n = 1; n <= nb_calls; n++) {
        fb_fail_call(&fb, n);
        memset(&fault, 0, sizeof(fault));
        T_CHECK_U64(q2_fat_map(&volume, &file, buffer, sizeof(buffer), NULL, 0, &fault, &chain),
                    Q2_ERR_IO);
        T_CHECK_U64(fault.status, Q2_ERR_IO);
        T_CHECK(fault.has_offset);
        T_CHECK_U64(chain.nb_extents, 12345);
    }
    fb_free(&fb);
}

int main(void)
{
    T_RUN(test_map_random_chains_equal_a_naive_walk);
    T_RUN(test_map_whole_volume_in_one_run_is_one_extent);
    T_RUN(test_map_backward_run_is_an_extent_per_cluster);
    T_RUN(test_map_empty_file_has_no_extents);
    T_RUN(test_map_every_end_mark_ends_a_chain);
    T_RUN(test_map_upper_bits_of_fat32_entries_are_ignored);
    T_RUN(test_map_odd_chains_are_followed_as_far_as_they_go);
    T_RUN(test_map_two_clusters_that_repeat_after_a_row_are_a_loop);
    T_RUN(test_map_cluster_without_an_entry_can_only_be_the_last);
    T_RUN(test_map_cluster_bounds_are_exact);
    T_RUN(test_map_run_past_the_last_cluster_ends_there);
    T_RUN(test_map_follows_the_first_fat);
    T_RUN(test_map_failing_volume_and_small_buffer_are_errors);
    T_RUN(test_map_file_in_single_clusters_has_an_extent_for_each);
    T_RUN(test_whole_size_is_enough_for_a_map_on_any_volume);
    T_RUN(test_map_with_memory_for_the_whole_fat_reads_each_block_once);
    T_RUN(test_map_of_one_run_reads_ever_more_of_the_fat_at_once);
    T_RUN(test_table_reads_a_block_again_after_another_spoiled_it);
    T_RUN(test_table_run_where_another_block_has_the_slot);
    T_RUN(test_table_run_is_no_longer_than_asked_for);
    T_RUN(test_table_run_ends_with_the_fat);
    T_RUN(test_entry_exists_only_as_a_whole);
    T_RUN(test_map_gives_the_error_of_each_read);
    return t_done();
}
