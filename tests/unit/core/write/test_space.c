/* core/write/space.c: what is free is given back, and nothing else changes. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/write/space.h"
#include "q2_check.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (1024 * KIB)
#define OLD      0x77 /* what a free cluster holds */

static struct image image;
static struct fixture f;
static uint8_t *memory;

static void build(uint32_t cluster_bits)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = cluster_bits});
}

/* nb clusters that nobody names, or a guest cluster's own, with refcount 0. */
static uint64_t free_clusters(uint32_t nb)
{
    uint64_t offset = image_alloc(&image, nb);

    for (uint32_t i = 0; i < nb; i++)
        image_refcount_set(&image, (offset >> image.spec.cluster_bits) + i, 0);
    memset(image.bytes + offset, OLD, nb * image_cluster_size(&image));
    return offset;
}

static void setup(bool gives_back)
{
    memory = calloc(1, CAPACITY);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    if (gives_back)
        fake_source_gives_back(&f.image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
}

/* [from, to) of the file is zeros; everything else up to the file's end is as it was. */
struct hole {
    uint64_t from, to;
};

static bool in_a_hole(const struct hole *holes, size_t nb, uint64_t at)
{
    for (size_t i = 0; i < nb; i++) {
        if (at >= holes[i].from && at < holes[i].to)
            return true;
    }
    return false;
}

static void check_holes(const struct hole *holes, size_t nb)
{
    for (uint64_t at = 0; at < f.image.source.size; at++) {
        uint8_t expected = in_a_hole(holes, nb, at) ? 0 : image.bytes[at];
        if (memory[at] != expected && !T_CHECK_U64(at, ~0ull))
            return;
    }
}

static void test_free_clusters_become_holes(void)
{
    struct hole holes[2];
    uint64_t end;

    build(12);
    (void)image_data(&image, 0, 1);
    holes[0].from = free_clusters(1);
    holes[0].to = image_data(&image, 8 * KIB, 2);
    holes[1].from = free_clusters(3);
    holes[1].to = image_data(&image, 24 * KIB, 3);
    end = free_clusters(2);
    setup(true);
    T_CHECK_U64(q2_space_give_back(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.size, end);
    check_holes(holes, 2);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, 64 * KIB), FIXTURE_SAME);
    cleanup();
}

/* File systems give whole blocks back: shorter runs stay as they are. */
static void test_small_runs_stay(void)
{
    struct hole hole;

    build(9);
    (void)image_data(&image, 0, 1);
    (void)free_clusters(7);
    (void)image_data(&image, KIB, 2);
    hole.from = free_clusters(8);
    hole.to = image_data(&image, 2 * KIB, 3);
    setup(true);
    T_CHECK_U64(q2_space_give_back(f.disk), Q2_OK);
    T_CHECK_U64(f.image.nb_punches, 1);
    check_holes(&hole, 1);
    cleanup();
}

static void test_only_the_end_is_cut(void)
{
    uint64_t end;

    build(12);
    (void)image_data(&image, 0, 1);
    (void)free_clusters(2);
    (void)image_data(&image, 8 * KIB, 2);
    end = free_clusters(3);
    setup(true);
    T_CHECK_U64(q2_space_cut_end(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.size, end);
    T_CHECK_U64(f.image.nb_punches, 0);
    check_holes(NULL, 0);
    /* Once more: there is nothing to do, and nothing is flushed. */
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_space_cut_end(f.disk), Q2_OK);
    T_CHECK_U64(f.image.nb_flushes, 0);
    cleanup();
}

/* The file ends where its clusters end then: what it grows by is room, and a stream that was packed
 * before is not gone on after. */
static void test_what_is_cut_is_forgotten(void)
{
    static const uint8_t stream[100] = {1}; /* of no codec: nobody reads it */
    struct q2_check_result result;
    uint64_t end;

    build(12);
    (void)image_data(&image, 0, 1);
    (void)image_l2_entry(&image, 60 * KIB);
    end = free_clusters(3);
    setup(true);
    f.disk->writer.end += 2; /* as if two of them had been in use */
    f.disk->writer.packed_end = end + 100;
    T_CHECK_U64(q2_space_cut_end(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.ops->grow(&f.image.source, end + 8 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 8 * KIB);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 60 * KIB, stream, sizeof(stream)), Q2_OK);
    T_CHECK_U64(memory[end], stream[0]);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
    cleanup();
}

/* The refcounts were lowered, but it is not known whether that is on the disk. */
static void test_nothing_is_given_back_after_a_failed_flush(void)
{
    build(12);
    (void)image_data(&image, 0, 1);
    (void)free_clusters(1);
    (void)image_data(&image, 8 * KIB, 2);
    (void)free_clusters(1);
    setup(true);
    fake_source_fail_nth(&f.image, FAKE_FLUSH, 1);
    T_CHECK_U64(q2_space_give_back(f.disk), Q2_ERR_IO);
    T_CHECK_U64(f.image.source.size, image.size);
    T_CHECK_U64(f.image.nb_punches, 0);
    check_holes(NULL, 0);
    cleanup();
}

static void test_a_file_that_gives_nothing_back(void)
{
    build(12);
    (void)image_data(&image, 0, 1);
    (void)free_clusters(2);
    setup(false);
    fake_source_reset(&f.image);
    T_CHECK_U64(q2_space_give_back(f.disk), Q2_OK);
    T_CHECK_U64(f.image.nb_reads + f.image.nb_flushes, 0); /* nothing is looked for */
    T_CHECK_U64(f.image.source.size, image.size);
    check_holes(NULL, 0);
    cleanup();
}

/* A file that cannot become shorter, such as a block device: the free clusters at its end become a
 * hole as well. */
static void test_free_clusters_at_an_end_that_stays(void)
{
    static struct q2_source_ops ops;
    struct hole hole;

    build(12);
    (void)image_data(&image, 0, 1);
    hole.from = free_clusters(2);
    hole.to = image.size;
    setup(true);
    ops = *f.image.source.ops;
    ops.truncate = NULL;
    f.image.source.ops = &ops;
    T_CHECK_U64(q2_space_give_back(f.disk), Q2_OK);
    T_CHECK_U64(f.image.source.size, image.size);
    check_holes(&hole, 1);
    cleanup();
}

/* Discarded clusters in a row, of which others still name the fourth and the sixth. */
static void test_discard_gives_back_what_nobody_else_names(void)
{
    uint64_t hosts[8];
    struct hole holes[3];

    build(12);
    (void)image_l2_entry(&image, 0);
    for (uint64_t i = 0; i < 8; i++)
        hosts[i] = image_data(&image, i * 4 * KIB, (uint32_t)i + 1);
    for (uint64_t i = 3; i < 6; i += 2) {
        image_refcount_set(&image, hosts[i] >> 12, 2);
        image_put64(&image, image_l2_entry(&image, i * 4 * KIB), hosts[i]); /* no COPIED */
    }
    (void)image_data(&image, 60 * KIB, 9); /* the file does not become shorter */
    setup(true);
    T_CHECK_U64(q2_disk_discard(f.disk, 0, 32 * KIB), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    holes[0] = (struct hole){hosts[0], hosts[3]};
    holes[1] = (struct hole){hosts[4], hosts[5]};
    holes[2] = (struct hole){hosts[6], hosts[7] + 4 * KIB};
    /* The cluster after them as well. */
    for (uint64_t at = hosts[0]; at < hosts[7] + 8 * KIB; at++) {
        uint8_t expected = in_a_hole(holes, 3, at) ? 0 : image.bytes[at];
        if (memory[at] != expected && !T_CHECK_U64(at, ~0ull))
            break;
    }
    T_CHECK(f.image.nb_punches > 0);
    cleanup();
}

/* What was read ahead of a raw image is forgotten where the image is given back. */
static void test_discard_of_a_raw_image_is_seen_at_once(void)
{
    build(12);
    setup(true);
    memset(memory, OLD, image.size);
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (uint64_t at = 0; at < 8 * KIB; at += 512)
        T_CHECK_U64(fixture_byte(&f, at), OLD);
    T_CHECK_U64(q2_disk_discard(f.disk, 4 * KIB, 8 * KIB), Q2_OK);
    T_CHECK_U64(fixture_byte(&f, 4 * KIB - 1), OLD);
    T_CHECK_U64(fixture_byte(&f, 4 * KIB), 0);
    T_CHECK_U64(fixture_byte(&f, 12 * KIB - 1), 0);
    T_CHECK_U64(fixture_byte(&f, 12 * KIB), OLD);
    cleanup();
}

int main(void)
{
    T_RUN(test_free_clusters_become_holes);
    T_RUN(test_small_runs_stay);
    T_RUN(test_only_the_end_is_cut);
    T_RUN(test_what_is_cut_is_forgotten);
    T_RUN(test_nothing_is_given_back_after_a_failed_flush);
    T_RUN(test_a_file_that_gives_nothing_back);
    T_RUN(test_free_clusters_at_an_end_that_stays);
    T_RUN(test_discard_gives_back_what_nobody_else_names);
    T_RUN(test_discard_of_a_raw_image_is_seen_at_once);
    return t_done();
}
