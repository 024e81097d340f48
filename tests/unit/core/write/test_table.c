/* core/write/table.c, from inside: a copied table, runs of entries, a table that is given up. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/write/slice_write.h"
#include "core/write/table.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define COPIED   (1ull << 63)
#define CAPACITY (4 * MIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;

static void setup(void)
{
    memory = calloc(1, CAPACITY);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
}

static uint64_t entry_of(uint64_t table, uint64_t guest_offset)
{
    uint64_t entry = 0, bitmap;

    T_CHECK_U64(q2_table_get(f.disk, table, guest_offset, &entry, &bitmap), Q2_OK);
    return entry;
}

/* A table that is not the active state's alone: what both name is shared, so the copy says so. */
static void test_table_copy_clears_every_copied_flag(void)
{
    for (int extended = 0; extended < 2; extended++) {
        uint64_t old, table = 0, host[4];

        t_row(extended ? "extended" : "standard");
        image_start(&image, &(struct image_spec){
                                .size = MIB, .cluster_bits = 14, .extended = extended != 0});
        for (uint64_t i = 0; i < 4; i++)
            host[i] = image_data(&image, i * 16 * KIB, 1);
        old = image_get64(&image, image_l1_entry(&image, 0)) & ~COPIED;
        image_put64(&image, image_l1_entry(&image, 0), old);
        setup();
        T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
        T_CHECK(table != old);
        for (uint64_t i = 0; i < 4; i++)
            T_CHECK_U64(entry_of(table, i * 16 * KIB), host[i]);
        cleanup();
    }
}

/* A run of new entries takes the place of none that is there. */
static void test_table_fill_ends_at_an_entry(void)
{
    uint64_t table, host, nb_set = 0;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    (void)image_data(&image, 0, 1);
    host = image_data(&image, 12 * KIB, 2);
    setup();
    T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
    T_CHECK_U64(q2_table_fill(f.disk, table, 8 * KIB, COPIED | MIB, 3, &nb_set), Q2_OK);
    T_CHECK_U64(nb_set, 1);
    T_CHECK_U64(entry_of(table, 8 * KIB), COPIED | MIB);
    T_CHECK_U64(entry_of(table, 12 * KIB), COPIED | host);
    T_CHECK_U64(entry_of(table, 16 * KIB), 0);
    cleanup();
}

/* Only one sector of the table waits for what is put at once: the next run begins in the next. */
static void test_table_fill_ends_with_its_sector(void)
{
    uint64_t table, nb_set = 0;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    (void)image_data(&image, 0, 1);
    setup();
    T_CHECK_U64(q2_table_for_write(f.disk, 0, &table), Q2_OK);
    T_CHECK_U64(q2_table_fill(f.disk, table, 40 * 4 * KIB, COPIED | MIB, 100, &nb_set), Q2_OK);
    T_CHECK_U64(nb_set, 64 - 40);
    cleanup();
}

/* An L1 entry that has the flag and no table: nothing is given back, above all not the header. */
static void test_table_drop_without_a_table(void)
{
    static const uint8_t flag_only[8] = {0x80};

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    setup();
    T_CHECK_U64(q2_slice_put(&f.disk->slices, &f.image.source, image_l1_entry(&image, 0), flag_only,
                             sizeof(flag_only), Q2_DIRTY_L1),
                Q2_OK);
    T_CHECK_U64(q2_table_drop(f.disk, 0), Q2_OK);
    T_CHECK_U64(f.disk->writer.nb_frees, 0);
    cleanup();
}

/* What a table refers to is not known if it cannot be read: an error, and nothing is given back. */
static void test_table_drop_of_an_unreadable_table(void)
{
    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    (void)image_data(&image, 0, 1);
    setup();
    f.image.bad_start = image_get64(&image, image_l1_entry(&image, 0)) & ~COPIED;
    f.image.bad_end = f.image.bad_start + 4 * KIB;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    T_CHECK_U64(q2_table_drop(f.disk, 0), Q2_ERR_IO);
    T_CHECK_U64(f.disk->writer.nb_frees, 0);
    cleanup();
}

int main(void)
{
    T_RUN(test_table_copy_clears_every_copied_flag);
    T_RUN(test_table_fill_ends_at_an_entry);
    T_RUN(test_table_fill_ends_with_its_sector);
    T_RUN(test_table_drop_without_a_table);
    T_RUN(test_table_drop_of_an_unreadable_table);
    return t_done();
}
