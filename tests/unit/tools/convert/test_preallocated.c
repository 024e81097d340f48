/* Unit tests of tools/metalcow/convert/preallocated.c: images whose refcounts say too much. */
#include "tools/metalcow/convert/preallocated.h"

#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define CLUSTER 512u
#define NB      100u /* clusters of the file */

static struct image image;
static struct fixture f;

/* NB clusters, of which the first nb_used have a refcount of 1. */
static void make_image(uint32_t order, uint32_t nb_used)
{
    image_start(&image, &(struct image_spec){.size = 4096,
                                             .cluster_bits = 9,
                                             .refcount_bits = 1u << order,
                                             .max_clusters = 128});
    (void)image_alloc(&image, NB - (uint32_t)(image.size / CLUSTER));
    for (uint32_t i = 0; i < NB; i++)
        image_refcount_set(&image, i, i < nb_used);
    fixture_start(&f, &image);
}

static bool judge(unsigned nb_real)
{
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    return is_preallocated(f.disk, 0, (uint64_t)nb_real * CLUSTER);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static bool answer(uint32_t order, uint32_t nb_used, unsigned nb_real)
{
    bool ret;

    make_image(order, nb_used);
    ret = judge(nb_real);
    cleanup();
    return ret;
}

static void test_is_preallocated_every_width_counts_the_same(void)
{
    for (uint32_t order = 0; order <= 6; order++) {
        char row[32];

        (void)snprintf(row, sizeof(row), "refcounts of %u bits", 1u << order);
        t_row(row);
        T_CHECK(!answer(order, 70, 70));
        T_CHECK(answer(order, 70, 60));
    }
}

static void test_is_preallocated_at_the_threshold(void)
{
    /* Two clusters more at the least ... */
    T_CHECK(!answer(4, 11, 10));
    T_CHECK(answer(4, 12, 10));
    /* ... and a ninth more. */
    T_CHECK(!answer(4, 49, 45));
    T_CHECK(answer(4, 50, 45));
}

static void test_is_preallocated_broken_refcounts_are_no_answer(void)
{
    uint64_t table;

    make_image(4, 50);
    T_CHECK(judge(0));
    table = image_field(&image, "refcount_table_offset");
    image_put64(&image, table, 1ull << 48); /* the block is far past the end */
    T_CHECK(!judge(0));
    image_put64(&image, table, 0);
    T_CHECK(!judge(0));
    cleanup();
}

int main(void)
{
    T_RUN(test_is_preallocated_every_width_counts_the_same);
    T_RUN(test_is_preallocated_at_the_threshold);
    T_RUN(test_is_preallocated_broken_refcounts_are_no_answer);
    return t_done();
}
