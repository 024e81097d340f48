/* Oddities of files and volumes, what they allow, and the repair of the second FAT. */
#include "core/fs/fat_judge.h"

#include <stdlib.h>
#include "tests/support/fat_builder.h"
#include "tests/support/t.h"

static uint8_t buffer[Q2_FAT_MIN_BUFFER];
static struct q2_file_extent extents[70000];

static const uint32_t all_bits[] = {12, 16, 32};

/* A mapped file of a builder's volume. */
struct mapped {
    struct q2_fat_volume volume;
    struct q2_fat_file file;
    struct q2_fat_chain chain;
    struct q2_fault fault;
};

static void make(struct fat_builder *fb, uint32_t bits)
{
    fb_make(fb, bits, 512, 1, bits == 12 ? 4000 : bits == 16 ? 60000 : 65600, 2);
}

static void map(struct fat_builder *fb, uint32_t first, uint32_t size, struct mapped *mapped)
{
    *mapped = (struct mapped){.file = {.first_cluster = first, .size = size}};
    T_CHECK_U64(q2_fat_volume_open(&fb->memory.source, &mapped->fault, &mapped->volume), Q2_OK);
    T_CHECK_U64(q2_fat_map(&mapped->volume, &mapped->file, buffer, sizeof(buffer), extents, 70000,
                           &mapped->fault, &mapped->chain),
                Q2_OK);
}

static uint32_t judge(struct mapped *mapped)
{
    uint32_t odd = 0xdead;

    T_CHECK_U64(q2_fat_judge(&mapped->volume, &mapped->file, extents, &mapped->chain, buffer,
                             sizeof(buffer), &mapped->fault, &odd),
                Q2_OK);
    return odd;
}

static void test_oddity_has_a_text_and_a_bit_of_its_own(void)
{
    uint32_t seen = 0;
    size_t nb = 0;

    for (const struct q2_fat_oddity *oddity; (oddity = q2_fat_oddity(nb)) != NULL; nb++) {
        T_CHECK(oddity->what[0] != '\0');
        T_CHECK((seen & oddity->bit) == 0 && (oddity->bit & (oddity->bit - 1)) == 0);
        T_CHECK_U64(q2_fat_write_limit(oddity->bit), oddity->write);
        seen |= oddity->bit;
    }
    T_CHECK_U64(nb, 11);
    T_CHECK_U64(q2_fat_write_limit(0), Q2_FAT_WRITE_ALL);
    T_CHECK_U64(q2_fat_write_limit(Q2_FAT_ODD_MEDIA | Q2_FAT_ODD_COPY), Q2_FAT_WRITE_REPAIRED);
    T_CHECK_U64(q2_fat_write_limit(Q2_FAT_ODD_COPY | Q2_FAT_ODD_LOOP), Q2_FAT_WRITE_IN_PLACE);
    T_CHECK_U64(q2_fat_write_limit(seen), Q2_FAT_WRITE_NOTHING);
}

/* A file of 9 -> 20 -> 21 with entries changed in both FATs. */
#define MARK 0x10000000u
static const struct {
    const char *row;
    uint32_t first, size, cluster, value, second_cluster, second_value, odd;
} end_rows[] = {
    {"as it is", 9, 1536, 0, 0, 0, 0, 0},
    {"one cluster too many", 9, 1024, 0, 0, 0, 0, Q2_FAT_ODD_LONG},
    {"two clusters too many", 9, 512, 0, 0, 0, 0, Q2_FAT_ODD_LONG},
    {"free after the end", 9, 1536, 21, 0, 0, 0, Q2_FAT_ODD_LONG},
    {"bad after the end", 9, 1536, 21, MARK + 7, 0, 0, Q2_FAT_ODD_LONG},
    {"reserved after the end", 9, 1536, 21, MARK + 6, 0, 0, Q2_FAT_ODD_LONG},
    {"two after the end, then free", 9, 512, 21, 0, 0, 0, Q2_FAT_ODD_LONG},
    {"loop to the start", 9, 1536, 21, 9, 0, 0, Q2_FAT_ODD_LOOP},
    {"loop to itself", 9, 1536, 21, 21, 0, 0, Q2_FAT_ODD_LOOP},
    {"loop further on", 9, 1536, 21, 22, 22, 22, Q2_FAT_ODD_LOOP},
    {"short", 9, 1537, 0, 0, 0, 0, Q2_FAT_ODD_SHORT},
    {"short: free", 9, 1536, 20, 0, 0, 0, Q2_FAT_ODD_SHORT},
    {"empty", 0, 0, 0, 0, 0, 0, 0},
    {"empty with a chain", 9, 0, 0, 0, 0, 0, Q2_FAT_ODD_LONG},
    {"empty with a loop", 9, 0, 21, 9, 0, 0, Q2_FAT_ODD_LOOP},
    {"empty with a cluster that is none, before a loop", 1, 0, 1, 21, 21, 21, Q2_FAT_ODD_LONG},
    {"empty with no cluster of the volume", 0xffff, 0, 0, 0, 0, 0, Q2_FAT_ODD_LONG},
};

static void test_judge_finds_how_the_chain_ends(void)
{
    static const uint32_t chain[] = {9, 20, 21};

    for (size_t n = 0; n < 3 * sizeof(end_rows) / sizeof(end_rows[0]); n++) {
        size_t i = n / 3;
        struct fat_builder fb;
        struct mapped mapped;
        uint32_t value = end_rows[i].value;

        t_row(end_rows[i].row);
        make(&fb, all_bits[n % 3]);
        fb_chain(&fb, chain, 3);
        if (end_rows[i].cluster != 0)
            fb_set(&fb, end_rows[i].cluster, value >= MARK ? fb_mark(&fb, value - MARK) : value);
        if (end_rows[i].second_cluster != 0)
            fb_set(&fb, end_rows[i].second_cluster, end_rows[i].second_value);
        map(&fb, end_rows[i].first, end_rows[i].size, &mapped);
        T_CHECK_U64(judge(&mapped), end_rows[i].odd);
        fb_free(&fb);
    }
}

static void test_judge_passes_on_what_is_odd_about_the_volume(void)
{
    struct fat_builder fb;
    struct mapped mapped;

    make(&fb, 16);
    fb_put(&fb, 21, 1, 0);
    fb_put(&fb, 510, 2, 0);
    fb_set(&fb, 9, FB_EOC(&fb));
    map(&fb, 9, 512, &mapped);
    T_CHECK_U64(judge(&mapped), Q2_FAT_ODD_MEDIA | Q2_FAT_ODD_SIGNATURE);
    fb_free(&fb);
}

static void test_judge_compares_the_second_fat_for_the_files_clusters_only(void)
{
    static const uint32_t chain[] = {9, 20, 21};

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        struct mapped mapped;
        make(&fb, all_bits[b]);
        fb_chain(&fb, chain, 3);
        map(&fb, 9, 1536, &mapped);
        for (uint32_t cluster = 8; cluster <= 22; cluster++) {
            bool ours = cluster == 9 || cluster == 20 || cluster == 21;
            uint32_t old = cluster == 9 ? 20 : cluster == 20 ? 21 : ours ? FB_EOC(&fb) : 0;
            fb_set_in(&fb, 1, cluster, 5);
            T_CHECK_U64(judge(&mapped), ours ? Q2_FAT_ODD_COPY : 0);
            fb_set_in(&fb, 1, cluster, old);
        }
        fb_set_in(&fb, 1, 21, fb_mark(&fb, 8)); /* another mark for an end */
        T_CHECK_U64(judge(&mapped), 0);
        fb_put(&fb, 16, 1, 1); /* one FAT: nothing to compare */
        mapped.volume.has_mirror = false;
        fb_set_in(&fb, 1, 20, 5);
        T_CHECK_U64(judge(&mapped), 0);
        fb_free(&fb);
    }
}

/* xorshift: the same numbers on every run. */
static uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A chain over every third cluster or so, with runs, that crosses windows of the FAT. */
static uint32_t wide_chain(struct fat_builder *fb, uint32_t seed, uint32_t *ret_first)
{
    static uint32_t clusters[70000];
    uint32_t state = seed, nb = 0;

    for (uint32_t cluster = 3 + seed % 5; cluster < fb->nb_clusters + 2; cluster++) {
        if (random_next(&state) % 3 != 0)
            clusters[nb++] = cluster;
    }
    fb_chain(fb, clusters, nb);
    *ret_first = clusters[0];
    return nb;
}

static void test_copy_repair_makes_the_files_entries_equal_and_no_other(void)
{
    for (uint32_t n = 0; n < 9; n++) {
        struct fat_builder fb;
        struct mapped mapped;
        uint32_t first, nb, state = n + 77;
        uint8_t *before;

        make(&fb, all_bits[n % 3]);
        nb = wide_chain(&fb, n + 1, &first);
        /* The second FAT: never written, or damaged here and there. */
        if (n < 3)
            memset(fb.bytes + fb.fat_offset + fb.fat_size, 0, fb.fat_size);
        for (uint32_t i = 0; n >= 3 && i < n * 10; i++)
            fb.bytes[fb.fat_offset + fb.fat_size + random_next(&state) % fb.fat_size] ^= 0x11;
        before = malloc(fb.size);
        if (!before)
            exit(1);
        memcpy(before, fb.bytes, fb.size);
        map(&fb, first, nb * 512, &mapped);
        T_CHECK_U64(judge(&mapped), Q2_FAT_ODD_COPY);
        T_CHECK_U64(q2_fat_copy_repair(&mapped.volume, extents, &mapped.chain, buffer,
                                       sizeof(buffer), &mapped.fault),
                    Q2_OK);
        T_CHECK_U64(judge(&mapped), 0);
        /* Nothing outside the second FAT, and there no entry of a free cluster. */
        T_CHECK(memcmp(before, fb.bytes, fb.fat_offset + fb.fat_size) == 0);
        T_CHECK(memcmp(before + fb.root_offset, fb.bytes + fb.root_offset,
                       fb.size - fb.root_offset) == 0);
        for (uint32_t cluster = 0; cluster < fb.nb_clusters + 2; cluster++) {
            uint64_t at = (uint64_t)cluster * fb.bits / 8, second = fb.fat_offset + fb.fat_size;
            uint32_t shift = fb.bits == 12 && (cluster & 1) != 0 ? 4 : 0;
            uint32_t mask = fb.bits == 12 ? 0xfff : 0xffff, now, old, entry;
            now = (uint32_t)(fb.bytes[second + at] | fb.bytes[second + at + 1] << 8) >> shift;
            old = (uint32_t)(before[second + at] | before[second + at + 1] << 8) >> shift;
            entry =
                (uint32_t)(fb.bytes[fb.fat_offset + at] | fb.bytes[fb.fat_offset + at + 1] << 8) >>
                shift;
            if ((entry & mask) == 0 && (now & mask) != (old & mask)) {
                T_CHECK_U64(now & mask, old & mask);
                break;
            }
        }
        free(before);
        fb_free(&fb);
    }
}

static void test_copy_repair_keeps_the_upper_bits_of_fat32(void)
{
    struct fat_builder fb;
    struct mapped mapped;
    uint64_t at;

    make(&fb, 32);
    fb_set(&fb, 9, 10);
    fb_set(&fb, 10, FB_EOC(&fb));
    fb_set_in(&fb, 1, 9, 0xa0000033u);
    map(&fb, 9, 1024, &mapped);
    T_CHECK_U64(q2_fat_copy_repair(&mapped.volume, extents, &mapped.chain, buffer, sizeof(buffer),
                                   &mapped.fault),
                Q2_OK);
    at = fb.fat_offset + fb.fat_size + 36;
    T_CHECK_U64(fb.bytes[at], 10);
    T_CHECK_U64(fb.bytes[at + 3], 0xa0);
    fb_free(&fb);
}

/* A file of cluster 9 whose chain goes on: 20 -> 21 -> 40. */
static void test_tail_is_zero_looks_at_every_cluster_after_the_file(void)
{
    static const uint32_t chain[] = {9, 20, 21, 40};
    uint8_t *own = malloc(sizeof(buffer)); /* so bytes beside it are noticed */

    for (size_t b = 0; b < 3; b++) {
        struct fat_builder fb;
        struct mapped mapped;
        make(&fb, all_bits[b]);
        fb_chain(&fb, chain, 4);
        memset(fb.bytes + fb_cluster_offset(&fb, 9), 1, 512); /* the file's own */
        memset(fb.bytes + fb_cluster_offset(&fb, 22), 1, 512);
        map(&fb, 9, 512, &mapped);
        for (size_t i = 0; i < 4; i++) {
            bool zero = i != 0;
            if (i > 0)
                fb.bytes[fb_cluster_offset(&fb, chain[i]) + 511] = 1;
            T_CHECK_U64(q2_fat_tail_is_zero(&mapped.volume, &mapped.file, extents, &mapped.chain,
                                            own, sizeof(buffer), &mapped.fault, &zero),
                        Q2_OK);
            T_CHECK_U64(zero, i == 0);
            if (i > 0)
                fb.bytes[fb_cluster_offset(&fb, chain[i]) + 511] = 0;
        }
        fb_set(&fb, 21, 20); /* a loop comes to an end too */
        bool zero = false;
        T_CHECK_U64(q2_fat_tail_is_zero(&mapped.volume, &mapped.file, extents, &mapped.chain, own,
                                        sizeof(buffer), &mapped.fault, &zero),
                    Q2_OK);
        T_CHECK(zero);
        fb_free(&fb);
    }
    free(own);
}

static void test_judge_and_repair_give_the_errors_of_their_source(void)
{
    struct fat_builder fb;
    struct mapped mapped;
    uint32_t odd;

    make(&fb, 16);
    fb_set_in(&fb, 0, 9, FB_EOC(&fb));
    map(&fb, 9, 512, &mapped);
    T_CHECK_U64(q2_fat_judge(&mapped.volume, &mapped.file, extents, &mapped.chain, buffer,
                             Q2_FAT_MIN_BUFFER - 1, &mapped.fault, &odd),
                Q2_ERR_ARGUMENT);
    T_CHECK_U64(q2_fat_copy_repair(&mapped.volume, extents, &mapped.chain, buffer,
                                   Q2_FAT_MIN_BUFFER - 1, &mapped.fault),
                Q2_ERR_ARGUMENT);
    T_CHECK_U64(q2_fat_tail_is_zero(&mapped.volume, &mapped.file, extents, &mapped.chain, buffer,
                                    Q2_FAT_MIN_BUFFER - 1, &mapped.fault, &(bool){false}),
                Q2_ERR_ARGUMENT);
    fb.memory.source.writable = false;
    T_CHECK_U64(q2_fat_copy_repair(&mapped.volume, extents, &mapped.chain, buffer, sizeof(buffer),
                                   &mapped.fault),
                Q2_ERR_READ_ONLY);
    fb.memory.source.size = fb.fat_offset + fb.fat_size;
    T_CHECK_U64(q2_fat_judge(&mapped.volume, &mapped.file, extents, &mapped.chain, buffer,
                             sizeof(buffer), &mapped.fault, &odd),
                Q2_ERR_IO);
    T_CHECK_U64(mapped.fault.status, Q2_ERR_IO);
    fb_free(&fb);
}

/* The last cluster has no entry in a FAT that is too short: nothing can come after it. */
static void test_judge_file_whose_last_cluster_has_no_entry(void)
{
    struct fat_builder fb;
    struct mapped mapped;
    bool zero = false;

    make(&fb, 16);
    fb_put(&fb, 22, 2, 1); /* 256 entries */
    fb.fat_size = 512;
    fb_set_in(&fb, 0, 9, 255);
    fb_set_in(&fb, 0, 255, 256);
    fb_set_in(&fb, 1, 9, 255);
    fb_set_in(&fb, 1, 255, 256);
    map(&fb, 9, 1536, &mapped);
    T_CHECK_U64(judge(&mapped) & (Q2_FAT_ODD_LONG | Q2_FAT_ODD_LOOP | Q2_FAT_ODD_COPY), 0);
    T_CHECK_U64(q2_fat_tail_is_zero(&mapped.volume, &mapped.file, extents, &mapped.chain, buffer,
                                    sizeof(buffer), &mapped.fault, &zero),
                Q2_OK);
    T_CHECK(zero);
    fb_free(&fb);
}

enum call {
    JUDGE,
    REPAIR,
    TAIL_IS_ZERO,
    NB_CALLS
};

static enum q2_status run_call(enum call call, struct mapped *m, uint32_t *odd, bool *zero)
{
    memset(&m->fault, 0, sizeof(m->fault));
    if (call == JUDGE)
        return q2_fat_judge(&m->volume, &m->file, extents, &m->chain, buffer, sizeof(buffer),
                            &m->fault, odd);
    if (call == REPAIR)
        return q2_fat_copy_repair(&m->volume, extents, &m->chain, buffer, sizeof(buffer),
                                  &m->fault);
    return q2_fat_tail_is_zero(&m->volume, &m->file, extents, &m->chain, buffer, sizeof(buffer),
                               &m->fault, zero);
}

/* Each read and write of the volume fails once, in turn, where a file and what comes after it have
 * a cluster in every block of the FAT: that is the result, no other result is given, the first FAT
 * and the data stay, and the repair can be done again. */
static void test_judge_repair_and_tail_give_the_error_of_each_call(void)
{
    struct fat_builder fb;
    struct mapped mapped;
    uint8_t *before;

    make(&fb, 32);
    for (uint32_t cluster = 5; cluster < 65600; cluster += 1024)
        fb_set_in(&fb, 0, cluster, cluster + 1024 < 65600 ? cluster + 1024 : FB_EOC(&fb));
    before = malloc(fb.size);
    if (!before)
        exit(1);
    memcpy(before, fb.bytes, fb.size);
    map(&fb, 5, 40 * 512, &mapped);
    for (enum call call = 0; call < NB_CALLS; call++) {
        uint32_t odd = 0;
        bool zero = false;
        uint64_t nb;

        fb_fail_call(&fb, 0);
        T_CHECK_U64(run_call(call, &mapped, &odd, &zero), Q2_OK);
        nb = fb_nb_calls;
        memcpy(fb.bytes, before, fb.data_offset);
        for (uint64_t n = 1; n <= nb; n++) {
            uint32_t no_odd = 0xdead;
            bool not_zero = false;

            fb_fail_call(&fb, n);
            T_CHECK_U64(run_call(call, &mapped, &no_odd, &not_zero), Q2_ERR_IO);
            T_CHECK_U64(mapped.fault.status, Q2_ERR_IO);
            T_CHECK(mapped.fault.has_offset && no_odd == 0xdead && !not_zero);
            T_CHECK(memcmp(before, fb.bytes, fb.fat_offset + fb.fat_size) == 0);
            if (call != REPAIR || n == nb)
                continue;
            memcpy(fb.bytes + fb.fat_offset + fb.fat_size, before + fb.fat_offset + fb.fat_size,
                   fb.fat_size);
        }
        T_CHECK(memcmp(before + fb.data_offset, fb.bytes + fb.data_offset,
                       fb.size - fb.data_offset) == 0);
        if (call == REPAIR) {
            fb_fail_call(&fb, 0);
            T_CHECK_U64(run_call(call, &mapped, &odd, &zero), Q2_OK);
            T_CHECK_U64(judge(&mapped), Q2_FAT_ODD_LONG);
        }
    }
    free(before);
    fb_free(&fb);
}

int main(void)
{
    T_RUN(test_oddity_has_a_text_and_a_bit_of_its_own);
    T_RUN(test_judge_finds_how_the_chain_ends);
    T_RUN(test_judge_passes_on_what_is_odd_about_the_volume);
    T_RUN(test_judge_compares_the_second_fat_for_the_files_clusters_only);
    T_RUN(test_copy_repair_makes_the_files_entries_equal_and_no_other);
    T_RUN(test_copy_repair_keeps_the_upper_bits_of_fat32);
    T_RUN(test_tail_is_zero_looks_at_every_cluster_after_the_file);
    T_RUN(test_judge_and_repair_give_the_errors_of_their_source);
    T_RUN(test_judge_file_whose_last_cluster_has_no_entry);
    T_RUN(test_judge_repair_and_tail_give_the_error_of_each_call);
    return t_done();
}
