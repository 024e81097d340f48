/* Unit tests of tools/metalcow/convert/preallocated.c: images of refcounts only, in memory. */
#include "tools/metalcow/convert/preallocated.h"

#include <stdlib.h>

#include "drivers/memory/source.h"
#include "tests/support/t.h"

#define CLUSTER_BITS 9
#define CLUSTER      512u
#define NB_CLUSTERS  100u

static uint8_t file[NB_CLUSTERS * CLUSTER];
static struct q2_source_memory source;

/* A refcount table in cluster 1, one block in cluster 2, nb_used refcounts of 1 from index 0 on. */
static struct q2_header make_image(uint32_t order, unsigned nb_used)
{
    memset(file, 0, sizeof(file));
    file[CLUSTER + 6] = (2 * CLUSTER) >> 8;
    for (unsigned i = 0; i < nb_used; i++) {
        unsigned bit = i << order;

        if (order < 3)
            file[2 * CLUSTER + bit / 8] |= (uint8_t)(1u << bit % 8);
        else
            file[2 * CLUSTER + bit / 8 + (1u << (order - 3)) - 1] = 1;
    }
    q2_source_memory_init(&source, file, sizeof(file), sizeof(file), false, "memory");
    return (struct q2_header){.cluster_bits = CLUSTER_BITS,
                              .refcount_order = order,
                              .refcount_table_offset = CLUSTER,
                              .refcount_table_clusters = 1};
}

static bool answer(uint32_t order, unsigned nb_used, unsigned nb_real)
{
    struct q2_header header = make_image(order, nb_used);

    return is_preallocated(&source.source, &header, (uint64_t)nb_real * CLUSTER);
}

static void test_is_preallocated_every_width_counts_the_same(void)
{
    for (uint32_t order = 0; order <= 6; order++) {
        char row[32];
        unsigned nb = order == 6 ? 60 : 50; /* 64 refcounts of 64 bits fill the block */

        (void)snprintf(row, sizeof(row), "refcounts of %u bits", 1u << order);
        t_row(row);
        T_CHECK(!answer(order, nb, nb));
        T_CHECK(answer(order, nb, nb - 10));
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
    struct q2_header header = make_image(4, 50);

    T_CHECK(is_preallocated(&source.source, &header, 0));
    file[CLUSTER + 1] = 1; /* the block is far past the end */
    T_CHECK(!is_preallocated(&source.source, &header, 0));
    header = make_image(4, 50);
    header.refcount_table_offset = UINT64_MAX - 1; /* and so does the table */
    T_CHECK(!is_preallocated(&source.source, &header, 0));
    header = make_image(4, 50);
    header.refcount_table_clusters = 0;
    T_CHECK(!is_preallocated(&source.source, &header, 0));
}

int main(void)
{
    T_RUN(test_is_preallocated_every_width_counts_the_same);
    T_RUN(test_is_preallocated_at_the_threshold);
    T_RUN(test_is_preallocated_broken_refcounts_are_no_answer);
    return t_done();
}
