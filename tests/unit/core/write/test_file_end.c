/* core/write/write.c, core/read/disk.c: image files that end inside their last cluster, as QEMU's
 * do. What was never written there can be written, and reads as zeros.
 */
#include <stdlib.h>

#include "core/read/disk.h"
#include "q2_amend.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CLUSTER  (16 * KIB)
#define SIZE     (8 * CLUSTER)
#define CAPACITY (1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory, *model;
static uint64_t disk_size;

static uint64_t nb_before = 1; /* guest clusters that are stored before the last one */

/* Guest cluster 2 is the last one of the file, which has only its first nb_held bytes. */
static void setup(bool extended, uint64_t nb_held, uint64_t size)
{
    uint64_t host;

    image_start(&image,
                &(struct image_spec){.size = SIZE, .cluster_bits = 14, .extended = extended});
    for (uint64_t i = 0; i < nb_before; i++)
        (void)image_data(&image, i * CLUSTER, 1);
    if (extended)
        host = image_subclusters(&image, 2 * CLUSTER, (1u << (nb_held / 512)) - 1, 0, 2);
    else
        host = image_data(&image, 2 * CLUSTER, 2);
    image_field_set(&image, "size", size);
    disk_size = size;
    memset(model, 0, 2 * SIZE);
    memcpy(model, image.model.bytes, size);
    memset(model + 2 * CLUSTER + nb_held, 0, CLUSTER - nb_held);
    memset(memory, 0xee, CAPACITY);
    memcpy(memory, image.bytes, host + nb_held);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, host + nb_held, CAPACITY);
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void check_all(void)
{
    T_CHECK_U64(fixture_first_difference(&f, model, disk_size), FIXTURE_SAME);
    fixture_check_flushed(&f, model, disk_size);
}

static void write_at(uint64_t offset, size_t length)
{
    T_CHECK_U64(fixture_fill(&f, model, offset, length, 0x77), Q2_OK);
}

static const struct {
    const char *row;
    uint64_t offset, length;
} writes[] = {
    {"after the end of the file", 2 * CLUSTER + 8192, 4096},
    {"over the end of the file", 2 * CLUSTER + 100, 8000},
    {"the last byte of the cluster", 3 * CLUSTER - 1, 1},
    {"into the next cluster", 3 * CLUSTER - 600, 1200},
    {"all of the cluster", 2 * CLUSTER, CLUSTER},
    {"a new cluster", 5 * CLUSTER + 3, 700},
};

static void test_write_where_the_file_ends_in_its_last_cluster(void)
{
    for (int extended = 0; extended < 2; extended++) {
        for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
            char row[96];

            snprintf(row, sizeof(row), "%s%s", writes[i].row, extended ? ", extended" : "");
            t_row(row);
            setup(extended != 0, extended ? 2048 : 2304, SIZE);
            T_CHECK_U64(fixture_first_difference(&f, model, SIZE), FIXTURE_SAME);
            write_at(writes[i].offset, (size_t)writes[i].length);
            check_all();
            fixture_end(&f);
            image_free(&image);
        }
    }
    t_row("");
}

static void test_zeros_discard_and_growth_where_the_file_ends_in_its_last_cluster(void)
{
    for (int extended = 0; extended < 2; extended++) {
        setup(extended != 0, 2048, SIZE);
        T_CHECK_U64(q2_disk_write_zeroes(f.disk, 2 * CLUSTER + 1000, 5000), Q2_OK);
        memset(model + 2 * CLUSTER + 1000, 0, 5000);
        check_all();
        T_CHECK_U64(q2_disk_discard(f.disk, 2 * CLUSTER, CLUSTER), Q2_OK);
        memset(model + 2 * CLUSTER, 0, CLUSTER);
        check_all();
        fixture_end(&f);
        image_free(&image);

        setup(extended != 0, 2048, 2 * CLUSTER + 2048);
        T_CHECK_U64(q2_disk_resize(f.disk, SIZE, false), Q2_OK);
        disk_size = SIZE;
        check_all();
        write_at(2 * CLUSTER + 4096, 512);
        check_all();
        fixture_end(&f);
        image_free(&image);
    }
}

/* Put a refcount of 1 where the file has ended already, nb clusters after the last one. */
static void count_behind(uint64_t nb)
{
    uint64_t block = image_get64(&image, image_field(&image, "refcount_table_offset"));
    uint64_t index = f.image.source.size / CLUSTER + nb;

    memory[block + 2 * index + 1] = 1;
}

/* Nothing is in the caches any more. */
static void forget(void)
{
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
}

/* Refcounts say that the file never had more: what is missing of its last cluster reads as zeros.
 * If they count a cluster after it, the file has lost its end. */
static void test_read_only_disk_does_not_make_up_what_is_missing(void)
{
    static const uint64_t lost[] = {1, 2, 4000};
    uint8_t missing[16] = {[0] = 0xff, [15] = 0xff};

    for (nb_before = 2; nb_before >= 1; nb_before--) {
        setup(false, 2048, SIZE);
        f.options.writable = false;
        f.options.short_end = true;
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, model, disk_size), FIXTURE_SAME);
        T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 3000, missing, sizeof(missing)), Q2_OK);
        T_CHECK(missing[0] == 0 && missing[sizeof(missing) - 1] == 0);
        fixture_end(&f);
        image_free(&image);
    }
    nb_before = 1;
    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        setup(false, 2048, SIZE);
        f.options.writable = false;
        f.options.short_end = true;
        count_behind(lost[i]);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1024), Q2_OK);
        T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1025), Q2_ERR_TRUNCATED);
        fixture_end(&f);
        image_free(&image);
    }
    t_row("refcounts that cannot be read");
    setup(false, 2048, SIZE);
    f.options.writable = false;
    f.options.short_end = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    f.image.bad_start = image_get64(&image, image_field(&image, "refcount_table_offset"));
    f.image.bad_end = f.image.bad_start + CLUSTER;
    forget();
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1025), Q2_ERR_TRUNCATED);
    f.image.bad_start = image_field(&image, "refcount_table_offset");
    f.image.bad_end = f.image.bad_start + CLUSTER;
    forget();
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1025), Q2_ERR_TRUNCATED);
    t_row("data that cannot be read");
    f.image.bad_start = image_get64(&image, image_l2_entry(&image, 2 * CLUSTER)) & ~(1ull << 63);
    f.image.bad_end = f.image.bad_start + 2048;
    forget();
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1025), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_IO);
    fixture_end(&f);
    image_free(&image);
    t_row("");
    setup(false, 2048, SIZE);
    f.options.writable = false; /* a caller that does not allow it */
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1024), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER + 1024, model, 1025), Q2_ERR_TRUNCATED);
    fixture_end(&f);
    image_free(&image);
    setup(false, 2048, SIZE);
    f.options.writable = false;
    f.options.short_end = true;
    f.image.source.size -= 2048; /* all of the cluster is missing */
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 2 * CLUSTER, model, 1), Q2_ERR_TRUNCATED);
    fixture_end(&f);
    image_free(&image);
}

/* No refcount block counts the cluster that the file ends in: the file may have had more. */
static void test_end_without_a_refcount_block_is_missing(void)
{
    image_start(&image,
                &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9, .max_clusters = 1024});
    while (image.size < 400 * 512)
        (void)image_alloc(&image, 1);
    (void)image_data(&image, 0, 1);
    for (uint64_t i = 8; i < 512; i += 8) /* the first block counts 256 clusters */
        image_put64(&image, image_field(&image, "refcount_table_offset") + i, 0);
    fixture_start(&f, &image);
    f.image.source.size = f.image.nb_held = image.size - 100;
    f.options.short_end = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, model, 412), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, model, 413), Q2_ERR_TRUNCATED);
    fixture_end(&f);
    image_free(&image);
}

/* What the file has of its last cluster can be written without making it longer. */
static void test_write_before_the_end_of_the_file_keeps_its_size(void)
{
    setup(false, 2048, SIZE);
    write_at(2 * CLUSTER + 100, 1948);
    T_CHECK_U64(f.image.nb_grows, 0);
    check_all();
    fixture_end(&f);
    image_free(&image);
}

/* A file that cannot grow is an error of the request alone. */
static void test_file_that_cannot_grow_to_the_end_of_its_cluster(void)
{
    setup(false, 2048, SIZE);
    f.image.fail_grow = 1;
    f.image.fail_status = Q2_ERR_NO_SPACE;
    T_CHECK_U64(fixture_fill(&f, model, 2 * CLUSTER + 8192, 512, 1), Q2_ERR_NO_SPACE);
    T_CHECK(q2_disk_is_writable(f.disk));
    write_at(2 * CLUSTER + 8192, 512);
    check_all();
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    model = calloc(2, SIZE);
    T_RUN(test_write_where_the_file_ends_in_its_last_cluster);
    T_RUN(test_zeros_discard_and_growth_where_the_file_ends_in_its_last_cluster);
    T_RUN(test_read_only_disk_does_not_make_up_what_is_missing);
    T_RUN(test_end_without_a_refcount_block_is_missing);
    T_RUN(test_write_before_the_end_of_the_file_keeps_its_size);
    T_RUN(test_file_that_cannot_grow_to_the_end_of_its_cluster);
    free(memory);
    free(model);
    return t_done();
}
