/* core/read/tables.c: where tables are stored, and how many clusters are in use. */
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define CLUSTER 512u

static struct image image;
static struct fixture f;

struct seen {
    struct q2_table_visitor visitor;
    uint64_t offsets[128], lengths[128];
    uint32_t nb;
};

static void see(struct q2_table_visitor *visitor, uint64_t offset, uint64_t length)
{
    struct seen *seen = (struct seen *)visitor;

    if (!T_CHECK(seen->nb < 128))
        return;
    seen->offsets[seen->nb] = offset;
    seen->lengths[seen->nb++] = length;
}

/* Two L2 tables, of which one has data; refcounts of 64 bits, so that there are two blocks. */
static void start(uint32_t max_clusters)
{
    image_start(&image, &(struct image_spec){.size = 128 * 1024,
                                             .cluster_bits = 9,
                                             .refcount_bits = 64,
                                             .max_clusters = max_clusters});
    image_data(&image, 0, 1);
    image_data(&image, 64 * 1024, 1);
    fixture_start(&f, &image);
}

static struct seen visit(void)
{
    struct seen seen = {.visitor.visit = see};

    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_disk_visit_tables(f.disk, 0, &seen.visitor);
    return seen;
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static bool saw(const struct seen *seen, uint64_t offset, uint64_t length)
{
    for (uint32_t i = 0; i < seen->nb; i++) {
        if (seen->offsets[i] == offset && seen->lengths[i] == length)
            return true;
    }
    return false;
}

static void test_visit_tables(void)
{
    struct seen seen;
    uint64_t counts, l1;

    start(128);
    seen = visit();
    l1 = image_field(&image, "l1_table_offset");
    counts = image_field(&image, "refcount_table_offset");
    T_CHECK(saw(&seen, 0, CLUSTER));
    T_CHECK(saw(&seen, l1, image_field(&image, "l1_size") * 8));
    T_CHECK(saw(&seen, image_l2_entry(&image, 0) & ~511ull, CLUSTER));
    T_CHECK(saw(&seen, image_l2_entry(&image, 64 * 1024) & ~511ull, CLUSTER));
    T_CHECK(saw(&seen, counts, image_field(&image, "refcount_table_clusters") * CLUSTER));
    T_CHECK(saw(&seen, image_get64(&image, counts), CLUSTER));
    T_CHECK(saw(&seen, image_get64(&image, counts + 8), CLUSTER));
    T_CHECK_U64(seen.nb, 7);
    cleanup();
}

/* What breaks the specification or cannot be read is left out; a raw layer has no tables. */
static void test_visit_broken_tables(void)
{
    struct seen seen;
    uint64_t nb, table;

    start(128);
    image_put64(&image, image_l1_entry(&image, 0), 512 + 1);
    image_put64(&image, image_field(&image, "refcount_table_offset"), 0);
    image_put64(&image, image_field(&image, "refcount_table_offset") + 8, 1024 + 256 * 4);
    seen = visit();
    T_CHECK_U64(seen.nb, 5);
    cleanup();
    /* A refcount table that leaves the file, and an L1 table that cannot be read. */
    start(128);
    table = image_alloc(&image, 1);
    image_put64(&image, table, image_get64(&image, image_field(&image, "refcount_table_offset")));
    image_field_set(&image, "refcount_table_offset", table);
    image_field_set(&image, "refcount_table_clusters", 2);
    fixture_end(&f);
    fixture_start(&f, &image);
    seen = visit();
    T_CHECK(saw(&seen, table, 2 * CLUSTER));
    T_CHECK_U64(seen.nb, 6);
    cleanup();
    start(4096);
    table = image_alloc(&image, 2048) + 2047 * CLUSTER;
    image_field_set(&image, "l1_table_offset", table);
    fixture_end(&f);
    fixture_start(&f, &image);
    f.image.bad_start = table;
    f.image.bad_end = table + CLUSTER;
    f.image.fail_status = Q2_ERR_IO;
    seen = visit();
    T_CHECK(saw(&seen, table, image_field(&image, "l1_size") * 8));
    T_CHECK(!saw(&seen, image_l2_entry(&image, 0) & ~511ull, CLUSTER));
    cleanup();

    fixture_start_bytes(&f, (uint8_t[512]){0}, 512);
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(visit().nb, 0);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, 1, &nb), Q2_OK);
    T_CHECK_U64(nb, 0);
    fixture_end(&f);
}

static void test_nb_used(void)
{
    uint64_t nb, nb_clusters;

    start(128);
    nb_clusters = image.size / CLUSTER;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, UINT64_MAX, &nb), Q2_OK);
    T_CHECK_U64(nb, nb_clusters);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, 1, &nb), Q2_OK);
    T_CHECK(nb >= 1 && nb <= 16);
    image_refcount_set(&image, nb_clusters - 1, 0);
    image_refcount_set(&image, 0, 7);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, UINT64_MAX, &nb), Q2_OK);
    T_CHECK_U64(nb, nb_clusters - 1);
    image_put64(&image, image_field(&image, "refcount_table_offset"), 1ull << 40);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, UINT64_MAX, &nb), Q2_ERR_BAD_REFCOUNT);
    cleanup();
    t_row("a broken block for clusters after the file's end");
    start(128);
    (void)image_alloc(&image, 128 - (uint32_t)(image.size / CLUSTER));
    image_put64(&image, image_field(&image, "refcount_table_offset") + 16, 1ull << 40);
    fixture_end(&f);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_nb_used(f.disk, 0, UINT64_MAX, &nb), Q2_OK);
    T_CHECK_U64(nb, 128);
    cleanup();
}

int main(void)
{
    T_RUN(test_visit_tables);
    T_RUN(test_visit_broken_tables);
    T_RUN(test_nb_used);
    return t_done();
}
