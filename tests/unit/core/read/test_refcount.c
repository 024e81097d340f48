/* core/read/refcount.c: refcounts of every width, and where they cannot be had. */
#include <stdlib.h>

#include "core/write/refcount_write.h"
#include "tests/support/fake_source.h"
#include "tests/support/image_builder.h"
#include "tests/support/t.h"
#include "core/write/slice_write.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct q2_slice_cache cache;
static struct q2_windows windows;
static struct fake_source fake;
static struct q2_image layer;

static void open_image(const struct image *image)
{
    struct q2_fault fault;

    q2_windows_clear(&windows);
    q2_slice_cache_init(&cache, &windows);
    fake_source_init(&fake, "img", image->bytes, image->size);
    T_CHECK_U64(q2_image_open(&cache, &fake.source, &fault, &layer), Q2_OK);
}

static void test_refcount_decode_every_order(void)
{
    static const uint8_t block[] = {0xb2, 0x5d, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
                                    0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54};
    static const struct {
        uint32_t order;
        uint64_t index, value;
    } rows[] = {
        {0, 0, 0},
        {0, 1, 1},
        {0, 2, 0},
        {0, 7, 1},
        {0, 8, 1},
        {0, 15, 0},
        {1, 0, 2},
        {1, 1, 0},
        {1, 2, 3},
        {1, 3, 2},
        {1, 4, 1},
        {2, 0, 2},
        {2, 1, 0xb},
        {2, 2, 0xd},
        {2, 3, 5},
        {3, 0, 0xb2},
        {3, 9, 0xef},
        {4, 0, 0xb25d},
        {4, 2, 0x4567},
        {5, 0, 0xb25d0123},
        {5, 3, 0xba987654},
        {6, 0, 0xb25d0123456789ab},
        {6, 1, 0xcdeffedcba987654},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        T_CHECK_U64(q2_refcount_decode(block, rows[i].index, rows[i].order), rows[i].value);
}

static void test_refcount_get_every_width(void)
{
    for (uint32_t bits = 1; bits <= 64; bits *= 2) {
        uint64_t max = bits == 64 ? UINT64_MAX : (1ull << bits) - 1, count;
        uint64_t row[Q2_REFCOUNT_ROW];
        struct image image;

        image_start(&image,
                    &(struct image_spec){.size = MIB, .cluster_bits = 12, .refcount_bits = bits});
        for (uint64_t i = 100; i < 120; i++)
            image_refcount_set(&image, i, i % 2 ? max : i % 3 ? 0 : 1);
        open_image(&image);
        for (uint64_t i = 100; i < 120; i++) {
            T_CHECK_U64(q2_refcount_get(&cache, &layer, i, &count), Q2_OK);
            T_CHECK_U64(count, i % 2 ? max : i % 3 ? 0 : 1);
        }
        for (uint64_t i = 100; i < 120; i++) { /* the same by rows */
            T_CHECK(q2_refcount_row(&cache, &layer, i - i % Q2_REFCOUNT_ROW, row));
            T_CHECK_U64(row[i % Q2_REFCOUNT_ROW], i % 2 ? max : i % 3 ? 0 : 1);
        }
        T_CHECK_U64(q2_refcount_get(&cache, &layer, 0, &count), Q2_OK);
        T_CHECK_U64(count, 1);
        image_free(&image);
    }
}

static void test_refcount_get_where_there_is_none(void)
{
    struct image image;
    uint64_t count = 9, table;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12});
    table = image_field(&image, "refcount_table_offset");
    t_row("no block");
    open_image(&image);
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 4096, &count), Q2_OK);
    T_CHECK_U64(count, 0);
    t_row("after the table");
    count = 9;
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 512 * 2048, &count), Q2_OK);
    T_CHECK_U64(count, 0);
    T_CHECK_U64(q2_refcount_get(&cache, &layer, UINT64_MAX, &count), Q2_OK);
    t_row("block unaligned");
    image_put64(&image, table + 8, 4096 + 512);
    open_image(&image);
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 2048, &count), Q2_ERR_BAD_REFCOUNT);
    t_row("block past the file");
    image_put64(&image, table + 8, 1ull << 40);
    open_image(&image);
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 2048, &count), Q2_ERR_TRUNCATED);
    t_row("table unreadable");
    open_image(&image);
    fake.bad_start = table;
    fake.bad_end = table + 8;
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 0, &count), Q2_ERR_IO);
    image_free(&image);
}

static void test_refcount_put_every_width(void)
{
    for (uint32_t bits = 1; bits <= 64; bits *= 2) {
        uint64_t max = bits == 64 ? UINT64_MAX : (1ull << bits) - 1, count;
        struct image image;

        image_start(&image,
                    &(struct image_spec){.size = MIB, .cluster_bits = 12, .refcount_bits = bits});
        open_image(&image);
        for (uint64_t i = 100; i < 120; i++)
            T_CHECK_U64(q2_refcount_put(&cache, &layer, i, i % 3 ? max : 1), Q2_OK);
        T_CHECK_U64(q2_refcount_put(&cache, &layer, 110, 0), Q2_OK);
        for (uint64_t i = 99; i <= 120; i++) {
            uint64_t want = i == 110 || i == 99 || i == 120 ? 0 : i % 3 ? max : 1;
            T_CHECK_U64(q2_refcount_get(&cache, &layer, i, &count), Q2_OK);
            T_CHECK_U64(count, want);
        }
        t_row("too large for the width");
        if (bits < 64)
            T_CHECK_U64(q2_refcount_put(&cache, &layer, 100, max + 1), Q2_ERR_UNSUPPORTED);
        T_CHECK(q2_slice_is_dirty(&cache, Q2_DIRTY_REFCOUNT));
        image_free(&image);
    }
}

/* The file ends with the byte that has the refcount. */
static void test_refcount_put_in_the_last_byte(void)
{
    struct image image;
    uint64_t count;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12, .refcount_bits = 2});
    open_image(&image);
    fake.source.size = image_get64(&image, image_field(&image, "refcount_table_offset")) + 10;
    T_CHECK_U64(q2_refcount_put(&cache, &layer, 39, 2), Q2_OK);
    T_CHECK_U64(q2_refcount_get(&cache, &layer, 39, &count), Q2_OK);
    T_CHECK_U64(count, 2);
    T_CHECK_U64(q2_refcount_put(&cache, &layer, 40, 2), Q2_ERR_TRUNCATED);
    image_free(&image);
}

static void test_refcount_put_where_it_cannot(void)
{
    struct image image;
    uint64_t table, block;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 12, .refcount_bits = 2});
    table = image_field(&image, "refcount_table_offset");
    block = image_get64(&image, table);
    t_row("no block");
    open_image(&image);
    T_CHECK_U64(q2_refcount_put(&cache, &layer, 1 << 20, 1), Q2_ERR_BAD_REFCOUNT);
    t_row("table unreadable");
    open_image(&image);
    fake.bad_start = table;
    fake.bad_end = table + 8;
    T_CHECK_U64(q2_refcount_put(&cache, &layer, 0, 1), Q2_ERR_IO);
    t_row("block unreadable");
    open_image(&image);
    fake.bad_start = block;
    fake.bad_end = block + 8;
    T_CHECK_U64(q2_refcount_put(&cache, &layer, 0, 1), Q2_ERR_IO);
    image_free(&image);
}

/* Refcounts in a row, over sectors and slices, as one by one. */
static void test_refcount_take_every_width(void)
{
    for (uint32_t bits = 1; bits <= 64; bits *= 2) {
        uint64_t per_block = 8 * 16384 / bits, first = 77, nb = per_block - 200, taken, free, count;
        struct image image;
        uint64_t block;

        image_start(&image,
                    &(struct image_spec){.size = MIB, .cluster_bits = 14, .refcount_bits = bits});
        image_refcount_set(&image, first + nb + 3, 1);
        open_image(&image);
        T_CHECK_U64(q2_refcount_block(&cache, &layer, 0, &block), Q2_OK);
        T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, first, per_block - first, &free),
                    Q2_OK);
        T_CHECK_U64(free, nb + 3);
        T_CHECK_U64(q2_refcount_take(&cache, &layer, block, first, nb, &taken), Q2_OK);
        T_CHECK_U64(taken, nb);
        for (uint64_t i = first - 1; i < per_block; i++) {
            T_CHECK_U64(q2_refcount_get_in(&cache, &layer, block, i, &count), Q2_OK);
            if (count != ((i >= first && i < first + nb) || i == first + nb + 3))
                T_CHECK_U64(i, 0);
        }
        T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, first, 9, &free), Q2_OK);
        T_CHECK_U64(free, 0);
        image_free(&image);
    }
}

/* A free row goes on in the next slice, which was not read yet, and ends there. */
static void test_refcount_free_row_ends_in_the_next_slice(void)
{
    for (uint32_t bits = 1; bits <= 64; bits *= 2) {
        uint64_t per_slice = 8 * Q2_SLICE_SIZE / bits, block, free;
        struct image image;

        image_start(&image,
                    &(struct image_spec){.size = MIB, .cluster_bits = 14, .refcount_bits = bits});
        image_refcount_set(&image, per_slice + 3, 1);
        open_image(&image);
        T_CHECK_U64(q2_refcount_block(&cache, &layer, 0, &block), Q2_OK);
        T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, per_slice - 5, 20, &free), Q2_OK);
        T_CHECK_U64(free, 8);
        image_free(&image);
    }
}

static void test_refcount_take_where_it_cannot(void)
{
    struct image image;
    uint64_t block, nb;

    image_start(&image, &(struct image_spec){.size = MIB, .cluster_bits = 14});
    open_image(&image);
    T_CHECK_U64(q2_refcount_block(&cache, &layer, 0, &block), Q2_OK);
    t_row("the block is the file's end");
    fake.source.size = block + 16384;
    T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, 8191, 1, &nb), Q2_OK);
    T_CHECK_U64(nb, 1);
    T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, 8192, 0, &nb), Q2_OK);
    T_CHECK_U64(nb, 0);
    t_row("the file ends in the block");
    open_image(&image);
    fake.source.size = block + 8193;
    T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, 4000, 200, &nb), Q2_ERR_TRUNCATED);
    T_CHECK_U64(q2_refcount_take(&cache, &layer, block, 4000, 200, &nb), Q2_ERR_TRUNCATED);
    T_CHECK_U64(nb, 96); /* to the sector that is not whole */
    t_row("the second slice is unreadable");
    open_image(&image);
    fake.bad_start = block + 4096;
    fake.bad_end = block + 4097;
    T_CHECK_U64(q2_refcount_nb_free(&cache, &layer, block, 2000, 100, &nb), Q2_ERR_IO);
    T_CHECK_U64(q2_refcount_take(&cache, &layer, block, 2000, 100, &nb), Q2_ERR_IO);
    T_CHECK_U64(nb, 48);
    image_free(&image);
}

int main(void)
{
    T_RUN(test_refcount_decode_every_order);
    T_RUN(test_refcount_get_every_width);
    T_RUN(test_refcount_get_where_there_is_none);
    T_RUN(test_refcount_put_every_width);
    T_RUN(test_refcount_put_in_the_last_byte);
    T_RUN(test_refcount_put_where_it_cannot);
    T_RUN(test_refcount_take_every_width);
    T_RUN(test_refcount_free_row_ends_in_the_next_slice);
    T_RUN(test_refcount_take_where_it_cannot);
    return t_done();
}
