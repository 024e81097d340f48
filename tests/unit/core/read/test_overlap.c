/* core/read/overlap.c: which host ranges are metadata that a write must not touch. */
#include "core/read/overlap.h"
#include "tests/support/t.h"

#define CLUSTER 65536ull

static void test_overlaps_table_each_border(void)
{
    /* Header at 0, refcount table of 2 clusters at 4, L1 table of 100 bytes at 8. */
    static const struct q2_image image = {
        .header = {.refcount_table_offset = 4 * CLUSTER, .refcount_table_clusters = 2},
        .rules = {.cluster_bits = 16},
        .l1_table_offset = 8 * CLUSTER,
        .l1_size = 12,
    };
    static const struct {
        const char *row;
        uint64_t offset, length;
        bool overlaps;
    } rows[] = {
        {"header", 0, 1, true},
        {"last byte of the header's cluster", CLUSTER - 1, 1, true},
        {"after the header", CLUSTER, CLUSTER, false},
        {"up to the refcount table", 3 * CLUSTER, CLUSTER, false},
        {"one byte of the refcount table", 3 * CLUSTER, CLUSTER + 1, true},
        {"its second cluster", 5 * CLUSTER, CLUSTER, true},
        {"after it", 6 * CLUSTER, 2 * CLUSTER, false},
        {"L1 table", 8 * CLUSTER, 8, true},
        {"last byte of its entries", 8 * CLUSTER + 95, 1, true},
        {"after its entries", 8 * CLUSTER + 96, 100, false},
        {"nothing", 0, 0, false},
        {"all of it", 0, 100 * CLUSTER, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK(q2_overlaps_table(&image, rows[i].offset, rows[i].length) == rows[i].overlaps);
    }
}

int main(void)
{
    T_RUN(test_overlaps_table_each_border);
    return t_done();
}
